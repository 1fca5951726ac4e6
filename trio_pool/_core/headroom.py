"""What the limits would allow to start on workers that an elastic pool may open."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._policies.rate_limit import Share
    from .._policies.rate_meters import RateLimits
    from .metering import Metering
    from .state import PoolState
    from .tag_index import Units


class Headroom:
    """What additional workers could start under the limits of the pool and those that all elastic workers share.

    Arguments:
      state: the state of the pool.
      metering: counts what runs draw.
      limits: the limits of each elastic worker.
    """

    __slots__ = ("_metering", "_shares", "_state")

    def __init__(self, state: PoolState, metering: Metering, limits: RateLimits) -> None:
        self._state = state
        self._metering = metering
        self._shares: dict[str | None, list[Share]] = {}
        for share in metering.expect(limits):
            self._shares.setdefault(share.unit, []).append(share)

    def starts(self, now: float) -> float:
        """How many more attempts the pool and the limits without a unit allow to start now."""
        room = max(0, self._state.limits.room)  # more attempts may run than allowed, if the bound was lowered
        meters = self._state.limits.meters
        if not room:
            return room
        if meters.starts:
            if (ready := meters.ready_at(now)) > now:
                meters.wait(None, now)
                self._state.limits.wait_for_meter(ready)
            room = min(room, meters.startable(now))
        for share in self._shares.get(None, ()):
            self._metering.is_closed(share, now)
            room = min(room, share.startable(now))
        return room

    def closed_gate(self, units: Units) -> str | Share | None:
        """A unit, or a shared limit with a unit, known to keep jobs with these units from new workers, or None."""
        closed = self._state.roster.closed
        for unit in units:
            if unit in closed.units:
                return unit
            for share in self._shares.get(unit, ()):
                if share in closed.shares:
                    return share
        return None

    def level(self, unit: str, now: float) -> float:
        """How much of a unit may be drawn now; 0 if nothing may start, otherwise at least 1."""
        meters = [*self._state.limits.meters.of_unit(unit)]
        self._metering.look_at_pool(unit, now)
        for share in self._shares.get(unit, ()):
            self._metering.is_closed(share, now)
            meters.append(share)
        if any(meter.ready_at(now) > now for meter in meters):
            return 0.0
        return max(1.0, min([meter.level(now) for meter in meters], default=math.inf))
