"""The test tasks on features: their views, model and results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.build import VideoDataset, build_dataset
from slowfast.datasets.registry import JOINED_REGISTRY
from slowfast.engine.checkpoint import load_test_weights
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.engine.testing.cross_view import cross_view_results, read_cross_view_labels
from slowfast.engine.testing.features import (
    FeatureSet,
    TestedView,
    extract_features,
    features_folder,
)
from slowfast.engine.testing.fingerprint import weights_digest
from slowfast.engine.testing.retrieval import read_retrieval_lists, retrieval_results
from slowfast.engine.testing.view_scoring import ready_for_test
from slowfast.engine.testing.zero_shot import encode_class_names, zero_shot_results
from slowfast.evaluation.tables import format_task
from slowfast.models.build import build_model, build_test_model
from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.parts import Part
from slowfast.models.published_names import PROJECTIONS
from slowfast.models.recognizer import Recognizer
from slowfast.models.registry import model_spec
from slowfast.semantics.build import Encode
from slowfast.tasks.terms.base import parts_of
from slowfast.tasks.terms.registry import weighted_terms
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_json
from slowfast.utils.logging import log_json_stats
from slowfast.utils.paths import InputPath

logger = logging.getLogger(__name__)

# In checkpoints whose alignment was factorised.
_BY_VERB = PROJECTIONS["ego_verb_projection"]

Datasets = Mapping[str, VideoDataset]
# The computation of rank 0 on the features of each view.
Finish = Callable[[Mapping[str, FeatureSet]], dict[str, Any]]


def feature_datasets(cfg: CfgNode) -> dict[str, VideoDataset]:
    """The test segments of the views that TEST.TASK reads. Raises: UserError for bad data."""
    names = _tested_names(cfg)
    return {view: build_dataset(name, cfg, "test", view) for view, name in names.items()}


def _tested_names(cfg: CfgNode) -> dict[str, str]:
    """Name of the data set of each view under test.

    A dual model tests TEST.DATASET with the half of its view, a joined set with both halves;
    retrieval and zero_shot read ego clips alone, cross_view both views.
    """
    spec, tested = model_spec(cfg), cfg.TEST.DATASET
    if not spec.is_dual:
        return {spec.view: tested}
    joined = tested in JOINED_REGISTRY
    exo_alone = not joined and tested == cfg.EXO.DATASET != cfg.EGO.DATASET
    ego = cfg.EGO.DATASET if joined or exo_alone else tested
    if cfg.TEST.TASK in ("retrieval", "zero_shot"):
        return {"ego": ego}
    if cfg.TEST.TASK == "features" and not joined:
        return {"exo": tested} if exo_alone else {"ego": tested}
    return {"ego": ego, "exo": cfg.EXO.DATASET}


def plan_finish(cfg: CfgNode, datasets: Datasets, encode: Encode) -> Finish | None:
    """Read and encode, on rank 0, the texts or labels that the task compares features with.

    None for the task features. Raises: UserError for input that does not fit.
    """
    if cfg.TEST.TASK == "features" or not distributed.is_main():
        return None
    ego = datasets["ego"].segments
    if cfg.TEST.TASK == "retrieval":
        lists = read_retrieval_lists(cfg, ego, encode)
        return lambda features: retrieval_results(lists, features["ego"].matrix("projected"))
    if cfg.TEST.TASK == "zero_shot":
        classes = encode_class_names(cfg, encode)
        return lambda features: zero_shot_results(
            cfg, classes, features["ego"].matrix("projected"), ego
        )
    labels = read_cross_view_labels(cfg, datasets["ego"], datasets["exo"])
    return lambda features: cross_view_results(
        labels, features["ego"].matrix("projected"), features["exo"].matrix("projected")
    )


def test_features(
    cfg: CfgNode,
    device: torch.device,
    datasets: Datasets,
    finish: Finish | None,
    chunk_views: int,
    checkpoint: InputPath,
) -> None:
    """Extract the missing features; rank 0 writes `results_TASK.json`."""
    views = tested_views(cfg, datasets, checkpoint, device)
    features = {}
    for view in views:
        features[view.name] = extract_features(cfg, view, chunk_views, device)
        logger.info(
            "features of %d %s segments in %s",
            len(view.dataset),
            view.name,
            features_folder(cfg, view.name),
        )
    if finish is None:
        return
    results = finish(features)
    path = write_json(Path(cfg.OUTPUT_DIR) / f"results_{cfg.TEST.TASK}.json", results)
    flat = {name: value for name, value in results.items() if isinstance(value, (int, float))}
    log_json_stats(logger, {"_type": f"test_{cfg.TEST.TASK}", **flat})
    scalars = ScalarWriter(cfg)
    scalars.add(f"test_{cfg.TEST.TASK}", flat, 0)
    scalars.close()
    logger.info("results in %s\n%s", path, format_task(results))


def tested_views(
    cfg: CfgNode, datasets: Datasets, checkpoint: InputPath, device: torch.device
) -> list[TestedView]:
    """The tested views, each with the parts of the model that it needs, weights loaded."""
    model = build_model(cfg) if model_spec(cfg).is_dual else build_test_model(cfg)
    report = load_test_weights(model, checkpoint, cfg)
    if isinstance(model, EgoExoModel):
        others = [name for name in report.unexpected if name.startswith(_BY_VERB)]
        by_factor = Part.FACTOR_PROJECTIONS in model.parts
        if cfg.TEST.TASK == "cross_view" and (by_factor or others):
            logger.warning(
                "%s was aligned by verb and by noun (SUML.ALIGN.KIND factorised); this test "
                "measures the projections of the text terms instead",
                checkpoint,
            )
        trained = parts_of(entry.term for entry in weighted_terms(cfg))
        views = [_dual_view(model, name, data, trained) for name, data in datasets.items()]
    elif isinstance(model, Recognizer):
        weights = weights_digest(model)
        views = [TestedView(name, data, model, weights) for name, data in datasets.items()]
    else:
        raise UserError(
            f"TEST.TASK {cfg.TEST.TASK} needs a model with one backbone and one head, unlike "
            f"MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME}; set TEST.TASK recognition"
        )
    ready_for_test(model, cfg, device)
    return views


def _dual_view(
    model: EgoExoModel, name: str, dataset: VideoDataset, trained: frozenset[Part]
) -> TestedView:
    """trained: parts of the model that a loss of the config trains."""
    is_ego = name == "ego"
    if (Part.EGO_PROJECTION if is_ego else Part.EXO_PROJECTION) not in trained:
        logger.warning(
            "no loss of this config trains the %s projection (SUML.WEIGHTS, SUML.ALIGN.KIND), "
            "so its output is meaningless",
            name,
        )
    recognizer = model.ego if is_ego else model.exo
    projection = model.ego_projection if is_ego else model.exo_projection
    return TestedView(
        name,
        dataset,
        recognizer,
        weights_digest(recognizer),
        projection,
        weights_digest(projection),
    )
