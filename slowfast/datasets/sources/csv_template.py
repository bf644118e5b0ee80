"""Template of a CSV list: one row per video of a folder, with the cells to fill in left empty."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from slowfast.datasets.frames.store import VIDEO_SUFFIXES
from slowfast.datasets.frames.video_folder import VideoFolder
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text, writing
from slowfast.utils.reading import reading

_COLUMNS = ("video", "start_sec", "stop_sec", "narration")


def write_template(folder: Path, path: Path, labels: Sequence[str], *, force: bool = False) -> int:
    """Write a list of the videos below `folder`. Returns: its number of rows.

    labels: names of the label columns. force: replace an existing file.

    Raises: UserError for a folder without videos, and for an existing file.
    """
    if repeated := [name for name in labels if name in _COLUMNS or labels.count(name) > 1]:
        raise UserError(
            f"--labels {repeated[0]} is already the name of a column; choose another name"
        )
    if path.exists() and not force:
        raise UserError(f"{path} exists; choose another --out, or replace it with --force")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name the folder of the videos")
    with reading(folder, "a folder of videos", "check its permissions"):
        videos = sorted(_videos(folder))
    if not videos:
        raise UserError(
            f"{folder} contains no videos ({', '.join(VIDEO_SUFFIXES[::2])}, .tar) and no"
            " folders of frames (frame_0000000001.jpg); name the folder that contains them"
        )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*_COLUMNS, *labels))
    table.writerows((video, *[""] * (len(_COLUMNS) - 1 + len(labels))) for video in videos)
    with writing(path, "choose another --out"):
        write_text(path, text.getvalue())
    return len(videos)


def _videos(root: Path) -> Iterator[str]:
    """Video files, tars and folders of frames, relative to the root."""
    for name, folders, files in os.walk(root):
        folder = Path(name)
        has_pictures = folder != root and any(file.endswith(".jpg") for file in files)
        if has_pictures and VideoFolder.find(folder) is not None:
            yield folder.relative_to(root).as_posix()
            folders.clear()
            continue
        for file in files:
            if file.endswith((*VIDEO_SUFFIXES, ".tar")) and not file.startswith("."):
                yield (folder / file).relative_to(root).as_posix()
