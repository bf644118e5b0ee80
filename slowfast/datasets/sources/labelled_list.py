"""Labelled frame lists for commands that evaluate files of scores without a config."""

from __future__ import annotations

from collections.abc import Sequence

from slowfast.datasets.sources.epic_annotations import ID_COLUMN_100, read_segments_of
from slowfast.datasets.sources.frame_lists import read_table
from slowfast.datasets.types import Segment
from slowfast.evaluation.epic import EpicProtocol, read_many_shot, read_subsets
from slowfast.evaluation.paired import LabelledList
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, local_path, parent


def read_labelled_list(
    paths: Sequence[InputPath],
    num_classes: Sequence[int],
    *,
    tail_verbs: InputPath | None = None,
    tail_nouns: InputPath | None = None,
    unseen: InputPath | None = None,
    training: InputPath | None = None,
) -> LabelledList:
    """The lists `paths` (EPIC-KITCHENS-100 or -55, by their columns) and the tables next to them.

    num_classes: verbs and nouns of the scores. Tables without a path are found by their public
    names. Raises: UserError that names the option `--annotations`.
    """
    segments, epic_100 = read_listed_segments(paths, num_classes, labelled=True)
    folder = parent(paths[0])
    return LabelledList(
        name=", ".join(map(str, paths)),
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
    paths: Sequence[InputPath], num_classes: Sequence[int], labelled: bool
) -> tuple[list[Segment], bool]:
    """The segments of the lists, and whether the lists are those of EPIC-KITCHENS-100.

    Raises: UserError that names the option `--annotations` instead of config keys.
    """
    files = [local_path(path, "--annotations") for path in paths]
    try:
        table = read_table(files[0])
        epic_100 = ID_COLUMN_100 in (*table.columns, table.index.name)
        segments = read_segments_of(
            files, epic_100=epic_100, num_classes=num_classes, labelled=labelled
        )
    except UserError as error:
        # The text after the semicolon names config keys, which these commands do not have.
        reason = str(error).split(";")[0].split(": set it to ")[0]
        for key in ("MODEL.NUM_CLASSES_LIST", "of MODEL.NUM_CLASSES_LIST"):
            reason = reason.replace(key, "the predictions")
        kind = "the labelled list of the predictions" if labelled else "the test list"
        raise UserError(f"--annotations: {reason}; give {kind}") from None
    return segments, epic_100
