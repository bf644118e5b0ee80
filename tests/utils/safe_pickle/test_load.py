"""Pickles of plain values: read as they were written, and never run."""

import collections
import datetime
import io
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slowfast.utils.errors import UserError
from slowfast.utils.safe_pickle.load import load_dataframe, load_plain
from tests.utils.hostile import Call, hostile_pickles

READERS = [load_plain, load_dataframe]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
NAMES = sorted(hostile_pickles(Path("mark")))

PLAIN = {
    "none": None,
    "numbers": [True, 0, -3, 2**70, 0.5, 1 + 2j],
    "text": ("", "café", b"", b"\x00\xff", bytearray(b"ab")),
    "sets": [set(), {1, "a"}, frozenset((1, 2))],
    3: collections.OrderedDict([("b", 1), ("a", [2])]),
    "dates": [
        datetime.date(2020, 1, 2),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
        datetime.time(1, 2, 3),
        datetime.timedelta(seconds=1.5),
    ],
}
ARRAYS = {
    **{
        name: np.arange(6).astype(name).reshape(2, 3)
        for name in ("?", "i1", "u2", "i4", "i8", "f2", "f4", "f8", "c16", ">i4", ">f8")
    },
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12)[::3],
    "empty": np.zeros((0, 3), np.float32),
    "scalar array": np.array(3.5),
    "text": np.array(["a", "bcé", ""]),
    "bytes": np.array([b"a", b"bc"]),
    "days": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "durations": np.array([1, 2], "m8[ms]"),
    "objects": np.array([None, "a", 3], dtype=object),
    "objects of objects": np.array([[[1], (2,)], [{"a": np.arange(2)}, "x"]], dtype=object),
}


