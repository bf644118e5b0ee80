"""EPIC-KITCHENS-55 and -100 (ego): the data set `epickitchen`."""

from __future__ import annotations

import logging

from slowfast.config.heads import ego_heads
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.pairing.label_map import ClassNamesMissing, ClassTable, read_class_table
from slowfast.datasets.registry import DataSource, list_names, register_source
from slowfast.datasets.sources.epic_annotations import read_segments_of
from slowfast.datasets.sources.frame_lists import list_paths
from slowfast.datasets.types import Annotations
from slowfast.utils.paths import InputPath, join, optional_path

logger = logging.getLogger(__name__)


@register_source("epickitchen", views=("ego",), heads=("verb", "noun"))
class EpicKitchens(DataSource):
    """The segments of the split's frame list, with one verb and one noun each."""

    # Of EPIC-KITCHENS-55; the extension has 50.
    frame_rate = 60.0

    def annotations(self) -> Annotations:
        cfg = self.cfg
        paths = list_paths(cfg.DATA.PATH_TO_DATA_DIR, list_names(cfg, self.split))
        segments = read_segments_of(
            paths,
            epic_100=cfg.DATA.EPIC_100,
            num_classes=[head.num_classes for head in ego_heads(cfg)],
            labelled=self.split != "test",
        )
        logger.info(
            "%s: %d segments from %s", self.split, len(segments), ", ".join(map(str, paths))
        )
        return Annotations(segments)

    def frames(self, annotations: Annotations) -> VideoStore:
        data = self.cfg.DATA
        return VideoStore(
            [data.PATH_PREFIX, *data.FALLBACK_PATH_PREFIXES],
            make_decoder(data.DECODER),
            frame_offset=data.FRAME_INDEX_OFFSET,
            number_fps=annotated_fps,
            retries=Retries(data.RETRIES),
            bad_frames=BadFrames(data.ON_BAD_FRAME, f"epickitchen {self.split}"),
        )

    def class_tables(self) -> tuple[ClassTable, ...]:
        folder = self.cfg.DATA.PATH_TO_DATA_DIR
        paths = class_table_paths(folder, self.cfg.DATA.EPIC_100)
        for path in paths:
            if optional_path(path, "DATA.PATH_TO_DATA_DIR") is None:
                raise ClassNamesMissing(
                    f"{path} does not exist; link EPIC's class tables into DATA.PATH_TO_DATA_DIR"
                )
        return tuple(read_class_table(path) for path in paths)


def class_table_paths(folder: InputPath, epic_100: bool) -> tuple[InputPath, InputPath]:
    """The verb and the noun table as EPIC-KITCHENS publishes them."""
    prefix = "EPIC_100" if epic_100 else "EPIC"
    return join(folder, f"{prefix}_verb_classes.csv"), join(folder, f"{prefix}_noun_classes.csv")


def annotated_fps(video_id: str) -> float:
    """Rate at which frame numbers count: 50 in the extension (Pxx_1yy), 60 in EPIC-55's videos."""
    return 50.0 if len(video_id.split("_")[-1]) == 3 else 60.0
