"""An API that holds each call until it is told to answer."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import Self

BODY = b"the file\n"


class Gate(ThreadingHTTPServer):
    """Listens on a free port of the loopback interface while its block is open.

    Attributes:
      calls: the paths that were asked for, in order.
      opened: while it is set, calls are answered.
      retry_after: what is sent back with 429 instead of the file, if it is not empty.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.opened = threading.Event()
        self.retry_after = ""
        self._thread = threading.Thread(target=self.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.opened.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about clients that have been killed."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Gate)
        self.server.calls.put(self.path)
        if self.server.retry_after:
            self.send_response(429)
            self.send_header("Retry-After", self.server.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.opened.wait()
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, as in the base class
        """Log nothing."""
