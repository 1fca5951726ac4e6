"""The one Trio task that sleeps until the core's next deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Calls ``wake`` when the time set by `sleep_until` has come.

    The task isn't woken to be told of an earlier time: the deadline of the cancel scope that
    it sleeps in is moved from outside. For a later one that isn't done, since most jobs end
    long before their timeouts: moving it with each of them would cost more than waking up
    in vain once per timeout.
    """

    __slots__ = ("_life", "_nap", "_wake", "until")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._life = trio.CancelScope(shield=True)
        self._nap = trio.CancelScope()
        self.until: float = math.inf

    def sleep_until(self, deadline: float) -> None:
        """Sleep until then; only ever called with an earlier time than ``until``."""
        self.until = deadline
        self._nap.deadline = deadline

    def stop(self) -> None:
        """End the task."""
        self._life.cancel()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """The task."""
        with self._life:
            while True:
                with self._nap:
                    await trio.sleep_forever()
                self._nap = trio.CancelScope()
                self.until = math.inf
                self._wake()
