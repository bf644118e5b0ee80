"""Location of the videos of a data set: roots and layouts, searched once per video."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.clip_files import ChunkedVideo, ClipFolders, TrimmedClips
from slowfast.datasets.frames.found_instead import found_instead
from slowfast.datasets.frames.image_files import Decoder
from slowfast.datasets.frames.missing import report_missing
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.tar_folder import TarFolder, TarFrames
from slowfast.datasets.frames.video_file import VideoFile, VideoIndex, index_video
from slowfast.datasets.frames.video_folder import JpegFolder, VideoFolder
from slowfast.datasets.types import FrameSource, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.progress import progress_line
from slowfast.utils.reading import reading

logger = logging.getLogger(__name__)

# Paths below a root, in search order.
_FOLDERS = ("{participant}/{video}", "{participant}/rgb_frames/{video}", "{video}")
_FILES = ("{participant}/{video}", "{participant}/videos/{video}", "{video}")
VIDEO_SUFFIXES = tuple(
    suffix
    for name in ("mp4", "mkv", "webm", "avi", "mov", "m4v", "gif")
    for suffix in (f".{name}", f".{name.upper()}")
)
_CLIPS = ("{participant}/{video}", "{participant}", "{video}", "")
# Share of a frame by which a stated duration may exceed its frames.
_ROUNDING = 0.05
# Rate of frame numbers of a chunked video without an annotated one.
_CHUNK_FPS = 30.0

Place = VideoFolder | TarFolder | ChunkedVideo | TrimmedClips | Path


class VideoStore:
    """Videos of any supported form, below one or more roots.

    The forms, in search order: a folder of JPEG files, a tar of such a
    folder, a video file, a folder of chunks of a video file, one clip per segment. Each video or
    segment is searched once.

    roots: searched in order, for each form in the layouts above.
    frame_offset: added to frame numbers, which count from 1.
    number_fps: video name -> rate at which its frame numbers count; only for video files.
    retries: retries of failed reads; None: no retries.
    bad_frames: policy for frames that cannot be read; None: raise an error.
    root_keys: config keys of the roots, for errors.
    """

    def __init__(
        self,
        roots: Sequence[str],
        decode: Decoder,
        *,
        frame_offset: int = 0,
        number_fps: Callable[[str], float] | None = None,
        retries: Retries | None = None,
        bad_frames: BadFrames | None = None,
        root_keys: str = "DATA.PATH_PREFIX or DATA.FALLBACK_PATH_PREFIXES",
    ) -> None:
        self._root_keys = root_keys
        self._roots = [Path(root) for root in dict.fromkeys(roots) if root]
        self._decode = decode
        self._frame_offset = frame_offset
        self._number_fps = number_fps
        self._retries = retries or Retries()
        self.bad_frames = bad_frames or BadFrames()
        self._places: dict[str, tuple[str, Place]] = {}
        self._clip_folders = ClipFolders()
        self._indices: dict[Path, VideoIndex] = {}
        self._unreadable: set[str] = set()

    def open(self, segment: Segment) -> FrameSource:
        """The frames of the segment's video. Raises: UserError if there are none."""
        _, place = self._place(segment)
        if isinstance(place, VideoFolder):
            return JpegFolder(
                place,
                segment,
                self._decode,
                self._frame_offset,
                self._retries,
                self.bad_frames,
            )
        if isinstance(place, TarFolder):
            return TarFrames(place, segment, self._decode, self._frame_offset, self.bad_frames)
        first_number = 1 - self._frame_offset
        if isinstance(place, ChunkedVideo):
            fps = self._number_fps(segment.video_id) if self._number_fps else _CHUNK_FPS
            return place.open(segment, self._open_file, first_number, fps)
        if isinstance(place, TrimmedClips):
            return place.open(segment, self._open_file)
        return self._open_file(place, segment, first_number)

    def _open_file(self, path: Path, segment: Segment, first_number: float) -> VideoFile:
        """first_number: frame number at the file's first frame."""
        return VideoFile(
            self._index(path),
            segment,
            first_number=first_number,
            number_fps=self._number_fps(segment.video_id) if self._number_fps else None,
            retries=self._retries,
            bad_frames=self.bad_frames,
        )

    def _index(self, path: Path) -> VideoIndex:
        if path not in self._indices:
            self._indices[path] = index_video(path, self._retries)
        return self._indices[path]

    def check(self, segments: Sequence[Segment]) -> None:
        """Look for every video and log the number found in each layout.

        Whole video files are indexed, so that workers need not do it. Clips and chunks are indexed
        when they are first read.

        Raises: UserError naming the videos without frames, and the roots or what is wrong.
        """
        by_video = _by_video(segments)
        layouts: Counter[str] = Counter()
        missing: dict[str, UserError] = {}
        for video, own in by_video.items():
            try:
                layouts[self._place(*own)[0]] += 1
            except UserError as error:
                missing[video] = error
        # Large, and of no use to workers.
        self._clip_folders = ClipFolders()
        for segment in segments:
            _, place = self._places.get(segment.video_id, ("", None))
            if isinstance(place, TrimmedClips):
                try:
                    place.path(segment)
                except UserError as error:
                    missing[segment.segment_id] = error
        missing.update(self._index_whole_files(segments))
        report_missing(missing, len(by_video))
        for layout, count in layouts.items():
            logger.info("frames of %d video(s) in %s", count, layout)

    def _index_whole_files(self, segments: Sequence[Segment]) -> dict[str, UserError]:
        """Index the video files of the segments. Returns the errors by video."""
        found = {s.video_id: self._places.get(s.video_id, ("", None))[1] for s in segments}
        files = [(video, place) for video, place in found.items() if isinstance(place, Path)]
        errors: dict[str, UserError] = {}
        if not files:
            return errors
        with progress_line("indexing", len(files), "videos") as line:
            for video, path in files:
                try:
                    self._index(path)
                except UserError as error:
                    errors[video] = error
                line.advance(text=video)
        self._unreadable.update(errors)
        return errors

    def frame_range(self, segment: Segment) -> tuple[int, int]:
        """First and last frame number of the segment's video; a folder is listed for it.

        If the segment has a separate file, the numbers of that file. Raises: UserError if there is
        no video, or it cannot be read.
        """
        _, place = self._place(segment)
        if isinstance(place, (VideoFolder, TarFolder)):
            with reading(place.path, "a folder of frames", "check its links and permissions"):
                first, last = place.list_range()
            offset = self._frame_offset + place.numbering
            return first - offset, last - offset
        first_number: float = 1 - self._frame_offset
        fps = self._number_fps(segment.video_id) if self._number_fps else None
        start = 0.0
        if isinstance(place, ChunkedVideo):
            fps = fps or _CHUNK_FPS
            start, path = place.chunks[-1]
        elif isinstance(place, TrimmedClips):
            first_number, path = segment.start_frame, place.path(segment)
        else:
            path = place
        index = self._index(path)
        # Containers round times, so the end may be just above a multiple of the frame's duration.
        count = math.ceil((start + index.seconds) * fps - _ROUNDING) if fps else len(index.times)
        return int(first_number), int(first_number) + max(count, 1) - 1

    def faults(self, segments: Sequence[Segment]) -> Iterator[str]:
        """Faults in the frames of every existing video; lists every folder.

        One line per video: gaps in its files, segments that end after its last frame, a file that
        is not a readable video. For checks before a long run; nothing is decoded.
        """
        for video, own in _by_video(segments).items():
            try:
                _, place = self._place(*own)
            except UserError:
                continue  # `check` reports it
            if video in self._unreadable:
                continue
            if isinstance(place, (VideoFolder, TarFolder)):
                if fault := place.fault(own, self._frame_offset):
                    yield f"video {video}: {fault}"
                continue
            latest = max(own, key=lambda segment: segment.start_frame)
            try:
                self.open(latest)
            except UserError as error:
                yield str(error)

    def _place(self, *segments: Segment) -> tuple[str, Place]:
        """Layout and path of the segments' video; clips are found by any of the segments."""
        video = segments[0].video_id
        if video not in self._places:
            with reading(self._roots[0], "frames", "check its links and permissions"):
                self._places[video] = self._find(segments)
        return self._places[video]

    def _find(self, segments: Sequence[Segment]) -> tuple[str, Place]:
        segment = segments[0]
        names = {"participant": segment.participant_id, "video": segment.video_id}
        # Without a participant, "/VIDEO" would be a path from the root of the file system.
        folders, files, clips = (
            [t for t in templates if segment.participant_id or "{participant}" not in t]
            for templates in (_FOLDERS, _FILES, _CLIPS)
        )
        for root in self._roots:
            for template in folders:
                folder = VideoFolder.find(root / template.format(**names))
                if folder is not None:
                    numbered = f"{folder.prefix}*.jpg, numbered from {folder.numbering + 1}"
                    return f"{root}/{_shown(template)}/{numbered}", folder
        is_tar = segment.video_id.endswith(".tar")
        for root in self._roots:
            for template in folders:
                name = template.format(**names)
                tar = TarFolder.find(root / (name if is_tar else f"{name}.tar"))
                if tar is not None:
                    return f"{root}/{_shown(template)}{'' if is_tar else '.tar'}", tar
        has_suffix = segment.video_id.endswith(VIDEO_SUFFIXES)
        for root in self._roots:
            for template in files:
                # The name may have its suffix already.
                for suffix in ("", *VIDEO_SUFFIXES) if has_suffix else VIDEO_SUFFIXES:
                    file = root / (template.format(**names) + suffix)
                    if file.is_file():
                        return f"{root}/{_shown(template)}{suffix}", file
        for root in self._roots:
            for template in files:
                for suffix in ("", *VIDEO_SUFFIXES):
                    chunked = ChunkedVideo.find(root / (template.format(**names) + suffix))
                    if chunked is not None:
                        return f"{root}/{_shown(template)}{suffix}/SECOND.mp4", chunked
        for root in self._roots:
            for template in clips:
                folder_of_clips = root / template.format(**names)
                trimmed = self._clip_folders.find(folder_of_clips, segments, VIDEO_SUFFIXES)
                if trimmed is not None:
                    return f"{root}/{_shown(template)}/SEGMENT{trimmed.suffix}", trimmed
        places = [root / template.format(**names) for root in self._roots for template in folders]
        if instead := found_instead(places):
            raise UserError(
                f"video {segment.video_id} (segment {segment.segment_id}) has no frames: {instead}"
            )
        roots = ", ".join(str(root) for root in self._roots)
        searched = ", ".join(template.format(**names) for template in folders)
        raise UserError(
            f"video {segment.video_id} (segment {segment.segment_id}) has no folder of frames "
            f"below {roots} (searched for {searched}); link or extract it there, or set "
            f"{self._root_keys}"
        )


def _by_video(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    videos: dict[str, list[Segment]] = {}
    for segment in segments:
        videos.setdefault(segment.video_id, []).append(segment)
    return videos


def _shown(template: str) -> str:
    return template.format(participant="PARTICIPANT", video="VIDEO")
