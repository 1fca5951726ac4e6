"""Values of the last few seconds, from which rates are measured."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

V = TypeVar("V")

RATE_OVER = 10.0
"""Seconds over which the rates are measured."""
SAMPLES = 40
"""How many values a window keeps, so that its size doesn't depend on the number of frames."""


class Window(Generic[V]):
    """A sample of the values of the last few seconds, and the last value before them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: deque[tuple[float, V]] = deque()

    def add(self, at: float, value: V) -> tuple[float, V]:
        """Add a value; return the time and the value from which to measure."""
        kept = self._kept
        if not kept or at - kept[-1][0] >= self._seconds / SAMPLES:
            kept.append((at, value))
        while len(kept) > 1 and at - kept[1][0] >= self._seconds:
            kept.popleft()
        return kept[0]
