"""Training objectives: pure functions of tensors."""

from slowfast.losses.alignment import view_alignment
from slowfast.losses.classification import cross_entropy, multilabel
from slowfast.losses.dcl import decoupled_contrastive

__all__ = ["cross_entropy", "decoupled_contrastive", "multilabel", "view_alignment"]
