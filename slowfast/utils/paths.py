"""Input files by path or by URL: the one iopath PathManager and its cache of downloads.

Any input file (YAML, frame list, class table, checkpoint, pair table, predictions) may be a URL:
`local_path` returns the file to open, which is a copy in `$SUML_CACHE` (default ~/.cache/suml).
A copy is never compared with the server again; delete it to download a new one. Folders of frames,
caches and outputs are always local.

A URL stays text until `local_path`, because `Path` merges its two slashes. Use `join` and `parent`
for names that may be URLs.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import posixpath
import re
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote
from urllib.request import Request, urlopen

from iopath.common.file_io import PathHandler, PathManager, file_lock

from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically

logger = logging.getLogger(__name__)

# A local path, or a URL as text.
InputPath = str | Path

CACHE_VARIABLE = "SUML_CACHE"
_DEFAULT_CACHE = "~/.cache/suml"
# Longest silence of a server in seconds, while connecting and while sending.
_TIMEOUT_SEC = 60.0
_CHUNK_BYTES = 1 << 20
# Characters that are left as they are in a URL, including the % of escaped ones.
_LEGAL = "%/:=&?~#+!$,;'@()*[]"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://[^/?#]*)([^?#]*)(.*)", re.DOTALL)
_FOLDED_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
_NAME_LENGTH = 120


class _AbsentError(UserError):
    """The server answered, but does not have the file."""


def is_remote(path: InputPath) -> bool:
    """Whether an input is named by a URL (`https://...`, `s3://...`).

    Raises: ValueError for a URL that has gone through `Path`.
    """
    if isinstance(path, str):
        return _URL.match(path) is not None
    if _FOLDED_URL.match(str(path)):
        raise ValueError(f"{path} was a URL before it became a Path; keep it text and use join()")
    return False


def input_path(text: InputPath) -> InputPath:
    """A URL unchanged, anything else as a `Path`."""
    return text if is_remote(text) else Path(text)


def join(folder: InputPath, name: InputPath) -> InputPath:
    """A file below a folder or below the URL of a folder, whose query (`?token=...`) it keeps.

    name: relative to the folder; an absolute path or a URL is returned as it is.
    """
    if is_remote(name):
        return name
    if not is_remote(folder) or Path(name).is_absolute():
        return Path(folder, name)
    host, path, query = _parts(str(folder))
    # Servers need not resolve `..`.
    return f"{host}{posixpath.normpath(posixpath.join(path or '/', name))}{query}"


def parent(path: InputPath) -> InputPath:
    """The folder of a file."""
    return join(path, "..") if is_remote(path) else Path(path).parent


def local_path(path: InputPath, key: str) -> Path:
    """The file to open: a path unchanged, or the cached copy of a URL, downloaded once.

    key: config key or option that names the input, for the error.

    Raises: UserError if the download fails; a partial download never gets the copy's name.
    """
    if not is_remote(path):
        return Path(path)
    url = str(path)
    copy = cached_file(url)
    if not copy.is_file():
        copy = _fetched(url, key)
    logger.info("%s: reading the copy %s", url, copy)
    return copy


def optional_path(path: InputPath, key: str) -> Path | None:
    """`local_path` of an input that need not exist; None without it.

    A URL counts as missing only if the server says so (HTTP 404 or 410).
    """
    try:
        found = local_path(path, key)
    except _AbsentError:
        return None
    return found if found.is_file() else None


def cache_folder() -> Path:
    """`$SUML_CACHE`, by default ~/.cache/suml; it need not exist."""
    return Path(os.environ.get(CACHE_VARIABLE) or _DEFAULT_CACHE).expanduser()


def cached_file(url: str) -> Path:
    """Path of the copy of a URL: one folder per URL, and the file name and suffix of the URL."""
    folder = cache_folder()
    name = unquote(_parts(url)[1]).rpartition("/")[2]
    readable = re.sub(r"[^\w.+=-]+", "_", name)[-_NAME_LENGTH:].lstrip(".")
    return folder / hashlib.sha256(url.encode()).hexdigest()[:16] / (readable or "file")


def _parts(url: str) -> tuple[str, str, str]:
    """Split into scheme with host, path, and query; accepts URLs that urlsplit refuses."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"{url} is not a URL")
    return match[1], match[2], match[3]


