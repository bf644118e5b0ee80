"""Interface of a backbone; freezing its first stages, recomputing some.

Legend: N clips, C channels of a pathway, T frames, H W positions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from slowfast.models.recompute import recomputed
from slowfast.utils.errors import UserError

FeaturesT = TypeVar("FeaturesT")

_STAGE = re.compile(r"s(\d+)(_|$)")


class Backbone(nn.Module):
    """A clip, one tensor per pathway -> features [(N, C, T, H, W) per pathway].

    out_channels: C of each pathway. stride: pixels of the clip per position of the features, for
    the windows of MODEL.HEAD_POOL. Stages are children named s<number>, or s<number>_... for
    what belongs to one; a child with another name belongs to no stage. A batch norm comes right
    after the convolution that feeds it, as `fold_batch_norms` expects.
    """

    out_channels: tuple[int, ...]
    stride: int = 32

    def __init__(self) -> None:
        super().__init__()
        self._frozen_stages = 0
        self._recomputed_stages: frozenset[str] = frozenset()

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError

    @property
    def stages(self) -> list[str]:
        """Names of the children that belong to a stage."""
        return [name for name, _ in self.named_children() if _STAGE.match(name)]

    def freeze_stages(self, count: int) -> None:
        """Stop training s1..s<count> and what belongs to them.

        Their parameters get no gradient; their batch norms keep their statistics, in training
        mode too. Raises: UserError if there are fewer stages.
        """
        last = max((int(name[1]) for name in map(_STAGE.match, self.stages) if name), default=0)
        if count > last:
            raise UserError(
                f"MODEL.FREEZE_STAGES is {count}, but {type(self).__name__} has the stages"
                f" {', '.join(self.stages) or '(none)'}; set it to {last} or less"
            )
        self._frozen_stages = count
        for stage in self._frozen():
            stage.requires_grad_(False)
        self.train(self.training)

    def recompute_stages(self, names: Collection[str]) -> None:
        """Drop the activations of these stages (s1, ...) in training and compute them again in the
        backward pass: less memory for about a third more work."""
        self._recomputed_stages = frozenset(names)

    def run_stage(self, name: str, features: FeaturesT) -> FeaturesT:
        """The child `name` on features of its kind; a backbone runs its stages by this."""
        stage = self.get_submodule(name)
        if name in self._recomputed_stages and self.training and torch.is_grad_enabled():
            return recomputed(stage, features)
        output: FeaturesT = stage(features)
        return output

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for stage in self._frozen():
            stage.eval()
        return self

    def _frozen(self) -> Iterator[nn.Module]:
        for name, child in self.named_children():
            stage = _STAGE.match(name)
            if stage and int(stage[1]) <= self._frozen_stages:
                yield child
