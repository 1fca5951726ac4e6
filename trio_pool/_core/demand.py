"""The jobs that wait for an elastic worker, and for how long they have waited for nothing but a worker."""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._model.records import Group, JobRecord


class Demand:
    """How many jobs wait that an elastic worker may run, in the queue or for a place in it, by their groups.

    Attributes:
      tags: the tags of the elastic workers.
      patience: how long a job has to wait for nothing but a worker before one is opened for it.
      lines: the waiting jobs of each group with a bound, and of all others.
    """

    __slots__ = ("lines", "patience", "tags")

    def __init__(self, tags: frozenset[str], patience: float) -> None:
        self.tags: frozenset[str] = tags
        self.patience: float = patience
        self.lines: dict[Group | None, Line] = {}

    def enter(self, job: JobRecord, gate: Group | None) -> None:
        """Add a job that begins to wait."""
        line = self.lines.get(gate)
        if line is None:
            line = self.lines[gate] = Line()
        line.size += 1
        if job in line.left:
            del line.left[job]  # it has come from the line for a place into the queue
        elif self.patience:
            line.young[job] = math.inf

    def leave(self, job: JobRecord, gate: Group | None) -> None:
        """Remove a job that no longer waits."""
        line = self.lines[gate]
        line.size -= 1
        if self.patience:
            line.left[job] = None
            return
        line.young.pop(job, None)
        if not line.size:
            del self.lines[gate]

    def waiting(self) -> int:
        """How many of the jobs wait that their groups allow to start."""
        return sum(_within(gate, line.size) for gate, line in self.lines.items())

    def ripe(self, now: float, is_open: bool) -> tuple[int, float]:
        """Return how many of these have waited long enough, and when that will be true of the next one.

        Arguments:
          is_open: whether the pool allows a start from now on; what a job waits otherwise doesn't count.
        """
        number, next_at = 0, math.inf
        for gate, line in list(self.lines.items()):
            line.forget_left()
            if not line.size:
                del self.lines[gate]
                continue
            line.go_on(now, is_open and (gate is None or not gate.is_full))
            number += _within(gate, line.ripe(now, self.patience))
            next_at = min(next_at, line.ripens_at(self.patience))
        return number, next_at


class Line:
    """The jobs that wait under one bound, and the clock of their waiting.

    The clock stands while the bound, or the pool, allows no start. So a time on it is the time of
    Trio's clock less the time for which it has stood.

    Attributes:
      size: how many jobs wait.
      young: those that have not waited long enough, with the times on this clock when they began, in
          order; ``inf`` for jobs that have just come.
      left: the jobs that have left in this event, which may come again in it.
    """

    __slots__ = ("_stood", "_stopped_at", "left", "size", "young")

    def __init__(self) -> None:
        self.size: int = 0
        self.young: OrderedDict[JobRecord, float] = OrderedDict()
        self.left: dict[JobRecord, None] = {}
        self._stood = 0.0
        self._stopped_at: float | None = None

    def forget_left(self) -> None:
        """Forget the jobs that have left."""
        for job in self.left:
            self.young.pop(job, None)
        self.left.clear()

    def go_on(self, now: float, runs: bool) -> None:
        """Let the clock run from now on, or stand, and give new jobs their times."""
        if runs and self._stopped_at is not None:
            self._stood += now - self._stopped_at
            self._stopped_at = None
        elif not runs and self._stopped_at is None:
            self._stopped_at = now
        since = (now if self._stopped_at is None else self._stopped_at) - self._stood
        for job in list(takewhile(lambda job: self.young[job] == math.inf, reversed(self.young))):
            self.young[job] = since

    def ripe(self, now: float, patience: float) -> int:
        """How many jobs have waited long enough."""
        while self.ripens_at(patience) <= now:
            self.young.popitem(last=False)
        return self.size - len(self.young)

    def ripens_at(self, patience: float) -> float:
        """When the next job will have waited long enough, if the clock goes on; ``inf`` if it stands."""
        if not self.young or self._stopped_at is not None:
            return math.inf
        return next(iter(self.young.values())) + self._stood + patience


def _within(gate: Group | None, number: int) -> int:
    """How many of so many jobs their group allows to start."""
    return number if gate is None else int(min(number, max(0, gate.room)))
