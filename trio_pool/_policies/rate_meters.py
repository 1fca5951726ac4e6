"""The rate limits of one holder (a pool, a worker or a key), and what is counted for them."""

from __future__ import annotations

import math
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, cast

from . import validate
from .rate_limit import RateLimit, Share, SharedRateLimit
from .rate_meter import RateMeter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .rate_limit import Sharer
    from .rate_meter import Amount

AnyLimit: TypeAlias = RateLimit | SharedRateLimit
Meter: TypeAlias = "RateMeter | Share"
RateLimits: TypeAlias = "AnyLimit | tuple[AnyLimit, ...] | None"
"""One limit, several that all hold, or none."""


def checked_limits(name: str, value: object) -> RateLimits:
    """Return ``value``, after checking that it is a limit, an iterable of limits or None; an iterable as a tuple."""
    if value is None or isinstance(value, (RateLimit, SharedRateLimit)):
        return value
    try:
        limits = tuple(cast("Iterable[object]", value))
    except TypeError:
        raise TypeError(f"{name} must be a RateLimit, {validate.got(value)}; several go into an iterable") from None
    for limit in limits:
        if not isinstance(limit, (RateLimit, SharedRateLimit)):
            raise TypeError(f"{name} must hold limits, {validate.got(limit)}")
    return cast("tuple[AnyLimit, ...]", limits) or None


def several(limits: RateLimits) -> tuple[AnyLimit, ...]:
    """Return limits as a tuple."""
    if limits is None:
        return ()
    return limits if isinstance(limits, tuple) else (limits,)


class RateMeters:
    """The meters of one holder: one for each limit, in the order of the limits.

    Arguments:
      limits: the limits.
      sharer: the pool that draws from the shared limits.
      keeps_apart: whether the shared limits are kept apart from the others, as for a worker: what
          they allow is the same for all workers that have them.

    Attributes:
      limits: the limits, as they were assigned.
      starts: the meters of the limits without a unit.
      by_unit: the meters of the others, by their units.
      apart: those of the shared limits, if kept apart.
      apart_by_unit: the same, by their units.
    """

    __slots__ = ("_keeps_apart", "_kept", "_sharer", "apart", "apart_by_unit", "by_unit", "limits", "starts")

    def __init__(self, limits: RateLimits, sharer: Sharer, *, keeps_apart: bool = False) -> None:
        self._sharer = sharer
        self._keeps_apart = keeps_apart
        # The meters of the current limits, and of earlier limits that have no counterpart now, by
        # their units, in order. The latter are kept so that recent starts are not forgotten.
        self._kept: dict[str | None, list[Meter]] = {}
        self.limits: RateLimits = None
        self.starts: tuple[Meter, ...] = ()
        self.by_unit: dict[str, tuple[Meter, ...]] = {}
        self.apart: tuple[Share, ...] = ()
        self.apart_by_unit: dict[str | None, tuple[Share, ...]] = {}
        self.change(limits, 0.0)

    def __bool__(self) -> bool:
        return bool(self.starts or self.by_unit or self.apart)

    def change(self, limits: RateLimits, now: float) -> None:
        """Apply other limits from now on: the n-th limit of a unit takes over the level of the previous n-th one."""
        self.limits = limits
        found: dict[str | None, list[Meter]] = {}
        apart: dict[Share, None] = {}
        seen: Counter[str | None] = Counter()
        for limit in several(limits):
            kept = self._kept.setdefault(limit.unit, [])
            number = seen[limit.unit]
            seen[limit.unit] += 1
            meter = self._meter_for(limit, kept[number] if number < len(kept) else None, now)
            kept[number : number + 1] = [meter]
            if self._keeps_apart and isinstance(meter, Share):
                apart[meter] = None
            else:
                found.setdefault(limit.unit, []).append(meter)
        self.apart = tuple(apart)
        by_unit: dict[str | None, tuple[Share, ...]] = {}
        for share in apart:
            by_unit[share.unit] = (*by_unit.get(share.unit, ()), share)
        self.apart_by_unit = by_unit
        self.starts = _once(found.pop(None, []))
        self.by_unit = {unit: _once(meters) for unit, meters in found.items() if unit is not None}

    def ready_at(self, now: float) -> float:
        """The earliest time from ``now`` on at which the limits without a unit allow a start."""
        return latest(self.starts, now)

    def ready_for(self, unit: str, now: float) -> float:
        """The earliest time from ``now`` on at which the limits of a unit allow a start."""
        return latest(self.by_unit.get(unit, ()), now)

    def startable(self, now: float) -> float:
        """How many attempts the limits without a unit allow to start now."""
        return min([meter.startable(now) for meter in self.starts], default=math.inf)

    def wait(self, unit: str | None, now: float) -> None:
        """Wait for the turn of the pool in the shared limits of a unit that allow no start now."""
        for meter in self.starts if unit is None else self.by_unit[unit]:
            if isinstance(meter, Share) and meter.ready_at(now) > now:
                meter.wait(now)

    def shares(self) -> list[Share]:
        """The shared limits among these."""
        return [meter for meter in self.all() if isinstance(meter, Share)]

    def all(self) -> Iterable[Meter]:
        """The meters of all limits."""
        return chain(self.starts, *self.by_unit.values(), self.apart)

    def placed(self) -> Iterable[tuple[str | None, int, AnyLimit, Meter]]:
        """The limits with their meters, each with its unit and its index among those with that unit."""
        seen: Counter[str | None] = Counter()
        for limit in several(self.limits):
            place = seen[limit.unit]
            seen[limit.unit] += 1
            yield limit.unit, place, limit, self._kept[limit.unit][place]

    def units(self) -> set[str]:
        """The units of the limits."""
        return {*self.by_unit, *(share.unit for share in self.apart if share.unit is not None)}

    def of_unit(self, unit: str) -> list[Meter]:
        """The meters of the limits with a unit."""
        return [*self.by_unit.get(unit, ()), *self.apart_by_unit.get(unit, ())]

    def add_draws(self, uses: Iterable[tuple[str, Amount]], drawn: dict[Meter, Amount]) -> None:
        """Add what a run of a job that uses these amounts draws from each meter."""
        for meter in self.starts:
            drawn[meter] = 1
        for unit, amount in uses:
            for meter in self.of_unit(unit):
                drawn[meter] = amount
        for share in self.apart_by_unit.get(None, ()):
            drawn[share] = 1

    def _meter_for(self, limit: AnyLimit, before: Meter | None, now: float) -> Meter:
        """The meter of a limit that takes the place of that of ``before``."""
        if isinstance(limit, SharedRateLimit):
            return self._sharer.share_of(limit)
        if isinstance(before, RateMeter):
            before.change(limit, now)
            return before
        meter = RateMeter(limit, limit.unit)
        if before is not None:
            meter.set_level(limit, before.level(now), now)
        return meter


def latest(meters: Iterable[Meter], now: float) -> float:
    """The earliest time from ``now`` on at which all these meters allow a start."""
    ready = now
    for meter in meters:
        at = meter.ready_at(now)
        if at > ready:
            ready = at
    return ready


def _once(meters: list[Meter]) -> tuple[Meter, ...]:
    return tuple(dict.fromkeys(meters))
