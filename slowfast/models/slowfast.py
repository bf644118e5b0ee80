"""The SlowFast backbone (arXiv 1812.03982): two pathways, five stages, four lateral connections.

Legend: N clips, C channels, T frames of the fast pathway, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from slowfast.models.backbone import Backbone
from slowfast.models.fusion import FuseFastToSlow
from slowfast.models.resnet import BlockSpec, ResStage
from slowfast.models.stem import Stem

# Residual blocks of s2..s5 by depth.
NUM_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Temporal kernels, slow and fast: of the stem, and of the blocks of s2..s5.
_STEM_KERNELS = (1, 5)
_STAGE_KERNELS = ((1, 3), (1, 3), (3, 3), (3, 3))


class SlowFastBackbone(Backbone):
    """[slow (N, 3, T/alpha, H, W), fast (N, 3, T, H, W)] -> their features after s5, at H/32.

    num_blocks: of s2..s5. width: channels of the slow stem. alpha: fast over slow frame rate.
    beta_inv: slow over fast channels. fusion_ratio, fusion_kernel: of the lateral connections,
    channels relative to the fast pathway and temporal kernel.
    temporal_blocks, strides, dilations: per stage s2..s5, [slow, fast]; the first
    `temporal_blocks` blocks have the stage's temporal kernel, the others 1.
    """

    def __init__(
        self,
        *,
        num_blocks: Sequence[int],
        width: int,
        alpha: int,
        beta_inv: int,
        fusion_ratio: int,
        fusion_kernel: int,
        temporal_blocks: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        dilations: Sequence[Sequence[int]],
        groups: int = 1,
        inplace_relu: bool = True,
    ) -> None:
        super().__init__()

        def fuse(fast_channels: int) -> FuseFastToSlow:
            return FuseFastToSlow(fast_channels, fusion_ratio, fusion_kernel, alpha, inplace_relu)

        slow, fast = width, width // beta_inv
        self.s1 = Stem((slow, fast), _STEM_KERNELS, inplace_relu)
        for stage, count in enumerate(num_blocks):
            self.add_module(f"s{stage + 1}_fuse", fuse(fast))
            incoming = (slow + fusion_ratio * fast, fast)
            inner = (width * 2**stage, width // beta_inv * 2**stage)
            pathways = [
                _chain(
                    BlockSpec(
                        in_channels=incoming[p],
                        inner_channels=groups * inner[p],
                        out_channels=4 * inner[p],
                        temporal_kernel=_STAGE_KERNELS[stage][p],
                        stride=strides[stage][p],
                        dilation=dilations[stage][p],
                        groups=groups,
                        inplace_relu=inplace_relu,
                    ),
                    count,
                    temporal_blocks[stage][p],
                )
                for p in (0, 1)
            ]
            self.add_module(f"s{stage + 2}", ResStage(pathways))
            slow, fast = (4 * channels for channels in inner)
        self.out_channels = (slow, fast)

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
