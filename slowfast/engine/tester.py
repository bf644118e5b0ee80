"""The test loop: every segment exactly once, on any number of ranks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast.datasets.build import VideoDataset, build_dataset
from slowfast.engine.announce import announce_test
from slowfast.engine.checkpoint import load_test_weights, newest_checkpoint
from slowfast.engine.testing import shards
from slowfast.engine.testing.feature_tasks import (
    Finish,
    feature_datasets,
    plan_finish,
    test_features,
)
from slowfast.engine.testing.features import features_folder, kept_features
from slowfast.engine.testing.fingerprint import Key, rounding_key, view_key, weights_digest
from slowfast.engine.testing.outcome import check_outcome, write_outcome
from slowfast.engine.testing.segment_loop import run_segments
from slowfast.engine.testing.view_scoring import (
    SegmentScorer,
    SegmentScores,
    ViewJoin,
    ready_for_test,
)
from slowfast.models.build import build_test_model
from slowfast.models.recognizer import Recognizer
from slowfast.models.registry import model_spec
from slowfast.semantics.build import Encode, encode_narrations
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, input_path, local_path

logger = logging.getLogger(__name__)


@dataclass
class TestPlan:
    """Inputs of a test that can be checked before training.

    datasets: the segments of each view (ego, exo) under test. finish: the computation of a task on
        features.
    """

    # Keeps pytest from collecting this class, whose name starts with Test.
    __test__ = False

    datasets: Mapping[str, VideoDataset]
    chunk_views: int
    finish: Finish | None = None


def plan_test(cfg: CfgNode, encode: Encode = encode_narrations) -> TestPlan:
    """Check the inputs of a test and build its data sets. encode: encoder of the sentences.

    Raises: UserError for missing or inconsistent lists, folders, files or sizes.
    """
    key, named = "TEST.CHECKPOINT_FILE_PATH", cfg.TEST.CHECKPOINT_FILE_PATH
    if named and not local_path(named, key).is_file():
        raise UserError(f"{key} {named} is not a file; correct the path")
    chunk_views = min(cfg.TEST.CHUNK_VIEWS, cfg.TEST.BATCH_SIZE)
    if cfg.TEST.TASK == "recognition":
        spec = model_spec(cfg)
        check_outcome(cfg)
        dataset = build_dataset(cfg.TEST.DATASET, cfg, "test", spec.view, spec.heads(cfg))
        return TestPlan({spec.view: dataset}, chunk_views)
    datasets = feature_datasets(cfg)
    return TestPlan(datasets, chunk_views, plan_finish(cfg, datasets, encode))


def test(cfg: CfgNode, device: torch.device, plan: TestPlan, trained: Path | None) -> None:
    """Run TEST.TASK on every test segment; rank 0 writes its files under OUTPUT_DIR.

    trained: the checkpoint that this run has just trained.
    """
    path = checkpoint_to_test(cfg, trained)
    announce_test(cfg, plan.datasets, path, device)
    if cfg.TEST.TASK != "recognition":
        test_features(cfg, device, plan.datasets, plan.finish, plan.chunk_views, path)
        return
    ((view, dataset),) = plan.datasets.items()
    model = build_test_model(cfg)
    load_test_weights(model, path, cfg)
    key = view_key(cfg, view, weights_digest(model), dataset)
    ready_for_test(model, cfg, device)
    scored = scores_from_features(cfg, dataset, model, key, plan.chunk_views, device)
    if scored is None:
        scored = score_segments(cfg, dataset, model, key, plan.chunk_views, device)
    if distributed.is_main():
        heads = model_spec(cfg).heads(cfg)
        write_outcome(cfg, heads, dataset.segments, scored, dataset.left_out)
        shards.remove(partial_folder(cfg))


def scores_from_features(
    cfg: CfgNode,
    dataset: VideoDataset,
    model: nn.Module,
    key: Key,
    chunk_views: int,
    device: torch.device,
) -> list[SegmentScores] | None:
    """The scores of `score_segments`, computed from stored features; None without them."""
    if not isinstance(model, Recognizer):
        return None
    features = None
    if distributed.is_main():
        features = kept_features(cfg, dataset, key)
    if not distributed.broadcast_object(features is not None):
        return None
    if features is None:
        return []
    logger.info("recognition from the features in %s", features_folder(cfg, key["view"]))
    return features.scores(
        model.head.classify, view_join(cfg), chunk_views=chunk_views, device=device
    )


def score_segments(
    cfg: CfgNode,
    dataset: VideoDataset,
    model: nn.Module,
    key: Key,
    chunk_views: int,
    device: torch.device,
) -> list[SegmentScores]:
    """The scores of all segments in their order, on rank 0; elsewhere an empty list.

    key: the `view_key` of the test. Finished segments are kept under OUTPUT_DIR until the caller
        removes them.
    """
    join = view_join(cfg)
    scorer = SegmentScorer(model, dataset.transform, join, chunk_views=chunk_views, device=device)
    logger.info(
        "testing %d segments, %d views in a forward pass",
        len(dataset),
        chunk_views,
    )
    exact = {
        **key,
        "joined": [cfg.DATA.ENSEMBLE_METHOD, cfg.TEST.NO_ACT],
        "heads": [head.name for head in join.heads],
        **rounding_key(cfg, chunk_views, device),
    }
    found, added = run_segments(
        cfg, dataset, lambda s: scorer(s).record(join.heads), partial_folder(cfg), exact, keep=True
    )
    gathered = distributed.gather_objects(added)
    if not distributed.is_main():
        return []
    records = dict(shards.read_records(found.paths))
    for part in gathered:
        records.update(part)
    if len(records) != len(dataset):
        raise RuntimeError(f"{len(records)} of {len(dataset)} test segments were scored")
    return [SegmentScores.from_record(records[index], join.heads) for index in range(len(dataset))]


def view_join(cfg: CfgNode) -> ViewJoin:
    """The method that joins the views of a test segment."""
    return ViewJoin(model_spec(cfg).heads(cfg), cfg.DATA.ENSEMBLE_METHOD, cfg.TEST.NO_ACT)


def partial_folder(cfg: CfgNode) -> Path:
    """Folder of the finished segments of an unfinished test."""
    return Path(cfg.OUTPUT_DIR) / "partial_test"


def checkpoint_to_test(cfg: CfgNode, trained: Path | None) -> InputPath:
    """TEST.CHECKPOINT_FILE_PATH, else the run's own, else TRAIN's, else OUTPUT_DIR's newest.

    The log names the chosen and the skipped ones. OUTPUT_DIR is searched, which reads whole files,
    only if no key names a file. Raises: UserError if there is none.
    """
    named: list[tuple[str, InputPath | None]] = [
        ("TEST.CHECKPOINT_FILE_PATH", _path(cfg.TEST.CHECKPOINT_FILE_PATH)),
        ("this run", trained),
        ("TRAIN.CHECKPOINT_FILE_PATH", _path(cfg.TRAIN.CHECKPOINT_FILE_PATH)),
    ]
    usable = [(source, path) for source, path in named if path is not None]
    if not usable and (newest := newest_checkpoint(cfg)):
        usable = [("the newest in OUTPUT_DIR", newest)]
    if not usable:
        raise UserError(
            f"no checkpoint to test: OUTPUT_DIR {cfg.OUTPUT_DIR} holds none; "
            "set TEST.CHECKPOINT_FILE_PATH"
        )
    (source, taken), *others = usable
    logger.info("testing checkpoint %s (%s)", taken, source)
    for other_source, other in others:
        if other != taken:
            logger.info("skipped checkpoint %s (%s)", other, other_source)
    return taken


def _path(text: str) -> InputPath | None:
    return input_path(text) if text else None
