"""Values in a file of torch.save (a zip), without running code or importing torch.

The archive has one pickle, `data.pkl`, and the bytes of every tensor in `data/KEY`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.utils.limits import Budget, allowed_bytes
from slowfast.utils.reading import reading, require_file
from slowfast.utils.safe_pickle.frames import frame_kind, value_makers
from slowfast.utils.safe_pickle.records import Record, parse_bytes, unusable
from slowfast.utils.safe_pickle.values import Values, array_of

_WHAT = "file of torch.save"
_FIX = "save it again as a .pkl of built-in types and numpy arrays"
_STORAGES = {
    **{"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8"},
    **{"IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1"},
}


def load_torch_values(path: Path) -> Any:
    """Load built-in types, numpy arrays, text arrays, and tensors as arrays.

    Raises: UserError for a missing, damaged or foreign file, or one with any other type.
    """
    require_file(path, f"a {_WHAT}", _FIX)
    with reading(path, f"a {_WHAT}", _FIX), zipfile.ZipFile(path) as archive:
        budget = Budget(allowed_bytes(path.stat().st_size))
        budget.take(sum(member.file_size for member in archive.infolist()))
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        parsed = parse_bytes(archive.read(name), _kind, path, _WHAT, _FIX)
        folder = name.removesuffix("data.pkl")

        def tensor(record: Record, values: Values) -> NDArray:
            return _tensor(record, archive, folder, values)

        try:
            makers = {**value_makers(), "_rebuild_tensor_v2": tensor}
            return Values(makers, budget=parsed.budget)(parsed.content)
        except Exception as error:  # a damaged record can raise almost anything
            raise unusable(path, error, _WHAT, _FIX) from error


def _kind(module: str, name: str) -> str | None:
    if module == "torch" and name in _STORAGES:
        return name
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
        return name
    return frame_kind(module, name)


def _tensor(record: Record, archive: zipfile.ZipFile, folder: str, values: Values) -> NDArray:
    """The tensor as a copy of its part of the storage."""
    storage, offset, shape, strides = record.args[:4]
    _, storage_type, key, _, _ = storage.args[0]
    dtype = np.dtype(_STORAGES[storage_type.kind])
    raw = archive.read(f"{folder}data/{key}")
    values.budget.take(len(raw))
    whole = array_of(raw, dtype, (len(raw) // dtype.itemsize,), "C")
    contiguous = np.cumprod((1, *reversed(shape[1:])))[::-1] if shape else ()
    if tuple(strides) != tuple(contiguous):
        raise ValueError("a tensor that is not contiguous; save tensor.contiguous()")
    count = int(np.prod(shape, dtype=np.int64))
    return whole[offset : offset + count].reshape(shape)
