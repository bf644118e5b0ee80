"""Inputs by URL: the opened file, and the state after a failed download."""

from __future__ import annotations

import io
import multiprocessing
import os
import socket
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO, Any

import pytest
from iopath.common.file_io import PathHandler

from slowfast.utils import paths
from slowfast.utils.errors import UserError
from slowfast.utils.paths import (
    cached_file,
    is_remote,
    join,
    local_path,
    optional_path,
    parent,
    path_manager,
)
from tests.commands import environment
from tests.file_server import FileServer, running_server, send

KEY = "TRAIN.CHECKPOINT_FILE_PATH"
CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(cache: Path) -> Iterator[FileServer]:
    with running_server() as running:
        yield running


def kept(cache: Path) -> list[str]:
    """Names of the files in the cache, except the locks."""
    found = sorted(path.name for path in cache.rglob("*") if path.is_file())
    return [name for name in found if not name.endswith(".lock")]


def refusal(url: str) -> str:
    """The one-line error of `local_path`."""
    with pytest.raises(UserError) as caught:
        local_path(url, KEY)
    line = str(caught.value)
    assert "\n" not in line
    return line


# ---------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["a/b.csv", Path("a/b.csv"), "/a", "C:/x", "https:/one/slash"])
def test_an_ordinary_path_is_opened_as_it_is(path, monkeypatch) -> None:
    monkeypatch.setattr(paths, "path_manager", lambda: pytest.fail("asked iopath"))
    assert local_path(path, KEY) == Path(path)
    assert not is_remote(path)


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("data", "a.csv", Path("data/a.csv")),
        (Path("data"), "/x/a.csv", Path("/x/a.csv")),
        ("data", "https://h/a.csv", "https://h/a.csv"),
        ("https://h/d", "a.csv", "https://h/d/a.csv"),
        ("https://h/d/", "splits/a.csv", "https://h/d/splits/a.csv"),
        ("https://h", "a.csv", "https://h/a.csv"),
        ("https://h/d/e", "../a.csv", "https://h/d/a.csv"),
        ("https://h/d", Path("../a.csv"), "https://h/a.csv"),
        ("https://h/d", "/x/a.csv", Path("/x/a.csv")),
        ("https://h/d?token=1", "a.csv", "https://h/d/a.csv?token=1"),
        ("s3://bucket", "a.csv", "s3://bucket/a.csv"),
    ],
)
def test_join(folder, name, expected) -> None:
    assert join(folder, name) == expected


def test_parent() -> None:
    assert parent("a/b.csv") == Path("a")
    assert parent("https://h/d/a.csv?token=1") == "https://h/d?token=1"
    assert parent("s3://bucket/a.csv") == "s3://bucket/"


def test_a_url_that_became_a_path_is_a_fault_of_the_program() -> None:
    for url in ("https://h/a.csv", "s3://bucket/a.csv"):
        with pytest.raises(ValueError, match="keep it text"):
            local_path(Path(url), KEY)
        with pytest.raises(ValueError, match="keep it text"):
            join(Path(url), "b.csv")


def test_copies_of_different_urls_do_not_share_a_file(cache: Path) -> None:
    urls = [
        *("https://a/x/f.pkl", "https://b/x/f.pkl", "http://a/x/f.pkl", "https://a/y/f.pkl"),
        *("https://a/x/f.pkl?v=1", "https://a/x/f.pkl?v=2", "s3://a/x/f.pkl", "s3://b/x/f.pkl"),
    ]
    files = [cached_file(url) for url in urls]
    assert len(set(files)) == len(urls)
    assert {file.name for file in files} == {"f.pkl"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/w.safetensors?sig=a/b.csv&x=1", "w.safetensors"),
        ("https://h/my%20list.csv", "my_list.csv"),
        ("https://h/a/..", "file"),
        ("https://h/", "file"),
        ("https://h/a%2f..%2f..%2fx.csv", "x.csv"),
        ("https://h/" + "n" * 400 + ".pyth", "n" * 115 + ".pyth"),
    ],
)
def test_a_copy_has_the_name_and_the_suffix_of_the_file(url: str, name: str, cache: Path) -> None:
    file = cached_file(url)
    assert file.name == name
    assert file.parent.parent == cache


def test_the_default_cache_is_in_the_home_folder(monkeypatch) -> None:
    monkeypatch.delenv("SUML_CACHE", raising=False)
    assert cached_file("https://h/a.csv").is_relative_to(Path.home() / ".cache/suml")


