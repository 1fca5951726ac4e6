"""The jobs that wait for an elastic worker, and for how long they have waited for nothing but a worker."""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .._policies.rate_meter import as_float

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.key_record import KeyRecord
    from .._model.records import Group, JobRecord, Terms
    from .._policies.rate_meter import Amount
    from .tag_index import Units

    # The group with a bound, and the units that the jobs use.
    Bound: TypeAlias = tuple[Group | None, frozenset[str]]


class Levels(Protocol):
    """What the limits with a unit would let start on one more worker."""

    def is_open(self, units: Units) -> bool: ...
    def level(self, unit: str, now: float) -> float: ...


class Demand:
    """How many jobs wait that an elastic worker may run, in the queue or for a place in it, by their groups.

    Attributes:
      tags: the tags of the elastic workers.
      patience: how long a job has to wait for nothing but a worker before one is opened for it.
      lines: the waiting jobs of each group with a bound, and of all others, by the units that they use.

    Where keys have bounds, jobs that wait for nothing but a worker are counted, not told apart: so many of a line as
    its keys allow to start, the longest waiting.
    """

    __slots__ = ("_levels", "lines", "patience", "tags")

    def __init__(self, tags: frozenset[str], patience: float, levels: Levels) -> None:
        self._levels = levels
        self.tags: frozenset[str] = tags
        self.patience: float = patience
        self.lines: dict[Bound, Line] = {}

    def enter(self, job: JobRecord, terms: Terms) -> None:
        """Add a job that begins to wait."""
        bound = terms.gate, terms.units
        line = self.lines.get(bound)
        if line is None:
            line = self.lines[bound] = Line()
        line.size += 1
        if job._key is not None:
            line.add_of_key(job._key, terms.units, 1)
        line.add_amounts(job, terms, 1)
        if job in line.left:
            del line.left[job]  # it has come from the line for a place into the queue
        elif self.patience:
            line.young[job] = math.inf

    def leave(self, job: JobRecord, terms: Terms) -> None:
        """Remove a job that no longer waits."""
        bound = terms.gate, terms.units
        line = self.lines[bound]
        line.size -= 1
        if job._key is not None:
            line.add_of_key(job._key, terms.units, -1)
        line.add_amounts(job, terms, -1)
        if self.patience:
            line.left[job] = None
            return
        line.young.pop(job, None)
        if not line.size:
            del self.lines[bound]

    def waiting(self) -> int:
        """How many of the jobs wait that their groups, their keys, and the units that they use allow to start."""
        lines = self.lines.items()
        return _within({bound: line.startable for bound, line in lines if self._levels.is_open(bound[1])})

    def note_key(self, key: KeyRecord) -> None:
        """Count again how many jobs of a key may start."""
        for bound, line in self.lines.items():
            line.add_of_key(key, bound[1], 0)

    def ripe(self, now: float, is_open: bool) -> tuple[int, float]:
        """Return how many of these have waited long enough, and when that will be true of the next one.

        Arguments:
          is_open: whether the pool allows a start from now on; what a job waits otherwise doesn't count.
        """
        numbers: dict[Bound, int] = {}
        levels: dict[str, float] = {}
        next_at = math.inf
        for bound, line in list(self.lines.items()):
            line.forget_left()
            if not line.size:
                del self.lines[bound]
                continue
            (gate, units) = bound
            levels.update({unit: self._levels.level(unit, now) for unit in units if unit not in levels})
            is_allowed = self._levels.is_open(units)
            line.go_on(now, is_open and is_allowed and line.startable > 0 and (gate is None or not gate.is_full))
            ripe = min(line.ripe(now, self.patience), line.startable)
            if is_allowed:
                numbers[bound] = line.draw(ripe, units, levels)
            next_at = min(next_at, line.ripens_at(self.patience))
        return _within(numbers), next_at


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

    __slots__ = ("_amounts", "_by_key", "_of_keys", "_stood", "_stopped_at", "left", "size", "young")

    def __init__(self) -> None:
        self.size: int = 0
        # If there are bounds for keys: how many jobs of each key wait, and how many of these may start; and the sum of
        # the latter.
        self._by_key: dict[KeyRecord, tuple[int, int]] = {}
        self._of_keys = 0
        # How much the jobs use of each unit, all together.
        self._amounts: dict[str, Amount] = {}
        self.young: OrderedDict[JobRecord, float] = OrderedDict()
        self.left: dict[JobRecord, None] = {}
        self._stood = 0.0
        self._stopped_at: float | None = None

    @property
    def startable(self) -> int:
        """How many of the jobs their keys allow to start."""
        return self._of_keys if self._by_key else self.size

    def add_of_key(self, key: KeyRecord, units: frozenset[str], difference: int) -> None:
        """Add to the number of jobs of a key, and count again how many of these may start."""
        if difference > 0 or key in self._by_key:
            waiting, startable = self._by_key.pop(key, (0, 0))
            waiting += difference
            self._of_keys -= startable
            if waiting:
                startable = 0 if key.is_closed_to(units) else int(min(waiting, key.room))
                self._by_key[key] = waiting, startable
                self._of_keys += startable

    def add_amounts(self, job: JobRecord, terms: Terms, sign: int) -> None:
        """Count what a job uses that has come, or no longer what one uses that has left."""
        for unit in terms.units:
            self._amounts[unit] = self._amounts.get(unit, 0) + sign * job._options.uses[unit]

    def draw(self, number: int, units: Units, levels: dict[str, float]) -> int:
        """Return how many of so many jobs these levels of the units let start, and draw what they use.

        Each job counts as the average of all, since any may be the next.
        """
        average = {unit: as_float(self._amounts[unit]) / self.size for unit in units}
        number = int(min([number, *(_affordable(levels[unit], average[unit]) for unit in units)]))
        for unit in units:
            levels[unit] -= number * average[unit]
        return number

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


def _within(numbers: Mapping[Bound, int]) -> int:
    """How many of so many jobs their groups allow to start."""
    by_gate: dict[Group | None, int] = {}
    for (gate, _), number in numbers.items():
        by_gate[gate] = by_gate.get(gate, 0) + number
    return sum(number if gate is None else int(min(number, max(0, gate.room))) for gate, number in by_gate.items())


def _affordable(level: float, amount: float) -> float:
    """How many attempts that draw this amount each may start one after the other at this level."""
    if level < 1 or not amount:
        return 0 if level < 1 else math.inf
    return 1 + (level - 1) // amount
