"""Presentation times of a video's frames as its container states them, without decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

# Flags of an entry of a container's index.
_KEY, _DISCARD = 1, 2
# Packets at the beginning that must have the times computed from the index.
_PROBED_PACKETS = 8
_OFFSETS = np.dtype([("count", ">u4"), ("offset", ">i4")])


class StatedTimes(NamedTuple):
    """Times in units of the stream, ascending, each once.

    shown: of the frames that a player shows. keys: of the key frames, where decoding can start; an
    edit list may hide some of them. cut: frames whose data is missing from the file.
    """

    shown: list[int]
    keys: list[int]
    cut: int = 0

    @staticmethod
    def of(shown: Iterator[int], keys: Iterator[int], cut: int = 0) -> StatedTimes:
        return StatedTimes(sorted(set(shown)), sorted(set(keys)), cut)


def times_of_packets(container: Any, stream: Any) -> StatedTimes:
    """Times of all packets. Reads the whole file."""
    packets = [
        (packet.pts, packet.is_keyframe, packet.is_discard)
        for packet in container.demux(stream)
        if packet.pts is not None
    ]
    # The first shown frames may start from a key frame that an edit list hides.
    return StatedTimes.of(
        (time for time, _, hidden in packets if not hidden),
        (time for time, key, _ in packets if key),
    )


def times_of_index(path: Path, container: Any, stream: Any, samples: Any) -> StatedTimes | None:
    """Times from the index in the header of an mp4 file; None if the index is incomplete.

    samples: the same stream opened with edit lists ignored, whose index has one entry per frame in
        the file, in order.

    Raises: ValueError for an index with more frames than the file has bytes.
    """
    size = path.stat().st_size
    if max(len(stream.index_entries), len(samples.index_entries), stream.frames) > size:
        raise ValueError(f"its index lists more frames than the file has bytes ({size})")
    if stream.frames == 0 or len(samples.index_entries) != stream.frames:
        return None  # A fragmented file: its header has no index, or an incomplete one.
    offsets = _offset_by_place(path, stream, samples)
    entries = list(stream.index_entries)
    if offsets is None or any(entry.pos not in offsets for entry in entries):
        return None
    times = [entry.timestamp + offsets[entry.pos] for entry in entries]
    # An edit list may move all frames by a constant.
    packets = islice((p for p in container.demux(stream) if p.pts is not None), _PROBED_PACKETS)
    moves = {packet.pts - time for packet, time in zip(packets, times, strict=False)}
    if len(moves) != 1:
        return None
    move = moves.pop()
    whole = [(t + move, e.flags) for t, e in zip(times, entries, strict=True) if _end(e) <= size]
    return StatedTimes.of(
        (time for time, flags in whole if not flags & _DISCARD),
        (time for time, flags in whole if flags & _KEY),
        len(entries) - len(whole),
    )


def _end(entry: Any) -> int:
    return int(entry.pos + entry.size)


def _offset_by_place(path: Path, stream: Any, samples: Any) -> dict[int, int] | None:
    """Presentation minus decoding time of every frame, by its place in the file (byte)."""
    places = [entry.pos for entry in samples.index_entries]
    offsets = _composition_offsets(path, stream.id, len(places))
    if offsets is None or len(set(places)) != len(places):
        return None
    return dict(zip(places, offsets.tolist(), strict=True))


def _composition_offsets(path: Path, track: int, frames: int) -> np.ndarray | None:
    """(frames,) int64: the offsets of one track of an mp4 file, from the table `ctts`.

    Zeros for a track without the table; None without such a track, or where the table has another
    number of frames.
    """
    with path.open("rb") as file:
        movie = _movie_box(file, path.stat().st_size)
    for kind, content in _boxes(movie):
        if kind == b"trak" and _track_id(content) == track:
            table = _descend(content, b"mdia", b"minf", b"stbl", b"ctts")
            return np.zeros(frames, np.int64) if table is None else _expanded(table, frames)
    return None


def _movie_box(file: IO[bytes], size: int) -> memoryview:
    """The content of the box `moov`, which may be at the end of the file; empty without it."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        box = _box(memoryview(file.read(16)), size - start)
        if box is None:
            break
        kind, header, length = box
        if kind == b"moov":
            file.seek(start + header)
            return memoryview(file.read(length - header))
        start += length
    return memoryview(b"")


def _box(data: memoryview, left: int) -> tuple[bytes, int, int] | None:
    """(kind, bytes of the header, bytes in all) of the box that begins here; None for none.

    left: bytes from here to the end of the parent box, which bounds a box that claims more.
    """
    if len(data) < 8:
        return None
    length, kind = struct.unpack_from(">I4s", data)
    header = 8
    if length == 1 and len(data) >= 16:
        header, (length,) = 16, struct.unpack_from(">Q", data, 8)
    elif length == 0:
        length = left
    return (kind, header, min(length, left)) if length >= header else None


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    while (box := _box(data, len(data))) is not None:
        kind, header, length = box
        yield kind, data[header:length]
        data = data[length:]


def _descend(data: memoryview, *kinds: bytes) -> memoryview | None:
    """The content of the box that these kinds lead to, one inside the other."""
    for kind in kinds:
        found = next((content for name, content in _boxes(data) if name == kind), None)
        if found is None:
            return None
        data = found
    return data


def _track_id(track: memoryview) -> int | None:
    header = _descend(track, b"tkhd")
    if header is None or len(header) < 24:
        return None
    # Version 1 starts with times of 8 bytes.
    return int(struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)[0])


def _expanded(table: memoryview, frames: int) -> np.ndarray | None:
    """(frames,) int64 of runs (count, offset); None if their counts do not sum up to `frames`."""
    if len(table) < 8:
        return None
    (runs,) = struct.unpack_from(">I", table, 4)
    rows = np.frombuffer(table[8:], _OFFSETS, count=min(runs, (len(table) - 8) // 8))
    counts = rows["count"].astype(np.int64)
    if counts.sum() != frames:
        return None
    return np.repeat(rows["offset"].astype(np.int64), counts)
