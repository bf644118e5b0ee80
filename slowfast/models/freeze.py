"""Freezes the first stages of a backbone."""

from __future__ import annotations

from typing import Any

from torch import nn


def freeze_stages(backbone: nn.Module, stages: int) -> None:
    """No gradients and fixed batch-norm statistics in the first `stages` of s1..s5.

    A stage takes its lateral connection along.
    """
    for stage in range(1, stages + 1):
        for name in (f"s{stage}", f"s{stage}_fuse"):
            if hasattr(backbone, name):
                module = backbone.get_submodule(name)
                module.requires_grad_(False)
                for norm in module.modules():
                    if isinstance(norm, nn.BatchNorm3d):
                        _stay_in_eval(norm)


def _stay_in_eval(norm: nn.BatchNorm3d) -> None:
    def train(mode: bool = True) -> Any:
        return nn.Module.train(norm, False)

    norm.train = train  # type: ignore[method-assign]
    norm.eval()
