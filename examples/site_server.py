"""The other side of ``crawler.py``: serves the files of a folder over HTTP, on a free port of 127.0.0.1.

Started by hand it prints its address and stops at Ctrl-C. It needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import traceback
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


class Server(ThreadingHTTPServer):
    """A server that each connection has a thread of."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that hang up in the middle; anything else is a bug, and shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


class Handler(SimpleHTTPRequestHandler):
    """Answers the calls of one connection."""

    protocol_version = "HTTP/1.1"  # which keeps the connection open for the next call
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the acknowledgement of its headers

    def list_directory(self, path: object) -> None:
        """A folder without an ``index.html`` is no page."""
        self.send_error(HTTPStatus.NOT_FOUND, "File not found")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, as in the base class
        """Log nothing: the terminal belongs to the client."""


@contextmanager
def serve(folder: Path) -> Generator[str]:
    """Serve the folder while the block lasts; yields its address."""
    with Server(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the files of a folder on a free port of 127.0.0.1.")
    parser.add_argument("folder", type=Path)
    with serve(parser.parse_args().folder) as address, contextlib.suppress(KeyboardInterrupt):
        print(address, flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