@functools.cache
def path_manager() -> PathManager:
    """The PathManager of the package; register iopath handlers of other schemes here."""
    manager = PathManager()
    manager.register_handler(HttpFiles())
    manager.register_handler(S3Files())
    return manager


class CachedFiles(PathHandler):
    """Downloads of remote files: each once, by one process, and either complete or absent."""

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        copy = cached_file(path)
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot write to the cache of downloads {copy.parent.parent} ({error.strerror}); "
                f"set the environment variable {CACHE_VARIABLE} to another folder"
            ) from error
        with file_lock(str(copy)):
            if force or not copy.is_file():
                write_atomically(copy, lambda file: self._download(path, file))
                logger.info("downloaded %s", path)
        return str(copy)

    def _download(self, url: str, file: IO[bytes]) -> None:
        """Write the content. Raises: FileNotFoundError if the server has no such file."""
        raise NotImplementedError


class HttpFiles(CachedFiles):
    """Handler of http:// and https://.

    It replaces iopath's HTTPURLHandler, which ignores host and query when it names a copy, waits
    for a silent server indefinitely, and draws its progress bar into log files.
    """

    def _get_supported_prefixes(self) -> list[str]:
        return ["http://", "https://"]

    def _download(self, url: str, file: IO[bytes]) -> None:
        # Imported here because it imports torch, which reading a config or a list does not need.
        from slowfast.utils.progress import download_line

        request = Request(quote(url, safe=_LEGAL), headers={"User-Agent": "suml-slowfast"})
        try:
            response = urlopen(request, timeout=_TIMEOUT_SEC)
        except HTTPError as error:
            error.close()
            kind = FileNotFoundError if error.code in (404, 410) else OSError
            raise kind(f"HTTP {error.code} {error.reason}") from None
        with response:
            if response.headers.get_content_type() == "text/html":
                raise OSError("the server sent a web page; on GitHub, use the `Raw` link")
            length = response.headers.get("Content-Length")
            total, received = int(length) if length else None, 0
            with download_line(cached_file(url).name, total) as line:
                while chunk := response.read(_CHUNK_BYTES):
                    file.write(chunk)
                    received += len(chunk)
                    line.advance(len(chunk))
        # http.client reports a connection that closes early only for chunked content.
        if total is not None and received < total:
            raise OSError(f"the connection closed after {received} of {total} bytes")


class S3Files(CachedFiles):
    """Handler of s3://BUCKET/KEY, with the credentials that boto3 finds.

    It replaces iopath's S3PathHandler, which ignores the bucket when it names a copy, and asserts
    that a file exists.
    """

    def _get_supported_prefixes(self) -> list[str]:
        return ["s3://"]

    def _download(self, url: str, file: IO[bytes]) -> None:
        from slowfast.utils.progress import download_line

        try:
            import boto3
            from botocore.exceptions import ClientError
        except ImportError:
            raise OSError("s3:// needs boto3: pip install 'suml-slowfast[aws]'") from None
        bucket, _, name = url.removeprefix("s3://").partition("/")
        client = boto3.client("s3")
        try:
            size = client.head_object(Bucket=bucket, Key=name)["ContentLength"]
            with download_line(cached_file(url).name, size) as line:
                client.download_fileobj(bucket, name, file, Callback=line.advance)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
                raise FileNotFoundError(str(error)) from None
            raise


def _fetched(url: str, key: str) -> Path:
    """The local file of a URL, through the handler of its scheme."""
    try:
        copy = path_manager().get_local_path(url)
    except UserError:
        raise
    except Exception as error:  # every handler and library has its own errors
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        kind = _AbsentError if isinstance(error, FileNotFoundError) else UserError
        raise kind(
            f"{url} cannot be downloaded ({reason or type(error).__name__}); check the address and "
            f"the network, or set {key} to a local copy"
        ) from error
    if copy == url:  # no handler supports it, so iopath treats it as a local path
        raise UserError(
            f"{url} is not a supported address; set {key} to a local path, or to a URL that starts "
            "with http://, https:// or s3://"
        )
    return Path(copy)
