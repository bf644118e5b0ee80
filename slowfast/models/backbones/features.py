"""Extracted features as a backbone without weights: `features:WIDTH`."""

from __future__ import annotations

from torch import Tensor

from slowfast.config.clip_geometry import ClipGeometry, feature_width
from slowfast.models.backbone import Backbone
from slowfast.models.backbones.registry import register_family


def _clips(name: str) -> ClipGeometry:
    """Keys that describe clips have no meaning here; these values pass their checks."""
    feature_width(f"features:{name}")
    return ClipGeometry(num_frames=1, sampling_rate=1, size=32)


@register_family("features", _clips)
def stored_features(name: str, clips: ClipGeometry) -> Backbone:
    """Backbone that forwards features of WIDTH channels, whatever the clip geometry."""
    return _Stored(feature_width(f"features:{name}"))


class _Stored(Backbone):
    """[(N, C, L, 1, 1)] as `FeatureTransform` gives them, unchanged. L: tokens."""

    keeps_own_init = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = (width,)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        return clip
