"""Shell: the one Trio task that sleeps until the core's next deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.define(eq=False)
class Timers:
    """Calls ``wake`` whenever the time set by `sleep_until` has come.

    The task never wakes up just to sleep on: the deadline of the cancel scope that it
    sleeps in is moved from outside.
    """

    _wake: Callable[[], None]
    _life: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True), init=False)
    _nap: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _until: float = attrs.field(default=math.inf, init=False)

    def sleep_until(self, deadline: float) -> None:
        """Sleep until then, or for ever if it is ``inf``."""
        if deadline != self._until:
            self._until = deadline
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
                self._until = math.inf
                self._wake()
