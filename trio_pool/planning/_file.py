"""The file of a recording: one JSON value per line; the first one identifies the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

FORMAT = "trio_pool recording"
VERSION = 1

MOST_HELD_BACK = 65_536
"""How many characters may be held back, and so lost in a crash."""
MOST_SECONDS = 1.0
"""For how long characters may be held back while events go on."""


class LineWriter:
    """Writes lines to a file, many at a time.

    Arguments:
      path: the file. It is emptied at once, so that a wrong path is reported immediately.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._held: list[str] = []
        self._size = 0
        self._flushed_at = 0.0
        self.path.write_text(_encoded({"format": FORMAT, "version": VERSION}), encoding="utf-8")

    def write(self, line: dict[str, Any], now: float) -> None:
        """Write a line, now or within about a second.

        Raises:
          OSError: if the file can't be written.
        """
        text = _encoded(line)
        self._held.append(text)
        self._size += len(text)
        if self._size >= MOST_HELD_BACK or not 0 <= now - self._flushed_at < MOST_SECONDS:
            self.flush()
            self._flushed_at = now

    def flush(self) -> None:
        """Write what is held back. The file is open only during this call, since the end of its use is unknown.

        Raises:
          OSError: if the file can't be written; then what was held back is lost.
        """
        lines, self._held, self._size = self._held, [], 0
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(lines)


def _encoded(line: dict[str, Any]) -> str:
    return json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"


def read_lines(path: str | PathLike[str]) -> Iterator[dict[str, Any]]:
    """Read the lines of a recording, except the first and a half-written line at the end.

    Raises:
      ValueError: if the file is no recording, or is of a later version of this package.
    """
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        first = _decoded(next(file, ""))
        if first is None or first.get("format") != FORMAT:
            raise ValueError(f"{str(path)!r} is not a recording of trio_pool")
        if first.get("version") != VERSION:
            raise ValueError(f"{str(path)!r} is a recording of a later version of trio_pool")
        for text in file:
            line = _decoded(text)
            if line is not None:
                yield line


def _decoded(text: str) -> dict[str, Any] | None:
    """The value of a line; None if the line was not written completely."""
    if not text.endswith("\n"):
        return None
    try:
        value: Any = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
