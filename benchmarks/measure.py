"""The arithmetic: programs side by side, the median of the paired ratios, the spread."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

Cost: TypeAlias = "Callable[[], float]"
"""Runs something once and returns what it cost, per job where there are jobs."""

Pair: TypeAlias = "tuple[float, float]"
"""What the pool cost, and what it is held against, in the same round."""


class NotMeasured(Exception):
    """This machine lacks what it takes to measure a row."""


@attrs.frozen
class Figure:
    """What was measured, once in each round.

    Attributes:
      values: the figure of each round.
      pairs: what it is the ratio of, where it is one.
    """

    values: tuple[float, ...]
    pairs: tuple[Pair, ...] = ()

    @property
    def median(self) -> float:
        """What is held against the bound."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lower and the upper quartile."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


def ratio(pairs: list[Pair]) -> Figure:
    """The figure whose values are the ratios within each round.

    Raises:
      ValueError: if there is nothing to divide by.
    """
    if any(reference <= 0 for _, reference in pairs):
        raise ValueError(f"there is nothing to compare with: {pairs}")
    return Figure(tuple(subject / reference for subject, reference in pairs), tuple(pairs))


def in_turn(subject: Cost, reference: Cost, rounds: int) -> Figure:
    """The ratio of two costs, measured one right after the other; who is first alternates.

    What the machine does meanwhile hits both of a round about alike.
    """
    pairs: list[Pair] = []
    for number in range(rounds):
        if number % 2:
            other = settled(reference)
            pairs.append((settled(subject), other))
        else:
            mine = settled(subject)
            pairs.append((mine, settled(reference)))
    return ratio(pairs)


def settled(cost: Cost) -> float:
    """Measure a cost with the garbage of what was measured before out of the way.

    The collector stays on while it runs, as it is in a user's program.
    """
    gc.collect()
    return cost()


class Meter(Protocol):
    """Measures its block; what it cost is there afterwards."""

    cost: float

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class Stopwatch:
    """Measures seconds of processor time, which leave out those of other programs.

    A program that sleeps needs another clock, such as `time.perf_counter`.
    """

    cost = 0.0

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock

    def __enter__(self) -> Self:
        self.cost = -self._clock()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cost += self._clock()


class CallCounter:
    """Measures operations: the calls of functions, written in Python or in C.

    The resumption of a coroutine or generator counts as one. Unlike seconds, they don't
    depend on what else the machine does.
    """

    cost = 0.0

    def __enter__(self) -> Self:
        self.cost = 0.0
        sys.setprofile(self._count)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: object, event: str, argument: Any) -> None:
        if event == "call" or event == "c_call":
            self.cost += 1
