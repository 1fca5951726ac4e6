"""The live view's readings of units: what was used lately, and what the limits allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from .._policies.rate_limit import SharedRateLimit
from .._policies.rate_meters import several
from ._window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.handles import Worker
    from .._model.statistics import PoolStatistics, WorkerStatistics
    from .._policies.rate_limit import RateLimit
    from .._policies.rate_meters import AnyLimit, RateLimits

    LimitsByUnit: TypeAlias = dict[str, list[AnyLimit]]

Holder: TypeAlias = "int | _Account | None"
"""The holder whose use is measured: a worker, by its number; a shared limit; or, with None, the whole pool."""
Amounts: TypeAlias = "Mapping[Holder, Mapping[str, float]]"
"""What each holder had used in total at one moment, by units. A missing holder has used nothing."""

MINUTE = 60.0
"""The period of units that have no limit."""
SHORTEST = 5.0
"""The minimum number of seconds over which use is measured, so that the figures stay readable."""


@attrs.frozen
class Usage:
    """How much of a unit was used lately.

    Attributes:
      amount: with a limit, what was used in the last ``per`` seconds, but not more than was really
          used since the view began, since a limit may allow its whole burst at once. Without a
          limit, the rate per period.
      per: the period in seconds.
      count: how much the limit allows per period, or None without a limit.
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
    """

    unit: str
    pool: Usage
    shared: Sequence[tuple[str | None, Usage]]
    _measure: _Measure
    _limits: Mapping[int, LimitsByUnit]

    def of(self, worker: WorkerStatistics) -> Usage | None:
        """The use of a worker, or None if it has not used the unit and has no limit with it."""
        # Calculated only when needed, since few of many workers may be shown.
        limits = self._limits.get(worker.id, {}).get(self.unit)
        if limits is None and self.unit not in worker.used:
            return None
        own = [limit for limit in limits or () if not isinstance(limit, SharedRateLimit)]
        return self._measure.usage(worker.id, self.unit, own)


class UnitReadings:
    """Takes readings of the units, from the public attributes of the pool and its workers."""

    def __init__(self) -> None:
        # The previous reading: its time, None before the first one; and what was used until then.
        self._read_at: float | None = None
        self._used: Amounts = {}
        # The workers with limits of units at that time.
        self._crew: dict[int, Worker] = {}
        self._accounts: dict[SharedRateLimit, _Account] = {}
        # The last known period of each unit that has or had limits, so that nothing changes when
        # the only worker with a limit leaves.
        self._periods: dict[str, float] = {}
        # The windows of use, by period.
        self._windows: dict[float, Window[Amounts]] = {}

    def take(
        self, now: float, pool: PoolStatistics, pool_limits: RateLimits, crew: Mapping[int, Worker]
    ) -> list[UnitReading]:
        """Take a reading of each unit: first of the units with limits, then of those that are used without limits.

        Arguments:
          now: the time on Trio's clock.
          pool: the pool's statistics.
          pool_limits: the limits of the whole pool.
          crew: the workers that have not left, by their numbers.
        """
        # Workers that have left are read once more, to include what they drew from shared limits. After
        # the end of the pool, its statistics contain the last workers, and these keep their limits.
        crew = {**self._crew, **crew}
        numbers = {worker.id for worker in pool.workers}
        limits = {number: found for number, worker in crew.items() if (found := _by_unit(worker.rate_limit))}
        used: dict[Holder, Mapping[str, float]] = {worker.id: worker.used for worker in pool.workers if worker.used}
        used.update((number, crew[number].statistics().used) for number in self._crew.keys() - numbers)
        used[None] = pool.used
        if self._read_at is None:
            self._read_at, self._used = now, dict(used)
        self._count_shared(used, limits)
        own = _by_unit(pool_limits)
        present = {number: held for number, held in limits.items() if number in numbers}
        self._crew = {number: crew[number] for number in present}
        measure = self._measure(now, used, [own, *present.values()])
        shared = self._read_shared(measure, own, present)
        units = {*pool.used, *own, *(unit for held in present.values() for unit in held)}
        self._read_at, self._used = now, used
        return [
            UnitReading(unit, measure.usage(None, unit, own.get(unit, ())), shared.get(unit, []), measure, present)
            for unit in sorted(units, key=lambda unit: (unit not in self._periods, unit))
        ]

    def _count_shared(self, used: dict[Holder, Mapping[str, float]], limits: Mapping[int, LimitsByUnit]) -> None:
        """Add up what the workers have drawn from each shared limit."""
        for number, by_unit in limits.items():
            for unit, limit in _shared_among(by_unit):
                account = self._accounts.setdefault(limit, _Account(unit))
                account.drawn += _amount(used, number, unit) - _amount(self._used, number, unit)
        for account in self._accounts.values():
            used[account] = {account.unit: account.drawn}

    def _measure(self, now: float, used: Amounts, holders: Sequence[LimitsByUnit]) -> _Measure:
        """Record what was used so far, and find for each period what had been used before it."""
        found: dict[str, float] = {}
        pers = {MINUTE, *self._periods.values(), *(limit.limit.per for limit in self._accounts)}
        for limits in holders:
            for unit, held in limits.items():
                for each in held:
                    per = _value(each).per
                    pers.add(per)
                    found[unit] = min(per, found.get(unit, per))
        self._periods.update(found)
        self._windows = {per: self._windows.get(per) or self._new_window(per) for per in pers}
        since = {per: window.add(now, used) for per, window in self._windows.items()}
        return _Measure(now, used, since, dict(self._periods))

    def _new_window(self, per: float) -> Window[Amounts]:
        window: Window[Amounts] = Window(max(per, SHORTEST))
        assert self._read_at is not None
        window.add(self._read_at, self._used)
        return window

    def _read_shared(
        self, measure: _Measure, own: LimitsByUnit, present: Mapping[int, LimitsByUnit]
    ) -> dict[str, list[tuple[str | None, Usage]]]:
        """What the workers used of each limit that they share, by units."""
        held = {limit for by_unit in present.values() for _, limit in _shared_among(by_unit)}
        readings: dict[str, list[tuple[str | None, Usage]]] = {}
        for limit, account in tuple(self._accounts.items()):
            usage = measure.usage(account, account.unit, [limit])
            if limit not in held and not usage.amount:
                del self._accounts[limit]
            elif limit not in own.get(account.unit, ()):  # a limit that the whole pool also has is shown as the pool's
                readings.setdefault(account.unit, []).append((limit.name, usage))
        return readings


@attrs.define(eq=False)
class _Account:
    """What workers have drawn from a shared limit. Counted separately, since workers come and go."""

    unit: str
    drawn: float = 0


@attrs.frozen
class _Measure:
    """What was used at one moment and before.

    Attributes:
      now: the time.
      used: what was used until now.
      since: the time from which to measure, and what was used until then, by periods.
      periods: the periods of units, for holders that have no limit.
    """

    now: float
    used: Amounts
    since: Mapping[float, tuple[float, Amounts]]
    periods: Mapping[str, float]

    def usage(self, holder: Holder, unit: str, limits: Iterable[AnyLimit]) -> Usage:
        """What the holder used lately; if it has several limits, compared to the limit used most."""
        found: list[tuple[float, Usage]] = []
        for limit in map(_value, limits):
            amount = self._lately(holder, unit, limit.per, at_least=limit.per)
            found.append((amount / limit.count, Usage(amount, limit.per, limit.count)))
        if found:
            return max(found, key=lambda each: each[0])[1]
        per = self.periods.get(unit, MINUTE)
        return Usage(self._lately(holder, unit, per, at_least=min(per, SHORTEST)), per)

    def _lately(self, holder: Holder, unit: str, per: float, at_least: float) -> float:
        """What a holder used per period lately, as if it had been watched for at least ``at_least`` seconds."""
        since, used = self.since[per]
        # Corrections of estimates may exceed what was used. The maximum also replaces a NaN, the
        # difference of two infinite amounts.
        grown = max(0.0, _amount(self.used, holder, unit) - _amount(used, holder, unit))
        return grown * per / max(at_least, self.now - since)


def _amount(used: Amounts, holder: Holder, unit: str) -> float:
    """What a holder used of a unit in total."""
    amounts = used.get(holder)
    return 0 if amounts is None else amounts.get(unit, 0)


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


def _value(limit: AnyLimit) -> RateLimit:
    return limit.limit if isinstance(limit, SharedRateLimit) else limit
