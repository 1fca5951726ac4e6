"""Shows what is in a journal: ``python -m trio_pool.journal FILE``."""

from __future__ import annotations

import argparse
import base64
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from .._basics.text import one_line
from ._errors import JournalError
from ._store import check, counts_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trio_pool.journal",
        description="Show how many items of a journal are done, and which are dead. A process may have it open.",
    )
    parser.add_argument("file", metavar="FILE", help="the journal")
    parser.add_argument("--export", metavar="FILE.jsonl", help="write the results, a JSON value a line")
    options = parser.parse_args(arguments)
    try:
        _show(options.file, options.export)
    except (JournalError, OSError, sqlite3.Error) as error:
        words = str(error) if isinstance(error, (JournalError, OSError)) else f"{options.file!r} can't be read: {error}"
        print(words, file=sys.stderr)
        return 1
    return 0


def _show(path: str, export: str | None) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path!r} is no file")
    if export is not None and _belongs_to(export, path):
        raise JournalError(f"{export!r} is a file of the journal itself, so nothing can be exported to it")
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as connection:
        if check(connection, path) == "empty":
            raise JournalError(f"{path!r} is no journal of trio_pool")
        connection.execute("BEGIN")  # so that all data is from one moment
        for step, done, dead in counts_of(connection):
            print(f"{one_line(step)}: {done} done, {dead} dead")
        for row in connection.execute("SELECT step, item_id, attempts, reason, error FROM dead ORDER BY number"):
            step, item_id, attempts, reason, error = row
            tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            print(f"dead: {one_line(step)} {one_line(item_id)}, {reason} after {tries}: {one_line(error)}")
        if export is not None:
            try:
                written = _export(connection, export)
            except OSError as error:
                raise JournalError(f"{export!r} can't be written: {error.strerror}") from error
            print(f"{written} results written to {export}")


def _belongs_to(export: str, path: str) -> bool:
    own = (Path(f"{path}{ending}") for ending in ("", "-wal", "-shm", "-journal", ".lock"))
    return Path(export).exists() and any(file.exists() and file.samefile(export) for file in own)


def _export(connection: sqlite3.Connection, path: str) -> int:
    number = 0
    with Path(path).open("w", encoding="utf-8") as file:
        rows = connection.execute("SELECT step, item_id, result FROM results ORDER BY step, rowid")
        for step, item_id, result in rows:
            number += 1
            line = {"step": step, "item_id": item_id}
            try:
                text = json.dumps({**line, "result": _plain(result)}, allow_nan=False)
            except ValueError:  # it contains a NaN or an infinity, which JSON doesn't have
                text = json.dumps({**line, "result": result})
            file.write(f"{text}\n")
    return number


def _plain(result: str | bytes) -> object:
    """A result as a JSON value: the value of the text if it is JSON, else the text itself; bytes in base 64."""
    if isinstance(result, bytes):
        return base64.b64encode(result).decode()
    try:
        value: object = json.loads(result)
    except ValueError:
        return result
    return value


if __name__ == "__main__":
    sys.exit(main())
