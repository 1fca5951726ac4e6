"""How the places of workers spend their time, and what keeps the pool as a whole from starting more.

1. A worker's own causes are booked when they change, or when one of its places is taken or becomes
   free while a cause applies. Time without any cause is the remainder, so it needs no booking, and
   the straight way of a job books nothing.
2. The causes that affect the whole pool are clocks, of which at most one runs at a time. A worker reads
   them when its own state changes. So a change of the clocks costs the same for any number of workers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._model import time_account as causes
from .._model.states import Hold, JobState
from .._model.time_account import CAUSES, IDLE, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._model.records import JobRecord, WorkerRecord
    from .._model.time_account import WorkerAccount
    from .lifecycle import Lifecycle
    from .pool_limits import PoolLimits
    from .worker_index import WorkerIndex

QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING

_OWN = {
    Hold.STARTING: causes.OPENING,
    Hold.REOPENING: causes.OPENING,
    Hold.LEAVING: causes.OPENING,
    Hold.CHECKING: causes.CHECKING,
    Hold.QUARANTINED: causes.QUARANTINED,
    Hold.RESTING: causes.RESTING,
    Hold.PAUSED: causes.PAUSED,
    Hold.LIMITED: causes.RATE_LIMIT,
    Hold.STOPPED: IDLE,
}


class TimeAccounts:
    """Keeps the times of all places.

    Arguments:
      lifecycle: the counts of the jobs.
      limits: the limits of the pool.
      roster: the workers; it holds the last reading of the clocks, and calls `note`.
      line: the submitters that wait for a place in the queue.

    Attributes:
      touched: the workers whose accounts must be updated before the event ends.
    """

    __slots__ = (
        "_began",
        "_count",
        "_ended",
        "_gone",
        "_lifecycle",
        "_limits",
        "_line",
        "_roster",
        "_there",
        "touched",
    )

    def __init__(
        self, lifecycle: Lifecycle, limits: PoolLimits, roster: WorkerIndex, line: Mapping[JobRecord, object]
    ) -> None:
        self._lifecycle = lifecycle
        self._count = lifecycle.count
        self._limits = limits
        self._roster = roster
        self._line = line
        self.touched: dict[WorkerRecord, None] = roster.touched
        # The times of the workers that have left.
        self._gone = [0.0] * (len(CAUSES) + 1)
        # How many workers there are, when the first one came, and when the last one left, if there is none.
        self._there = 0
        self._began: float | None = None
        self._ended: float | None = None
        roster.note_time = self.note

    def look(self, now: float) -> None:
        """Book the changes of an event, and determine what now keeps the pool as a whole from starting more."""
        while self.touched:
            self.note(self.touched.popitem()[0], now)
        limits, count, lifecycle = self._limits, self._count, self._lifecycle
        cause = IDLE
        if limits.hold.rest_end.at is not None:
            cause = causes.RESTING
        elif limits.hold.paused:
            cause = causes.PAUSED
        elif (queued := count[QUEUED]) or self._line:
            if limits.max_running - count[RUNNING] - lifecycle.surplus <= 0:
                cause = causes.MAX_RUNNING
            elif limits.limited_until is not None or self._roster.closed.units or self._roster.closed.shares:
                cause = causes.POOL_RATE_LIMIT
            elif queued:
                by_groups, by_keys = lifecycle.held, 0 if lifecycle.keys is None else lifecycle.keys.held
                if by_groups + by_keys >= queued:
                    cause = causes.KEY if by_keys >= queued else causes.GROUP
        reading = self._roster.reading
        if cause != reading.cause:
            self._roster.reading = Reading(cause, now, tuple(reading.at(now)))

    def note(self, worker: WorkerRecord, now: float) -> None:
        """Book a worker's time until now, and determine what its places do from now on."""
        account = worker._account
        account.book(now, self._roster.reading, account.booked)
        account.place_seconds += account.places * (now - account.places_since)
        account.places_since = account.at = now
        account.reading = self._roster.reading
        running, limit = len(worker._runs), worker._max_running
        if limit == math.inf:
            account.places, account.free, account.is_unbounded = running, 0, True
        else:
            account.places, account.free = max(running, int(limit)), max(0, int(limit) - running)
            account.is_unbounded = False
        account.kept = account.free if worker._kind.group is not None else worker._kept_free
        account.cause = own_cause(worker)

    def joined(self, worker: WorkerRecord, now: float) -> None:
        """Open the account of a worker that opens its resource."""
        self._there += 1
        self._began, self._ended = now if self._began is None else self._began, None
        worker._account.places_since = worker._account.at = worker._account.joined_at = now
        self.note(worker, now)

    def left(self, worker: WorkerRecord, now: float) -> None:
        """Close the account of a worker that leaves."""
        self.touched.pop(worker, None)
        self.note(worker, now)
        account = worker._account
        account.places = account.free = 0
        for cause, seconds in enumerate([*self._of(worker, now), account.booked.get(causes.LIMITED, 0.0)]):
            self._gone[cause] += seconds
        self._there -= 1
        if not self._there:
            self._ended = now

    def of(self, worker: WorkerRecord, now: float) -> dict[str, float]:
        """The seconds of a worker's places by their causes."""
        return dict(zip(CAUSES, self._of(worker, now), strict=True))

    def in_all(self, workers: Iterable[WorkerRecord], now: float) -> dict[str, float]:
        """The seconds of the places of these workers, and of those that have left, by their causes."""
        columns = zip(self._gone[:-1], *(self._of(worker, now) for worker in workers), strict=True)
        return dict(zip(CAUSES, map(math.fsum, columns), strict=True))

    def held(self, workers: Iterable[WorkerRecord], now: float) -> dict[str, float]:
        """Return for how long a cause has held back any place, so that more places like it would have changed nothing.

        Returns:
          For each cause that concerns the whole pool, its share of the time; for the workers' own rate limits, the
          share of the time of all places, where a worker without a bound has at least one place.
        """
        until = now if self._ended is None else self._ended
        lasted = 0.0 if self._began is None else until - self._began
        if lasted <= 0:
            return {}
        found = {CAUSES[cause]: each / lasted for cause, each in enumerate(self._roster.reading.at(until)) if each}
        limited, existed = self._gone[causes.LIMITED], math.fsum(self._gone[:-1])
        for worker in workers:
            account = worker._account
            booked = account.booked.copy()
            account.book(now, self._roster.reading, booked)
            limited += booked.get(causes.LIMITED, 0.0)
            places = account.place_seconds + account.places * (now - account.places_since)
            existed += max(places, now - account.joined_at) if account.is_unbounded else places
        return found | {"rate_limit": limited / existed} if limited else found

    def _of(self, worker: WorkerRecord, now: float) -> list[float]:
        account: WorkerAccount = worker._account
        booked = account.booked.copy()
        account.book(now, self._roster.reading, booked)
        seconds = [booked.get(cause, 0.0) for cause in range(len(CAUSES))]
        seconds[causes.RUNNING] = _busy_seconds(worker, now)
        existed = account.place_seconds + account.places * (now - account.places_since)
        seconds[IDLE] = max(0.0, existed - math.fsum(seconds))
        return seconds


def own_cause(worker: WorkerRecord) -> int:
    """What holds a worker itself back, or `IDLE` for nothing."""
    holds = worker._holds
    if holds:
        return min([_OWN[hold] for hold in holds])  # causes are numbered in their order of precedence
    closed, limits = worker._closed, worker._limits
    shared = 0 if limits is None else len(limits.meters.apart)  # the others are units
    return causes.RATE_LIMIT if len(closed) > shared else IDLE


def _busy_seconds(worker: WorkerRecord, now: float) -> float:
    """The total duration of a worker's attempts, calculated without iterating over the running ones."""
    if worker._is_exclusive:
        return worker._busy_seconds + sum([now - run.since for run in tuple(worker._runs)])
    running, since = worker._under_way
    return worker._busy_seconds + (running * now - since)
