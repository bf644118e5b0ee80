"""Interface of a backbone, with freezing and recomputation of its stages.

Legend: N clips, C channels of a pathway, T frames, H W positions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
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
    the windows of MODEL.HEAD_POOL. A batch norm comes right after the convolution that feeds it,
    as `fold_batch_norms` expects.

    stage_parts: names of the submodules of every stage, in order. Empty: stages are the children
    named s<number>, or s<number>_... for what belongs to one. Other parts are never frozen.
    keeps_own_init: the constructor has initialised the weights, as other libraries do.
    """

    out_channels: tuple[int, ...]
    stride: int = 32
    stage_parts: tuple[tuple[str, ...], ...] = ()
    keeps_own_init = False

    def __init__(self) -> None:
        super().__init__()
        self._frozen_stages = 0
        self._recomputed_stages: frozenset[str] = frozenset()

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError

    def summary(self, features: list[Tensor]) -> list[Tensor]:
        """The part of the features whose mean describes the clip: all of them, or a class token."""
        return features

    @property
    def stages(self) -> list[str]:
        """Names of the children that `recompute_stages` takes."""
        return [name for name, _ in self.named_children() if _STAGE.match(name)]

    @property
    def num_stages(self) -> int:
        """Number of stages that `freeze_stages` can freeze."""
        return len(self._parts())

    def freeze_stages(self, count: int, key: str = "MODEL.FREEZE_STAGES") -> None:
        """Stop training the first `count` stages.

        Their parameters get no gradient; their batch norms keep their statistics, in training
        mode too. Raises: UserError that names the config's `key` if there are fewer stages.
        """
        parts = self._parts()
        if count > len(parts):
            names = ", ".join("+".join(stage) for stage in parts) or "(none)"
            raise UserError(
                f"{key} is {count}, but {type(self).__name__} has the stages {names};"
                f" set it to {len(parts)} or less"
            )
        self._frozen_stages = count
        for stage in self._frozen():
            stage.requires_grad_(False)
        self.train(self.training)

    def stage_of_parameters(self) -> dict[str, int]:
        """Name of every parameter -> its stage, from 1; 0 outside of all stages."""
        found = dict.fromkeys((name for name, _ in self.named_parameters()), 0)
        for number, parts in enumerate(self._parts(), start=1):
            for name in found:
                if any(name == part or name.startswith(f"{part}.") for part in parts):
                    found[name] = number
        return found

    def recompute_stages(self, names: Collection[str]) -> None:
        """Drop the activations of these stages (s1, ...) in training and compute them again in the
        backward pass: less memory for about a third more work."""
        self._recomputed_stages = frozenset(names)

    def run_stage(self, name: str, features: FeaturesT) -> FeaturesT:
        """Run the child `name` on the features; a backbone runs its stages through this method."""
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

    def _parts(self) -> Sequence[Sequence[str]]:
        """Names of the submodules of every stage."""
        if self.stage_parts:
            return self.stage_parts
        numbered: dict[int, list[str]] = {}
        for name, _ in self.named_children():
            if stage := _STAGE.match(name):
                numbered.setdefault(int(stage[1]), []).append(name)
        return [numbered[number] for number in sorted(numbered)]

    def _frozen(self) -> Iterator[nn.Module]:
        for parts in self._parts()[: self._frozen_stages]:
            yield from map(self.get_submodule, parts)
