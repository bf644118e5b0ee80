"""The SlowFast backbone (arXiv 1812.03982): two pathways, five stages, four lateral connections.

Legend: N clips, C channels, T frames of the fast pathway, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from slowfast.models.fusion import FuseFastToSlow
from slowfast.models.resnet import PathwaySpec, ResStage
from slowfast.models.stem import Stem

NUM_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Temporal kernel of the stem and of the blocks of s2..s5, slow and fast.
_STEM_KERNELS = (1, 5)
_STAGE_KERNELS = ((1, 3), (1, 3), (3, 3), (3, 3))


class SlowFastBackbone(nn.Module):
    """[slow (N, 3, T/alpha, H, W), fast (N, 3, T, H, W)] -> their features after s5, at H/32.

    depth: 50 or 101. width: channels of the slow stem. beta_inv: slow over fast channels.
    fusion_ratio, fusion_kernel: of the lateral connections.
    temporal_blocks, strides, dilations: per stage s2..s5 and pathway.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        alpha: int,
        beta_inv: int,
        fusion_ratio: int,
        fusion_kernel: int,
        temporal_blocks: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        dilations: Sequence[Sequence[int]],
        groups: int = 1,
    ) -> None:
        super().__init__()
        widths = (width, width // beta_inv)
        self.s1 = Stem(widths, _STEM_KERNELS)
        self.s1_fuse = FuseFastToSlow(widths[1], fusion_ratio, fusion_kernel, alpha)
        incoming = widths
        for stage, num_blocks in enumerate(NUM_BLOCKS[depth]):
            outgoing = tuple(w * 4 * 2**stage for w in widths)
            fused = (incoming[0] + incoming[1] * fusion_ratio, incoming[1])
            specs = [
                PathwaySpec(
                    in_channels=fused[p],
                    out_channels=outgoing[p],
                    inner_channels=groups * widths[p] * 2**stage,
                    temporal_kernel=_STAGE_KERNELS[stage][p],
                    temporal_blocks=temporal_blocks[stage][p],
                    stride=strides[stage][p],
                    dilation=dilations[stage][p],
                )
                for p in (0, 1)
            ]
            self.add_module(f"s{stage + 2}", ResStage(num_blocks, groups, specs))
            if stage < 3:
                fuse = FuseFastToSlow(outgoing[1], fusion_ratio, fusion_kernel, alpha)
                self.add_module(f"s{stage + 2}_fuse", fuse)
            incoming = outgoing
        self.out_channels = incoming

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        features = clip
        for stage in self.children():
            features = stage(features)
        return features
