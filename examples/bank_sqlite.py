"""The bank of ``connections.py`` in an SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import TYPE_CHECKING

from bank import Bank, BusyError, Connection, LostError, Row

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

BUSY_TIMEOUT = 0.25
"""Seconds that SQLite waits while another connection writes. This wait can't be interrupted, so it is short."""

DOWN = 0.3
"""Seconds for which the bank is down."""


class SqliteConnection(Connection):
    """A connection to a file, which can be lost like one to a server."""

    begin = "BEGIN IMMEDIATE"  # or two that have read could both wait to write

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        # Each statement is executed in some thread or other, one at a time.
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        self._in_use = threading.Lock()
        self._is_killed = False
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def execute(self, statement: str, *values: object) -> list[Row]:
        with self._in_use:
            self._fail_if_killed()
            try:
                rows = self._connection.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    raise BusyError(str(error)) from error
                raise
            self._fail_if_killed()
            return rows

    def interrupt(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it is closed already
            self._connection.interrupt()

    def close(self) -> None:
        with self._in_use:
            self._connection.close()

    def kill(self) -> None:
        """Lose the connection: at once, or when the statement under way has been executed, but before its answer."""
        self._is_killed = True

    def _fail_if_killed(self) -> None:
        if self._is_killed:
            self._connection.close()
            raise LostError("the connection was closed")


class SqliteBank(Bank):
    """Accounts in a file."""

    description = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._is_down = False

    def connect(self, name: str) -> SqliteConnection:
        if self._is_down:
            raise ConnectionRefusedError("the bank is down")
        return SqliteConnection(name, self._path)

    def kill(self, connection: Connection) -> bool:
        assert isinstance(connection, SqliteConnection)
        connection.kill()
        return True

    def go_down(self) -> None:
        self._is_down = True
        for connection in list(self.connections.values()):
            self.kill(connection)
        sleep(DOWN)
        self._is_down = False


@asynccontextmanager
async def open_sqlite() -> AsyncGenerator[Bank]:
    """A bank in a temporary file."""
    with TemporaryDirectory(prefix="connections-") as folder:
        yield SqliteBank(Path(folder, "bank.db"))
