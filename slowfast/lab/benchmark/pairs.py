"""Pair mining: the published search, and ours by labels and by text.

Legend: n ego and m exo segments, D embedding width, k candidates.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.pairing.pairs import PairTable
from slowfast.lab.benchmark import baseline
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import interleaved, one_thread
from slowfast.semantics.build import mining_input
from slowfast.semantics.ivf_search import IvfSearch, sampled_recall
from slowfast.semantics.label_tiers import ExoLabels, tier_pairs
from slowfast.semantics.mining import actions, tier_text_pairs
from slowfast.semantics.text_search import Narrations, nearest_segments

VERBS, NOUNS, WIDTH, TOP_K = 97, 300, 384, 3
# Share of the segments that a distinct narration belongs to, in EPIC-KITCHENS-100.
DISTINCT = 0.25
# Rows that the published search is timed on, and that are compared with it.
_BASELINE_ROWS = 20
# Of float64 dot products that are summed in another order.
_ROUNDING = 1e-12


class Labels:
    """Classes of both lists.

    verbs, nouns: (n,) ego classes.
    exo_verbs, exo_nouns: per exo segment its ego classes, as the published search reads them.
    """

    def __init__(self, verbs: np.ndarray, nouns: np.ndarray, exo: ExoLabels) -> None:
        self.verbs = verbs
        self.nouns = nouns
        self.exo = exo
        self.exo_verbs, self.exo_nouns = _lists(exo.has_verb), _lists(exo.has_noun)
        for segment in np.flatnonzero(~exo.single).tolist():
            if len(self.exo_verbs[segment]) == len(self.exo_nouns[segment]) == 1:
                # An exo label without an ego class equals no ego label.
                self.exo_verbs[segment].append(-1)


def _lists(has: np.ndarray) -> list[list[int]]:
    """(classes, m) bool -> the classes of every segment."""
    segments, classes = np.nonzero(has.T)
    ends = np.searchsorted(segments, np.arange(1, has.shape[1])).tolist()
    return [part.tolist() for part in np.split(classes, ends)]


@dataclass(frozen=True)
class PairData:
    """Input of the mining; labels: None without class tables."""

    ego: Narrations
    exo: Narrations
    labels: Labels | None


def configured_data(cfg: CfgNode) -> PairData:
    """The training lists of a config, as tools/mine_pairs.py reads and encodes them."""
    given = mining_input(cfg, labels_required=False)
    labels = Labels(*actions(given.ego), given.exo_labels) if given.exo_labels else None
    return PairData(given.ego_text, given.exo_text, labels)


def made_data(ego: int, exo: int, distinct: float = DISTINCT) -> PairData:
    """n = `ego` and m = `exo` segments. Class c occurs in proportion to 1 / (c + 1)."""
    rng = np.random.default_rng(0)

    def draw(classes: int, count: int) -> np.ndarray:
        weights = 1 / (1 + np.arange(classes))
        return rng.choice(classes, count, p=weights / weights.sum())

    def labels(classes: int) -> list[list[int]]:
        sizes = rng.integers(1, 4, exo)
        ends = np.cumsum(sizes)
        return [part.tolist() for part in np.split(draw(classes, int(ends[-1])), ends[:-1])]

    exo_labels = ExoLabels(labels(VERBS), labels(NOUNS), VERBS, NOUNS)
    return PairData(
        made_narrations(ego, distinct, 1),
        made_narrations(exo, distinct, 2),
        Labels(draw(VERBS, ego), draw(NOUNS, ego), exo_labels),
    )


def made_narrations(segments: int, distinct: float, seed: int) -> Narrations:
    """Sums of a verb's direction, a noun's, and an individual one (0.7 as long)."""
    words = np.random.default_rng(0)
    verbs, nouns = (
        words.standard_normal((count, WIDTH), dtype=np.float32) for count in (VERBS, NOUNS)
    )
    rng = np.random.default_rng(seed)
    count = max(1, round(segments * distinct))
    vectors = 0.7 * rng.standard_normal((count, WIDTH), dtype=np.float32)
    vectors += verbs[rng.integers(0, VERBS, count)] + nouns[rng.integers(0, NOUNS, count)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.concatenate([np.arange(count), rng.integers(0, count, segments - count)])
    return Narrations(vectors, rows)


def pairs_benchmark(
    data: PairData,
    rounds: int,
    *,
    top_k: int = TOP_K,
    threads: int = 1,
    ivf: Sequence[IvfSearch] = (),
) -> Report:
    """Time every variant of mining.

    threads: 1: processor time of one pinned thread; more: wall time.
    ivf: approximate searches that are timed and whose recall is measured.

    Raises: UserError for `ivf` without faiss.
    """
    for search in ivf:
        search.require()
    parts: dict[str, Callable[[], object]] = {}
    published = ""
    if labels := data.labels:
        published = f"published search ({_BASELINE_ROWS} rows, scaled)"
        parts[published] = partial(_published, labels, top_k)
        parts["label tiers"] = partial(_tiers, labels, top_k)
        parts["tiers, then text"] = partial(_tiers_text, data, labels, top_k)
    by_text = partial(nearest_segments, data.ego, data.exo, top_k)
    parts["text"] = by_text
    parts |= {_ivf_name(search, data): partial(by_text, search=search) for search in ivf}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with one_thread() if threads == 1 else nullcontext():
            clock = time.thread_time if threads == 1 else time.perf_counter
            milliseconds = interleaved(parts, rounds, clock)
            peak = _peak_gib()
    finally:
        torch.set_num_threads(before)
    if published:
        milliseconds[published] *= len(data.ego) / min(_BASELINE_ROWS, len(data.ego))
    size = (
        f"{len(data.ego)} ego ({len(data.ego.vectors)} narrations) and {len(data.exo)} exo "
        f"segments ({len(data.exo.vectors)})"
    )
    table = Table(
        f"pairs of {size}, {threads} thread(s)",
        "processor time" if threads == 1 else "wall time",
        milliseconds,
        baseline=published,
    )
    remarks = [f"largest memory of the process: {peak:.2f} GiB"]
    for search in ivf:
        found = search(data.ego.vectors, data.exo.vectors, top_k)
        share, rows = sampled_recall(data.ego.vectors, data.exo.vectors, found)
        remarks.append(
            f"{_ivf_name(search, data)}: recall@{min(top_k, len(data.exo.vectors))} {share:.4f} "
            f"(of {rows} narrations)"
        )
    return Report("pairs", [table], _checks(data, top_k), remarks)


def _ivf_name(search: IvfSearch, data: PairData) -> str:
    lists = search.list_count(len(data.exo.vectors))
    return f"text, ivf: {min(search.probes, lists)} of {lists} lists"


def _published(labels: Labels, k: int) -> list[list[int]]:
    """The published search's candidates of the first rows."""
    rows = zip(labels.verbs[:_BASELINE_ROWS], labels.nouns[:_BASELINE_ROWS], strict=True)
    return [
        baseline.search_pairs(int(verb), int(noun), labels.exo_verbs, labels.exo_nouns, k)
        for verb, noun in rows
    ]


