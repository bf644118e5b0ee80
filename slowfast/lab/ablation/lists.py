"""Frame lists with some of the videos of another list: training halves, hold-outs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from slowfast.datasets.sources.frame_lists import read_table
from slowfast.lab.ablation.plan import PartList, Plan
from slowfast.utils.digests import value_digest
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.paths import input_path
from slowfast.utils.reading import reading, require_file

logger = logging.getLogger(__name__)

_LIST = "a frame list"
_OTHER_NAME = "give the list of the plan another name, or move the file away"


def write_lists(plan: Plan) -> None:
    """Write the plan's lists next to their source lists, unless they exist with that content.

    Raises: UserError for a source list that is missing, has no video_id, or has a URL.
    """
    folders = {arm.cfg.DATA.PATH_TO_DATA_DIR for arm in plan.arms}
    for folder in sorted(map(input_path, folders), key=str):
        for part in plan.lists:
            if isinstance(folder, str):
                raise UserError(
                    f"DATA.PATH_TO_DATA_DIR is {folder}, but {part.name} cannot be written to a "
                    "URL; set it to a local folder"
                )
            target, source = folder / part.name, folder / part.of
            if target.resolve() == source.resolve():
                raise UserError(f"lists.{part.name} would overwrite its own source {source}")
            text = part_text(source, part)
            if (found := _text_of(target)) != text:
                _check_own(target, found)
                write_text(target, text)
                write_text(_mark(target), value_digest(text) + "\n")
                logger.info("wrote %s: %d segments of %s", target, text.count("\n") - 1, part.of)


def _mark(target: Path) -> Path:
    """Next to a list that this program has written: a digest of what it wrote."""
    return target.with_name(f".{target.name}.made")


def _text_of(path: Path) -> str | None:
    """The content of a file that the program may have written; None without one."""
    with reading(path, _LIST):
        if not path.exists():
            return None
    require_file(path, _LIST, _OTHER_NAME)
    with reading(path, _LIST, _OTHER_NAME):
        return path.read_text(encoding="utf-8")


def _check_own(target: Path, found: str | None) -> None:
    """Raises: UserError for a file that this program has not written, or that was changed since.

    found: the content of `target`; None without it.
    """
    if found is not None and (_text_of(_mark(target)) or "").strip() != value_digest(found):
        raise UserError(f"{target} exists and was not written by this program; {_OTHER_NAME}")


def part_text(source: Path, part: PartList) -> str:
    """The rows of the list `source` of every video taken, as CSV; videos numbered as they occur."""
    rows = read_table(source)
    if rows.index.name is not None:
        # A pickled list of EPIC-KITCHENS has its ids there.
        rows = rows.reset_index()
    if "video_id" not in rows:
        raise UserError(
            f"frame list {source} has no column video_id; add it, so that videos can be selected"
        )
    numbers, videos = rows.video_id.factorize()
    kept = rows[np.isin(numbers % part.every, part.take)]
    if kept.empty:
        raise UserError(f"{part.name} would be empty: {source} has {len(videos)} videos")
    return str(kept.to_csv(index=False))
