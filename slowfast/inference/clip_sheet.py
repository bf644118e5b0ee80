"""Picture of a finished run: test clips with the model's answers, and training pairs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.config.heads import ego_heads
from slowfast.config.load import load_config
from slowfast.datasets.names import class_names
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.registry import JOINED_REGISTRY, build_source
from slowfast.datasets.types import FrameStore, Segment
from slowfast.engine.processes.setup import CONFIG_NAME
from slowfast.evaluation.predictions import Predictions, read_predictions, select
from slowfast.evaluation.scores import log_softmax
from slowfast.utils.errors import UserError
from slowfast.utils.reading import require_file

# Clips and pairs in the picture, and frames of each.
_CLIPS, _PAIRS, _FRAMES = 6, 2, 4
_RIGHT, _WRONG, _GREY = "#2e7d32", "#c62828", "#444444"


@dataclass(frozen=True)
class Strip:
    """Some frames of a segment in a row (H, W, 3) uint8 RGB, with a line above and one below.

    colour: of the line below.
    """

    image: np.ndarray
    above: str
    below: str
    colour: str = _GREY


def clip_sheet(run: Path) -> bytes:
    """A PNG of an ego run: one test clip per class of the first head, and two training pairs.

    The first segment of each class in the test list is shown, right or wrong. Pairs are shown if
    the run trained on them.

    run: OUTPUT_DIR of a tested run. Raises: UserError if it lacks its config, its predictions or
    their frames, or if its test list has no labels.
    """
    config = run / CONFIG_NAME
    require_file(config, "the config of a run", "name the OUTPUT_DIR of a run that has been tested")
    cfg = load_config(config)
    strips = _tested(cfg, read_predictions(run / cfg.TEST.SAVE_PREDICT_PATH))
    return _draw([*strips, *(_pairs(cfg) if cfg.TRAIN.DATASET in JOINED_REGISTRY else ())])


def _tested(cfg: CfgNode, predictions: Predictions) -> list[Strip]:
    """A strip for each of the first classes of the first head."""
    source = build_source(cfg.TEST.DATASET, cfg, "test", "ego")
    annotations = source.annotations()
    segments = annotations.segments
    if not all(ids for segment in segments for ids in segment.labels):
        raise UserError("TEST.DATA_LIST has no labels; draw the clips of a labelled test")
    predictions = select(predictions, [s.segment_id for s in segments], "the predictions")
    rows = _one_per_class([segment.labels[0][0] for segment in segments])
    names = class_names(cfg, "ego", ego_heads(cfg))
    store = source.frames(annotations)
    return [_answer(store, segments[row], predictions.of_rows([row]), names) for row in rows]


def _one_per_class(labels: Sequence[int]) -> list[int]:
    """Position of the first segment of each class, by class id, at most `_CLIPS` of them."""
    first: dict[int, int] = {}
    for row, label in enumerate(labels):
        first.setdefault(label, row)
    return [first[label] for label in sorted(first)][:_CLIPS]


def _answer(
    store: FrameStore,
    segment: Segment,
    predictions: Predictions,
    names: dict[str, tuple[str, ...]],
) -> Strip:
    best, words = [], []
    for head, scores in predictions.scores.items():
        probabilities = np.exp(log_softmax(scores)[0])
        k = int(probabilities.argmax())
        best.append(k)
        words.append(f"{names[head][k] if head in names else k} ({probabilities[k]:.2f})")
    right = all(k in ids for k, ids in zip(best, segment.labels, strict=True))
    return Strip(
        _frames(store, segment),
        segment.narration,
        f"{'right' if right else 'wrong'}: {' '.join(words)}",
        _RIGHT if right else _WRONG,
    )


def _pairs(cfg: CfgNode) -> list[Strip]:
    """An ego and an exo strip for each of a few rows of the pair table, evenly spaced."""
    ego = build_source(cfg.EGO.DATASET, cfg, "train", "ego")
    exo = build_source(cfg.EXO.DATASET, cfg, "train", "exo")
    listed, others = ego.annotations(), exo.annotations()
    stores = ego.frames(listed), exo.frames(others)
    table = PairTable.load(cfg.SUML.PAIRS.FILE)
    paired = [row for row in range(table.ego_count) if table.indices[row, 0] >= 0]
    strips = []
    for place in range(1, _PAIRS + 1):
        row = paired[place * len(paired) // (_PAIRS + 1)]
        one, other = listed.segments[row], others.segments[table.indices[row, 0]]
        cosine = f"pseudo-pair, cosine of the narrations {table.similarity[row, 0]:.2f}"
        strips.append(Strip(_frames(stores[0], one), f"ego: {one.narration}", cosine))
        strips.append(Strip(_frames(stores[1], other), f"exo: {other.narration}", ""))
    return strips


def _frames(store: FrameStore, segment: Segment) -> np.ndarray:
    """Frames spread over the segment, next to each other."""
    numbers = np.linspace(segment.start_frame, segment.stop_frame, _FRAMES).round().astype(int)
    distinct = np.unique(numbers).tolist()
    frames = [frame.copy() for frame in store.open(segment).read(distinct)]
    # Fewer shades of noise: half the size of the file.
    return np.concatenate(frames, axis=1)[:, :, ::-1] & 0xF8


def _draw(strips: Sequence[Strip]) -> bytes:
    """Two strips per row, from left to right."""
    from matplotlib.figure import Figure

    rows = -(-len(strips) // 2)
    figure = Figure(figsize=(10, 1.62 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for axis, strip in zip(axes, strips, strict=False):
        axis.imshow(strip.image, interpolation="nearest")
        axis.set_title(strip.above, loc="left", fontsize=10)
        axis.set_xlabel(strip.below, loc="left", fontsize=10, color=strip.colour)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=90)
    return picture.getvalue()
