"""Data sets over small videos."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from slowfast.config.heads import HeadSpec
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.clips.settings import ClipSettings
from slowfast.datasets.clips.transforms import Geometry
from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import Segment
from slowfast.utils.seeding import Stream
from tests.datasets.frames.tiny_videos import make_segment, make_video


def heads(multi_label: bool = False) -> tuple[HeadSpec, ...]:
    """Five verbs and seven nouns."""
    return HeadSpec("verb", 5, multi_label), HeadSpec("noun", 7, multi_label)


@pytest.fixture
def video_root(tmp_path: Path) -> Path:
    """A root with video P01_01 of 60 frames."""
    make_video(tmp_path / "frames" / "P01" / "P01_01", 60)
    return tmp_path / "frames"


@pytest.fixture
def make_dataset(video_root: Path) -> Callable[..., SegmentDataset]:
    """Data sets of 24-pixel clips of 8 frames, every second one, over `video_root`."""

    def build(
        segments: Sequence[Segment] = (make_segment(), make_segment(30, 36)),
        split: str = "train",
        **changes: object,
    ) -> SegmentDataset:
        settings: dict = {
            "sampling": ClipSampling(num_frames=8, rate=2),
            "geometry": Geometry((28, 36), train_crop=24, test_crop=24),
            "views": TestViews(4, 3),
            "heads": heads(),
            "transform": DeviceTransform((0.45,) * 3, (0.225,) * 3, "bgr", 4),
            "seed": 7,
            "stream": Stream.EGO,
        }
        frames = changes.pop("frames", VideoStore([str(video_root)], make_decoder("auto")))
        return SegmentDataset(
            list(segments), split, frames, ClipSettings(**{**settings, **changes})
        )

    return build
