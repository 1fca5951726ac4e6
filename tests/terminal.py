"""A terminal that tests can look at."""

from __future__ import annotations

import io
import re

from rich.cells import cell_len
from rich.console import Console

PIECE = re.compile(r"\x1b\[(\??)(\d*(?:;\d+)*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Terminal(io.StringIO):
    """Does what it is told by what is written to it, as far as rich needs it; what it doesn't know is an error.

    Attributes:
      columns: how many cells a line has; one that is longer is an error, since it would be broken.
      writes: how often something was written.
    """

    def __init__(self, columns: int = 100, encoding: str = "utf-8") -> None:
        super().__init__()
        self.columns = columns
        self.writes = 0
        self._cursor_is_shown = True
        self._encoding = encoding
        self._lines = [""]
        self._row = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]  # can't be set on a file either
        return self._encoding

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        self.writes += 1
        position = 0
        while position < len(text):
            piece = PIECE.match(text, position)
            assert piece is not None, f"it can't read {text[position:]!r}"
            self._do(piece)
            position = piece.end()
        return len(text)

    def _do(self, piece: re.Match[str]) -> None:
        private, number, command = piece.groups()
        if piece[0] == "\n":
            self._row += 1
            if self._row == len(self._lines):
                self._lines.append("")
        elif command == "A":
            self._row -= int(number)
            assert self._row >= 0, "above the first line"
        elif (number, command) == ("2", "K"):
            self._lines[self._row] = ""
        elif (private, number) == ("?", "25"):
            self._cursor_is_shown = command == "h"
        elif command is None and piece[0] != "\r":
            self._lines[self._row] += piece[0]
            assert cell_len(self._lines[self._row]) <= self.columns, "a line is too long"
        else:
            assert piece[0] == "\r" or command == "m", f"it can't do {piece[0]!r}"

    def shows_cursor(self) -> bool:
        """Whether the cursor can be seen."""
        return self._cursor_is_shown

    @property
    def lines(self) -> list[str]:
        """What is on it, all that has left it at its top included."""
        return [line.rstrip() for line in self._lines]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    def line(self, beginning: str) -> str:
        """The one line that begins like this."""
        (found,) = (line for line in self.lines if line.startswith(beginning))
        return found

    def console(self, height: int = 40) -> Console:
        """A console of rich's that writes to it, without colors."""
        return Console(
            file=self, width=self.columns, height=height, color_system=None, legacy_windows=False, _environ={}
        )