def _dump(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "the-payload-ran"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_back(protocol: int, tmp_path: Path) -> None:
    read = load_plain(_dump(tmp_path / "plain.pkl", PLAIN, protocol))
    assert read == PLAIN
    assert type(read[3]) is collections.OrderedDict
    assert list(read[3]) == ["b", "a"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back(name: str, protocol: int, tmp_path: Path) -> None:
    array = ARRAYS[name]
    read = load_plain(_dump(tmp_path / "array.pkl", {"at": [array]}, protocol))["at"][0]
    assert type(read) is np.ndarray
    assert read.dtype == array.dtype
    if array.dtype == object:
        assert repr(read) == repr(array)
    else:
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_come_back_as_values_and_keys(protocol: int, tmp_path: Path) -> None:
    value = {np.int64(3): np.float32(0.25), "flag": np.bool_(True), "id": np.str_("P01")}
    read = load_plain(_dump(tmp_path / "scalars.pkl", value, protocol))
    assert read == value
    assert {key: type(item) for key, item in read.items()} == {
        key: type(item) for key, item in value.items()
    }


def test_shared_and_cyclic_containers_keep_their_identity(tmp_path: Path) -> None:
    shared: list[Any] = [np.arange(2)]
    shared.append(shared)
    read = load_plain(_dump(tmp_path / "shared.pkl", {"a": shared, "b": shared}))
    assert read["a"] is read["b"]
    assert read["a"][1] is read["a"]
    np.testing.assert_array_equal(read["a"][0], [0, 1])


def test_arrays_of_python_2_come_back(tmp_path: Path) -> None:
    # What cPickle of Python 2.7 writes at protocol 2 for {"blobs": {"w": array([-1, 2], "<f4")}}.
    text = (
        b"\x80\x02}U\x05blobs}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00"
        b"\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80\xbf\x00\x00\x00@tbss."
    )
    (tmp_path / "blobs.pkl").write_bytes(text)
    read = load_plain(tmp_path / "blobs.pkl")
    np.testing.assert_array_equal(read["blobs"]["w"], np.array([-1, 2], np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_the_payloads_do_run_without_care(name: str, mark: Path) -> None:
    pickle.loads(hostile_pickles(mark)[name])
    assert mark.exists()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_pickle_runs_nothing_and_is_named(
    name: str, read: Callable[[Path], Any], mark: Path, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(hostile_pickles(mark)[name])
    with pytest.raises(UserError) as refused:
        read(path)
    assert not mark.exists()
    message = str(refused.value)
    assert str(path) in message
    assert name in message
    assert ".csv" in message or ".safetensors" in message
    assert "\n" not in message


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "function", [getattr, __import__, io.open, pickle.loads, np.load, np.ndarray.tofile, np.memmap]
)
def test_functions_that_lead_further_are_refused(
    function: Callable[..., Any], read: Callable[[Path], Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="refused"):
        read(_dump(tmp_path / "hostile.pkl", Call(function, "a", "b")))


@pytest.mark.parametrize("read", READERS)
def test_persistent_ids_and_extension_codes_are_refused(
    read: Callable[[Path], Any], tmp_path: Path
) -> None:
    for data in (b"\x80\x02X\x01\x00\x00\x00aQ.", b"Pa\n.", b"\x80\x02\x82\x01."):
        path = tmp_path / "hostile.pkl"
        path.write_bytes(data)
        with pytest.raises(UserError):
            read(path)


def test_bytes_cannot_pose_as_objects(tmp_path: Path) -> None:
    """An object array made of raw bytes would be an array of pointers that the file chooses."""
    honest = pickle.dumps(np.array([1, 2]), protocol=2)
    assert b"\x02i8" in honest or b"i8q" in honest
    path = tmp_path / "pointers.pkl"
    path.write_bytes(honest.replace(b"i8", b"O8"))
    with pytest.raises(UserError, match="object array"):
        load_plain(path)


@pytest.mark.parametrize("name", [b"numpy\ndtype", b"_codecs\nencode", b"__builtin__\nset"])
def test_a_file_cannot_alter_what_the_next_file_gets(name: bytes, tmp_path: Path) -> None:
    # BUILD with a pair as state sets attributes: here __new__ of what stands for the name.
    path = tmp_path / "hostile.pkl"
    path.write_bytes(
        b"\x80\x02c" + name + b"\nN}X\x07\x00\x00\x00__new__c__builtin__\nslice\ns\x86b."
    )
    with pytest.raises(UserError):
        load_plain(path)
    test_arrays_come_back("f4", 2, tmp_path)
    test_plain_values_come_back(2, tmp_path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PK\x03\x04", b"\x80\x04", b"."])
def test_what_is_no_pickle_is_said_to_be_none(
    content: bytes, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"file\.pkl"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_and_a_folder_are_errors(
    read: Callable[[Path], Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "none.pkl")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)


def test_every_cut_is_an_error(tmp_path: Path) -> None:
    data = pickle.dumps({"plain": PLAIN, "array": ARRAYS["f4"]}, protocol=4)
    path = tmp_path / "cut.pkl"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(UserError):
            load_plain(path)


@pytest.mark.parametrize("read", READERS)
def test_damage_is_never_a_traceback(read: Callable[[Path], Any], tmp_path: Path) -> None:
    frame = (Path(__file__).parent / "frames" / "pandas_1.0.5.pkl").read_bytes()
    plain = pickle.dumps({"plain": PLAIN, "arrays": ARRAYS}, protocol=4)
    draw = random.Random(0)
    path = tmp_path / "damaged.pkl"
    errors = 0
    for _ in range(400):
        data = bytearray(frame if read is load_dataframe else plain)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            read(path)
        except UserError:
            errors += 1
    assert errors > 100


def test_a_table_is_no_plain_value_and_the_other_way_round(tmp_path: Path) -> None:
    frame = Path(__file__).parent / "frames" / "pandas_2.2.3.pkl"
    with pytest.raises(UserError, match=r"pandas\.core\.frame\.DataFrame"):
        load_plain(frame)
    with pytest.raises(UserError, match="holds a dict"):
        load_dataframe(_dump(tmp_path / "dict.pkl", {"a": [1]}))
