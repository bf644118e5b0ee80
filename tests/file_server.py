"""An HTTP server of this process for tests: files by path, and faults on request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Answers one request by itself.
Answer = Callable[[BaseHTTPRequestHandler], None]


class FileServer:
    """files: URL path -> content or answer. folders: URL path -> local folder, searched next.

    requests: path and query of every request, in order.
    """

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.files: dict[str, bytes | Answer] = {}
        self.folders: dict[str, Path] = {}
        self.requests: list[str] = []

    def add(self, path: str, content: bytes | Answer) -> str:
        """Serve a file; returns its URL."""
        self.files[path] = content
        return self.base + path

    def add_folder(self, path: str, folder: Path) -> str:
        """Serve the files below a folder; returns its URL."""
        self.folders[path] = folder
        return self.base + path

    def content(self, path: str) -> bytes | Answer | None:
        for prefix, folder in self.folders.items():
            file = folder / path.removeprefix(prefix).lstrip("/")
            if path.startswith(prefix) and file.is_file():
                return file.read_bytes()
        return self.files.get(path)


@contextmanager
def running_server() -> Iterator[FileServer]:
    """A server on a free port of this machine, for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append(self.path)
            content = served.content(unquote(urlsplit(self.path).path))
            if content is None:
                self.send_error(404)
            elif isinstance(content, bytes):
                send(self, content)
            else:
                content(self)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing; tests read `requests`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = FileServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def send(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    length: int | None = None,
    kind: str = "application/octet-stream",
) -> None:
    """Answer with a file. length: the length in the header; None: the real one."""
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)
    handler.wfile.flush()
    # A connection that stays open would make the reader wait for the rest.
    handler.close_connection = True
