"""Classification losses by the names of the heads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from slowfast.config.heads import HeadSpec
from slowfast.losses.classification import cross_entropy, multilabel, multilabel_of_own_set


class HeadLosses:
    """One loss per head, called prefix + head: cross-entropy, or multi-label cross-entropy.

    of_sets: the heads are those of several data sets; a clip only counts for the heads of its set.
    """

    def __init__(
        self, heads: Sequence[HeadSpec], prefix: str = "", *, of_sets: bool = False
    ) -> None:
        self._heads = tuple(heads)
        self._prefix = prefix
        self._multilabel = multilabel_of_own_set if of_sets else multilabel

    def __call__(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """logits: (N, K) per head. labels: (N,) int64 per head, or multi-hot (N, K)."""
        losses = {}
        for head, x, y in zip(self._heads, logits, labels, strict=True):
            criterion = self._multilabel if head.multi_label else cross_entropy
            (losses[self._prefix + head.name],) = criterion([x], [y])
        return losses
