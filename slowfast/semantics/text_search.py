"""Exact search for the exo narrations nearest to every ego narration.

Legend: n ego and m exo segments, A and B their distinct narrations, D embedding width, k
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Queries (A, D), keys (B, D), k -> the k keys nearest to each query (A, k) int64.
Search = Callable[[np.ndarray, np.ndarray, int], np.ndarray]

# Queries x keys per chunk of a CPU thread: 8 MiB of products, which fit in its cache.
_CHUNK = 256, 8192
# Queries x keys per chunk on a GPU: 512 MiB.
_GPU_CHUNK = 4096, 32768
_BLOCK_COLUMNS = 64
# Up to this number of products, all are sorted without filtering.
_FEW_PRODUCTS = 1024
# Candidates per float64 block: 6 MiB for vectors of width 384.
_EXACT_ROWS = 2048


@dataclass(frozen=True)
class Narrations:
    """The narrations of n segments.

    vectors: (A, D) float32, rows of norm 1, of the distinct narrations; each occurs in a segment.
    rows: (n,) int64, row of `vectors` for each segment.
    """

    vectors: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, segments: np.ndarray) -> Narrations:
        """The narrations of some of the segments; unused narrations are dropped."""
        distinct, rows = np.unique(self.rows[segments], return_inverse=True)
        return Narrations(self.vectors[distinct], rows)


def nearest_segments(
    ego: Narrations,
    exo: Narrations,
    k: int,
    device: torch.device | None = None,
    search: Search | None = None,
) -> np.ndarray:
    """The k exo segments with the most similar narrations, nearest first: (n, k) int64, -1 padded.

    Distinct narrations are compared once. Exo segments with the same narration are equally near.
    To use all of them, they are assigned in turn to the ego segments that match the narration,
    in the order of the lists. Equally near narrations are ordered as in `exo.vectors`.

    device: device that computes the similarities; None: a GPU if available.
    search: search for the nearest narrations; None: `nearest_vectors`.
    """
    count = min(k, len(exo))
    indices = np.full((len(ego), k), -1, np.int64)
    if count == 0 or len(ego) == 0:
        return indices
    if search is None:
        ranked = nearest_vectors(ego.vectors, exo.vectors, count, device)
    else:
        ranked = search(ego.vectors, exo.vectors, count)
    indices[:, :count] = deal_out(ranked[ego.rows], exo.rows, count)
    return indices


def nearest_vectors(
    queries: np.ndarray, keys: np.ndarray, k: int, device: torch.device | None = None
) -> np.ndarray:
    """The k keys (B, D) most similar to each query (A, D), unit rows: (A, min(k, B)) int64.

    Searched in float32, ranked in float64, ties by position, so the result does not depend on
    chunks, threads or device.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    k = min(k, len(keys))
    ranked = np.empty((len(queries), k), np.int64)
    if k == 0 or len(queries) == 0:
        return ranked
    right = torch.from_numpy(np.ascontiguousarray(keys)).to(device)

    rows, columns = _CHUNK if device.type == "cpu" else _GPU_CHUNK

    def search(start: int) -> None:
        part = np.ascontiguousarray(queries[start : start + rows])
        left = torch.from_numpy(part).to(device)
        candidates = _candidates(left, right, k, columns)
        ranked[start : start + rows] = _best(left, right, *candidates, k)

    starts = range(0, len(queries), rows)
    threads = min(torch.get_num_threads(), len(starts)) if device.type == "cpu" else 1
    # Each thread computes whole chunks; threads sharing one product would wait for the slowest.
    with _threads_per_product(1):
        if threads == 1:
            for start in starts:
                search(start)
            return ranked
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(search, starts):
                pass
    return ranked


