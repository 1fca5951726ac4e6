"""Core: which job goes to which worker, and when.

The scheduler is called with the time and decides; what has to be done about it, it notes
as effects, for the shell to carry out. It never waits and knows nothing of Trio.

What can happen to jobs is here, what can happen to workers in ``_worker_events``; how they
are brought together is in ``_dispatch``, what becomes of a job's state in ``_ledger``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._job import DeadReason, JobState
from ._places import Admission, Door
from ._roster import ANYONE
from ._seat import Cut, Phase
from ._setback import Setback
from ._tracebacks import in_words
from ._verdict import Die, Retry
from ._worker_events import WorkerEvents

if TYPE_CHECKING:
    from ._guard import Guard
    from ._job import Job
    from ._limits import RateLimit
    from ._seat import Seat
    from ._verdict import Verdict

# Looked up with every job, and slow through the enum.
QUEUED = JobState.QUEUED
SUCCEEDED = JobState.SUCCEEDED


class Scheduler(WorkerEvents):
    """The core's front: every event in the life of jobs and workers is a call of it."""

    __slots__ = ()

    # Jobs come.

    def submit(self, job: Job[Any], door: Door, now: float) -> Admission:
        """A job asks to be let in."""
        if self.deadlines.soonest <= now:
            self.advance(now)
        if job._deadline <= now:
            self._ledger.time_out(job, now)
            return Admission.ENTERED
        terms = job._options.terms
        if (terms is not ANYONE or not self._roster.seats) and self._orphans.is_one(terms):
            if self._orphans.policy == "reject":
                return Admission.NO_WORKER
            self._ledger.bury(job, now)
            return Admission.ENTERED
        if self._roster.idle_count and (seat := self._dispatch.idle_worker_for(terms, now)) is not None:
            self._ledger.move(job, QUEUED, now)
            self._dispatch.hand_over(seat, job, now)
            return Admission.ENTERED
        if door is Door.ALWAYS or (door is not Door.IF_IDLE and self._places.is_free()):
            self._ledger.move(job, QUEUED, now)
            self._dispatch.let_wait(job, terms)
            self._after_waiting(now)
            return Admission.ENTERED
        if door is not Door.QUEUE_UP:
            return Admission.FULL
        self._places.line_up(job, terms)
        self._after_waiting(now)
        return Admission.WAITING

    def withdraw(self, job: Job[Any]) -> None:
        """A submitter that waits for a place has gone."""
        self._places.withdraw(job)

    def close(self) -> list[Job[Any]]:
        """Nobody is let in from outside any more; returns whose submitters wait in vain."""
        turned_away = self._places.all()
        for job in turned_away:
            self.withdraw(job)
        return turned_away

    @property
    def waiting(self) -> int:
        """How many submitters wait for a place."""
        return len(self._places)

    # Jobs go.

    def cancel(self, job: Job[Any], now: float) -> None:
        """A job is no longer wanted."""
        self.advance(now)
        state = job.state
        if state.is_final or job._cancelled:
            return
        job._cancelled = True
        if state is JobState.RUNNING:
            seat = job._worker
            assert seat is not None
            self._cut(seat, Cut.CANCELLED, now)
            return
        self._take_back(job)
        self._ledger.end(job, JobState.CANCELLED, now, "cancelled before it had ended")
        self._after(now)

    def cancel_all(self, now: float) -> None:
        """No job is wanted any more."""
        self.advance(now)
        self._queue.clear()
        for job in list(self._ledger.live.values()):
            if job._state is JobState.RUNNING:
                self.cancel(job, now)
            else:
                if job._state is JobState.DELAYED or job._deadline != math.inf:
                    self.deadlines.forget()
                job._ticket = 0
                job._lane = None
                job._cancelled = True
                self._ledger.end(job, JobState.CANCELLED, now, "the pool was cancelled")

    # Attempts end.

    def succeeded(self, seat: Seat, value: object, now: float) -> Job[Any] | None:
        """An attempt has ended with a value; returns the worker's next job."""
        if self.deadlines.soonest <= now:
            self.advance(now)
        ledger = self._ledger
        job = ledger.end_attempt(seat, now, None)
        job._value = value
        ledger.move(job, SUCCEEDED, now)
        if seat._guard is not None:
            seat._guard.succeeded()
        return self._next_for(seat, now)

    def failed(self, seat: Seat, error: Exception, verdict: Verdict, now: float) -> Job[Any] | None:
        """An attempt has ended with an error; returns the worker's next job."""
        if self.deadlines.soonest <= now:
            self.advance(now)
        job = self._ledger.end_attempt(seat, now, error)
        if job._setback is None:
            job._setback = Setback()
        job._setback.note(seat)
        # First what it means for the worker: it may end the round of a job before this one.
        if verdict.rest:
            self.rest(seat, now + verdict.rest, now)
        if seat._guard is not None:
            self._tell_breaker(seat, seat._guard, verdict, now)
        if verdict.broken:
            self.reopen(seat, error, now)
        fate = verdict.fate
        if job._cancelled and not verdict.is_the_last_word:
            words = f"failed after it was cancelled: {in_words(error)}"
            self._ledger.die(job, DeadReason.NOT_RETRYABLE, words, error, now)
        elif isinstance(fate, Retry):
            budget = self._dispatch.budget
            if now + fate.delay >= job._deadline:
                self._ledger.die(job, DeadReason.TIMED_OUT, "no time left to try again", error, now)
            elif budget is not None and not budget.allows_retry(now):
                words = f"the pool has retried too much lately: {in_words(error)}"
                self._ledger.die(job, DeadReason.BUDGET_EXHAUSTED, words, error, now)
            else:
                if budget is not None:
                    budget.retry(now)
                self._retry(job, fate, now)
        elif isinstance(fate, Die):
            self._ledger.die(job, fate.reason, fate.words, fate.error, now)
        else:
            self._ledger.end(job, JobState.DISCARDED, now, fate.words)
        return self._next_for(seat, now)

    def timed_out(self, seat: Seat, error: Exception, now: float) -> Job[Any] | None:
        """An attempt was cut short by the job's total timeout."""
        self.advance(now)
        job = self._ledger.end_attempt(seat, now, error)
        if seat._guard is not None:
            seat._guard.ended_otherwise()
        self._ledger.die(job, DeadReason.TIMED_OUT, "its total timeout passed", error, now)
        return self._next_for(seat, now)

    def cut_short(self, seat: Seat, error: Exception, now: float) -> Job[Any] | None:
        """An attempt was cut short by a cancellation: it is neither counted nor kept."""
        self.advance(now)
        job = self._ledger.cut_attempt(seat, now, error)
        if seat._guard is not None:
            seat._guard.ended_otherwise()
        if job._cancelled:
            self._ledger.end(job, JobState.CANCELLED, now, "cancelled while it ran")
        elif job._deadline <= now:
            self._ledger.time_out(job, now)
        else:
            self._queue_again(job, now, front=True)
        return self._next_for(seat, now)

    # The limits change.

    @property
    def max_running(self) -> float:
        """How many attempts may be under way at once."""
        return self._dispatch.max_running

    def idle(self, now: float) -> list[Seat]:
        """The workers that could start a job now, the longest idle first."""
        return self._dispatch.idle(now)

    @property
    def rate_limit(self) -> RateLimit | None:
        """How often attempts may start."""
        return None if self._dispatch.meter is None else self._dispatch.meter.limit

    def set_max_running(self, limit: float, now: float) -> None:
        """Change how many attempts may be under way at once."""
        self.advance(now)
        self._dispatch.max_running = limit
        self._dispatch.match(now)
        self._after(now)

    def set_rate_limit(self, limit: RateLimit | None, now: float) -> None:
        """Change how often attempts may start."""
        self.advance(now)
        self._dispatch.set_rate_limit(limit, now)
        self._dispatch.match(now)
        self._after(now)

    def drain(self, now: float) -> None:
        """Nobody will submit or resume from outside any more."""
        self.advance(now)
        self.draining = True
        self._resume_all(now)
        self._after(now)

    # From here on nobody but the scheduler calls.

    def _next_for(self, seat: Seat, now: float) -> Job[Any] | None:
        """The next job of a worker that has ended an attempt."""
        guard = seat._guard
        if guard is not None and guard.is_worn() and seat._phase is Phase.OPEN and not seat._departing:
            self.reopen(seat, None, now)
        job = self._dispatch.next_for(seat, now)
        if self._places.line or self.draining or self._staffing is not None:
            self._after(now)
        return job

    def _retry(self, job: Job[Any], fate: Retry, now: float) -> None:
        self._ledger.retries += 1
        setback = job._setback
        assert setback is not None
        if fate.counts:
            setback.counted += 1
        setback.delay = fate.delay
        setback.placement = fate.placement
        setback.front = fate.front
        if fate.delay:
            until = now + fate.delay
            self._ledger.move(job, JobState.DELAYED, now, until)
            self.deadlines.add_delay(job, until)
        else:
            self._queue_again(job, now, front=fate.front)

    def _tell_breaker(self, seat: Seat, guard: Guard, verdict: Verdict, now: float) -> None:
        if not verdict.is_failure:
            guard.ended_otherwise()
        elif (until := guard.failed(now)) is not None:
            self._holds.quarantine(seat, until)
            self._dispatch.update(seat, now)
            self._after(now)

    def _after_waiting(self, now: float) -> None:
        """A job has begun to wait: see that somebody looks at it when it may start."""
        if self._dispatch.meter is not None:
            self._dispatch.match(now)
        if self._places.line or self.draining or self._staffing is not None:
            self._after(now)
