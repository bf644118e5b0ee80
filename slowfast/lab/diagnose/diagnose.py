"""Diagnosis of finished SUM-L runs: where the information of the exo view stops."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.config.load import run_config
from slowfast.datasets.build import build_dataset
from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.loading.loader import build_loader
from slowfast.engine.checkpoints.files import numbered_checkpoints
from slowfast.lab.diagnose.clips import Clips, probes
from slowfast.lab.diagnose.gradients import term_gradients
from slowfast.lab.diagnose.page import markdown
from slowfast.lab.diagnose.pairs import training_agreement
from slowfast.models.parts import Part
from slowfast.models.registry import model_spec
from slowfast.semantics.build import exo_train_annotations
from slowfast.semantics.exo_labels import map_exo_labels
from slowfast.tasks.terms.base import parts_of
from slowfast.tasks.terms.registry import weighted_terms
from slowfast.utils.errors import UserError
from slowfast.utils.files import short_names, write_json, write_text

logger = logging.getLogger(__name__)

_PROJECTIONS = {Part.EGO_PROJECTION, Part.EXO_PROJECTION}
# What is measured are the weights that were trained, not their average.
_OVERRIDES = (
    *("MODEL.COMPILE", False, "MODEL.SPEED_OPTIONS", "as_set", "TEST.EMA", False),
    *("TEST.FEATURES.DIR", "", "TEST.FEATURES.PER_VIEW", False, "TEST.CROSS_VIEW.PAIRS", ""),
)


def diagnose_runs(
    folders: Sequence[Path], out: Path, overrides: Sequence[str] = (), batches: int = 4
) -> str:
    """Diagnose finished dual runs; writes `diagnosis.json` and `diagnosis.md` into `out`.

    Features are kept below `out`, so that the same command resumes. overrides: `KEY, VALUE, ...`
    over the config of every run. batches: for the gradients.
    Returns: the page in Markdown. Raises: UserError for a folder that is not such a run, or bad
    data.
    """
    names = short_names(folders)
    diagnoses = []
    for folder, name in zip(folders, names, strict=True):
        run = _Run(folder, (*_OVERRIDES, *overrides), batches)
        diagnoses.append(run.diagnose(name, out / "features" / name.replace("/", "_")))
    write_json(out / "diagnosis.json", {"runs": diagnoses})
    text = markdown(diagnoses)
    write_text(out / "diagnosis.md", text)
    return text


class _Run:
    """A finished run, opened for measurements."""

    def __init__(self, folder: Path, overrides: Sequence[Any], batches: int) -> None:
        self._cfg = cfg = _config(folder, overrides)
        found = numbered_checkpoints(folder)
        self._checkpoints = {epoch: path for (epoch, steps), path in found.items() if steps == 0}
        if not self._checkpoints:
            raise UserError(f"{folder} has no checkpoint of a finished epoch; train it first")
        self._device = torch.device("cuda" if cfg.NUM_GPUS and torch.cuda.is_available() else "cpu")
        self._exo_labels = map_exo_labels(cfg, exo_train_annotations(cfg), required=False)
        compared = self._exo_labels is not None and _trains_both_projections(cfg)
        self._clips = {
            split: Clips.read(_config(folder, (*overrides, *_split(cfg, split, compared))))
            for split in ("train", "test")
        }
        trained = build_dataset(cfg.TRAIN.DATASET, cfg, "train")
        assert isinstance(trained, EgoExoDataset)
        self._trained = trained
        self._loader = build_loader(cfg, trained, "train")
        self._batches = min(batches, self._loader.sampler.batches_per_epoch)

    def diagnose(self, name: str, work: Path) -> dict[str, Any]:
        """The numbers as plain values; work: folder for features."""
        rows = []
        for epoch, checkpoint in self._checkpoints.items():
            logger.info("%s: epoch %d", name, epoch)
            measured = self._measure(checkpoint, work / f"epoch_{epoch:05d}")
            rows.append({"epoch": epoch, **measured})
        labels = self._exo_labels
        return {
            "run": name,
            "seed": self._cfg.RNG_SEED,
            "segments": {split: clips.counts for split, clips in self._clips.items()},
            "batches": self._batches,
            "batch_size": self._cfg.TRAIN.BATCH_SIZE,
            "pairs": None if labels is None else training_agreement(self._trained, labels),
            "checkpoints": rows,
        }

    def _measure(self, checkpoint: Path, work: Path) -> dict[str, Any]:
        clips = self._clips
        features = {
            split: one.embed(checkpoint, work / split, self._device) for split, one in clips.items()
        }
        gradients = term_gradients(self._cfg, checkpoint, self._loader, self._batches, self._device)
        return {
            "alignment": {split: clips[split].alignment(features[split]) for split in clips},
            "gradients": {term: found._asdict() for term, found in gradients.items()},
            "probes": probes(clips["train"], clips["test"], features["train"], features["test"]),
        }


def _config(folder: Path, overrides: Sequence[Any]) -> CfgNode:
    """The config of a dual run that trained its backbones. Raises: UserError for another run."""
    cfg = run_config(folder, overrides)
    if not model_spec(cfg).is_dual:
        raise UserError(
            f"{folder} trained MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME}, which has one view; name a "
            "run of SUM-L"
        )
    if cfg.TRAIN.ON_FEATURES:
        raise UserError(
            f"{folder} trained on features (TRAIN.ON_FEATURES), not its backbones; name another run"
        )
    return cfg


def _trains_both_projections(cfg: CfgNode) -> bool:
    """Whether similarities between the views say anything."""
    return parts_of(entry.term for entry in weighted_terms(cfg)) >= _PROJECTIONS


def _split(cfg: CfgNode, split: str, compared: bool) -> Sequence[Any]:
    """Overrides that make the test read a split; the mined pairs are those of the training."""
    words: list[Any] = ["TEST.TASK", "cross_view" if compared else "retrieval"]
    if split == "train":
        words += ["TEST.DATA_LIST", cfg.TRAIN.TRAIN_DATA_LIST, "TEST.EXO_SPLIT", "train"]
        words += ["TEST.CROSS_VIEW.PAIRS", cfg.SUML.PAIRS.FILE] if compared else []
    return words
