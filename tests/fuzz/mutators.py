"""Ways to damage a file: bits, cuts, splices, sizes in headers, odd text, members of archives."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Sequence

_NUMBERS = (
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    1 << 25,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
)
_TEXTS = (
    *(b"nan", b"inf", b"-1", b"1e300", b"1e400", b"99999999999999999999", b"0x10", b"null", b"{}"),
    *(b"[]", b"\x00", b"\xff\xfe", b"\xe9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"'),
    *(b"'", b",", b";", b":", b"*a", b"&a ", b"- ", b"[" * 3000, b"-" * 20000, b'{"a":' * 3000),
    *(b"7" * 5000, b"a" * 140_000, b"\x1b[31m", b"../../x", b"~nouser/x", b"{checkpoint:" * 500),
)


def mutated(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the files with a few changes."""
    data = draw.choice(seeds)
    if data.startswith(b"PK\x03\x04") and draw.random() < 0.6:
        return _member_changed(draw, data)
    return _changed(draw, data, draw.choice(seeds))


def _changed(draw: random.Random, data: bytes, other: bytes) -> bytes:
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = draw.choice(_CHANGES)(draw, data, other) if data else data
    return data


def _place(draw: random.Random, data: bytes) -> int:
    """A position, often near one of the ends, where headers and directories are."""
    size = len(data)
    return draw.choice(
        (
            draw.randrange(size),
            draw.randrange(min(size, 128)),
            size - 1 - draw.randrange(min(size, 256)),
        )
    )


def _flip(draw: random.Random, data: bytes, _: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def _set(draw: random.Random, data: bytes, _: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


def _number(draw: random.Random, data: bytes, _: bytes) -> bytes:
    at, size = _place(draw, data), draw.choice((1, 2, 4, 8))
    number = draw.choice(_NUMBERS) & (1 << 8 * size) - 1
    written = number.to_bytes(size, draw.choice(("little", "big")))
    return data[:at] + written + data[at + size :]


def _text(draw: random.Random, data: bytes, _: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + draw.choice(_TEXTS) + data[at + draw.choice((0, 0, 1, 3)) :]


def _digits(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Another number in place of a run of digits."""
    places = (
        [at for at in range(len(data)) if data[at : at + 1].isdigit()]
        if len(data) < 1 << 16
        else []
    )
    if not places:
        return data
    start = end = draw.choice(places)
    while end < len(data) and data[end : end + 1].isdigit():
        end += 1
    return data[:start] + draw.choice(_TEXTS[:7]) + data[end:]


def _cut(draw: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: _place(draw, data)]


def _removed(draw: random.Random, data: bytes, _: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + data[at + draw.randint(1, 64) :]


def _repeated(draw: random.Random, data: bytes, _: bytes) -> bytes:
    at, size = _place(draw, data), draw.randint(1, 256)
    return data[: at + size] + data[at : at + size] * draw.choice((1, 1, 2, 50)) + data[at + size :]


def _spliced(draw: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(draw, data)] + other[_place(draw, other) if other else 0 :]


_CHANGES = (
    _flip,
    _flip,
    _set,
    _number,
    _number,
    _text,
    _digits,
    _cut,
    _removed,
    _repeated,
    _spliced,
)


def _member_changed(draw: random.Random, data: bytes) -> bytes:
    """A zip with right checksums and one changed, renamed, missing or repeated member."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        kind = archive.infolist()[0].compress_type
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = draw.randrange(len(members))
    name, content = members[at]
    change = draw.random()
    if change < 0.7:
        members[at] = (name, _changed(draw, content, draw.choice(members)[1]))
    elif change < 0.8:
        del members[at]
    elif change < 0.9:
        members[at] = (name[:-5] + draw.choice(("x", ".rows")) + name[-4:], content)
    else:
        members[at] = (name, draw.choice(members)[1])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()
