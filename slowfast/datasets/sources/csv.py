"""Videos of your own, listed in CSV files (ego or exo): the data set `csv`.

The heads of the config (HEAD_NAMES) name the columns of labels. Segments in seconds, and whole
videos of such lists, are numbered at TARGET_FPS; segments in frames count the frames of the video.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.heads import heads_of
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.pairing.label_map import ClassNamesMissing, ClassTable
from slowfast.datasets.registry import DataSource, list_names, register_source
from slowfast.datasets.sources.csv_classes import ClassNames, names_in, read_class_names
from slowfast.datasets.sources.csv_list import Row, VideoList, read_video_lists
from slowfast.datasets.sources.listed_videos import ListedVideos
from slowfast.datasets.types import Annotations, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.paths import join
from slowfast.utils.progress import progress_line

logger = logging.getLogger(__name__)

# Tolerance for rounded times, as a share of a frame.
_ROUNDING = 1e-3


class _Keys(NamedTuple):
    """Config keys of a view: lists by split, heads, root of the videos."""

    section: str
    lists: Mapping[str, str]
    heads: str
    root: str


_KEYS = {
    "ego": _Keys(
        "DATA",
        {
            "train": "TRAIN.TRAIN_DATA_LIST",
            "val": "TRAIN.VAL_DATA_LIST",
            "test": "TEST.DATA_LIST",
        },
        "MODEL",
        "DATA.PATH_PREFIX or DATA.FALLBACK_PATH_PREFIXES",
    ),
    "exo": _Keys(
        "EXO", dict.fromkeys(("train", "val", "test"), "EXO.DATA_LIST"), "EXO", "EXO.PATH_PREFIX"
    ),
}


@register_source("csv", views=("ego", "exo"))
class Csv(DataSource):
    """The rows of a list, or those of the split if it has a column `split`."""

    def __init__(self, cfg: CfgNode, split: str, view: str) -> None:
        super().__init__(cfg, split, view)
        self._keys = _KEYS[view]
        self._data = cfg[self._keys.section]
        self._heads = tuple(head.name for head in heads_of(cfg, view))
        self._lists: dict[str, VideoList] = {}

    def annotations(self) -> Annotations:
        listed = self._list(self.split)
        rows = self._rows(listed)
        classes = self._classes
        self._check_counts(classes)
        ids = classes.ids(rows)
        store = self._store(listed)
        whole = sum(row.start is None for row in rows)
        segments = []
        with progress_line("measuring", whole, "videos") as line:
            for row, labels in zip(rows, ids, strict=True):
                segments.append(self._segment(row, labels, listed.in_frames, store))
                line.advance(1 if row.start is None else 0)
        logger.info("%s %s: %d segments from %s", self.view, self.split, len(segments), listed.path)
        self._log_unlabelled(ids)
        return Annotations(segments, classes.names)

    def frames(self, annotations: Annotations) -> ListedVideos:
        return self._store(self._list(self.split))

    def write_down(self, folder: Path) -> None:
        if self._heads:
            self._classes.write(folder / f"classes_{self.view}.csv")

    def class_tables(self) -> tuple[ClassTable, ...]:
        if not self._heads:
            raise ClassNamesMissing(f"{self._keys.heads}.HEAD_NAMES is []")
        return self._classes.tables()

    @cached_property
    def _classes(self) -> ClassNames:
        key = f"{self._keys.section}.CLASS_NAMES"
        data, exo = self.cfg.DATA, self.cfg.EXO
        if name := exo.CLASS_NAMES if self.view == "exo" else data.CLASS_NAMES:
            path = join(self._data.PATH_TO_DATA_DIR, name)
            return read_class_names(path, key, self._heads)
        written = Path(self.cfg.OUTPUT_DIR, f"classes_{self.view}.csv")
        if written.is_file():
            return read_class_names(written, f"{key}, or OUTPUT_DIR to a new folder", self._heads)
        # One list may serve both splits.
        lists = {self._keys.lists[split]: self._list(split) for split in ("train", "val")}
        paths = dict.fromkeys(str(listed.path) for listed in lists.values())
        rows = [row for listed in lists.values() for row in listed.rows]
        return names_in(rows, self._heads, " and ".join(paths))

    def _list(self, split: str) -> VideoList:
        key = self._keys.lists[split]
        if split not in self._lists:
            self._lists[split] = read_video_lists(
                self._data.PATH_TO_DATA_DIR,
                self._list_names(split),
                key,
                self._heads,
                f"{self._keys.heads}.HEAD_NAMES",
                labelled=split != "test",
            )
        return self._lists[split]

    def _list_names(self, split: str) -> str:
        return str(self.cfg.EXO.DATA_LIST) if self.view == "exo" else list_names(self.cfg, split)

    def _rows(self, listed: VideoList) -> list[Row]:
        split = self.split
        if self.view == "exo" and split == "test":
            split = self.cfg.TEST.EXO_SPLIT
        rows = [row for row in listed.rows if row.split in ("", split)]
        if not rows and self.view == "ego" and split == "test":
            rows = [row for row in listed.rows if row.split == "val"]
            logger.info("%s has no row with split test: testing the rows of val", listed.path)
        if not rows:
            raise UserError(
                f"{listed.path} has no row with split {split}; write it into the column `split`,"
                f" or set {self._keys.lists[self.split]}"
            )
        return rows

    def _check_counts(self, classes: ClassNames) -> None:
        counts = [head.num_classes for head in heads_of(self.cfg, self.view)]
        if counts == classes.counts:
            return
        key = f"{self._keys.heads}.NUM_CLASSES_LIST"
        found = str(classes.counts).replace(" ", "")
        empty = [h for h, count in zip(self._heads, classes.counts, strict=True) if not count]
        if empty:
            raise UserError(
                f"{classes.origin}: the column {empty[0]} has no label; remove it from"
                f" {self._keys.heads}.HEAD_NAMES and {key}, or name the classes in"
                f" {self._keys.section}.CLASS_NAMES"
            )
        raise UserError(
            f"{classes.origin}: the columns {', '.join(self._heads)} have {found} classes, but"
            f" {key} is {counts}; set {key} {found}"
        )

    def _segment(
        self, row: Row, labels: tuple[tuple[int, ...], ...], in_frames: bool, store: ListedVideos
    ) -> Segment:
        for head, ids in zip(heads_of(self.cfg, self.view), labels, strict=True):
            if len(ids) > 1 and not head.multi_label:
                raise UserError(
                    f"{row.where} has {len(ids)} labels of {head.name}, which takes one; keep one,"
                    " or set MODEL.LOSS_FUNC bce_logit"
                )
        narration = row.narration or " ".join(name.strip() for n in row.labels for name in n)
        segment = Segment(row.segment_id, row.video, row.participant, 1, 1, narration, labels)
        start, stop = self._span(row, segment, in_frames, store)
        return Segment(row.segment_id, row.video, row.participant, start, stop, narration, labels)

    def _span(
        self, row: Row, segment: Segment, in_frames: bool, store: ListedVideos
    ) -> tuple[int, int]:
        """First and last frame number, both included."""
        if row.start is None or row.stop is None:
            try:
                return store.frame_range(segment)
            except UserError:
                return 1, 1  # `check` of the store reports the video
        if in_frames:
            return int(row.start), int(row.stop)
        fps = self._data.TARGET_FPS
        first = math.floor(row.start * fps + _ROUNDING) + 1
        return first, max(first, math.ceil(row.stop * fps - _ROUNDING))

    def _store(self, listed: VideoList) -> ListedVideos:
        data, own = self.cfg.DATA, self._data
        is_exo = self.view == "exo"
        roots = [own.PATH_PREFIX or own.PATH_TO_DATA_DIR]
        return ListedVideos(
            [*roots, *([] if is_exo else data.FALLBACK_PATH_PREFIXES)],
            make_decoder(data.DECODER),
            lines={row.segment_id: row.where for row in listed.rows},
            frame_offset=0 if is_exo else data.FRAME_INDEX_OFFSET,
            fps=None if listed.in_frames else float(own.TARGET_FPS),
            retries=Retries(data.RETRIES),
            bad_frames=BadFrames(data.ON_BAD_FRAME, f"csv {self.view} {self.split}"),
            root_keys=self._keys.root,
        )

    def _log_unlabelled(self, ids: Sequence[tuple[tuple[int, ...], ...]]) -> None:
        what = f"{self.view} {self.split}"
        if not self._heads:
            logger.info(
                "%s: no labels (%s.HEAD_NAMES []), so classification is off", what, self._keys.heads
            )
        for position, head in enumerate(self._heads):
            if not any(labels[position] for labels in ids):
                logger.info("%s: no segment has a %s, so its loss is 0", what, head)
