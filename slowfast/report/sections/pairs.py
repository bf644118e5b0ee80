"""The pair gallery: which exo clips the ego clips were paired with.

Legend: n ego segments, k candidates of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.datasets.pairing.pairs import PairTable, Tier
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import Segment
from slowfast.models.registry import model_spec
from slowfast.report.run import ReportRun
from slowfast.report.strips import Filmstrips
from slowfast.utils.errors import UserError
from slowfast.utils.paths import input_path

_BINS = 20


def pairs(run: ReportRun, count: int) -> dict[str, Any] | None:
    """Statistics of the pair table, and `count` pairs each: the best, the worst and random ones.

    pairs: [{group, ego, exo, similarity, tier, kept}], where ego and exo have id, text and strip.
    None for a model without pairs, and if the table or a list cannot be read: `run.missing` then
    gives the reason.
    """
    cfg = run.cfg
    if cfg is None or not model_spec(cfg).is_dual:
        return None
    try:
        table = PairTable.load(input_path(cfg.SUML.PAIRS.FILE))
        ego, exo = (_half(cfg, view) for view in ("ego", "exo"))
        _check_lengths(table, ego, exo)
    except UserError as error:
        run.missing.append(f"pairs: {error}")
        return None
    threshold = cfg.SUML.ALIGN.THRESHOLD
    has_pair = table.indices >= 0
    similarity = table.similarity[has_pair]
    histogram, edges = np.histogram(similarity, bins=_BINS)
    tiers, counts = np.unique(table.tier[has_pair], return_counts=True)
    return {
        "file": str(cfg.SUML.PAIRS.FILE),
        "threshold": threshold,
        "count": int(has_pair.sum()),
        "kept": int((similarity > threshold).sum()),
        "histogram": {"count": histogram.tolist(), "edges": edges.round(4).tolist()},
        "tiers": {_tier(k): int(c) for k, c in zip(tiers, counts, strict=True)},
        "pairs": list(_gallery(table, ego, exo, count, threshold)),
        "lost": _lost(ego.strips, exo.strips),
    }


def _lost(*strips: Filmstrips) -> str:
    """Reason why some clips have no filmstrip; empty if all have one."""
    return next((f"{s.lost} without filmstrip: {s.reason}" for s in strips if s.lost), "")


class _Half(NamedTuple):
    """The training segments of one view, and their filmstrips."""

    segments: Sequence[Segment]
    strips: Filmstrips

    def shown(self, position: int) -> dict[str, str]:
        segment = self.segments[position]
        strip = self.strips.strip(segment)
        return {"id": segment.segment_id, "text": segment.narration, "strip": strip}


def _half(cfg: CfgNode, view: str) -> _Half:
    name = cfg.EGO.DATASET if view == "ego" else cfg.EXO.DATASET
    source = build_source(name, cfg, "train", view)
    annotations = source.annotations()
    return _Half(annotations.segments, Filmstrips(source.frames(annotations)))


def _check_lengths(table: PairTable, ego: _Half, exo: _Half) -> None:
    found = (len(ego.segments), len(exo.segments))
    if found != (table.ego_count, table.exo_count):
        raise UserError(
            f"the pair table was made for {table.ego_count} ego and {table.exo_count} exo segments,"
            f" but the lists now have {found[0]} and {found[1]}; run tools/mine_pairs.py again"
        )


def _gallery(
    table: PairTable, ego: _Half, exo: _Half, count: int, threshold: float
) -> Iterator[dict[str, Any]]:
    """The pairs of each group: of an ego segment the best candidate, or the worst one."""
    rows, columns = np.nonzero(table.indices >= 0)
    order = np.argsort(-table.similarity[rows, columns], kind="stable")
    # One pair per ego segment, so that a few segments do not fill the page.
    _, first = np.unique(rows[order], return_index=True)
    _, last = np.unique(rows[order][::-1], return_index=True)
    best, worst = order[np.sort(first)], order[::-1][np.sort(last)]
    chosen = {"best": best[:count], "worst": worst[:count]}
    others = np.setdiff1d(order, np.concatenate(list(chosen.values())))
    chosen["random"] = np.random.default_rng(0).permutation(others)[:count]
    for group, picked in chosen.items():
        for row, column in zip(rows[picked], columns[picked], strict=True):
            similarity = float(table.similarity[row, column])
            yield {
                "group": group,
                "ego": ego.shown(int(row)),
                "exo": exo.shown(int(table.indices[row, column])),
                "similarity": similarity,
                "tier": _tier(table.tier[row, column]),
                "kept": similarity > threshold,
            }


def _tier(code: int) -> str:
    words = {
        Tier.NONE: "no label in common",
        Tier.SUBSET: "verb and noun among the exo labels",
        Tier.SAME: "same verb and noun",
        Tier.VERB: "same verb",
        Tier.NOUN: "same noun",
    }
    return words[Tier(int(code))]
