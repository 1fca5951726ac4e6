"""A bounded number of workers that do the same thing at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .._model.handles import Worker


class Few:
    """The workers that are entering (or leaving) their lifespans now, and the one task that waits for room for more.

    Arguments:
      limit: how many there may be.
    """

    __slots__ = ("_changed", "_is_released", "_limit", "_workers")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._workers: set[Worker] = set()
        self._changed: trio.Event | None = None
        self._is_released = False

    @property
    def has_room(self) -> bool:
        """Whether there is room for one more."""
        return len(self._workers) < self._limit

    def add(self, worker: Worker) -> None:
        """Add a worker."""
        self._workers.add(worker)

    def remove(self, worker: Worker) -> bool:
        """Remove a worker; return whether it was one of them."""
        if worker not in self._workers:
            return False
        self._workers.remove(worker)
        self._wake()
        return True

    def release(self) -> None:
        """End the wait, and let all later waits end at once."""
        self._is_released = True
        self._wake()

    async def wait_for_room(self) -> None:  # noqa: ASYNC910  # there may be room
        """Wait until there is room for one more, or `release` was called."""
        while not (self.has_room or self._is_released):
            await self._wait()

    async def wait_until_empty(self) -> None:  # noqa: ASYNC910  # there may be none
        """Wait until there are none, or `release` was called."""
        while self._workers and not self._is_released:
            await self._wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    async def _wait(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()
