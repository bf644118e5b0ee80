"""EGTEA Gaze+ (ego): the data set `egtea`.

Its action splits are published in two forms, which the suffix of the list tells apart: `.txt`, the
official one, and `.csv`, that of RU-LSTM. They count classes and frames differently.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.heads import ego_heads
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.pairing.label_map import ClassTable
from slowfast.datasets.registry import DataSource, list_names, register_source
from slowfast.datasets.sources import egtea_official, egtea_rulstm
from slowfast.datasets.sources.timed_videos import video_store
from slowfast.datasets.types import Annotations, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, join

logger = logging.getLogger(__name__)

# Kinds of labels that every segment has, in order.
HEADS = ("verb", "noun", "action")

# The classes of HEADS, in their order.
Tables = tuple[ClassTable, ClassTable, ClassTable]


class _Form(NamedTuple):
    """A published form of the splits.

    frame_rate: frames per second that frame numbers count.
    read_tables: (folder) -> its classes.
    read_segments: (list, classes) -> segments with labels for all HEADS.
    """

    frame_rate: float
    read_tables: Callable[[InputPath], Tables]
    read_segments: Callable[[InputPath, Tables], list[Segment]]


_OFFICIAL = _Form(24.0, egtea_official.read_tables, egtea_official.read_segments)
_RULSTM = _Form(30.0, egtea_rulstm.read_tables, egtea_rulstm.read_segments)


@register_source("egtea", views=("ego",))
class Egtea(DataSource):
    """The segments of the split's list; MODEL.HEAD_NAMES selects among verb, noun and action.

    A clip with several nouns is trained and scored on the first one.
    """

    def __init__(self, cfg: CfgNode, split: str, view: str) -> None:
        super().__init__(cfg, split, view)
        self._list = list_names(cfg, split)
        self._form = _OFFICIAL if self._list.endswith(".txt") else _RULSTM
        self.frame_rate = self._form.frame_rate

    def annotations(self) -> Annotations:
        path = join(self.cfg.DATA.PATH_TO_DATA_DIR, self._list)
        chosen = self._chosen()
        segments = [
            replace(segment, labels=tuple(segment.labels[kind] for kind in chosen))
            for segment in self._form.read_segments(path, self._tables())
        ]
        logger.info("%s: %d segments from %s", self.split, len(segments), path)
        return Annotations(segments)

    def frames(self, annotations: Annotations) -> VideoStore:
        name = f"egtea {self.split}"
        return video_store(self.cfg, self.view, self._form.frame_rate, name)

    def class_tables(self) -> tuple[ClassTable, ...]:
        tables = self._tables()
        return tuple(tables[kind] for kind in self._chosen())

    def _tables(self) -> Tables:
        return self._form.read_tables(self.cfg.DATA.PATH_TO_DATA_DIR)

    def _chosen(self) -> list[int]:
        """Positions in HEADS of the heads of the config."""
        names = [head.name for head in ego_heads(self.cfg)]
        unknown = [name for name in names if name not in HEADS]
        if unknown:
            raise UserError(
                f"MODEL.HEAD_NAMES has {unknown[0]}, but EGTEA Gaze+ is labelled with "
                f"{', '.join(HEADS)}; name some of these"
            )
        return [HEADS.index(name) for name in names]
