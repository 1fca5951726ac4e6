"""The SQLite file of a journal."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ._errors import JournalError
from ._lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence

Text: TypeAlias = "str | bytes"
"""A result as it is stored."""
Row: TypeAlias = "tuple[str, Text, int]"
"""A row of a result: the item's id, the result, and how many attempts there were."""

APPLICATION_ID = 0x54504A4C  # "TPJL"
VERSION = 1

# Seconds to wait for a lock of SQLite that another process holds: at opening, and later.
_PATIENCE_AT_OPENING = 5.0
_PATIENCE = 30.0

_MOVED = "the file has been moved or deleted while it was open"

_SCHEMA = (
    "CREATE TABLE steps (step TEXT PRIMARY KEY, done INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE results (step TEXT NOT NULL, item_id TEXT NOT NULL, result NOT NULL, attempts INTEGER NOT NULL, "
    "PRIMARY KEY (step, item_id))",
    "CREATE TABLE dead (number INTEGER PRIMARY KEY, step TEXT NOT NULL, item_id TEXT NOT NULL, reason TEXT NOT NULL, "
    "error TEXT NOT NULL, attempts INTEGER NOT NULL, message TEXT NOT NULL, notes TEXT NOT NULL, "
    "UNIQUE (step, item_id))",
    "CREATE TABLE levels (pool TEXT NOT NULL, holder TEXT NOT NULL, unit TEXT NOT NULL, place INTEGER NOT NULL, "
    "level REAL NOT NULL, at REAL NOT NULL, full_at REAL NOT NULL, "
    "PRIMARY KEY (pool, holder, unit, place)) WITHOUT ROWID",
    # Needed also if people delete rows by hand. The writer counts the inserted rows, which costs less.
    "CREATE TRIGGER result_is_gone AFTER DELETE ON results "
    "BEGIN UPDATE steps SET done = done - 1 WHERE step = OLD.step; END",
    "CREATE TRIGGER death_is_gone AFTER DELETE ON dead "
    "BEGIN UPDATE steps SET dead = dead - 1 WHERE step = OLD.step; END",
)

# How many rows a statement inserts. Old versions of SQLite allow 999 parameters. One statement for many rows waits
# only once for the interpreter's lock, and not for each row.
_SIZES = (200, 20, 1)


class Dead(NamedTuple):
    """A row of a dead item."""

    number: int
    step: str
    item_id: str
    reason: str
    error: str
    attempts: int
    message: str
    notes: str


class Level(NamedTuple):
    """A row of the level of a limit, at a time of the wall clock."""

    pool: str
    holder: str
    unit: str
    place: int
    level: float
    at: float
    full_at: float


class Changes(NamedTuple):
    """What one transaction writes.

    Attributes:
      results: by steps, the rows of results.
      dead: the rows of dead items.
      gone: items that are no longer dead, or are dead again; each is a step and an item's id.
      levels: the rows of levels.
    """

    results: dict[str, list[Row]]
    dead: list[Dead]
    gone: list[tuple[str, str]]
    levels: list[Level]


