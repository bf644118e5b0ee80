"""Copy of a video with the labels of each moment drawn into its frames."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from slowfast.inference.best_labels import best_labels
from slowfast.inference.loaded_model import Label
from slowfast.inference.sliding import VideoPrediction
from slowfast.inference.video_source import VideoSource

_LABELS = 3
# Largest frame rate of the overlay; labels change more slowly.
_FPS = 25
_LONGEST_SIDE = 960
_BAR_COLOUR, _TEXT_COLOUR = (180, 119, 31), (255, 255, 255)


def write_overlay(path: Path, prediction: VideoPrediction, source: VideoSource) -> None:
    """Write an H.264 video of the frames with the best labels and their probabilities.

    At most 25 frames per second and 960 pixels on the longer side; without sound.
    """
    import av

    step = max(1, round(source.fps / _FPS))
    rate = Fraction(source.fps).limit_denominator(1000) / step
    temporary = path.with_name(f".{path.name}")
    try:
        with av.open(str(temporary), "w", format="mp4") as container:
            pictures = _pictures(prediction, source, step)
            first = next(pictures)
            stream = container.add_stream("libx264", rate=rate)
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = "yuv420p"
            for picture in chain([first], pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _pictures(prediction: VideoPrediction, source: VideoSource, step: int) -> Iterator[np.ndarray]:
    """Every step-th frame with the labels of the window whose centre is nearest."""
    numbers = range(source.first_frame, source.first_frame + source.num_frames, step)
    whole = source.segment(source.first_frame, source.num_frames, ())
    best = best_labels(prediction, _LABELS)
    centres = prediction.starts + prediction.window_sec / 2
    for number, frame in zip(numbers, source.store.open(whole).read(numbers), strict=True):
        seconds = (number - source.first_frame) / source.fps
        window = int(np.abs(centres - seconds).argmin())
        picture = _fitted(frame)
        draw_labels(picture, {head: rows[window] for head, rows in best.items()})
        yield picture


def draw_labels(picture: np.ndarray, best: dict[str, list[Label]]) -> None:
    """Write the labels into (H, W, 3) uint8 BGR, a bar under each as long as its probability."""
    height, width = picture.shape[:2]
    scale = max(0.35, height / 900)
    line = round(26 * scale) + 4
    rows = sum(len(labels) + 1 for labels in best.values())
    panel = picture[: line * rows + 8, : round(330 * scale) + 20]
    panel //= 3
    y = 4
    for head, labels in best.items():
        _write(picture, head.upper(), 4, y, line, 0.8 * scale)
        y += line
        for label in labels:
            length = round((min(panel.shape[1], width) - 8) * min(label.probability, 1.0))
            cv2.rectangle(picture, (4, y), (4 + length, y + line - 3), _BAR_COLOUR, -1)
            _write(picture, f"{label.name} {label.probability:.0%}", 8, y, line, scale)
            y += line


def _write(picture: np.ndarray, text: str, x: int, y: int, line: int, scale: float) -> None:
    """Text in the row that begins at y and is `line` pixels high."""
    font = (cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale)
    (_, height), _ = cv2.getTextSize(text, *font, 1)
    place = (x, y + (line - 3 + height) // 2)
    cv2.putText(picture, text, place, *font, _TEXT_COLOUR, 1, cv2.LINE_AA)


def _fitted(frame: np.ndarray) -> np.ndarray:
    """A copy whose longer side is at most 960 pixels; both sides even, as H.264 needs."""
    height, width = frame.shape[:2]
    factor = min(1.0, _LONGEST_SIDE / max(height, width))
    # Small frames grow so that the labels can be read.
    factor = max(factor, 360 / height) if factor == 1.0 else factor
    size = tuple(max(2, round(side * factor) // 2 * 2) for side in (width, height))
    return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
