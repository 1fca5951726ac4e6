"""What the live view reads and draws, without the terminal."""

from __future__ import annotations

from typing import Any

from trio_pool import Pool, Resource, SlotPool
from trio_pool.rich._frame import frame, plain_line
from trio_pool.rich._readings import Failures, Reading, Readings

A = Resource("a", name="A")
B = Resource("b", name="B")


class Watch:
    """What a view does, without the terminal."""

    def __init__(self, pool: Pool[Any] | SlotPool, total: int | None = None, failures: int = 5) -> None:
        self.pool = pool
        self.failures = Failures(failures)
        self.readings = Readings(pool, total, self.failures)
        pool.add_instrument(self.failures)
        self.read()

    def read(self) -> Reading:
        return self.readings.take(self.pool.statistics())

    def lines(self, width: int = 120, height: int = 40, encoding: str = "utf-8") -> list[str]:
        """The lines of a frame of this moment."""
        return text_of(self.read(), width, height, encoding)

    def line(self, beginning: str) -> str:
        """The first line of such a frame that begins like this, with single blanks in place of columns."""
        return next(" ".join(line.split()) for line in self.lines() if line.startswith(beginning))

    def plain(self) -> str:
        return plain_line(self.read())


def text_of(reading: Reading, width: int, height: int = 40, encoding: str = "utf-8") -> list[str]:
    lines = frame(reading, width, height, encoding)
    return ["".join(segment.text for segment in line) for line in lines]


async def says(resource: object, error: Exception) -> None:
    raise error