def _tiers(labels: Labels, k: int) -> np.ndarray:
    return tier_pairs(labels.verbs, labels.nouns, labels.exo, k)


def _tiers_text(data: PairData, labels: Labels, k: int) -> np.ndarray:
    return tier_text_pairs(labels.verbs, labels.nouns, labels.exo, data.ego, data.exo, k)


def _checks(data: PairData, k: int) -> list[Check]:
    """The first rows against the published search, and against all similarities in float64."""
    shown = slice(min(_BASELINE_ROWS, len(data.ego)))
    wide = data.ego.vectors[data.ego.rows[shown]].astype(np.float64)
    similarity = (wide @ data.exo.vectors.astype(np.float64).T)[:, data.exo.rows]
    near = nearest_segments(data.ego, data.exo, k)
    below = _below_best(similarity, near[shown], [None] * len(wide))
    checks = [Check("text, similarity below the best", below, _ROUNDING, "cosine")]
    if data.labels is not None:
        tiers, tiers_text = _tiers(data.labels, k), _tiers_text(data, data.labels, k)
        everything = _published(data.labels, len(data.exo))
        different = sum(
            [candidate for candidate in row.tolist() if candidate >= 0] != expected[:k]
            for row, expected in zip(tiers[shown], everything, strict=True)
        )
        below = _below_best(similarity, tiers_text[shown], everything)
        checks += [
            Check("label tiers, rows unlike the published search", different, 0, "rows"),
            Check("tiers, then text: below the tier's best", below, _ROUNDING, "cosine"),
            # 2 MB for the 67,217 segments of EPIC-KITCHENS-100.
            Check("pair table", _table_size(tiers) / 1e6, max(len(tiers) / 67217, 1) * 2, "MB"),
        ]
    return checks


def _below_best(
    similarity: np.ndarray, found: np.ndarray, allowed: Sequence[Sequence[int] | None]
) -> float:
    """Largest shortfall of a row's candidates against the best allowed ones.

    similarity: (r, m). found: (r, k), -1 padded. allowed: per row the exo segments; empty: all.
    Infinite if a row has fewer candidates than possible, or one that is not allowed.
    """
    worst = 0.0
    for values, row, members in zip(similarity, found, allowed, strict=True):
        chosen = row[row >= 0]
        best = -np.sort(-(values[list(members)] if members else values))[: len(row)]
        if len(set(chosen.tolist())) != len(best) or (members and not set(chosen) <= set(members)):
            return float("inf")
        worst = max(worst, float((best - values[chosen]).max(initial=0.0)))
    return worst


def _table_size(indices: np.ndarray) -> int:
    rng = np.random.default_rng(0)
    table = PairTable(
        indices=indices.astype(np.int32),
        similarity=rng.random(indices.shape, dtype=np.float32),
        tier=np.ones(indices.shape, np.uint8),
        settings={},
        ego_hash="",
        exo_hash="",
        exo_count=int(indices.max()) + 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npz"
        table.save(path)
        return path.stat().st_size


def _peak_gib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