def test_import_touches_neither_network_nor_disk_nor_environment(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "def refuse(event, args):\n"
        "    assert not event.startswith(('socket.', 'os.mkdir', 'os.putenv')), (event, args)\n"
        "    assert event != 'open' or 'w' not in str(args[1]), args\n"
        "sys.addaudithook(refuse)\n"
        "import slowfast.utils.paths as paths\n"
        "assert paths.path_manager.cache_info().currsize == 0\n"
    )
    env = {**environment(), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("SUML_CACHE", None)
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------
# Downloads
# ---------------------------------------------------------------------------------------------
def test_a_file_is_downloaded_once(server: FileServer, cache: Path) -> None:
    url = server.add("/release/weights.pyth", CONTENT)
    copy = local_path(url, KEY)
    assert copy.read_bytes() == CONTENT
    server.files.clear()
    assert local_path(url, KEY) == copy
    assert server.requests == ["/release/weights.pyth"]
    assert kept(cache) == ["weights.pyth"]


def test_a_copy_needs_no_server(cache: Path) -> None:
    with running_server() as server:
        url = server.add("/a.csv", b"a\n")
        local_path(url, KEY)
    assert local_path(url, KEY).read_bytes() == b"a\n"


def test_a_changed_file_is_read_from_the_copy_until_that_is_deleted(server: FileServer) -> None:
    url = server.add("/a.csv", b"old")
    copy = local_path(url, KEY)
    server.add("/a.csv", b"new")
    assert local_path(url, KEY).read_bytes() == b"old"
    copy.unlink()
    assert local_path(url, KEY).read_bytes() == b"new"


def test_the_query_belongs_to_the_request(server: FileServer) -> None:
    url = server.add("/my list.csv", b"a") + "?token=a b"
    assert local_path(url, KEY).read_bytes() == b"a"
    assert server.requests == ["/my%20list.csv?token=a%20b"]


def test_a_file_of_unknown_length(server: FileServer) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        _chunked(handler, [b"abc", b"def", b""])

    assert local_path(server.add("/a.csv", answer), KEY).read_bytes() == b"abcdef"


def _chunked(handler: BaseHTTPRequestHandler, chunks: list[bytes]) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for chunk in chunks:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    handler.close_connection = True


def _closed_early(handler: BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT[:1000], length=len(CONTENT))


def _chunks_without_end(handler: BaseHTTPRequestHandler) -> None:
    _chunked(handler, [CONTENT])


def _web_page(handler: BaseHTTPRequestHandler) -> None:
    send(handler, b"<html>", kind="text/html; charset=utf-8")


def _refused(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(403)


def _silent(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"abc")
    handler.wfile.flush()
    time.sleep(1.5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "HTTP 404 Not Found"),
        (_refused, "HTTP 403 Forbidden"),
        (_closed_early, "the connection closed after 1000 of 256000 bytes"),
        (_chunks_without_end, "IncompleteRead"),
        (_web_page, "the server sent a web page"),
        (_silent, "timed out"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(
    answer: Callable[[BaseHTTPRequestHandler], None] | None,
    reason: str,
    server: FileServer,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "_TIMEOUT_SEC", 0.5)
    url = server.base + "/weights.pyth"
    if answer:
        server.add("/weights.pyth", answer)
    line = refusal(url)
    assert line.startswith(f"{url} cannot be downloaded ({reason}")
    assert line.endswith(f"set {KEY} to a local copy")
    assert kept(cache) == []
    server.add("/weights.pyth", CONTENT)
    assert local_path(url, KEY).read_bytes() == CONTENT
    assert kept(cache) == ["weights.pyth"]


def test_no_server_at_all(cache: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.csv"
        assert "Connection refused" in refusal(url)
    assert kept(cache) == []


@pytest.mark.parametrize("folder", ["http://[x", "http://h:port", "http://"])
def test_an_address_that_makes_no_sense(folder: str, cache: Path) -> None:
    url = join(folder, "a.csv")
    assert f"{url} cannot be downloaded" in refusal(str(url))
    assert kept(cache) == []


def test_a_cache_that_cannot_be_written(server: FileServer, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "file" / "cache"))
    line = refusal(server.add("/a.csv", b"a"))
    assert line.startswith(f"cannot write to the cache of downloads {tmp_path}/file/cache (")
    assert line.endswith("set the environment variable SUML_CACHE to another folder")


def _slow(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    for start in range(0, len(CONTENT), 32000):
        handler.wfile.write(CONTENT[start : start + 32000])
        time.sleep(0.1)


def _copy_in_a_process(url: str, ready: Any, results: Any) -> None:
    ready.wait()
    results.put(local_path(url, KEY).read_bytes())


def test_two_processes_download_once(server: FileServer, cache: Path) -> None:
    url = server.add("/weights.pyth", _slow)
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_copy_in_a_process, args=(url, ready, results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    contents = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert contents == [CONTENT, CONTENT]
    assert server.requests == ["/weights.pyth"]
    assert kept(cache) == ["weights.pyth"]


def test_a_killed_download_leaves_no_file_and_no_lock(server: FileServer, cache: Path) -> None:
    url = server.add("/weights.pyth", _slow)
    script = f"from slowfast.utils.paths import local_path; local_path({url!r}, 'KEY')"
    process = subprocess.Popen([sys.executable, "-c", script], env=environment())
    try:
        deadline = time.monotonic() + 60
        while not kept(cache) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert kept(cache) != []
    assert not cached_file(url).exists()
    assert local_path(url, KEY).read_bytes() == CONTENT


# ---------------------------------------------------------------------------------------------
# Inputs that need not exist
# ---------------------------------------------------------------------------------------------
def test_an_optional_file(server: FileServer, tmp_path: Path) -> None:
    url = server.add("/a.csv", b"a")
    assert optional_path(url, KEY) == cached_file(url)
    assert optional_path(f"{server.base}/none.csv", KEY) is None
    (tmp_path / "a.csv").write_text("")
    assert optional_path(tmp_path / "a.csv", KEY) == tmp_path / "a.csv"
    assert optional_path(str(tmp_path / "none.csv"), KEY) is None


def test_only_404_and_410_mean_missing(server: FileServer) -> None:
    gone = server.add("/gone.csv", lambda handler: handler.send_error(410))
    assert optional_path(gone, KEY) is None
    for status in (401, 403, 500, 503):
        url = server.add(f"/{status}.csv", lambda handler, s=status: handler.send_error(s))
        with pytest.raises(UserError, match=f"HTTP {status}"):
            optional_path(url, KEY)


# ---------------------------------------------------------------------------------------------
# Progress
# ---------------------------------------------------------------------------------------------
class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only(server: FileServer, monkeypatch, capsys) -> None:
    local_path(server.add("/quiet.pyth", CONTENT), KEY)
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    local_path(server.add("/shown.pyth", CONTENT), KEY)
    assert "shown.pyth" in terminal.getvalue()
    assert "256.0/256.0 kB" in terminal.getvalue()


# ---------------------------------------------------------------------------------------------
# Other schemes
# ---------------------------------------------------------------------------------------------
def test_an_unknown_scheme(cache: Path) -> None:
    line = refusal("gopher://h/a.csv")
    assert "gopher://h/a.csv" in line
    assert f"set {KEY} to a local path" in line
    with pytest.raises(UserError, match="gopher"):
        optional_path("gopher://h/a.csv", KEY)
    assert kept(cache) == []


def test_a_handler_that_the_user_registers(tmp_path: Path, monkeypatch) -> None:
    class Shelf(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return ["shelf://"]

        def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
            file = tmp_path / path.removeprefix("shelf://")
            file.stat()
            return str(file)

    manager = path_manager.__wrapped__()
    manager.register_handler(Shelf())
    monkeypatch.setattr(paths, "path_manager", lambda: manager)
    (tmp_path / "a.csv").write_text("a")
    assert local_path("shelf://a.csv", KEY) == tmp_path / "a.csv"
    assert optional_path("shelf://none.csv", KEY) is None


def test_s3_without_boto3_names_the_extra(cache: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    line = refusal("s3://bucket/a.pyth")
    assert "pip install 'suml-slowfast[aws]'" in line
    assert KEY in line
    assert kept(cache) == []


class _ClientError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(f"An error occurred ({code})")
        self.response = {"Error": {"Code": code}}


class _Bucket:
    """The methods that the handler calls of boto3's client."""

    def __init__(self, objects: dict[tuple[str, str], bytes]) -> None:
        self.objects = objects
        self.fails_at: int | None = None

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, int]:
        if Bucket == "private":
            raise _ClientError("403")
        if (Bucket, Key) not in self.objects:
            raise _ClientError("404")
        return {"ContentLength": len(self.objects[Bucket, Key])}

    def download_fileobj(
        self, bucket: str, key: str, file: IO[bytes], Callback: Callable[[int], None]
    ) -> None:
        content = self.objects[bucket, key][: self.fails_at]
        file.write(content)
        Callback(len(content))
        if self.fails_at is not None:
            raise ConnectionResetError("reset")


@pytest.fixture
def bucket(cache: Path, monkeypatch: pytest.MonkeyPatch) -> _Bucket:
    fake = _Bucket({("one", "d/w.pyth"): b"one", ("two", "d/w.pyth"): b"two"})
    boto3, exceptions = types.ModuleType("boto3"), types.ModuleType("botocore.exceptions")
    boto3.client = lambda service: fake  # type: ignore[attr-defined]
    exceptions.ClientError = _ClientError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", exceptions)
    return fake


def test_s3(bucket: _Bucket, cache: Path) -> None:
    for name in ("one", "two"):
        assert local_path(f"s3://{name}/d/w.pyth", KEY).read_bytes() == name.encode()
    bucket.objects.clear()
    assert local_path("s3://one/d/w.pyth", KEY).read_bytes() == b"one"
    assert optional_path("s3://one/none.csv", KEY) is None
    assert "(403)" in refusal("s3://private/w.pyth")
    with pytest.raises(UserError, match="403"):
        optional_path("s3://private/w.pyth", KEY)
    assert kept(cache) == ["w.pyth", "w.pyth"]


def test_a_failed_s3_download_leaves_nothing(bucket: _Bucket, cache: Path) -> None:
    bucket.fails_at = 1
    assert "(reset)" in refusal("s3://one/d/w.pyth")
    assert kept(cache) == []
    bucket.fails_at = None
    assert local_path("s3://one/d/w.pyth", KEY).read_bytes() == b"one"
    assert os.path.commonpath([cache, local_path("s3://one/d/w.pyth", KEY)]) == str(cache)
