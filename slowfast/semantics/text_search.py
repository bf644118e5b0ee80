"""The exo narrations nearest to every ego narration, exactly.

Legend: n ego and m exo segments, A and B their distinct narrations, D embedding width, k
neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Similarities that are held at once: 4 Mi float32 values, 16 MiB, stay in a processor cache.
_CHUNK_VALUES = 1 << 22


@dataclass(frozen=True)
class Narrations:
    """The narrations of n segments.

    vectors: (A, D) float32, rows of norm 1: the distinct ones, each of at least one segment.
    rows: (n,) int64, which of them each segment has.
    """

    vectors: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, segments: np.ndarray) -> Narrations:
        """The narrations of some of the segments, without those that none of them has."""
        distinct, rows = np.unique(self.rows[segments], return_inverse=True)
        return Narrations(self.vectors[distinct], rows)


def nearest_segments(
    ego: Narrations, exo: Narrations, k: int, device: torch.device | None = None
) -> np.ndarray:
    """The k exo segments of the most similar narrations, nearest first: (n, k) int64, -1 padded.

    Distinct narrations are compared once. Exo segments of one narration are equally near, and
    all of them are used: the segments of that narration are dealt out in turn to the ego segments
    that ask for them, in the order of the lists. Narrations that are equally near come in the
    order of `exo.vectors`.

    device: where the similarities are computed; None: a GPU if there is one.
    """
    count = min(k, len(exo))
    indices = np.full((len(ego), k), -1, np.int64)
    if count == 0 or len(ego) == 0:
        return indices
    ranked = nearest_vectors(ego.vectors, exo.vectors, count, device)
    indices[:, :count] = deal_out(ranked[ego.rows], exo.rows, count)
    return indices


def nearest_vectors(
    queries: np.ndarray, keys: np.ndarray, k: int, device: torch.device | None = None
) -> np.ndarray:
    """The k nearest of the B keys by dot product, nearest first: (A, min(k, B)) int64.

    Found in float32, ranked in float64, ties by position: chunks, threads and device make no
    difference.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    k = min(k, len(keys))
    right = torch.from_numpy(np.ascontiguousarray(keys)).to(device)
    step = max(_CHUNK_VALUES // len(keys), 1)
    # Rounding of a float32 dot product of unit vectors, both values that are compared.
    slack = 4 * keys.shape[1] * float(np.finfo(np.float32).eps) / 2
    ranked = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), step):
        left = torch.from_numpy(np.ascontiguousarray(queries[start : start + step])).to(device)
        pairs = _candidates(left @ right.T, k, slack)
        exact = _dots(left, right, *pairs).cpu().numpy()
        rows, columns = (positions.cpu().numpy() for positions in pairs)
        order = np.lexsort((columns, -exact, rows))
        firsts = np.searchsorted(rows, np.arange(len(left)))
        ranked[start : start + step] = columns[order[firsts[:, None] + np.arange(k)]]
    return ranked


def _candidates(similarity: Tensor, k: int, slack: float) -> tuple[Tensor, Tensor]:
    """(row, column) of every value that can be among the k largest of its row, rows ascending."""
    smallest = similarity.topk(k, dim=1).values[:, -1:]
    rows, columns = (similarity >= smallest - slack).nonzero(as_tuple=True)
    return rows, columns


def _dots(left: Tensor, right: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Dot products of left[rows] and right[columns] in float64, in blocks of bounded memory."""
    step = max(_CHUNK_VALUES // (4 * left.shape[1]), 1)
    blocks = zip(rows.split(step), columns.split(step), strict=True)
    return torch.cat([(left[row].double() * right[column]).sum(1) for row, column in blocks])


def deal_out(ranked: np.ndarray, narration_of: np.ndarray, k: int) -> np.ndarray:
    """k segments for every row of ranked narrations, each narration's segments in turn.

    ranked: (n, r) distinct narrations, best first; together they have at least k segments.
    narration_of: (m,) narration of every exo segment.

    Returns: (n, k) int64 exo segments; those of a better narration stand first.
    """
    available = np.bincount(narration_of, minlength=int(ranked.max()) + 1)
    # What every ranked narration contributes: all it has, until k are found.
    through = np.minimum(np.cumsum(available[ranked], axis=1), k)
    taken = np.diff(through, axis=1, prepend=0)
    narrations = np.repeat(ranked.ravel(), taken.ravel())
    # How often the narration was asked for before, in the order of the rows.
    order = np.argsort(narrations, kind="stable")
    sorted_narrations = narrations[order]
    starts = np.searchsorted(sorted_narrations, sorted_narrations)
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order)) - starts
    members = np.argsort(narration_of, kind="stable")
    first_member = np.cumsum(available) - available
    segments = members[first_member[narrations] + turn % available[narrations]]
    return segments.reshape(len(ranked), k)
