"""The events of the pool as a whole, while it runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .._model.records import Group, JobSpec
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
        self._changes.resume_pool(now)
        self._settling.settle(now)

    def rest_pool(self, until: float, now: float) -> None:
        """Let the pool rest; if two rests overlap, the later end applies."""
        self._settling.advance(now)
        if self._state.limits.hold.rest(until, now):
            self._state.note_hold()
            self._settling.settle(now)

    def set_group_max_running(self, group: Group, limit: float, now: float) -> None:
        """Change how many attempts of a group may run at once."""
        self._settling.advance(now)
        state, was_full = self._state, group.is_full
        if limit != math.inf and not group.is_gate:
            self._make_gate(group)
        group.max_running = limit
        state.lifecycle.held += group.change_of_held()
        if was_full:
            state.lifecycle.news.append(group)
        state.may_start = state.may_be_stuck = True
        self._settling.settle(now)

    def _make_gate(self, group: Group) -> None:
        """Give the jobs of a group that gets a bound their own lanes."""
        group.is_gate = True
        changed: dict[JobSpec, JobSpec] = {}  # most jobs share their options
        for job in (*group.live, *self._state.waiting_line.all_of(group)):
            old = job._options
            if old not in changed:
                changed[old] = attrs.evolve(old)
            job._options = changed[old]
            if job._lane is not None:
                queue = self._state.waiting_line.by_taker if job._state is None else self._state.queue
                queue.move(job)

    def set_elastic(self, elastic: Elastic[Any], now: float) -> None:
        """Change how many workers an elastic pool opens, and when it opens and retires them."""
        assert self._autoscaler is not None
        self._settling.advance(now)
        self._autoscaler.change(elastic)
        self._state.may_reserve = self._state.may_start = self._state.may_be_stuck = True
        self._settling.settle(now)
        self._settling.advance(now)  # some workers may have been idle for too long now
