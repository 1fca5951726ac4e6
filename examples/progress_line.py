"""What the examples show while they work where there is no live view."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


class ProgressLine:
    """One line that is kept up to date on a terminal; anywhere else, as in a log, a line now and then.

    Attributes:
        interval: how often it should be shown again, in seconds.
    """

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self.interval = 0.1 if self._on_terminal else 1.0

    def __call__(self, line: str) -> None:
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1  # a full line would wrap
            print(f"\r{line[:width]:<{width}}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._on_terminal:
            print(file=sys.stderr)


@contextmanager
def progress_line() -> Generator[ProgressLine]:
    show = ProgressLine()
    try:
        yield show
    finally:
        show.end()
