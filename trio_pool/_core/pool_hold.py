"""What keeps the pool as a whole from starting anything: a pause, or a rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .commands import TELL_OF_POOL
from .deadlines import Alarm, Due

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .commands import Commands
    from .deadlines import Deadlines


class PoolHold:
    """The pause and the rest of a pool. Neither changes the workers or their states.

    Attributes:
      paused: whether the pool is paused.
      ended_at: when a pause or a rest last ended.
    """

    __slots__ = ("_commands", "_deadlines", "_instruments", "ended_at", "paused", "rest_end")

    def __init__(self, deadlines: Deadlines, commands: Commands, instruments: Sequence[object]) -> None:
        self._deadlines = deadlines
        self._commands = commands
        self._instruments = instruments
        self.paused: bool = False
        self.ended_at: float = -math.inf
        self.rest_end: Alarm = Alarm()

    @property
    def resting_until(self) -> float | None:
        """Until when the pool rests, or None."""
        return self.rest_end.at

    @property
    def is_on(self) -> bool:
        """Whether nothing may start now."""
        return self.paused or self.resting_until is not None

    def is_on_at(self, now: float) -> bool:
        """Whether nothing may start at this time, even if the end of a rest has not been handled yet."""
        return self.paused or (self.resting_until is not None and self.resting_until > now)

    def pause(self) -> bool:
        """Pause the pool; return whether it was not paused."""
        if self.paused:
            return False
        self.paused = True
        self._tell("pool_paused")
        return True

    def resume(self, now: float) -> bool:
        """End a pause; return whether there was one."""
        if not self.paused:
            return False
        self.paused = False
        self.ended_at = now
        self._tell("pool_resumed")
        return True

    def rest(self, until: float, now: float) -> bool:
        """Let the pool rest; if two rests overlap, the later end applies. Return whether the end has changed."""
        if until <= (now if self.resting_until is None else self.resting_until):
            return False
        self._deadlines.set(Due.POOL_REST, self.rest_end, until)
        self._tell("pool_resting", until)
        return True

    def _tell(self, event: str, *arguments: object) -> None:
        if self._instruments:
            self._commands.append((TELL_OF_POOL, (event, arguments)))
