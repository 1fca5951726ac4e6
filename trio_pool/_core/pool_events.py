"""The events of the pool as a whole, while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._policies.resource import Elastic
    from .changes import Changes, Features
    from .settle import Settling
    from .state import PoolState


class PoolEvents:
    """Each of these calls changes how the pool works from now on."""

    __slots__ = ("_autoscaler", "_changes", "_settling", "_state")

    def __init__(self, state: PoolState, features: Features, changes: Changes, settling: Settling) -> None:
        self._state = state
        self._autoscaler = features.autoscaler
        self._changes = changes
        self._settling = settling

    def pause_pool(self, now: float) -> None:
        """Pause the pool."""
        self._settling.advance(now)
        if self._state.limits.hold.pause():
            self._state.note_hold()
            self._settling.settle(now)

    def resume_pool(self, now: float) -> None:
        """Resume the pool."""
        self._settling.advance(now)
        self._changes.resume_pool()
        self._settling.settle(now)

    def rest_pool(self, until: float, now: float) -> None:
        """Let the pool rest; if two rests overlap, the later end applies."""
        self._settling.advance(now)
        if self._state.limits.hold.rest(until, now):
            self._state.note_hold()
            self._settling.settle(now)

    def set_elastic(self, elastic: Elastic[Any], now: float) -> None:
        """Change how many workers an elastic pool opens, and when it opens and retires them."""
        assert self._autoscaler is not None
        self._settling.advance(now)
        self._autoscaler.change(elastic)
        self._state.may_reserve = self._state.may_start = self._state.may_be_stuck = True
        self._settling.settle(now)
        self._settling.advance(now)  # some workers may have been idle for too long now
