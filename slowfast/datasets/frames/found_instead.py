"""Describes what was found where the frames of a video were expected, for the error."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

_NAMES = "frames are called frame_0000000001.jpg, img_00001.jpg or 00001.jpg, with 4 to 10 digits"
# Entries of a folder that are inspected.
_MAX_ENTRIES = 50
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


def found_instead(folders: Iterable[Path]) -> str:
    """Describe the content of the first existing folder, else a file with a folder's name.

    Returns: "" if there is neither. Raises: OSError for a folder that cannot be listed.
    """
    for folder in folders:
        if folder.is_dir():
            return _in_folder(folder)
    for folder in folders:
        if sibling := _file_named_like(folder):
            return sibling
    return ""


def _in_folder(folder: Path) -> str:
    """Describe the content of a folder."""
    with os.scandir(folder) as entries:
        seen = list(itertools.islice(entries, _MAX_ENTRIES))
    if not seen:
        return f"{folder} exists, but is empty"
    folders = [entry.name for entry in seen if entry.is_dir()]
    files = sorted(entry.name for entry in seen if not entry.is_dir())
    pictures = [name for name in files if name.lower().endswith(_PICTURES)]
    if pictures:
        return f"{folder} contains {pictures[0]}, but {_NAMES}: rename or convert its files"
    archives = [name for name in files if name.lower().endswith(_ARCHIVES)]
    if archives:
        return f"{folder} contains {archives[0]}: unpack it"
    if folders:
        return (
            f"{folder} contains the folder {folders[0]}: files such as frame_0000000001.jpg "
            f"must be in {folder} itself"
        )
    return f"{folder} contains {files[0]}, but no frames; {_NAMES}, clips as their segments"


def _file_named_like(folder: Path) -> str:
    """Describe a file with the folder's name and any suffix."""
    if not folder.parent.is_dir():
        return ""
    start = f"{folder.name}."
    with os.scandir(folder.parent) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith(start))
    if not names:
        return ""
    path = folder.parent / names[0]
    if names[0].lower().endswith(_ARCHIVES):
        return f"{path} exists: unpack it into {folder}"
    return f"{path} exists, but is not a readable video file: convert it to .mp4"
