"""Training objectives: pure functions of tensors."""

from slowfast.losses.alignment import view_alignment
from slowfast.losses.classification import cross_entropy, multilabel
from slowfast.losses.dcl import Anchors, ExtraNegatives, Negatives, dcl_rows, decoupled_contrastive

__all__ = [
    "Anchors",
    "ExtraNegatives",
    "Negatives",
    "cross_entropy",
    "dcl_rows",
    "decoupled_contrastive",
    "multilabel",
    "view_alignment",
]
