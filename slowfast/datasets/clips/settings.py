"""Settings of the clips of a data set: sampling, augmentation and views."""

from __future__ import annotations

from dataclasses import dataclass

from slowfast.config.heads import HeadSpec
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.clips.transforms import Geometry
from slowfast.datasets.clips.views import TestViews
from slowfast.utils.seeding import Stream


@dataclass(frozen=True)
class ClipSettings:
    """Sampling and augmentation of clips from segments.

    heads: one per kind of label; multi-label heads give multi-hot vectors, others class ids.
    transform: turns frames into the model's input; the data set only stores it for the caller.
    seed, stream: with its epoch and position, they determine a sample's random numbers.
    lighting_std: strength of the PCA lighting in training; 0: none.
    random_in_validation: the validation clip also has a random scale, crop and flip.
    resize_on_device: clips leave the worker as windows of decoded frames (test segments: as whole
        frames), which the device transform resizes; else the worker resizes in uint8.
    """

    sampling: ClipSampling
    geometry: Geometry
    views: TestViews
    heads: tuple[HeadSpec, ...]
    transform: DeviceTransform
    seed: int
    stream: Stream
    lighting_std: float = 0.0
    random_in_validation: bool = False
    resize_on_device: bool = False
