"""The jobs that wait for an elastic worker, and for how long they have waited for nothing but a worker."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from itertools import count, takewhile
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .._policies.rate_meter import as_float
from .lanes import take_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.key_record import KeyRecord
    from .._model.records import Group, JobRecord, Terms
    from .._policies.rate_limit import Share
    from .._policies.rate_meter import Amount
    from .tag_index import Units

    # The group with a bound, and the units that the jobs use.
    Bound: TypeAlias = tuple[Group | None, frozenset[str]]


class Levels(Protocol):
    """The limits with a unit: which jobs they would allow to start on one more worker."""

    def closed_gate(self, units: Units) -> str | Share | None: ...
    def level(self, unit: str, now: float) -> float: ...


class Demand:
    """The jobs that an elastic worker may run and that wait, in the queue or for a place in it, by their groups.

    Attributes:
      tags: the tags of the elastic workers.
      patience: how long a job has to wait for nothing but a worker before one is opened for it; set by `set_patience`.
      lines: the waiting jobs of each group with a bound, and of all others, by the units that they use.
    """

    __slots__ = ("_changed", "_levels", "_of_keys", "_open", "_shut", "lines", "patience", "tags")

    def __init__(self, tags: frozenset[str], patience: float, levels: Levels) -> None:
        self._levels = levels
        self.tags: frozenset[str] = tags
        self.patience: float = patience
        self.lines: dict[Bound, Line] = {}
        # The lines that have changed since the last look; those that are not known to wait for a unit or a shared
        # limit; and the others by that unit or limit. These others are not looked at until it opens.
        self._changed: dict[Bound, Line] = {}
        self._open: dict[Bound, Line] = {}
        self._shut: dict[str | Share, dict[Bound, Line]] = {}
        # Where the jobs of each key stand, if there are bounds for keys.
        self._of_keys: dict[KeyRecord, dict[Line, Part]] = {}

    def enter(self, job: JobRecord, terms: Terms) -> None:
        """Add a job that begins to wait."""
        bound = terms.gate, terms.units
        line = self.lines.get(bound)
        if line is None:
            line = self.lines[bound] = self._open[bound] = Line(terms.units)
        self._changed[bound] = line
        key = job._key
        part = line.parts.get(key)
        if part is None:
            part = line.parts[key] = Part(key)
            if key is not None:
                self._of_keys.setdefault(key, {})[line] = part
        line.add(part, job, 1)
        if job in part.left:
            del part.left[job]  # the job has moved from the line for a place into the queue
        elif self.patience:
            part.young[job] = math.inf

    def leave(self, job: JobRecord, terms: Terms) -> None:
        """Remove a job that no longer waits."""
        bound = terms.gate, terms.units
        line = self._changed[bound] = self.lines[bound]
        part = line.parts[job._key]
        line.add(part, job, -1)
        if self.patience or part.young:  # jobs may have been young since before `set_patience`
            part.left[job] = None
        elif not part.size:
            self._drop(bound, line, part)

    def _drop(self, bound: Bound, line: Line, part: Part) -> None:
        """Remove a part without jobs, and also its line if it was the last part."""
        line.touched.pop(part, None)
        line.ripe -= part.ripe
        del line.parts[part.key]
        if part.key is not None:
            take_from(self._of_keys, part.key, line)
        if not line.parts:
            del self.lines[bound]
            self._changed.pop(bound, None)
            if line.shut_by is None:
                del self._open[bound]
            else:
                take_from(self._shut, line.shut_by, bound)

    def waiting(self) -> int:
        """How many waiting jobs are allowed to start by their groups, their keys, and the units that they use."""
        lines, levels = self._open.items(), self._levels
        return _within({bound: line.startable for bound, line in lines if levels.closed_gate(bound[1]) is None})

    def reopen(self, gate: str | Share) -> None:
        """Look again at the jobs that wait for a unit or a shared limit."""
        for bound, line in self._shut.pop(gate, {}).items():
            line.shut_by = None
            self._open[bound] = line

    def note_key(self, key: KeyRecord) -> None:
        """Count again how many jobs of a key may start."""
        for line, part in self._of_keys.get(key, {}).items():
            line.count(part)

    def set_patience(self, patience: float) -> None:
        """Change how long a job has to wait."""
        self.patience = patience
        self._changed.update(self.lines)
        for line in self.lines.values():
            line.touched.update(dict.fromkeys(line.parts.values()))

    def clear(self) -> None:
        """Remove everything."""
        for held in (self.lines, self._open, self._shut, self._changed, self._of_keys):
            held.clear()

    def ripe(self, now: float, is_open: bool) -> tuple[int, float]:
        """Return how many of the jobs that `waiting` counts have waited long enough, and when the next one will have.

        Arguments:
          is_open: whether the pool allows a start from now on; while it doesn't, the time that jobs wait doesn't count.
        """
        numbers: dict[Bound, int] = {}
        levels: dict[str, float] = {}
        next_at = math.inf
        changed, self._changed = self._changed, {}
        for bound, line in {**self._open, **changed}.items():
            (gate, units) = bound
            if line.shut_by is None:
                levels.update({unit: self._levels.level(unit, now) for unit in units if unit not in levels})
                closed = self._levels.closed_gate(units)
                line.clock.go_on(now, is_open and closed is None and (gate is None or not gate.is_full))
                if closed is not None:
                    line.shut_by = closed
                    self._shut.setdefault(closed, {})[bound] = self._open.pop(bound)
            for part in line.look_at(now, self.patience):
                self._drop(bound, line, part)
            if line.size and line.shut_by is None:
                ripe = line.ripe if gate is None else int(min(line.ripe, max(0, gate.room)))
                numbers[bound] = line.draw(ripe, units, levels)
                next_at = min(next_at, line.ripens_at())
        return _within(numbers), next_at


class Clock:
    """A clock that can stop: its time is that of another clock, minus the time for which it was stopped."""

    __slots__ = ("_stood", "_stopped_at")

    def __init__(self) -> None:
        self._stood = 0.0
        self._stopped_at: float | None = None

    def go_on(self, now: float, runs: bool) -> None:
        """Let the clock run from now on, or stop it."""
        if runs and self._stopped_at is not None:
            self._stood += now - self._stopped_at
            self._stopped_at = None
        elif not runs and self._stopped_at is None:
            self._stopped_at = now

    def read(self, now: float) -> float:
        """The time that the clock shows."""
        return (now if self._stopped_at is None else self._stopped_at) - self._stood

    def shows(self, time: float) -> float:
        """When the clock will show this time, if it keeps running; ``inf`` if it is stopped."""
        return time + self._stood if self._stopped_at is None else math.inf


class Part:
    """The jobs of one key in a line, or all of them if there are no bounds for keys.

    The clock that measures how long they wait is stopped while the key allows no start.

    Attributes:
      key: the key, or None.
      size: how many jobs wait.
      startable: how many of them the key allows to start.
      ripe: how many of these have waited long enough and are also allowed to start by the key's limits.
      young: the jobs that have not waited long enough, with the times on the clock when they began to
          wait, in order; ``inf`` for jobs that have been added since the last look.
      left: the jobs that have been removed since the last look; they may be added again before the next one.
      ripens_at: when the next one will have waited long enough, on the line's clock; owned by the line.
    """

    __slots__ = ("_clock", "key", "left", "ripe", "ripens_at", "size", "startable", "young")

    def __init__(self, key: KeyRecord | None) -> None:
        self.key: KeyRecord | None = key
        self.size: int = 0
        self.startable: int = 0
        self.ripe: int = 0
        self.young: OrderedDict[JobRecord, float] = OrderedDict()
        self.left: dict[JobRecord, None] = {}
        self.ripens_at: float = math.inf
        self._clock = Clock()

    def look_at(self, time: float, now: float, patience: float) -> float:
        """Bring everything up to date; return when the next job will have waited long enough.

        Arguments:
          time: the time on the line's clock.
          now: the time on Trio's clock.
        """
        young, clock = self.young, self._clock
        for job in self.left:
            young.pop(job, None)
        self.left.clear()
        clock.go_on(time, self.startable > 0)
        since = clock.read(time)
        for job in list(takewhile(lambda job: young[job] == math.inf, reversed(young))):
            young[job] = since
        ripens_at = math.inf
        while young and (ripens_at := clock.shows(next(iter(young.values())) + patience)) <= time:
            young.popitem(last=False)
        self.ripe = min(self.size - len(young), self.startable)
        if self.ripe > 1 and self.key is not None and self.key.meters is not None:
            self.ripe = int(min(self.ripe, max(1, self.key.meters.startable(now))))
        return ripens_at if young else math.inf


class Line:
    """The jobs that wait under one bound.

    Attributes:
      clock: stopped while the bound, or the pool, allows no start.
      parts: the jobs by their keys, if there are bounds for keys.
      touched: the parts that may have changed since the last look.
      shut_by: the unit or the shared limit for which the jobs are known to wait, or None; owned by `Demand`.
      size: how many jobs wait.
      startable: how many of them their keys allow to start.
      ripe: how many of these have waited long enough.

    Arguments:
      units: the units that the jobs use.
    """

    # fmt: off
    __slots__ = (
        "_amounts", "_numbers", "_ripening", "_units", "clock", "parts", "ripe", "shut_by", "size", "startable",
        "touched",
    )
    # fmt: on

    def __init__(self, units: Units) -> None:
        self._units = units
        self.clock: Clock = Clock()
        self.parts: dict[KeyRecord | None, Part] = {}
        self.touched: dict[Part, None] = {}
        self.shut_by: str | Share | None = None
        self.size: int = 0
        self.startable: int = 0
        self.ripe: int = 0
        # The parts by the times on the clock when their next jobs will have waited long enough.
        self._ripening: list[tuple[float, int, Part]] = []
        self._numbers = count()
        # How much the jobs use of each unit in total.
        self._amounts: dict[str, Amount] = {}

    def add(self, part: Part, job: JobRecord, sign: int) -> None:
        """Count a job that is added (``sign`` 1) or removed (-1)."""
        self.size += sign
        part.size += sign
        self.count(part)
        for unit in self._units:
            self._amounts[unit] = self._amounts.get(unit, 0) + sign * job._options.uses[unit]

    def count(self, part: Part) -> None:
        """Count again how many jobs of a part may start."""
        key = part.key
        self.startable -= part.startable
        if key is None:
            part.startable = part.size
        else:
            part.startable = 0 if key.is_closed_to(self._units) else int(min(part.size, key.room))
        self.startable += part.startable
        self.touched[part] = None

    def look_at(self, now: float, patience: float) -> list[Part]:
        """Update the parts that have changed, or in which more jobs have waited long enough; return the empty ones."""
        time, ripening = self.clock.read(now), self._ripening
        while ripening and (ripening[0][0] != ripening[0][2].ripens_at or self.ripens_at() <= now):
            at, _, part = heapq.heappop(ripening)
            if at == part.ripens_at:
                self.touched[part] = None
                time = max(time, at)  # otherwise rounding could make it too early for this part
        touched, self.touched = self.touched, {}
        for part in touched:
            self.ripe -= part.ripe
            at = part.look_at(time, now, patience)
            self.ripe += part.ripe
            if at != part.ripens_at:
                part.ripens_at = at
                if at < math.inf:
                    heapq.heappush(ripening, (at, next(self._numbers), part))
        return [part for part in touched if not part.size]

    def draw(self, number: int, units: Units, levels: dict[str, float]) -> int:
        """Return how many of ``number`` jobs these levels of the units allow to start, and draw what they use.

        Each job is assumed to use the average amount, since any of them may be the next.
        """
        average = {unit: as_float(self._amounts[unit]) / self.size for unit in units}
        number = int(min([number, *(_affordable(levels[unit], average[unit]) for unit in units)]))
        for unit in units:
            levels[unit] -= number * average[unit]
        return number

    def ripens_at(self) -> float:
        """When the next job will have waited long enough, if the clock keeps running; ``inf`` if it is stopped."""
        return self.clock.shows(self._ripening[0][0]) if self._ripening else math.inf


def _within(numbers: Mapping[Bound, int]) -> int:
    """How many of these numbers of jobs their groups allow to start, in total."""
    by_gate: dict[Group | None, int] = {}
    for (gate, _), number in numbers.items():
        by_gate[gate] = by_gate.get(gate, 0) + number
    return sum(number if gate is None else int(min(number, max(0, gate.room))) for gate, number in by_gate.items())


def _affordable(level: float, amount: float) -> float:
    """How many attempts that each draw this amount can start, one after the other, at this level."""
    if level < 1 or not amount:
        return 0 if level < 1 else math.inf
    return 1 + (level - 1) // amount
