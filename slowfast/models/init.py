"""Initial weights: MSRA for convolutions, normal for linear layers, one or zero for norms."""

from __future__ import annotations

from fvcore.nn.weight_init import c2_msra_fill
from torch import nn

from slowfast.models.resnet import Bottleneck


def init_weights(model: nn.Module, fc_init_std: float, zero_init_final_bn: bool) -> None:
    """Fill every layer of `model` from torch's generator.

    zero_init_final_bn: the last norm of a block starts at 0, so that blocks start as identities
        (arXiv 1706.02677, section 5.1).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            c2_msra_fill(module)
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=fc_init_std)
            nn.init.zeros_(module.bias)
    if zero_init_final_bn:
        for module in model.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.c_bn.weight)
