"""Filmstrips of segments as data URLs."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from slowfast.datasets.types import FrameStore, Segment
from slowfast.utils.errors import UserError

_FRAMES = 5
_HEIGHT = 72
_QUALITY = 70


class Filmstrips:
    """Filmstrips from a frame store; a segment whose frames cannot be read has none.

    lost: number of segments without a filmstrip, and the reason of the first.
    """

    def __init__(self, frames: FrameStore) -> None:
        self._frames = frames
        self.lost = 0
        self.reason = ""

    def strip(self, segment: Segment) -> str:
        """A JPEG as data URL: evenly spread frames side by side; "" if they cannot be read."""
        numbers = np.unique(
            np.linspace(segment.start_frame, segment.stop_frame, _FRAMES).round().astype(int)
        )
        try:
            pictures = [_small(f) for f in self._frames.open(segment).read(numbers.tolist())]
        except UserError as error:
            self.lost += 1
            self.reason = self.reason or str(error)
            return ""
        return data_url(np.concatenate(pictures, axis=1))


def data_url(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 BGR as a JPEG data URL."""
    done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()


def _small(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    size = (max(1, round(width * _HEIGHT / height)), _HEIGHT)
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
