"""Description of the files in the places of a video without frames, for the error."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

_NAMES = "frames are called frame_0000000001.jpg, img_00001.jpg or 00001.jpg, with 4 to 10 digits"
# Files of a folder that are looked at.
_LOOKED_AT = 50
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


def found_instead(folders: Iterable[Path]) -> str:
    """Text on what the first existing folder has, or else on a file next to one; "" for nothing.

    Raises: OSError for a folder that cannot be listed.
    """
    for folder in folders:
        if folder.is_dir():
            return _in_folder(folder)
    for folder in folders:
        if beside := _beside(folder):
            return beside
    return ""


def _in_folder(folder: Path) -> str:
    with os.scandir(folder) as entries:
        seen = list(itertools.islice(entries, _LOOKED_AT))
    if not seen:
        return f"{folder} is there, but empty"
    folders = [entry.name for entry in seen if entry.is_dir()]
    files = sorted(entry.name for entry in seen if not entry.is_dir())
    pictures = [name for name in files if name.lower().endswith(_PICTURES)]
    if pictures:
        return f"{folder} holds {pictures[0]}, but {_NAMES}: rename or convert its files"
    archives = [name for name in files if name.lower().endswith(_ARCHIVES)]
    if archives:
        return f"{folder} holds {archives[0]}: unpack it"
    if folders:
        return (
            f"{folder} holds the folder {folders[0]}: files such as frame_0000000001.jpg "
            f"must be in {folder} itself"
        )
    return f"{folder} holds {files[0]} and no frames; {_NAMES}, clips as their segments"


def _beside(folder: Path) -> str:
    """A file of the folder's name with any suffix."""
    if not folder.parent.is_dir():
        return ""
    start = f"{folder.name}."
    with os.scandir(folder.parent) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith(start))
    if not names:
        return ""
    path = folder.parent / names[0]
    if names[0].lower().endswith(_ARCHIVES):
        return f"{path} is there: unpack it into {folder}"
    return f"{path} is there, but is not a video file that can be read: convert it to .mp4"
