"""Files of named arrays (.npz) with a header; an incomplete or altered file is refused.

The header is JSON in the array `header`. It names every array of the file with its SHA-256, and
has its own, so that a missing, renamed or altered array is noticed. The types of arrays are
chosen from a list, never parsed from text of the file.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically
from slowfast.utils.limits import Budget, allowed_bytes
from slowfast.utils.reading import reading, require_file
from slowfast.utils.safe_pickle.values import array_of, dtype_of

_T = TypeVar("_T")

_HEADER, _ARRAYS, _DIGEST = "header", "arrays", "digest"
_MAGIC = b"\x93NUMPY"
# Versions of .npy and the format of the length of their header.
_LENGTHS = {1: "<H", 2: "<I", 3: "<I"}


class ArrayFile:
    """An open file of arrays. header: as it was written, without digests.

    is_sealed: the file has digests; files of earlier versions have none.
    """

    def __init__(self, archive: zipfile.ZipFile, *, needs_header: bool = True) -> None:
        self._archive = archive
        self._members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if len(self._members) < len(archive.namelist()):
            raise ValueError("an array occurs twice")
        is_headless = not needs_header and _HEADER not in self._members
        header = {} if is_headless else json.loads(str(self._array(_HEADER).item()))
        if not isinstance(header, dict):
            raise ValueError("its header is not an object")
        digest = header.pop(_DIGEST, None)
        self.is_sealed = digest is not None
        if self.is_sealed and digest != _json_digest(header):
            raise ValueError("its header is damaged: the digest differs")
        self._digests: dict[str, str] = header.pop(_ARRAYS, {})
        self.header: dict[str, Any] = header
        self.names = sorted(self._members.keys() - {_HEADER})
        if self.is_sealed and self.names != sorted(self._digests):
            raise ValueError(f"it has the arrays {self.names} instead of {sorted(self._digests)}")

    def __getitem__(self, name: str) -> NDArray:
        """An array. Raises: ValueError if it is missing or altered."""
        array = self._array(name)
        if self.is_sealed and _array_digest(array) != self._digests[name]:
            raise ValueError(f"its array {name} is damaged: the digest differs")
        return array

    def _array(self, name: str) -> NDArray:
        if name not in self._members:
            raise ValueError(f"it has no array {name}")
        return _parsed(self._archive.read(self._members[name]))


def read_arrays(
    path: Path,
    what: str,
    fix: str,
    take: Callable[[ArrayFile], _T],
    *,
    needs_header: bool = True,
) -> _T:
    """Call `take` with the open file and return its result.

    what, fix: for errors, for example "a pair table" and how to get another one.
    needs_header: False also takes files of other programs, which have no header and no digests.
    Raises: UserError for a file that is missing, damaged, or too large for its size.
    """
    require_file(path, what, fix)
    with reading(path, what, fix):
        try:
            with zipfile.ZipFile(path) as archive:
                claimed = sum(member.file_size for member in archive.infolist())
                Budget(allowed_bytes(path.stat().st_size)).take(claimed)
                return take(ArrayFile(archive, needs_header=needs_header))
        except ValueError as error:
            raise UserError(f"{path} is not {what} ({error}); {fix}") from error


def write_arrays(
    path: Path,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray],
    compressed: bool = False,
) -> None:
    """Write arrays and header, whole or not at all. Raises: OSError if it cannot be written."""
    content = {**header, _ARRAYS: {name: _array_digest(array) for name, array in arrays.items()}}
    content[_DIGEST] = _json_digest(content)
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez

    def write(file: IO[bytes]) -> None:
        save(file, **{_HEADER: np.array(json.dumps(content)), **arrays})

    write_atomically(path, write)


def _json_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _array_digest(array: NDArray) -> str:
    hashed = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def _parsed(data: bytes) -> NDArray:
    """The array of a .npy file. Raises: ValueError and other errors for any other file."""
    file = io.BytesIO(data)
    if file.read(6) != _MAGIC:
        raise ValueError("a member is not a .npy file")
    length = _LENGTHS[file.read(2)[0]]
    (size,) = struct.unpack(length, file.read(struct.calcsize(length)))
    header = ast.literal_eval(file.read(size).decode("latin1").strip())
    dtype, shape = dtype_of(header["descr"]), header["shape"]
    if dtype.hasobject or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array of objects, or without a shape")
    return array_of(file.read(), dtype, shape, "F" if header["fortran_order"] else "C")
