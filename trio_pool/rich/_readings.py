"""What the live view knows of its pool when a frame is due: counts, rates, the last failures."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import trio

from .._api.origins import outcome_of
from .._api.pool import Instrument
from .._model.states import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._api.pool import Pool, SlotPool
    from .._model.handles import Job, Worker
    from .._model.states import Attempt
    from .._model.statistics import PoolStatistics, WorkerStatistics

V = TypeVar("V")

RATE_OVER = 10.0
"""Seconds over which the rates are taken."""
LEFT_OVER = 60.0
"""Seconds over which the rate is taken that the time left is worked out with: it shall not jump about."""
SAMPLES = 40
"""How many values a window keeps, or it would grow with the number of frames in it."""


class StreamWindow(Generic[V]):
    """The values of the last so many seconds, thinned out, and the last one before them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: deque[tuple[float, V]] = deque()

    def add(self, at: float, value: V) -> tuple[float, V]:
        """Take up a value; returns the one to measure from, and when it was taken up."""
        kept = self._kept
        if not kept or at - kept[-1][0] >= self._seconds / SAMPLES:
            kept.append((at, value))
        while len(kept) > 1 and at - kept[1][0] >= self._seconds:
            kept.popleft()
        return kept[0]


def rate(count: int, seconds: float) -> float | None:
    """So many in that time, or None if there was no time."""
    return count / seconds if seconds > 0 else None


@attrs.frozen
class Failure:
    """A failed attempt, or the death of a job that no attempt of its brought about.

    Attributes:
      at: when, on Trio's clock.
      job: whose.
      worker: the name of the worker, or None if none took part.
      error: the attempt's error, or None where only the job's reason says what happened.
      is_last: whether it made the job dead.
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
            # The attempt that has made it dead, told of just before.
            self.kept[-1] = attrs.evolve(newest, is_last=True)
        else:
            self.kept.append(Failure(trio.current_time(), job, None, None, is_last=True))


@attrs.frozen(kw_only=True)
class Reading:
    """What there is to show at one moment.

    Attributes:
      now: that moment, on Trio's clock.
      elapsed: seconds since the view began.
      pool: the pool's statistics.
      crew: the workers that have not left, by their numbers.
      ended: how many jobs have ended, however they did.
      expected: how many there will be at least.
      is_total: whether that is what the user has said, and not just how many there are so far.
      rate: jobs that ended in a second, or None if that can't be said yet.
      left: seconds until all have ended, if it goes on like this, or None.
      failures: the last failures, the newest last.
      since, attempts_then: how many attempts each worker had behind it at that time, from which
          the rates of the workers are measured.
    """

    now: float
    elapsed: float
    pool: PoolStatistics
    crew: Mapping[int, Worker]
    ended: int
    expected: int
    is_total: bool
    rate: float | None
    left: float | None
    failures: Sequence[Failure]
    since: float
    attempts_then: Mapping[int, int]

    def rate_of(self, worker: WorkerStatistics) -> float | None:
        """The worker's attempts that ended in a second, or None if that can't be said yet."""
        # Who was not there then has begun with none.
        return rate(worker.attempts - self.attempts_then.get(worker.id, 0), self.now - self.since)


class Readings:
    """Takes the readings of a pool, and keeps what the rates are measured from."""

    def __init__(self, pool: Pool[Any] | SlotPool, total: int | None, failures: Failures) -> None:
        self._pool = pool
        self._total = total
        self._failures = failures
        self._began: float | None = None
        self._ended: StreamWindow[int] = StreamWindow(RATE_OVER)
        self._ended_slowly: StreamWindow[int] = StreamWindow(LEFT_OVER)
        self._attempts: StreamWindow[Mapping[int, int]] = StreamWindow(RATE_OVER)

    def take(self, pool: PoolStatistics) -> Reading:
        """Take one, with statistics of this moment."""
        now = trio.current_time()
        if self._began is None:
            self._began = now
        ended = pool.succeeded + pool.dead + pool.cancelled + pool.discarded
        expected = max(pool.submitted, self._total or 0)
        then, ended_then = self._ended.add(now, ended)
        since, attempts_then = self._attempts.add(now, {worker.id: worker.attempts for worker in pool.workers})
        return Reading(
            now=now,
            elapsed=now - self._began,
            pool=pool,
            crew={worker.id: worker for worker in self._pool.workers},
            ended=ended,
            expected=expected,
            is_total=self._total is not None,
            rate=rate(ended - ended_then, now - then),
            left=self._time_left(now, ended, expected),
            failures=self._failures.kept,
            since=since,
            attempts_then=attempts_then,
        )

    def _time_left(self, now: float, ended: int, expected: int) -> float | None:
        then, ended_then = self._ended_slowly.add(now, ended)
        pace = rate(ended - ended_then, now - then)
        if self._total is None or not pace:
            return None
        return (expected - ended) / pace
