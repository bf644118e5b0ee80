"""Places in which the frames of a video are searched for."""

from pathlib import Path

import pytest

from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_video


def test_a_segment_without_a_participant_stays_below_the_root(tmp_path: Path) -> None:
    """Joined to the root, "/VIDEO" would be a folder of the whole machine."""
    store = VideoStore([tmp_path / "root"], make_decoder("auto"))
    outside = tmp_path / "outside"
    make_video(outside, 3)
    segment = Segment("s", str(outside).lstrip("/"), "", 1, 3, "", ())
    with pytest.raises(UserError, match=r"below .*root \(searched for .*outside\); link") as error:
        store.check([segment])
    assert "PARTICIPANT" not in str(error.value)
    make_video(tmp_path / "root" / "v", 3)
    store.check([Segment("s", "v", "", 1, 3, "", ())])


def test_the_error_names_the_places(tmp_path: Path) -> None:
    store = VideoStore([tmp_path], make_decoder("auto"))
    with pytest.raises(UserError, match=r"searched for P01/v, P01/rgb_frames/v, v\)"):
        store.check([Segment("s", "v", "P01", 1, 3, "", ())])
