"""The single Trio task that sleeps until the core's next deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Calls ``wake`` at the time set by `sleep_until`.

    To set an earlier time, the task isn't woken: the deadline of its cancel scope is changed from
    outside. For a later time, the deadline isn't changed. Most jobs end long before their timeouts,
    so changing the deadline for each job would cost more than one superfluous wake-up per timeout.
    """

    __slots__ = ("_life", "_nap", "_wake", "until")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._life = trio.CancelScope(shield=True)
        self._nap = trio.CancelScope()
        self.until: float = math.inf

    def sleep_until(self, deadline: float) -> None:
        """Sleep until ``deadline``, which must be earlier than ``until``."""
        self.until = deadline
        self._nap.deadline = deadline

    def stop(self) -> None:
        """End the task."""
        self._life.cancel()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run the task."""
        with self._life:
            while True:
                with self._nap:
                    await trio.sleep_forever()
                self._nap = trio.CancelScope()
                self.until = math.inf
                self._wake()
