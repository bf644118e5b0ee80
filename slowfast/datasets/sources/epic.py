"""EPIC-KITCHENS-55 and -100 (ego): the data set `epickitchen` from its config."""

from __future__ import annotations

import logging
from pathlib import Path

from fvcore.common.config import CfgNode

from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.from_cfg import (
    device_transform,
    geometry,
    resize_on_device,
    test_views,
)
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.utils.seeding import Stream

logger = logging.getLogger(__name__)


@DATASET_REGISTRY.register()
def epickitchen(cfg: CfgNode, split: str) -> SegmentDataset:
    """The segments of the split's frame list. Raises: UserError for bad lists or folders."""
    lists = {
        "train": cfg.TRAIN.TRAIN_DATA_LIST,
        "val": cfg.TRAIN.VAL_DATA_LIST,
        "test": cfg.TEST.DATA_LIST,
    }
    path = Path(cfg.DATA.PATH_TO_DATA_DIR) / lists[split]
    segments = read_segments(
        path,
        epic_100=cfg.DATA.EPIC_100,
        num_classes=cfg.MODEL.NUM_CLASSES_LIST,
        labelled=split != "test",
    )
    logger.info("%s: %d segments from %s", split, len(segments), path)
    frames = VideoStore(
        [cfg.DATA.PATH_PREFIX, *cfg.DATA.FALLBACK_PATH_PREFIXES],
        make_decoder(cfg.DATA.DECODER),
        frame_offset=cfg.DATA.FRAME_INDEX_OFFSET,
        number_fps=annotated_fps,
        retries=Retries(cfg.DATA.RETRIES),
        bad_frames=BadFrames(cfg.DATA.ON_BAD_FRAME, f"epickitchen {split}"),
    )
    frames.check(segments)
    return SegmentDataset(
        segments,
        split,
        frames=frames,
        sampling=ClipSampling(cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE),
        geometry=geometry(cfg),
        views=test_views(cfg),
        num_classes=cfg.MODEL.NUM_CLASSES_LIST,
        transform=device_transform(cfg, cfg.DATA.CHANNEL_ORDER),
        seed=cfg.RNG_SEED,
        stream=Stream.EGO,
        resize_on_device=resize_on_device(cfg),
    )


def annotated_fps(video_id: str) -> float:
    """Rate at which frame numbers count: 50 in the extension (Pxx_1yy), 60 in EPIC-55's videos."""
    return 50.0 if len(video_id.split("_")[-1]) == 3 else 60.0
