"""The plain way to say what places spend their time on: look at everything, all the time."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from trio_pool import JobState
from trio_pool._model.states import Hold
from trio_pool._model.time_account import CAUSES

if TYPE_CHECKING:
    from trio_pool._core.state import PoolState
    from trio_pool._model.records import WorkerRecord

HOLDS = {
    "opening": {Hold.STARTING, Hold.REOPENING, Hold.LEAVING},
    "checking": {Hold.CHECKING},
    "quarantined": {Hold.QUARANTINED},
    "resting": {Hold.RESTING},
    "paused": {Hold.PAUSED},
    "rate_limit": {Hold.LIMITED},
}


class PlainAccounts:
    """Adds up the time for which each cause has applied to each place, from one look to the next.

    Attributes:
      since: the time of the last look.
      places: what the places of each worker did then.
      seconds: the place-seconds of each worker, by their causes.
    """

    def __init__(self) -> None:
        self.since = 0.0
        self.places: dict[WorkerRecord, dict[str, int]] = {}
        self.seconds: dict[WorkerRecord, dict[str, float]] = {}

    def look(self, state: PoolState, now: float) -> None:
        """Add what has been since the last look, and look at what is now."""
        for worker, places in self.places.items():
            times = self.seconds.setdefault(worker, defaultdict(float))
            for cause, number in places.items():
                times[cause] += number * (now - self.since)
        self.since = now
        common = common_causes(state)
        self.places = {worker: _places(worker, common) for worker in state.roster.by_id.values()}

    def of(self, worker: WorkerRecord) -> dict[str, float]:
        """The place-seconds of a worker."""
        return {cause: self.seconds.get(worker, {}).get(cause, 0.0) for cause in CAUSES}

    def in_all(self) -> dict[str, float]:
        """The place-seconds of all workers that there have been."""
        return {cause: math.fsum(times.get(cause, 0.0) for times in self.seconds.values()) for cause in CAUSES}


def common_causes(state: PoolState) -> set[str]:
    """What keeps the pool as a whole from starting more."""
    found = set[str]()
    hold, limits = state.limits.hold, state.limits
    if hold.resting_until is not None:
        found.add("resting")
    if hold.paused:
        found.add("paused")
    queued = [job for job in state.lifecycle.live.values() if job._state is JobState.QUEUED]
    if queued or state.waiting_line.line:
        busy = sum(len(worker._runs) for worker in state.roster.by_id.values())
        if busy >= limits.max_running:
            found.add("max_running")
        if limits.limited_until is not None or state.roster.closed.units or state.roster.closed.shares:
            found.add("pool_rate_limit")
    by_group = {job for job in queued if job._options.group is not None and job._options.group.is_full}
    by_key = {job for job in queued if job._key is not None and (job._key.is_closed_to(frozenset()) or job._key.closed)}
    if queued and by_group | by_key == set(queued):
        found.add("key" if by_key == set(queued) else "group")
    return found


def _places(worker: WorkerRecord, common: set[str]) -> dict[str, int]:
    """What the places of a worker do, by their number."""
    running = len(worker._runs)
    free = 0 if worker._max_running == math.inf else max(0, int(worker._max_running) - running)
    causes = set(common)
    for cause, holds in HOLDS.items():
        if not holds.isdisjoint(worker._holds):
            causes.add(cause)
    if any(isinstance(gate, str) for gate in worker._closed):
        causes.add("rate_limit")
    kept = free if worker._kind.group is not None else min(free, worker._kept_free)
    places = {"running": running}
    for number, own in ((kept, causes | {"reserved"}), (free - kept, causes | {"idle"})):
        cause = next(cause for cause in CAUSES if cause in own)
        places[cause] = places.get(cause, 0) + number
    return places
