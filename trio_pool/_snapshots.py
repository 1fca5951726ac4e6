"""Statistics again and again: what ``pool.snapshots`` iterates over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._statistics import PoolStatistics


@attrs.define(eq=False)
class Snapshots:
    """An async iterator: a snapshot at once and after each interval, until it is over."""

    _interval: float
    _look: Callable[[], PoolStatistics]
    _over: trio.Event
    _next_at: float | None = attrs.field(default=None, init=False)

    def __aiter__(self) -> Snapshots:
        return self

    async def __anext__(self) -> PoolStatistics:
        if self._next_at is None:
            await trio.lowlevel.checkpoint()
        else:
            # Who is slow to ask gets one at once, and not all those that were missed.
            with trio.CancelScope(deadline=self._next_at):
                await self._over.wait()
            if self._over.is_set():
                raise StopAsyncIteration
        self._next_at = trio.current_time() + self._interval
        return self._look()
