"""Before training: narrations become embeddings, embeddings and labels become pseudo-pairs."""

from slowfast.semantics.build import encode_narrations
from slowfast.semantics.mining import mine_pairs

__all__ = ["encode_narrations", "mine_pairs"]
