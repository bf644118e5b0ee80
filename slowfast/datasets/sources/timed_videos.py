"""Segments that are annotated in seconds, and the store of their videos.

Times become frame numbers at a nominal rate, from 1. In a video file a number means the picture
shown at its time, whatever the file's own rate; a folder of frames must be extracted at that rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from fvcore.common.config import CfgNode

from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.store import VideoStore
from slowfast.utils.errors import UserError
from slowfast.utils.limits import FRAMES
from slowfast.utils.paths import InputPath, is_remote


def annotations_folder(cfg: CfgNode, view: str) -> str:
    """Folder or URL of the annotations of a view."""
    return str(cfg.EXO.PATH_TO_DATA_DIR if view == "exo" else cfg.DATA.PATH_TO_DATA_DIR)


def frame_span(start: float, stop: float, fps: float, where: str) -> tuple[int, int]:
    """First and last frame number (from 1) of a span in seconds; at least one frame.

    where: file and row, for the error. Raises: UserError for a span without a length.
    """
    if not 0 <= start < stop < FRAMES / fps:
        raise UserError(f"{where} lasts from {start} s to {stop} s; give a start before its end")
    first = math.floor(start * fps + 0.5) + 1
    return first, max(first, math.floor(stop * fps + 0.5))


def seconds(row: Mapping[str, str], column: str, where: str) -> float:
    """The time in a cell. Raises: UserError if it is not a number."""
    text = row[column]
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where} has {column} {text!r}, not a time in seconds") from None


def video_store(cfg: CfgNode, view: str, fps: float, what: str) -> VideoStore:
    """The videos of a view, in any form that `VideoStore` reads, numbered at `fps`.

    Raises: UserError if the exo videos would be read from a URL.
    """
    data, exo = cfg.DATA, cfg.EXO
    roots: list[InputPath] = [data.PATH_PREFIX, *data.FALLBACK_PATH_PREFIXES]
    if view == "exo":
        roots = [exo.PATH_PREFIX or exo.PATH_TO_DATA_DIR]
    if is_remote(roots[0]):
        raise UserError(
            f"videos are read from local folders, but {roots[0]} is a URL; set "
            f"{'EXO' if view == 'exo' else 'DATA'}.PATH_PREFIX to the folder of the videos"
        )
    return VideoStore(
        [str(root) for root in roots],
        make_decoder(data.DECODER),
        frame_offset=data.FRAME_INDEX_OFFSET if view == "ego" else 0,
        number_fps=_Constant(fps),
        retries=Retries(data.RETRIES),
        bad_frames=BadFrames(data.ON_BAD_FRAME, what),
    )


class _Constant:
    """One rate for every video. A class, because worker processes get a pickled copy."""

    def __init__(self, fps: float) -> None:
        self._fps = fps

    def __call__(self, video_id: str) -> float:
        return self._fps
