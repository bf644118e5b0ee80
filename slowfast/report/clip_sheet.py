"""Picture of a finished run: test clips with the model's answers, and training pairs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.registry import JOINED_REGISTRY, build_source
from slowfast.datasets.types import FrameStore, Segment
from slowfast.evaluation.scores import log_softmax
from slowfast.report.run import ReportRun, TestedSegments
from slowfast.utils.errors import UserError
from slowfast.utils.paths import input_path

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


def clip_sheet(run: ReportRun) -> bytes:
    """A PNG: one test clip for each of the first classes, and two training pairs if there are any.

    The first segment of each class of the first head in the test list is shown, right or wrong.

    Raises: UserError if the run has no config or predictions, if its test list has no single
    label per head, or if frames cannot be read.
    """
    tested, cfg = run.tested, run.cfg
    if tested is None or cfg is None:
        raise UserError(f"run {run.name} has no answers to draw: {'; '.join(run.missing)}")
    if any(head.multi_label or (tested.labels[head.name] < 0).any() for head in tested.heads):
        raise UserError(f"run {run.name} was not tested on a list with one label per head")
    store = tested.source.frames(tested.source.annotations())
    rows = _one_per_class(tested.labels[tested.heads[0].name].tolist())
    strips = [_answer(store, run, tested, row) for row in rows]
    return _draw([*strips, *(_pairs(cfg) if cfg.TRAIN.DATASET in JOINED_REGISTRY else ())])


def _one_per_class(labels: Sequence[int]) -> list[int]:
    """Position of the first segment of each class, by class id, at most `_CLIPS` of them."""
    first: dict[int, int] = {}
    for row, label in enumerate(labels):
        first.setdefault(label, row)
    return [first[label] for label in sorted(first)][:_CLIPS]


def _answer(store: FrameStore, run: ReportRun, tested: TestedSegments, row: int) -> Strip:
    words, right = [], True
    for head in tested.heads:
        probabilities = np.exp(log_softmax(tested.scores[head.name][row : row + 1])[0])
        best = int(probabilities.argmax())
        right = right and best == tested.labels[head.name][row]
        words.append(f"{run.names[head.name][best]} ({probabilities[best]:.2f})")
    segment = tested.segments[row]
    below = f"{'right' if right else 'wrong'}: {' '.join(words)}"
    return Strip(_frames(store, segment), segment.narration, below, _RIGHT if right else _WRONG)


def _pairs(cfg: CfgNode) -> list[Strip]:
    """An ego and an exo strip for each of a few rows of the pair table, evenly spaced."""
    ego = build_source(cfg.EGO.DATASET, cfg, "train", "ego")
    exo = build_source(cfg.EXO.DATASET, cfg, "train", "exo")
    listed, others = ego.annotations(), exo.annotations()
    stores = ego.frames(listed), exo.frames(others)
    table = PairTable.load(input_path(cfg.SUML.PAIRS.FILE))
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
    # Fewer shades halve the size of the file.
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