@contextmanager
def _threads_per_product(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rank_candidates(
    queries: np.ndarray, keys: np.ndarray, candidates: np.ndarray, k: int
) -> np.ndarray:
    """The k nearest of each query's candidates (A, c), -1 padded, at least k: (A, k) int64."""
    rows, places = np.nonzero(candidates >= 0)
    columns = torch.from_numpy(candidates[rows, places])
    left, right = torch.from_numpy(queries), torch.from_numpy(keys)
    return _best(left, right, torch.from_numpy(rows), columns, k)


def _best(left: Tensor, right: Tensor, rows: Tensor, columns: Tensor, k: int) -> np.ndarray:
    """The k best of the given (row, column) in each row, by float64 and position: (r, k) int64."""
    exact = _dots(left, right, rows, columns).cpu().numpy()
    row, column = rows.cpu().numpy(), columns.cpu().numpy()
    order = np.lexsort((column, -exact, row))
    firsts = np.searchsorted(row[order], np.arange(len(left)))
    nearest: np.ndarray = column[order[firsts[:, None] + np.arange(k)]]
    return nearest


def _candidates(left: Tensor, right: Tensor, k: int, chunk: int) -> tuple[Tensor, Tensor]:
    """(row, column) of every product that can be among the k largest of its row.

    left, right: (r, D) and (B, D), processed `chunk` rows at a time.

    The k-th largest of the block maxima is a lower bound of the k-th largest product, so only
    blocks whose maximum reaches it are searched.
    """
    if len(left) * len(right) <= _FEW_PRODUCTS:
        pairs = torch.arange(len(left) * len(right), device=left.device)
        return pairs // len(right), pairs % len(right)
    # Rounding error of a float32 dot product of unit vectors, for both compared values.
    slack = 4 * right.shape[1] * float(np.finfo(np.float32).eps) / 2
    block = min(max(len(right) // (4 * k), 1), _BLOCK_COLUMNS)
    bounds = left.new_full((len(left), k), -torch.inf)
    found = []
    for start in range(0, len(right), chunk):
        products = left @ right[start : start + chunk].T
        if rest := products.shape[1] % block:
            products = F.pad(products, (0, block - rest), value=-torch.inf)
        blocks = products.view(len(left), -1, block)
        maxima = blocks.amax(2)
        bounds = torch.cat([bounds, maxima], 1).topk(k, dim=1).values
        least = bounds[:, -1] - slack
        row, number = (maxima >= least[:, None]).nonzero(as_tuple=True)
        values = blocks[row, number]
        hit, place = ((values >= least[row, None]) & values.isfinite()).nonzero(as_tuple=True)
        found.append((row[hit], start + number[hit] * block + place, values[hit, place]))
    rows, columns, values = (torch.cat(part) for part in zip(*found, strict=True))
    near = values >= least[rows]
    return rows[near], columns[near]


def _dots(left: Tensor, right: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Dot products of left[rows] and right[columns] in float64, in blocks of bounded memory."""
    blocks = zip(rows.split(_EXACT_ROWS), columns.split(_EXACT_ROWS), strict=True)
    return torch.cat([(left[row].double() * right[column]).sum(1) for row, column in blocks])


def deal_out(ranked: np.ndarray, narration_of: np.ndarray, k: int) -> np.ndarray:
    """k segments for every row of ranked narrations, each narration's segments in turn.

    ranked: (n, r) distinct narrations, best first; together they have at least k segments.
    narration_of: (m,) narration of every exo segment.

    Returns: (n, k) int64 exo segments; those of a better narration come first.
    """
    available = np.bincount(narration_of, minlength=int(ranked.max()) + 1)
    # Each ranked narration contributes all its segments until k are found.
    through = np.minimum(np.cumsum(available[ranked], axis=1), k)
    taken = np.diff(through, axis=1, prepend=0)
    narrations = np.repeat(ranked.ravel(), taken.ravel())
    # Number of times that earlier rows used the narration.
    order = np.argsort(narrations, kind="stable")
    sorted_narrations = narrations[order]
    starts = np.searchsorted(sorted_narrations, sorted_narrations)
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order)) - starts
    members = np.argsort(narration_of, kind="stable")
    first_member = np.cumsum(available) - available
    segments = members[first_member[narrations] + turn % available[narrations]]
    return segments.reshape(len(ranked), k)
