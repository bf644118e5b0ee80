"""The SlowFast backbone (arXiv 1812.03982): two pathways, five stages, four lateral connections.

Legend: N clips, C channels, T frames of the fast pathway, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from torch import Tensor

from slowfast.models.backbone import Backbone
from slowfast.models.fusion import FuseFastToSlow
from slowfast.models.resnet import BlockSpec, ResStage
from slowfast.models.stem import Stem

# Residual blocks of s2..s5 by depth.
NUM_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Temporal kernels, slow and fast: of the stem, and of the blocks of s2..s5.
_STEM_KERNELS = (1, 5)
_STEM_STRIDE = 4
_STAGE_KERNELS = ((1, 3), (1, 3), (3, 3), (3, 3))


@dataclass(frozen=True)
class StageShapes:
    """Shapes of the residual stages s2..s5.

    num_blocks: per stage. temporal_blocks, strides, dilations: per stage, [slow, fast]; the first
    `temporal_blocks` blocks have the stage's temporal kernel, the others 1.
    """

    num_blocks: Sequence[int]
    temporal_blocks: Sequence[Sequence[int]]
    strides: Sequence[Sequence[int]]
    dilations: Sequence[Sequence[int]]


@dataclass(frozen=True)
class FusionShape:
    """Shape of the lateral connections: channels relative to the fast pathway, temporal kernel."""

    ratio: int
    kernel: int


class SlowFastBackbone(Backbone):
    """[slow (N, 3, T/alpha, H, W), fast (N, 3, T, H, W)] -> their features after s5, at H/stride.

    width: channels of the slow stem. alpha: fast over slow frame rate. beta_inv: slow over fast
    channels. groups: of the 3x3 convolutions.
    """

    def __init__(
        self,
        stages: StageShapes,
        fusion: FusionShape,
        *,
        width: int,
        alpha: int,
        beta_inv: int,
        groups: int = 1,
        inplace_relu: bool = True,
    ) -> None:
        super().__init__()

        def fuse(fast_channels: int) -> FuseFastToSlow:
            return FuseFastToSlow(fast_channels, fusion.ratio, fusion.kernel, alpha, inplace_relu)

        slow, fast = width, width // beta_inv
        self.s1 = Stem((slow, fast), _STEM_KERNELS, inplace_relu)
        for stage, count in enumerate(stages.num_blocks):
            self.add_module(f"s{stage + 1}_fuse", fuse(fast))
            incoming = (slow + fusion.ratio * fast, fast)
            inner = (width * 2**stage, width // beta_inv * 2**stage)
            pathways = [
                _chain(
                    BlockSpec(
                        in_channels=incoming[p],
                        inner_channels=groups * inner[p],
                        out_channels=4 * inner[p],
                        temporal_kernel=_STAGE_KERNELS[stage][p],
                        stride=stages.strides[stage][p],
                        dilation=stages.dilations[stage][p],
                        groups=groups,
                        inplace_relu=inplace_relu,
                    ),
                    count,
                    stages.temporal_blocks[stage][p],
                )
                for p in (0, 1)
            ]
            self.add_module(f"s{stage + 2}", ResStage(pathways))
            slow, fast = (4 * channels for channels in inner)
        self.out_channels = (slow, fast)
        self.stride = _STEM_STRIDE * prod(stride for stride, _ in stages.strides)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        features = clip
        for stage, _ in self.named_children():
            features = self.run_stage(stage, features)
        return features


def _chain(first: BlockSpec, count: int, temporal_blocks: int) -> list[BlockSpec]:
    """Blocks of one pathway of one stage; only the first changes channels and resolution."""
    later = replace(first, in_channels=first.out_channels, stride=1)
    return [
        spec if block < temporal_blocks else replace(spec, temporal_kernel=1)
        for block, spec in enumerate([first, *[later] * (count - 1)])
    ]
