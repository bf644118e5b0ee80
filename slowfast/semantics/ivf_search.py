"""Approximate search for the nearest narrations with an inverted-file index (faiss).

Johnson et al., Billion-scale similarity search with GPUs, arXiv 1702.08734. The keys are divided
into lists around k-means centroids; a query is compared only with the keys of the nearest lists.
Use it for lists that are too long for exact search.

Legend: A queries, B keys, D embedding width, k neighbours.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from slowfast.semantics.text_search import nearest_vectors, rank_candidates
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

# Keys per list: the most that k-means trains on, and the fewest without a warning of faiss.
_TRAINING_KEYS, _FEWEST_KEYS = 64, 39
# Extra candidates beyond k that are ranked in float64.
_SPARE = 8
_SEARCH_ROWS = 1 << 14
# Number of queries for measuring recall.
_RECALL_ROWS = 1000


@dataclass(frozen=True)
class IvfSearch:
    """Approximate version of `nearest_vectors`: misses neighbours in lists it does not search.

    lists: number of lists; 0: 4 * sqrt(B). Reduced if a list would have fewer than 39 keys.
    probes: number of lists searched per query.
    """

    lists: int = 0
    probes: int = 32

    def __call__(self, queries: np.ndarray, keys: np.ndarray, k: int) -> np.ndarray:
        """The keys (B, D) found nearest to each query (A, D): (A, min(k, B)) int64.

        Ranked in float64, ties by position. Uses as many threads as torch.

        Raises: UserError if faiss is not installed.
        """
        faiss = _faiss()
        k = min(k, len(keys))
        lists = self.list_count(len(keys))
        ranked = np.empty((len(queries), k), np.int64)
        if k == 0 or len(queries) == 0:
            return ranked
        faiss.omp_set_num_threads(torch.get_num_threads())
        index = _built(faiss, np.ascontiguousarray(keys, np.float32), lists)
        index.nprobe = min(self.probes, lists)
        logger.info("ivf: %d keys in %d lists, %d probed", len(keys), lists, index.nprobe)
        wanted = min(k + _SPARE, len(keys))
        for start in range(0, len(queries), _SEARCH_ROWS):
            part = np.ascontiguousarray(queries[start : start + _SEARCH_ROWS], np.float32)
            found = index.search(part, wanted)[1]
            short = (found >= 0).sum(1) < k
            # The searched lists held too few keys for these queries, so search them exactly.
            found[short, :k] = nearest_vectors(part[short], keys, k)
            ranked[start : start + _SEARCH_ROWS] = rank_candidates(part, keys, found, k)
        return ranked

    @staticmethod
    def require() -> None:
        """Check the dependency. Raises: UserError if faiss is not installed."""
        _faiss()

    def list_count(self, keys: int) -> int:
        """Number of lists for `count` keys."""
        return max(min(self.lists or round(4 * keys**0.5), keys // _FEWEST_KEYS), 1)


def recall(queries: np.ndarray, keys: np.ndarray, found: np.ndarray, exact: np.ndarray) -> float:
    """Share of the k nearest keys that were found; keys as near as the k-th also count.

    found, exact: (A, k) keys of each query.
    """
    return float((_cosines(queries, keys, found) >= _cosines(queries, keys, exact)[:, -1:]).mean())


def sampled_recall(queries: np.ndarray, keys: np.ndarray, found: np.ndarray) -> tuple[float, int]:
    """Recall of the search on evenly spread queries, and the number of these queries."""
    rows = np.unique(np.linspace(0, len(queries) - 1, _RECALL_ROWS).astype(np.int64))
    part = queries[rows]
    exact = nearest_vectors(part, keys, found.shape[1])
    return recall(part, keys, found[rows], exact), len(rows)


def _cosines(queries: np.ndarray, keys: np.ndarray, indices: np.ndarray) -> np.ndarray:
    wide = queries.astype(np.float64)
    values: np.ndarray = np.einsum("ad,akd->ak", wide, keys[indices].astype(np.float64))
    return values


def _built(faiss: Any, keys: np.ndarray, lists: int) -> Any:
    width = keys.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _TRAINING_KEYS
    index.train(keys)
    index.add(keys)
    return index


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise UserError(
            "SUML.PAIRS.INDEX ivf needs faiss; pip install 'suml-slowfast[ivf]' (faiss-cpu), or "
            "set SUML.PAIRS.INDEX exact"
        ) from None
    return faiss
