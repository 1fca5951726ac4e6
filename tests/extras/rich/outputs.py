"""Where the live view draws: terminals, and files that are none."""

from __future__ import annotations

import io
from typing import Protocol, TypeVar

from tests.terminal import Terminal

T = TypeVar("T", bound=Terminal)


class Attach(Protocol):
    def __call__(self, terminal: T, /) -> T: ...


def begins(terminal: Terminal) -> list[str]:
    """The first word of each line of a terminal."""
    return [line.split()[0] if line else "" for line in terminal.lines]


class Log(io.StringIO):
    """A file that is no terminal."""

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()
