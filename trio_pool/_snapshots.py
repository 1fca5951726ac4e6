"""Statistics again and again: what ``pool.snapshots`` iterates over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._statistics import PoolStatistics


@attrs.define(eq=False)
class Snapshots:
    """An async iterator: a snapshot at once and after each interval, until it is over."""

    _interval: float
    _look: Callable[[], PoolStatistics]
    _over: Callable[[], Awaitable[None]]
    _next_at: float | None = attrs.field(default=None, init=False)

    def __aiter__(self) -> Snapshots:
        return self

    async def __anext__(self) -> PoolStatistics:
        now = trio.current_time()
        if self._next_at is None:
            self._next_at = now
        # Someone who is slow to ask gets one at once, not all that were missed.
        with trio.CancelScope(deadline=max(now, self._next_at)):
            await self._over()
            raise StopAsyncIteration
        self._next_at = trio.current_time() + self._interval
        return self._look()
