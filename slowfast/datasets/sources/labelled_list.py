"""Labelled frame lists for commands that evaluate files of scores without a config."""

from __future__ import annotations

from collections.abc import Sequence

from slowfast.datasets.sources.epic_annotations import ID_COLUMN_100, read_segments, read_table
from slowfast.datasets.types import Segment
from slowfast.evaluation.epic import EpicProtocol, read_many_shot, read_subsets
from slowfast.evaluation.paired import LabelledList
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, local_path, parent


def read_labelled_list(
    path: InputPath,
    num_classes: Sequence[int],
    *,
    tail_verbs: InputPath | None = None,
    tail_nouns: InputPath | None = None,
    unseen: InputPath | None = None,
    training: InputPath | None = None,
) -> LabelledList:
    """The list `path` (EPIC-KITCHENS-100 or -55, by its columns) and the tables in its folder.

    num_classes: verbs and nouns of the scores. Tables without a path are found by their public
    names. Raises: UserError that names the option `--annotations`.
    """
    segments, epic_100 = read_listed_segments(path, num_classes, labelled=True)
    folder = parent(path)
    return LabelledList(
        path=path,
        ids=[s.segment_id for s in segments],
        labels=[[s.labels[head][0] for s in segments] for head in (0, 1)],
        protocol=EpicProtocol(
            participants=[s.participant_id for s in segments],
            subsets=read_subsets(
                folder if epic_100 else None,
                tail_verbs=tail_verbs,
                tail_nouns=tail_nouns,
                unseen=unseen,
            ),
            many_shot=None if epic_100 else read_many_shot(folder, training),
        ),
    )


def read_listed_segments(
    path: InputPath, num_classes: Sequence[int], labelled: bool
) -> tuple[list[Segment], bool]:
    """The segments of a list, and whether it is EPIC-KITCHENS-100's.

    Raises: UserError that names the option `--annotations` instead of config keys.
    """
    path = local_path(path, "--annotations")
    try:
        table = read_table(path)
        epic_100 = ID_COLUMN_100 in (*table.columns, table.index.name)
        segments = read_segments(
            path, epic_100=epic_100, num_classes=num_classes, labelled=labelled
        )
    except UserError as error:
        # The text after the semicolon names config keys, which these commands do not have.
        reason = str(error).split(";")[0].split(": set it to ")[0]
        for key in ("MODEL.NUM_CLASSES_LIST", "of MODEL.NUM_CLASSES_LIST"):
            reason = reason.replace(key, "the predictions")
        kind = "the labelled list of the predictions" if labelled else "the test list"
        raise UserError(f"--annotations: {reason}; give {kind}") from None
    return segments, epic_100
