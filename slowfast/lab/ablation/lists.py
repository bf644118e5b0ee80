"""Frame lists with some of the videos of another list: training halves, hold-outs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from slowfast.lab.ablation.plan import PartList, Plan
from slowfast.utils.digests import value_digest
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.paths import input_path
from slowfast.utils.reading import reading, require_file

logger = logging.getLogger(__name__)


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
            if not target.exists() or target.read_text(encoding="utf-8") != text:
                _check_own(target)
                write_text(target, text)
                write_text(_mark(target), value_digest(text) + "\n")
                logger.info("wrote %s: %d segments of %s", target, text.count("\n") - 1, part.of)


def _mark(target: Path) -> Path:
    """Next to a list that this program has written: a digest of what it wrote."""
    return target.with_name(f".{target.name}.made")


def _check_own(target: Path) -> None:
    """Raises: UserError for a file that this program has not written, or that was changed since."""
    if not target.exists():
        return
    mark = _mark(target)
    written = mark.read_text(encoding="utf-8").strip() if mark.is_file() else ""
    if written != value_digest(target.read_text(encoding="utf-8")):
        raise UserError(
            f"{target} exists and was not written by this program; give the list of the plan "
            "another name, or move the file away"
        )


def part_text(source: Path, part: PartList) -> str:
    """The rows of the CSV list `source` of every video taken, videos numbered as they occur."""
    require_file(source, "a frame list", "link it into DATA.PATH_TO_DATA_DIR")
    with reading(source, "a frame list in CSV", "copy it again"):
        rows = pd.read_csv(source, dtype=str, keep_default_na=False)
    if "video_id" not in rows:
        raise UserError(f"frame list {source} has no column video_id")
    numbers, videos = rows.video_id.factorize()
    kept = rows[np.isin(numbers % part.every, part.take)]
    if kept.empty:
        raise UserError(f"{part.name} would be empty: {source} has {len(videos)} videos")
    return str(kept.to_csv(index=False))
