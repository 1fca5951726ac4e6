"""The live view's readings of the pool: counts, rates and the last failures."""

from __future__ import annotations

from collections import deque
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from .._api.origins import outcome_of
from .._api.pool import Instrument
from .._core.forecast import seconds_left
from .._model.states import JobState
from .._model.statistics import key_statistics
from ._units import UnitReadings
from ._window import RATE_OVER, Window

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from .._api.pool import Pool, SlotPool
    from .._model.handles import Job, Worker
    from .._model.states import Attempt
    from .._model.statistics import KeyStatistics, PoolStatistics, WorkerStatistics
    from ._units import UnitReading

MOST_KEYS = 10
"""How many keys are shown."""
MOST_GROUPS = 10
"""How many groups are shown."""


def rate(count: int, seconds: float) -> float | None:
    """The count per second, or None if no time has passed."""
    return count / seconds if seconds > 0 else None


@attrs.frozen
class Failure:
    """A failed attempt, or the death of a job that no attempt has caused.

    Attributes:
      at: the time, on Trio's clock.
      job: the job.
      worker: the name of the worker, or None if no attempt was involved.
      error: the attempt's error, or None if only the job's reason explains the failure.
      is_last: whether the failure made the job dead.
    """

    at: float
    job: Job[Any]
    worker: str | None
    error: Exception | None
    is_last: bool = False


class Failures(Instrument):
    """Keeps the last few failures, the newest last."""

    def __init__(self, limit: int) -> None:
        self.kept: deque[Failure] = deque(maxlen=limit)

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        """Called by the pool."""
        if outcome_of(job, attempt) == "failed":
            self.kept.append(Failure(attempt.ended_at, job, attempt.worker_name, attempt.error))

    def job_finished(self, job: Job[Any]) -> None:
        """Called by the pool."""
        if job.state is not JobState.DEAD:
            return
        newest = self.kept[-1] if self.kept else None
        if newest is not None and newest.job is job and newest.at == job.finished_at:
            # The job is dead because of the attempt reported just before.
            self.kept[-1] = attrs.evolve(newest, is_last=True)
        else:
            self.kept.append(Failure(trio.current_time(), job, None, None, is_last=True))


@attrs.frozen(kw_only=True)
class Reading:
    """The data to show at one moment.

    Attributes:
      now: the time on Trio's clock.
      elapsed: seconds since the view began.
      pool: the pool's statistics.
      hold: "paused", or for how many more seconds the whole pool rests; None for neither.
      crew: the workers that have not left, by their numbers.
      ended: how many jobs have ended, in any state.
      expected: how many jobs there will be at least.
      is_total: whether the user has given a total, and ``expected`` is not just the number so far.
      rate: jobs that end per second, or None if it is not known yet.
      left: estimated seconds until all jobs have ended, or None.
      failures: the last failures, the newest last.
      keys: the keys with the most jobs, with their statistics.
      groups: the statistics of the groups with the most jobs.
      since: the time from which the rates of the workers are measured.
      attempts_then: each worker's number of attempts at that time.
      units: what was used of each unit.
    """

    now: float
    elapsed: float
    pool: PoolStatistics
    hold: Literal["paused"] | float | None
    crew: Mapping[int, Worker]
    ended: int
    expected: int
    is_total: bool
    rate: float | None
    left: float | None
    failures: Sequence[Failure]
    keys: Sequence[tuple[Hashable, KeyStatistics]]
    groups: Sequence[PoolStatistics]
    since: float
    attempts_then: Mapping[int, int]
    units: Sequence[UnitReading]

    def rate_of(self, worker: WorkerStatistics) -> float | None:
        """The worker's attempts that end per second, or None if it is not known yet."""
        # A worker that did not exist at that time has begun with zero.
        return rate(worker.attempts - self.attempts_then.get(worker.id, 0), self.now - self.since)


class Readings:
    """Takes the readings of a pool, and keeps the data for the rates."""

    def __init__(self, pool: Pool[Any] | SlotPool, total: int | None, failures: Failures) -> None:
        self._pool = pool
        self._total = total
        self._failures = failures
        self._began: float | None = None
        self._ended: Window[int] = Window(RATE_OVER)
        self._attempts: Window[Mapping[int, int]] = Window(RATE_OVER)
        self._units = UnitReadings()

    def take(self, pool: PoolStatistics) -> Reading:
        """Take a reading with the current statistics."""
        now = trio.current_time()
        if self._began is None:
            self._began = now
        ended = pool.succeeded + pool.dead + pool.cancelled + pool.discarded
        expected = max(pool.submitted, self._total or 0)
        then, ended_then = self._ended.add(now, ended)
        since, attempts_then = self._attempts.add(now, {worker.id: worker.attempts for worker in pool.workers})
        crew = {worker.id: worker for worker in self._pool.workers}
        return Reading(
            now=now,
            elapsed=now - self._began,
            pool=pool,
            hold=self._hold(now),
            crew=crew,
            ended=ended,
            expected=expected,
            is_total=self._total is not None,
            rate=rate(ended - ended_then, now - then),
            left=self._time_left(now, expected - ended, pool.time),
            failures=self._failures.kept,
            keys=self._keys(),
            groups=self._groups(),
            since=since,
            attempts_then=attempts_then,
            units=self._units.take(now, pool, self._pool.rate_limit, crew),
        )

    def _keys(self) -> list[tuple[Hashable, KeyStatistics]]:
        keys = self._pool._engine.core.keys
        return [] if keys is None else [(key.value, key_statistics(key)) for key in keys.busiest(MOST_KEYS)]

    def _groups(self) -> list[PoolStatistics]:
        busiest = nlargest(MOST_GROUPS, self._pool.groups, key=lambda group: len(group._record.live))
        return [group.statistics() for group in busiest]

    def _hold(self, now: float) -> Literal["paused"] | float | None:
        until = self._pool.resting_until
        if self._pool.paused:
            return "paused"
        return None if until is None else until - now

    def _time_left(self, now: float, jobs: int, time: Mapping[str, float]) -> float | None:
        if self._total is None:
            return None
        return seconds_left(self._pool._engine.core.state, jobs, time, now)
