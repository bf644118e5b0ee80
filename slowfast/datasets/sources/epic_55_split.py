"""The train and validation split of EPIC-KITCHENS-55, by video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.datasets.sources.frame_lists import read_table
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text, writing
from slowfast.utils.paths import InputPath, local_path

if TYPE_CHECKING:
    import pandas as pd

# The validation videos of EPIC-KITCHENS-55, one from each of 14 participants (the split by video
# of TBN, arXiv 1908.08498, that Ego-Exo and SUM-L use).
# fmt: off
EPIC_55_VALIDATION_VIDEOS = frozenset((
    "P01_18", "P02_09", "P03_27", "P04_04", "P07_07", "P08_20", "P15_01",
    "P22_08", "P24_03", "P25_01", "P26_05", "P28_02", "P30_04", "P31_04",
))
# fmt: on
EPIC_55_SPLIT_FILES = ("EPIC_train_action_labels.csv", "EPIC_val_action_labels.csv")
# Rows of the two files when the split is complete.
EPIC_55_SPLIT_ROWS = (26074, 2398)


def split_epic_55(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(train, validation) rows of EPIC-KITCHENS-55's training list `path`, by video.

    Raises: UserError if a validation video has no row.
    """
    if "video_id" not in table.columns:
        raise UserError(f"{path} has no column video_id; use EPIC_train_action_labels.csv")
    missing = EPIC_55_VALIDATION_VIDEOS - set(table["video_id"])
    if missing:
        raise UserError(
            f"{path} has no rows of {len(missing)} validation video(s) such as {min(missing)}; "
            "use the official EPIC_train_action_labels.csv of EPIC-KITCHENS-55"
        )
    validation = table["video_id"].isin(EPIC_55_VALIDATION_VIDEOS)
    return table[~validation], table[validation]


def write_epic_55_split(source: InputPath, folder: Path) -> dict[Path, int]:
    """Write the split of the list `source` into `folder`; rows by file.

    Raises: UserError if the list does not fit, or if it would be overwritten.
    """
    source = local_path(source, "--annotations")
    targets = [folder / name for name in EPIC_55_SPLIT_FILES]
    if source.resolve() in [target.resolve() for target in targets]:
        raise UserError(f"{source} would be overwritten by its own split; choose another folder")
    parts = split_epic_55(read_table(source), source)
    for target, part in zip(targets, parts, strict=True):
        with writing(target):
            write_text(target, part.to_csv(index=part.index.name is not None))
    return {target: len(part) for target, part in zip(targets, parts, strict=True)}
