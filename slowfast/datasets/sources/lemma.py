"""LEMMA (exo): the data set `lemma`, and the location of its frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from slowfast.config.heads import exo_heads
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import Decoder, ImageFiles, make_decoder
from slowfast.datasets.frames.missing import report_missing
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.registry import DataSource, register_source
from slowfast.datasets.sources.lemma_annotations import read_lemma
from slowfast.datasets.types import Annotations, ImageListAnnotations, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.paths import is_remote, join
from slowfast.utils.reading import reading

logger = logging.getLogger(__name__)


@register_source("lemma", views=("exo",), heads=("verb", "noun"))
class Lemma(DataSource):
    """The segments of a split file, with any number of verbs and nouns each.

    In a test TEST.EXO_SPLIT names the split.
    """

    def annotations(self) -> ImageListAnnotations:
        exo = self.cfg.EXO
        annotations = read_lemma(
            join(exo.PATH_TO_DATA_DIR, "annotations"),
            self.cfg.TEST.EXO_SPLIT if self.split == "test" else self.split,
            view=exo.VIEW,
            segments_view=exo.SEGMENTS_VIEW,
            video_type=exo.VIDEO_TYPE,
            num_classes=[head.num_classes for head in exo_heads(self.cfg)],
        )
        count, folder = len(annotations.segments), exo.PATH_TO_DATA_DIR
        logger.info("%s: %d segments from %s", self.split, count, folder)
        return annotations

    def frames(self, annotations: Annotations) -> LemmaFrames:
        assert isinstance(annotations, ImageListAnnotations)
        data, exo = self.cfg.DATA, self.cfg.EXO
        root = exo.PATH_PREFIX or exo.PATH_TO_DATA_DIR
        if is_remote(root):
            raise UserError(
                f"EXO.PATH_TO_DATA_DIR is {root}, but frames are read from local folders; set "
                "EXO.PATH_PREFIX to the folder of the images"
            )
        return LemmaFrames(
            annotations.image_paths,
            root,
            make_decoder(data.DECODER),
            retries=Retries(data.RETRIES),
            bad_frames=BadFrames(data.ON_BAD_FRAME, f"lemma {self.split}"),
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
            name = f"video {segment.video_id} (segment {segment.segment_id})"
            try:
                with reading(files[start], f"a frame of {name}", "check its permissions"):
                    found = any(Path(files[number]).is_file() for number in range(start, enough))
                if not found:
                    raise UserError(
                        f"{name} has no frame {files[start]}; link the images there, or set "
                        "EXO.PATH_PREFIX"
                    )
            except UserError as error:
                missing[segment.video_id] = error
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