class Store:
    """A journal's file: its lock, a connection that writes, and another one that reads.

    Arguments:
      path: the file.

    Attributes:
      path: the file, as it was given.
      counts: by steps, how many items are done and dead, as of the opening.
      last_death: the number of the last death, as of the opening.
      levels: the levels that are not full, as of the opening.
    """

    def __init__(self, path: str) -> None:
        self.path: str = path
        # SQLite gets an absolute path, since some others have a meaning of their own, such as ":memory:".
        self._file = os.path.realpath(path)
        self._lock = FileLock(self._file)
        # Held while any thread reads the file, which must not be closed meanwhile.
        self._guard = threading.Lock()
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self.counts: list[tuple[str, int, int]] = []
        self.last_death: int = 0
        self.levels: list[Level] = []

    def open(self, now: float) -> None:
        """Lock and open the file, which is created if it doesn't exist.

        Arguments:
          now: the time of the wall clock.

        Raises:
          JournalError: if that is impossible.
        """
        try:
            if os.path.isdir(self._file):
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            self._lock.acquire()
            self._writing = writing = _connect(self._file)
            is_new = check(writing, self.path) == "empty"
            writing.execute("PRAGMA journal_mode = WAL")
            if is_new:
                _create(writing)
            writing.execute("PRAGMA synchronous = FULL")
            writing.execute("BEGIN IMMEDIATE")  # so that a file that can't be written is an error now
            writing.execute("DELETE FROM levels WHERE full_at <= ?", (now,))
            self.counts = counts_of(writing)
            self.last_death = writing.execute("SELECT coalesce(max(number), 0) FROM dead").fetchone()[0]
            self.levels = [Level(*row) for row in writing.execute("SELECT * FROM levels")]
            writing.execute("COMMIT")
            self._status = os.stat(self._file)
            self._reading = reading = _connect(self._file)
            reading.execute("PRAGMA query_only = ON")
            for connection in (writing, reading):
                connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
        except BaseException as error:
            self.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                reason = (isinstance(error, OSError) and error.strerror) or error
                raise JournalError(f"{self.path!r} can't be opened as a journal: {reason}") from error
            raise

    def close(self) -> None:
        """Close and unlock the file."""
        with self._guard:
            for connection in (self._reading, self._writing):
                if connection is not None:
                    with suppress(sqlite3.Error):
                        connection.close()
            self._reading = self._writing = None
        self._lock.release()

    def write(self, changes: Changes) -> None:
        """Write changes in one transaction, which is on the disk when this returns.

        Raises:
          JournalError: if they can't be written; then none are.
        """
        connection = self._writing
        assert connection is not None
        if not self._is_there():  # SQLite may go on writing, where nobody will look for it
            raise JournalError(f"{self.path!r} can't be written: {_MOVED}")
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(connection, changes)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise JournalError(f"{self.path!r} can't be written: {self._reason(error)}") from error

    def _write(self, connection: sqlite3.Connection, changes: Changes) -> None:
        done: dict[str, int] = {}
        dead: dict[str, int] = {}
        for step, rows in changes.results.items():
            done[step] = _insert(connection, step, rows)
        connection.executemany("DELETE FROM dead WHERE step = ? AND item_id = ?", changes.gone)
        connection.executemany("INSERT INTO dead VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changes.dead)
        for row in changes.dead:
            dead[row.step] = dead.get(row.step, 0) + 1
        for step in dict.fromkeys((*done, *dead)):
            connection.execute("INSERT OR IGNORE INTO steps VALUES (?, 0, 0)", (step,))
            more = (done.get(step, 0), dead.get(step, 0), step)
            connection.execute("UPDATE steps SET done = done + ?, dead = dead + ? WHERE step = ?", more)
        connection.executemany("INSERT OR REPLACE INTO levels VALUES (?, ?, ?, ?, ?, ?, ?)", changes.levels)

    def find(self, step: str, item_ids: Sequence[str], *, dead: bool) -> tuple[list[Row], list[Dead]]:
        """Return what is known of these items of a step: the rows of results, and the dead if asked for.

        Raises:
          JournalError: if the file can't be read.
        """
        among = f"WHERE step = ? AND item_id IN ({', '.join('?' * len(item_ids))})"
        values = (step, *item_ids)
        with self._guard:
            if self._reading is None:
                raise JournalError(f"the journal {self.path!r} is closed")
            try:
                read = self._reading.execute
                results = read(f"SELECT item_id, result, attempts FROM results {among}", values).fetchall()
                rows = read(f"SELECT * FROM dead {among}", values).fetchall() if dead else []
            except sqlite3.Error as error:
                raise JournalError(f"{self.path!r} can't be read: {self._reason(error)}") from error
        return results, [Dead(*row) for row in rows]

    def _is_there(self) -> bool:
        """Whether the file is still where it was opened."""
        try:
            return os.path.samestat(os.stat(self._file), self._status)
        except OSError:
            return False

    def _reason(self, error: sqlite3.Error) -> str:
        # Of a file that has been moved, SQLite says that there is an error of the disk.
        return str(error) if self._is_there() else _MOVED


def _connect(path: str) -> sqlite3.Connection:
    # One thread uses a connection at a time, but not always the same.
    return sqlite3.connect(path, timeout=_PATIENCE_AT_OPENING, isolation_level=None, check_same_thread=False)


def check(connection: sqlite3.Connection, path: str) -> str:
    """Return whether a file is a ``"journal"`` or ``"empty"``.

    Raises:
      JournalError: if it is neither, or of a newer version.
      sqlite3.Error: if it can't be read.
    """
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID:
        if version > VERSION:
            raise JournalError(f"{path!r} is a journal of a newer version of trio_pool")
        return "journal"
    if application or version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise JournalError(f"{path!r} is no journal of trio_pool")
    return "empty"


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def counts_of(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """Return the steps, and how many of their items are done and dead."""
    return connection.execute("SELECT step, done, dead FROM steps ORDER BY step").fetchall()


def _insert(connection: sqlite3.Connection, step: str, rows: Sequence[Row]) -> int:
    """Insert results, and return how many were not there before."""
    inserted = start = 0
    for size in _SIZES:
        statement = f"INSERT OR IGNORE INTO results VALUES {', '.join(['(?, ?, ?, ?)'] * size)}"
        while len(rows) - start >= size:
            values: list[Any] = []
            for row in rows[start : start + size]:
                values += (step, *row)
            inserted += connection.execute(statement, values).rowcount
            start += size
    return inserted
