"""LEMMA (exo): the data set `lemma` from its config, and where its frames lie."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import Decoder, ImageFiles, make_decoder
from slowfast.datasets.frames.missing import report_missing
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.from_cfg import (
    device_transform,
    geometry,
    resize_on_device,
    test_views,
)
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.sources import lemma_annotations
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream

logger = logging.getLogger(__name__)


@DATASET_REGISTRY.register()
def lemma(cfg: CfgNode, split: str) -> SegmentDataset:
    """The segments of a split, with multi-label verbs and nouns.

    Raises: UserError for bad annotations or missing frames.
    """
    annotations = lemma_annotations.lemma(cfg, cfg.TEST.EXO_SPLIT if split == "test" else split)
    root = cfg.EXO.PATH_PREFIX or cfg.EXO.PATH_TO_DATA_DIR
    logger.info(
        "%s: %d segments from %s", split, len(annotations.segments), cfg.EXO.PATH_TO_DATA_DIR
    )
    frames = LemmaFrames(
        annotations.image_paths,
        root,
        make_decoder(cfg.DATA.DECODER),
        retries=Retries(cfg.DATA.RETRIES),
        bad_frames=BadFrames(cfg.DATA.ON_BAD_FRAME, f"lemma {split}"),
    )
    frames.check(annotations.segments)
    return SegmentDataset(
        annotations.segments,
        split,
        frames=frames,
        sampling=ClipSampling(
            cfg.EXO.NUM_FRAMES, cfg.EXO.SAMPLING_RATE, position=cfg.EXO.CLIP_POSITION
        ),
        geometry=geometry(cfg),
        views=test_views(cfg),
        num_classes=cfg.EXO.NUM_CLASSES_LIST,
        transform=device_transform(cfg, cfg.EXO.CHANNEL_ORDER),
        seed=cfg.RNG_SEED,
        stream=Stream.EXO,
        multi_label=True,
        lighting_std=cfg.EXO.LIGHTING_STD,
        random_in_validation=cfg.EXO.RANDOM_IN_VALIDATION,
        resize_on_device=resize_on_device(cfg),
    )


class LemmaFrames:
    """Image files as the annotations name them, below one folder.

    image_paths: video -> (frames,) bytes, relative paths in the order of the frames.
    retries, bad_frames: as in VideoStore.
    """

    def __init__(
        self,
        image_paths: dict[str, np.ndarray],
        root: str,
        decode: Decoder,
        *,
        retries: Retries | None = None,
        bad_frames: BadFrames | None = None,
    ) -> None:
        self._image_paths = image_paths
        self._root = root
        self._decode = decode
        self._retries = retries
        self.bad_frames = bad_frames or BadFrames()

    def open(self, segment: Segment) -> ImageFiles:
        """The frames of the segment's video; a frame number is a position in the video."""
        return ImageFiles(
            self._files(segment), segment, self._decode, self._retries, self.bad_frames
        )

    def check(self, segments: Sequence[Segment]) -> None:
        """Look for one frame of every video. Raises: UserError naming the videos without it."""
        by_video = {segment.video_id: segment for segment in segments}
        missing: dict[str, UserError] = {}
        for segment in by_video.values():
            start = segment.start_frame
            enough = segment.stop_frame + 1 if self.bad_frames.nearest else start + 1
            files = self._files(segment)
            if not any(Path(files[number]).is_file() for number in range(start, enough)):
                missing[segment.video_id] = UserError(
                    f"video {segment.video_id} (segment {segment.segment_id}) has no frame "
                    f"{files[start]}; "
                    "link the images there, or set EXO.PATH_PREFIX"
                )
        report_missing(missing, len(by_video))
        logger.info("frames of %d video(s) below %s", len(by_video), self._root)

    def _files(self, segment: Segment) -> _Paths:
        return _Paths(self._root, self._image_paths[segment.video_id])


class _Paths(Sequence[str]):
    """Relative paths (frames,) as paths below a folder, joined when asked for."""

    def __init__(self, root: str, relative: np.ndarray) -> None:
        self._root = root
        self._relative = relative

    def __len__(self) -> int:
        return len(self._relative)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return _Paths(self._root, self._relative[index])
        return f"{self._root}/{self._relative[index].decode()}"
