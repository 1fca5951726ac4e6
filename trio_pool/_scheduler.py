"""Core: which job goes to which worker, and when.

The scheduler is called with the time and decides; what has to be done about it, it notes
as effects, for the shell to carry out. It never waits and knows nothing of Trio.

Whatever has come due is dealt with before anything else at the same instant. What can
happen to jobs and workers is here; how they are brought together is in ``_dispatch``, what
becomes of a job's state in ``_ledger``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._deadlines import Due
from ._effects import Admitted, Interrupt, Recall
from ._job import DeadReason, JobState, Setback
from ._places import Admission, Door
from ._roster import ANYONE, terms_of
from ._seat import Cut, Phase, Seat
from ._tracebacks import in_words
from ._verdict import Die, Retry, Verdict

if TYPE_CHECKING:
    from ._deadlines import Deadlines
    from ._dispatch import Dispatch
    from ._effects import Effects
    from ._job import Job
    from ._ledger import Ledger
    from ._orphans import Orphans
    from ._places import Places
    from ._queue import ReadyQueue
    from ._roster import Roster

# Looked up with every job, and slow through the enum.
QUEUED = JobState.QUEUED
SUCCEEDED = JobState.SUCCEEDED


class Scheduler:
    """The core's front: every event in the life of jobs and workers is a call of it.

    Attributes:
      deadlines: what comes due; its ``soonest`` tells when to call `advance` next.
      draining: no more jobs will come but from jobs, and nobody resumes a worker.
    """

    __slots__ = (
        "_dispatch",
        "_effects",
        "_ledger",
        "_orphans",
        "_places",
        "_queue",
        "_roster",
        "deadlines",
        "draining",
    )

    def __init__(
        self,
        roster: Roster,
        ledger: Ledger,
        deadlines: Deadlines,
        queue: ReadyQueue,
        places: Places,
        dispatch: Dispatch,
        effects: Effects,
        orphans: Orphans,
    ) -> None:
        self._roster = roster
        self._ledger = ledger
        self.deadlines = deadlines
        self._queue = queue
        self._places = places
        self._dispatch = dispatch
        self._effects = effects
        self._orphans = orphans
        self.draining = False

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
        if self._roster.idle_count and (seat := self._dispatch.idle_worker_for(terms)) is not None:
            self._ledger.move(job, QUEUED, now)
            self._dispatch.hand_over(seat, job, now)
            return Admission.ENTERED
        if door is Door.ALWAYS or (door is not Door.IF_IDLE and self._places.is_free()):
            self._ledger.move(job, QUEUED, now)
            self._dispatch.let_wait(job, terms)
            if self._places.line or self.draining:
                self._after(now)
            return Admission.ENTERED
        if door is not Door.QUEUE_UP:
            return Admission.FULL
        self._places.line_up(job, terms)
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

    # Workers come and go.

    def join(self, seat: Seat) -> None:
        """A worker is about to open its resource for the first time."""
        self._roster.join(seat)

    def opened(self, seat: Seat, now: float) -> None:
        """A worker's resource is open."""
        self.advance(now)
        seat._phase = Phase.OPEN
        self._ledger.tell("worker_started", seat)
        self._dispatch.update(seat, now)
        self._after(now)

    def broken(self, seat: Seat, error: Exception, now: float) -> None:
        """A worker's resource has to be opened anew, or that has failed once more."""
        seat._phase = Phase.REOPENING
        self._dispatch.note(seat)  # before it is given what comes due now
        self.advance(now)
        seat._last_error = error
        self._ledger.tell("worker_reopening", seat, error)
        self._dispatch.match(now)
        self._after(now)

    def pause(self, seat: Seat, now: float) -> None:
        """A worker is to take no more jobs until it is resumed."""
        self.advance(now)
        if not (seat._paused or seat._gone):
            seat._paused = True
            self._ledger.tell("worker_paused", seat)
            self._dispatch.update(seat, now)
            self._after(now)

    def resume(self, seat: Seat, now: float) -> None:
        """A paused worker may go on."""
        self.advance(now)
        if seat._paused and not seat._gone:
            seat._paused = False
            self._ledger.tell("worker_resumed", seat)
            self._dispatch.update(seat, now)
            self._after(now)

    def rest(self, seat: Seat, until: float, now: float) -> None:
        """A worker is to take no more jobs until then; of two rests the later end holds."""
        self.advance(now)
        held = seat._resting_until
        if seat._gone or until <= now or (held is not None and held >= until):
            return
        if held is not None:
            self.deadlines.forget()
        seat._resting_until = until
        self.deadlines.add_rest(seat, until)
        self._ledger.tell("worker_resting", seat, until)
        self._dispatch.update(seat, now)
        self._after(now)

    def depart(self, seat: Seat, now: float, *, cut: bool = False) -> None:
        """A worker is to leave; with ``cut`` the attempt under way is given up."""
        self.advance(now)
        if cut and seat._current is not None:
            self._cut(seat, Cut.EVICTED, now)
        if not (seat._departing or seat._gone):
            seat._departing = True
            self._dispatch.update(seat, now)
            if seat._current is None:
                self._effects.append(Recall(seat))
            self._after(now)

    def left(self, seat: Seat, now: float) -> None:
        """A worker has left, or its resource could not be opened at all."""
        self.advance(now)
        started = seat._phase is not Phase.STARTING
        seat._phase = Phase.STOPPED
        if seat._resting_until is not None:
            seat._resting_until = None
            self.deadlines.forget()
        self._roster.leave(seat)
        for queue in (self._queue, self._places.by_taker):
            queue.release(seat)
            queue.look_again()
        if started:
            self._ledger.tell("worker_stopped", seat)
        self._orphans.bury_new(now)
        self._dispatch.match(now)
        self._after(now)

    # Attempts end.

    def succeeded(self, seat: Seat, value: object, now: float) -> Job[Any] | None:
        """An attempt has ended with a value; returns the worker's next job."""
        if self.deadlines.soonest <= now:
            self.advance(now)
        ledger = self._ledger
        job = ledger.end_attempt(seat, now, None)
        job._value = value
        ledger.move(job, SUCCEEDED, now)
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
        if verdict.broken:
            self.broken(seat, error, now)
        fate = verdict.fate
        if job._cancelled and not verdict.is_the_last_word:
            words = f"failed after it was cancelled: {in_words(error)}"
            self._ledger.die(job, DeadReason.NOT_RETRYABLE, words, error, now)
        elif isinstance(fate, Retry):
            if now + fate.delay < job._deadline:
                self._retry(job, fate, now)
            else:
                self._ledger.die(job, DeadReason.TIMED_OUT, "no time left to try again", error, now)
        elif isinstance(fate, Die):
            self._ledger.die(job, fate.reason, fate.words, fate.error, now)
        else:
            self._ledger.end(job, JobState.DISCARDED, now, fate.words)
        return self._next_for(seat, now)

    def timed_out(self, seat: Seat, error: Exception, now: float) -> Job[Any] | None:
        """An attempt was cut short by the job's total timeout."""
        self.advance(now)
        job = self._ledger.end_attempt(seat, now, error)
        self._ledger.die(job, DeadReason.TIMED_OUT, "its total timeout passed", error, now)
        return self._next_for(seat, now)

    def cut_short(self, seat: Seat, error: Exception, now: float) -> Job[Any] | None:
        """An attempt was cut short by a cancellation: it is neither counted nor kept."""
        self.advance(now)
        job = self._ledger.cut_attempt(seat, now, error)
        if job._cancelled:
            self._ledger.end(job, JobState.CANCELLED, now, "cancelled while it ran")
        elif job._deadline <= now:
            self._ledger.time_out(job, now)
        else:
            self._queue_again(job, now, front=True)
        return self._next_for(seat, now)

    # Time passes.

    def advance(self, now: float) -> None:
        """Deal with what has come due."""
        if self.deadlines.soonest > now:
            return
        for due, item in self.deadlines.pop_due(now):
            if due is Due.TOTAL_TIMEOUT:
                self._overdue(item, now)
            elif due is Due.REST:
                item._resting_until = None
                self._dispatch.note(item)
            else:
                self._queue_again(item, now, front=item._setback.front, at_once=False)
        self._dispatch.match(now)
        self._after(now)

    # The limits change.

    @property
    def max_running(self) -> float:
        """How many attempts may be under way at once."""
        return self._dispatch.max_running

    def set_max_running(self, limit: float, now: float) -> None:
        """Change how many attempts may be under way at once."""
        self.advance(now)
        self._dispatch.max_running = limit
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
        job = self._dispatch.next_for(seat, now)
        if self._places.line or self.draining:
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

    def _queue_again(self, job: Job[Any], now: float, *, front: bool, at_once: bool = True) -> None:
        terms = terms_of(job)
        if (terms is not ANYONE or not self._roster.seats) and self._orphans.is_one(terms):
            self._ledger.bury(job, now)
            return
        self._ledger.move(job, JobState.QUEUED, now)
        # Unless it is the only news, and it can't have been for want of room that others
        # wait, it is brought together with the workers when all is known.
        alone = at_once and self._dispatch.max_running == math.inf
        seat = self._dispatch.idle_worker_for(terms) if alone else None
        if seat is not None:
            self._dispatch.hand_over(seat, job, now)
        else:
            self._dispatch.let_wait(job, terms, front=front)

    def _take_back(self, job: Job[Any]) -> None:
        """Take a job out of where it waits."""
        if job._state is JobState.DELAYED:
            job._ticket = 0
            self.deadlines.forget()
        else:
            self._queue.remove(job)

    def _overdue(self, job: Job[Any], now: float) -> None:
        if job._state is None:
            self._places.leave(job)
            self._ledger.time_out(job, now)
            self._effects.append(Admitted(job))
        else:
            self._take_back(job)
            self._ledger.time_out(job, now)

    def _cut(self, seat: Seat, cut: Cut, now: float) -> None:
        # A timeout that has passed already is what ends the attempt.
        if seat._cut is None and now < seat._attempt_deadline:
            seat._cut = cut
        self._effects.append(Interrupt(seat))

    def _resume_all(self, now: float) -> None:
        for seat in list(self._roster.seats.values()):
            self.resume(seat, now)

    def _after(self, now: float) -> None:
        """At the end of every event: fill free places; while draining, let nothing hang."""
        if self._places.line:
            self._dispatch.fill_places(now)
        if not self.draining:
            return
        count = self._ledger.count
        if not count[JobState.QUEUED]:
            return
        if count[JobState.RUNNING] or count[JobState.DELAYED]:
            return
        seats = self._roster.seats.values()
        if any(seat._paused for seat in seats):
            self._resume_all(now)
        elif not any(seat._may_become_available for seat in seats):
            self._orphans.bury_all(now)
