"""Periodic statistics: the iterator of ``pool.snapshots``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._model.statistics import PoolStatistics
    from .._runtime.engine import Engine


class Snapshots:
    """An async iterator of snapshots: one at once, one after each interval, and one when all jobs have ended."""

    __slots__ = ("_engine", "_has_last", "_interval", "_look", "_next_at")

    def __init__(self, interval: float, look: Callable[[], PoolStatistics], engine: Engine) -> None:
        self._interval = interval
        self._look = look
        self._engine = engine
        self._next_at: float | None = None
        self._has_last = False

    def __aiter__(self) -> Snapshots:
        return self

    async def __anext__(self) -> PoolStatistics:
        self._engine.check_caller()
        if self._has_last or self._next_at is None:
            await trio.lowlevel.checkpoint()
        else:
            # A slow reader gets a single snapshot at once, not all the missed ones.
            with trio.CancelScope(deadline=self._next_at):
                await self._engine.over.wait()
        if self._has_last:
            raise StopAsyncIteration
        self._has_last = self._engine.over.is_set()
        self._next_at = trio.current_time() + self._interval
        return self._look()
