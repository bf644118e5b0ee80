"""Preparation of training: embeddings of narrations, and pseudo-pairs from them and the labels."""

from slowfast.semantics.build import encode_narrations
from slowfast.semantics.mining import mine_pairs

__all__ = ["encode_narrations", "mine_pairs"]
