"""The live view's readings of units: what was used lately, and what the limits let through."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from .._policies.rate_limit import SharedRateLimit
from .._policies.rate_meters import several
from ._window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.handles import Worker
    from .._model.statistics import PoolStatistics
    from .._policies.rate_meters import AnyLimit, RateLimits

    LimitsByUnit: TypeAlias = dict[str, list[AnyLimit]]

Holder: TypeAlias = "int | SharedRateLimit | None"
"""Whose use is measured: a worker's, by its number; that of a shared limit; or, with None, the whole pool's."""

MINUTE = 60.0
"""The period of units that have no limit."""
SHORTEST = 5.0
"""Seconds over which the use is measured at least, so that it can be read."""


@attrs.frozen
class Usage:
    """How much of a unit was used lately.

    Attributes:
      amount: with a limit, what was used in the last ``per`` seconds, and no more than was really
          used since the view began, since a limit may let its burst through in no time. Without a
          limit, the rate per period.
      per: the period in seconds.
      count: how much the limit lets through per period, or None without a limit.
    """

    amount: float
    per: float
    count: float | None = None


@attrs.frozen
class UnitReading:
    """What was used of one unit.

    Attributes:
      unit: the unit.
      pool: the use of the whole pool.
      shared: the names of the limits that the workers share, and what they used of each.
      workers: the use of each worker that has used the unit or has a limit with it, by its number.
    """

    unit: str
    pool: Usage
    shared: Sequence[tuple[str | None, Usage]]
    workers: Mapping[int, Usage]


class UnitReadings:
    """Takes readings of the units, from what the pool and its workers say in public."""

    def __init__(self) -> None:
        self._amounts = _Amounts()
        # The workers of the last reading, and the limits that they shared lately.
        self._crew: dict[int, Worker] = {}
        self._shared: list[tuple[str, SharedRateLimit]] = []
        # The last known period of each unit that has or had limits, so that nothing changes when
        # the only worker with a limit leaves.
        self._periods: dict[str, float] = {}

    def take(
        self, now: float, pool: PoolStatistics, pool_limits: RateLimits, crew: Mapping[int, Worker]
    ) -> list[UnitReading]:
        """Take a reading of each unit: first of those with limits, then of those that are used without.

        Arguments:
          now: the time on Trio's clock.
          pool: the pool's statistics.
          pool_limits: the limits of the whole pool.
          crew: the workers that have not left, by their numbers.
        """
        # Workers that have left are read once more, for what they drew from shared limits. After
        # the end of the pool its statistics contain the last workers, and these keep their limits.
        crew = {**self._crew, **crew}
        limits = {number: _by_unit(worker.rate_limit) for number, worker in crew.items()}
        used: dict[Holder, Mapping[str, float]] = {None: pool.used}
        used.update((worker.id, worker.used) for worker in pool.workers)
        used.update((number, crew[number].statistics().used) for number in crew.keys() - used.keys())
        self._amounts.note(now, used)
        self._count_shared(limits)
        self._crew = {worker.id: crew[worker.id] for worker in pool.workers if worker.id in crew}
        own = _by_unit(pool_limits)
        present = {worker.id: limits.get(worker.id, {}) for worker in pool.workers}
        periods = _shortest_periods([own, *present.values()])
        self._periods.update(periods)
        shared = self._read_shared(own, present)
        units = sorted({*pool.used, *periods}, key=lambda unit: (unit not in self._periods, unit))
        readings = [
            UnitReading(
                unit=unit,
                pool=self._usage(None, unit, own.get(unit, ())),
                shared=shared.get(unit, []),
                workers={
                    worker.id: self._usage(worker.id, unit, _unshared(present[worker.id].get(unit, ())))
                    for worker in pool.workers
                    if unit in worker.used or unit in present[worker.id]
                },
            )
            for unit in units
        ]
        self._amounts.forget_unread()
        return readings

    def _count_shared(self, limits: Mapping[int, LimitsByUnit]) -> None:
        """Add up what the workers have drawn from each shared limit."""
        drawn: dict[tuple[str, SharedRateLimit], float] = dict.fromkeys(self._shared, 0)
        for number, by_unit in limits.items():
            for unit, limit in _shared_among(by_unit):
                drawn[unit, limit] = drawn.get((unit, limit), 0) + self._amounts.growth(number, unit)
        for (unit, limit), amount in drawn.items():
            self._amounts.add(limit, unit, amount)
        self._shared = list(drawn)

    def _read_shared(
        self, own: LimitsByUnit, present: Mapping[int, LimitsByUnit]
    ) -> dict[str, list[tuple[str | None, Usage]]]:
        """What the workers used of each limit that they share, by units."""
        held = {each for by_unit in present.values() for each in _shared_among(by_unit)}
        readings: dict[str, list[tuple[str | None, Usage]]] = {}
        for unit, limit in tuple(self._shared):
            usage = self._usage(limit, unit, [limit])
            if (unit, limit) not in held and not usage.amount:
                self._shared.remove((unit, limit))
                self._amounts.forget(limit)
            elif limit not in own.get(unit, ()):  # a limit of the whole pool is shown as such
                readings.setdefault(unit, []).append((limit.name, usage))
        return readings

    def _usage(self, holder: Holder, unit: str, limits: Iterable[AnyLimit]) -> Usage:
        """What the holder used lately; if it has several limits, in comparison to the one used most."""
        found: list[tuple[float, Usage]] = []
        for each in limits:
            limit = each.limit if isinstance(each, SharedRateLimit) else each
            amount = self._amounts.lately(holder, unit, limit.per, at_least=limit.per)
            found.append((amount / limit.count, Usage(amount, limit.per, limit.count)))
        if found:
            return max(found, key=lambda each: each[0])[1]
        per = self._periods.get(unit, MINUTE)
        return Usage(self._amounts.lately(holder, unit, per, at_least=min(per, SHORTEST)), per)


class _Amounts:
    """What each holder used in all at each reading, and lately."""

    def __init__(self) -> None:
        self._now = 0.0
        self._used: dict[Holder, Mapping[str, float]] = {}
        # The same of the reading before, or of this one if it is the first.
        self._then: float | None = None
        self._used_then: Mapping[Holder, Mapping[str, float]] = {}
        # By holder, unit and period: those of the readings before, and those read in this one.
        self._windows: dict[tuple[Holder, str, float], Window[float]] = {}
        self._read: dict[tuple[Holder, str, float], Window[float]] = {}

    def note(self, now: float, used: dict[Holder, Mapping[str, float]]) -> None:
        """Begin a reading."""
        self._then, self._used_then = (now, dict(used)) if self._then is None else (self._now, self._used)
        self._now, self._used = now, used

    def growth(self, holder: Holder, unit: str) -> float:
        """What a holder used since the reading before; less than zero if an estimate was corrected."""
        return self._used.get(holder, {}).get(unit, 0) - self._before(holder, unit)

    def add(self, holder: Holder, unit: str, amount: float) -> None:
        """Add to what a holder used that has no statistics."""
        self._used[holder] = {unit: self._before(holder, unit) + amount}

    def forget(self, holder: Holder) -> None:
        """Begin with nothing if this holder comes back."""
        del self._used[holder]

    def lately(self, holder: Holder, unit: str, per: float, at_least: float) -> float:
        """What a holder used per period lately, as if it had been watched for some seconds at least."""
        key = holder, unit, per
        window = self._read.get(key) or self._windows.get(key)
        if window is None:
            window = Window(max(per, SHORTEST))
            assert self._then is not None
            window.add(self._then, self._before(holder, unit))
        self._read[key] = window
        amount = self._used[holder].get(unit, 0)
        since, amount_then = window.add(self._now, amount)
        # Corrections of estimates may exceed what was used. That also replaces what is not a
        # number, the difference of two infinite amounts.
        return max(0.0, amount - amount_then) * per / max(at_least, self._now - since)

    def forget_unread(self) -> None:
        """End a reading: forget what was not read, of workers that have left and limits that have changed."""
        self._windows, self._read = self._read, {}

    def _before(self, holder: Holder, unit: str) -> float:
        # Who wasn't there had used nothing.
        return self._used_then.get(holder, {}).get(unit, 0)


def _by_unit(limits: RateLimits) -> LimitsByUnit:
    """The limits that have a unit, in their order."""
    found: LimitsByUnit = {}
    for limit in several(limits):
        if limit.unit is not None:
            found.setdefault(limit.unit, []).append(limit)
    return found


def _shared_among(limits: LimitsByUnit) -> dict[tuple[str, SharedRateLimit], None]:
    """The shared limits among these, each once, with their units."""
    shared = ((unit, limit) for unit, held in limits.items() for limit in held if isinstance(limit, SharedRateLimit))
    return dict.fromkeys(shared)


def _unshared(limits: Iterable[AnyLimit]) -> list[AnyLimit]:
    return [limit for limit in limits if not isinstance(limit, SharedRateLimit)]


def _shortest_periods(holders: Iterable[LimitsByUnit]) -> dict[str, float]:
    """The shortest period of the limits of each unit, for those that use it without a limit."""
    periods: dict[str, float] = {}
    for limits in holders:
        for unit, held in limits.items():
            for each in held:
                per = each.limit.per if isinstance(each, SharedRateLimit) else each.per
                periods[unit] = min(per, periods.get(unit, per))
    return periods
