"""Video models of torchvision as backbones: `torchvision:NAME`.

The submodules keep their names, so that torchvision's checkpoints load; its classifier is left out.
Legend: N clips, C channels, T frames, H W pixels or positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slowfast.config.clip_geometry import ClipGeometry
from slowfast.models.backbone import Backbone
from slowfast.models.backbones.registry import library, real_tensors, register_family
from slowfast.utils.errors import UserError

_KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_GREY = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
# Clips as torchvision trained each model on Kinetics-400.
_CLIPS = {
    "r3d_18": ClipGeometry(16, 2, 112, *_KINETICS),
    "mc3_18": ClipGeometry(16, 2, 112, *_KINETICS),
    "r2plus1d_18": ClipGeometry(16, 2, 112, *_KINETICS),
    "s3d": ClipGeometry(128, 1, 224, *_KINETICS),
    "mvit_v1_b": ClipGeometry(16, 4, 224, *_GREY),
    "mvit_v2_s": ClipGeometry(16, 4, 224, *_GREY),
    "swin3d_t": ClipGeometry(32, 2, 224),
    "swin3d_s": ClipGeometry(32, 2, 224),
    "swin3d_b": ClipGeometry(32, 2, 224),
}


def _clips(name: str) -> ClipGeometry:
    if name not in _CLIPS:
        raise UserError(
            f"MODEL.BACKBONE torchvision:{name} is not known; choose one of {', '.join(_CLIPS)}"
        )
    return _CLIPS[name]


@register_family("torchvision", _clips)
def torchvision_backbone(name: str, clips: ClipGeometry) -> Backbone:
    """The model called `name`, with torchvision's random weights, for clips of that geometry."""
    _clips(name)
    build = getattr(library("torchvision.models.video", "torchvision"), name)
    if name.startswith("mvit") and (clips.size, clips.num_frames) != (
        _CLIPS[name].size,
        _CLIPS[name].num_frames,
    ):
        raise UserError(
            f"MODEL.BACKBONE torchvision:{name} expects 16 frames of 224 pixels; set "
            "DATA.NUM_FRAMES 16, DATA.TRAIN_CROP_SIZE 224 and DATA.TEST_CROP_SIZE 224"
        )
    with real_tensors():
        model = build(weights=None)
    adapter = next((kind for start, kind in _KINDS.items() if name.startswith(start)), _Conv)
    return adapter(model)


class _Adapter(Backbone):
    """Holds the children of a torchvision model under their names."""

    keeps_own_init = True

    def _take(self, model: nn.Module, *names: str) -> None:
        for name in names:
            self.add_module(name, model.get_submodule(name))


class _Conv(_Adapter):
    """r3d_18, mc3_18, r2plus1d_18: a stem and four layers; s3d: one sequence of features."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        if hasattr(model, "features"):
            self._take(model, "features")
            self.stage_parts = tuple(
                (f"features.{name}",) for name, _ in model.features.named_children()
            )
            self.out_channels = (model.classifier[1].in_channels,)
        else:
            names = ("stem", "layer1", "layer2", "layer3", "layer4")
            self._take(model, *names)
            self.stage_parts = tuple((name,) for name in names)
            self.out_channels = (model.fc.in_features,)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        features = clip[-1]
        for _, child in self.named_children():
            features = child(features)
        return [features]


class _Mvit(_Adapter):
    """Features are the tokens (N, C, 1 + L, 1, 1), the class token first."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._take(model, "conv_proj", "pos_encoding", "blocks", "norm")
        self.stage_parts = (
            ("conv_proj", "pos_encoding"),
            *((f"blocks.{k}",) for k in range(len(model.blocks))),
        )
        self.out_channels = (model.head[-1].in_features,)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        x = self.get_submodule("conv_proj")(clip[-1])
        tokens = self.get_submodule("pos_encoding")(x.flatten(2).transpose(1, 2))
        encoding: Any = self.pos_encoding
        size = (encoding.temporal_size, *encoding.spatial_size)
        for block in self.get_submodule("blocks").children():
            tokens, size = block(tokens, size)
        tokens = self.get_submodule("norm")(tokens)
        return [tokens.transpose(1, 2)[..., None, None]]

    def summary(self, features: list[Tensor]) -> list[Tensor]:
        return [features[0][:, :, :1]]


class _Swin(_Adapter):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self._take(model, "patch_embed", "pos_drop", "features", "norm")
        self.stage_parts = (
            ("patch_embed",),
            *((f"features.{k}",) for k in range(len(model.features))),
        )
        self.out_channels = (model.head.in_features,)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        x = clip[-1]
        for _, child in self.named_children():
            x = child(x)
        return [torch.permute(x, (0, 4, 1, 2, 3))]


# By the start of the name; all others are convolutional.
_KINDS: dict[str, type[_Mvit] | type[_Swin]] = {"mvit": _Mvit, "swin3d": _Swin}
