"""Everything that a page shows about one run, read from the files of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.config.heads import HeadSpec
from slowfast.config.load import run_config
from slowfast.datasets.from_cfg import checked_annotations
from slowfast.datasets.names import class_names
from slowfast.datasets.registry import JOINED_REGISTRY, DataSource, build_source
from slowfast.datasets.types import Segment
from slowfast.evaluation.predictions import Predictions, read_predictions
from slowfast.evaluation.results import read_results
from slowfast.models.registry import model_spec
from slowfast.utils.errors import UserError
from slowfast.utils.files import short_names
from slowfast.utils.logging import JSON_PREFIX
from slowfast.utils.reading import reading, require_file

CONFIG, LOG, RESULTS = "config.yaml", "log.txt", "results.json"


@dataclass(frozen=True)
class TestedSegments:
    """The tested segments that have predictions, in the order of `scores`.

    scores: per head (n, K), log-probabilities. labels: per head (n,) class ids, -1 without one;
    of a multi-label head (n, K) bool. source: the data set that their frames come from.
    """

    # Keeps pytest from collecting this class, whose name starts with Test.
    __test__ = False

    segments: Sequence[Segment]
    heads: tuple[HeadSpec, ...]
    scores: Mapping[str, NDArray]
    labels: Mapping[str, NDArray]
    source: DataSource


@dataclass
class ReportRun:
    """One run. `missing` collects what a page cannot show, and why.

    folder: None for a predictions file alone. cfg: None if there is no config.
    stats: the JSON lines of its log, in order. results: of its test; {} without one.
    """

    name: str
    folder: Path | None
    cfg: CfgNode | None
    stats: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    predictions: Predictions | None
    missing: list[str] = field(default_factory=list)

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Per head of the predictions the name of every class, or its number."""
        if self.predictions is None:
            return {}
        known: dict[str, tuple[str, ...]] = {}
        if self.cfg is not None:
            spec = model_spec(self.cfg)
            known = class_names(self.cfg, spec.view, spec.heads(self.cfg))
        return {
            head.name: known[head.name]
            if len(known.get(head.name, ())) == head.num_classes
            else tuple(f"{head.name} {k}" for k in range(head.num_classes))
            for head in self.predictions.heads
        }

    @cached_property
    def tested(self) -> TestedSegments | None:
        """The tested segments with labels and scores; None without predictions or list."""
        if self.predictions is None or self.cfg is None:
            return None
        try:
            source = tested_source(self.cfg)
            spec = model_spec(self.cfg)
            segments = checked_annotations(source, spec.heads(self.cfg)).segments
        except UserError as error:
            self.missing.append(f"labels of the tested segments: {error}")
            return None
        return _joined(self.predictions, segments, source)

    def of_type(self, kind: str) -> Iterator[Mapping[str, Any]]:
        """The JSON lines of one `_type`."""
        return (stats for stats in self.stats if stats.get("_type") == kind)


def load_run(path: Path) -> ReportRun:
    """Read a run's folder, or a predictions file alone.

    Raises: UserError for a path that is neither, and for a damaged file in it.
    """
    if path.is_file():
        return ReportRun(path.stem, None, None, (), {}, read_predictions(path))
    if not (path / CONFIG).is_file() and not (path / LOG).is_file():
        raise UserError(
            f"{path} is not a run: it has neither {CONFIG} nor {LOG}; give an OUTPUT_DIR or a "
            "predictions file"
        )
    missing: list[str] = []
    cfg = _config(path, missing)
    stats = tuple(_json_lines(path / LOG)) if (path / LOG).is_file() else ()
    results = read_results(path / RESULTS) if (path / RESULTS).is_file() else {}
    if not results:
        missing.append("results: the run has not been tested yet")
    predictions = None
    file = path / (cfg.TEST.SAVE_PREDICT_PATH if cfg is not None else "predictions.pkl")
    if file.is_file():
        predictions = read_predictions(file)
    elif results:
        missing.append(f"predictions: {file} does not exist")
    return ReportRun(path.name, path, cfg, stats, results, predictions, missing)


def load_runs(paths: Sequence[Path]) -> list[ReportRun]:
    """Read several runs. Runs with the same folder name also show their parent folders.

    Raises: UserError as `load_run`, and for a run that is listed twice.
    """
    names = short_names(paths)
    runs = [load_run(path) for path in paths]
    for run, name in zip(runs, names, strict=True):
        run.name = name
    return runs


def tested_source(cfg: CfgNode) -> DataSource:
    """The data set of the test, for the view that the model is tested on."""
    view = model_spec(cfg).view
    name = cfg.TEST.DATASET
    if name in JOINED_REGISTRY:
        name = cfg.EXO.DATASET if view == "exo" else cfg.EGO.DATASET
    return build_source(name, cfg, "test", view)


def training_segments(cfg: CfgNode, view: str) -> Sequence[Segment]:
    """The training list of a view, without frames. Raises: UserError if it cannot be read."""
    name = cfg.EXO.DATASET if view == "exo" else cfg.EGO.DATASET
    if cfg.TRAIN.DATASET not in JOINED_REGISTRY:
        name = cfg.TRAIN.DATASET
    return build_source(name, cfg, "train", view).annotations().segments


def _config(folder: Path, missing: list[str]) -> CfgNode | None:
    try:
        return run_config(folder)
    except UserError as error:
        missing.append(f"config: {error}")
        return None


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON lines of a log; a last line that is still being written is left out."""
    with reading(require_file(path, "a log"), "a log"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        _, prefix, text = line.partition(JSON_PREFIX)
        if not prefix:
            continue
        try:
            stats = json.loads(text)
        except ValueError:
            continue
        if isinstance(stats, dict):
            yield stats


def _joined(
    predictions: Predictions, segments: Sequence[Segment], source: DataSource
) -> TestedSegments:
    """The segments that have predictions, with their labels."""
    rows = {name: row for row, name in enumerate(predictions.narration_id.tolist())}
    kept = [segment for segment in segments if segment.segment_id in rows]
    order = [rows[segment.segment_id] for segment in kept]
    labels = {
        head.name: _labels(kept, position, head) for position, head in enumerate(predictions.heads)
    }
    scores = {name: table[order] for name, table in predictions.scores.items()}
    return TestedSegments(kept, predictions.heads, scores, labels, source)


def _labels(segments: Sequence[Segment], position: int, head: HeadSpec) -> NDArray:
    classes = [segment.labels[position] for segment in segments]
    if not head.multi_label:
        return np.array([ids[0] if ids else -1 for ids in classes], dtype=np.int64)
    table = np.zeros((len(segments), head.num_classes), dtype=bool)
    for row, ids in enumerate(classes):
        table[row, list(ids)] = True
    return table
