"""Frame lists of a part of the videos of another list: training halves, hold-outs."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

from slowfast.lab.ablation.plan import PartList, Plan
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.paths import input_path

logger = logging.getLogger(__name__)


def write_lists(plan: Plan) -> None:
    """Write the plan's lists beside the ones they are parts of, where they are not there already.

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
            text = part_text(folder / part.of, part)
            target = folder / part.name
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                write_text(target, text)
                logger.info("wrote %s: %d segments of %s", target, text.count("\n") - 1, part.of)


def part_text(source: Path, part: PartList) -> str:
    """The rows of the CSV list `source` whose video, in the order of first rows, is taken."""
    try:
        with source.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise UserError(f"frame list {source} cannot be read ({error.strerror})") from None
    if not rows or "video_id" not in rows[0]:
        raise UserError(f"frame list {source} has no column video_id")
    column = rows[0].index("video_id")
    numbers: dict[str, int] = {}
    kept = [
        row
        for row in rows[1:]
        if numbers.setdefault(row[column], len(numbers)) % part.every in part.take
    ]
    if not kept:
        raise UserError(f"{part.name} would be empty: {source} has {len(numbers)} videos")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([rows[0], *kept])
    return text.getvalue()
