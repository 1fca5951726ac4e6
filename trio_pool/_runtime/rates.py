"""The rate limits of a pool and of its workers, as users give and change them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._policies.rate_limit import SharedRateLimit
from .._policies.rate_meters import checked_limits, several

if TYPE_CHECKING:
    from .._model.handles import Worker
    from .._policies.rate_meters import RateLimits
    from .engine import Engine


def settle_in(engine: Engine, limits: RateLimits) -> None:
    """Assign the shared limits among these to a pool's Trio run; raise RuntimeError if they belong to another."""
    for limit in several(limits):
        if isinstance(limit, SharedRateLimit):
            limit._settle_in(engine.home)


def set_rate_limit(engine: Engine, value: object, worker: Worker | None = None) -> None:
    """Change how often attempts may start, in the whole pool or on one worker."""
    engine.check_caller()
    limits = checked_limits("rate_limit", value)
    settle_in(engine, limits)
    engine.core.set_rate_limit(limits, trio.current_time(), worker)
    engine.carry_out()
