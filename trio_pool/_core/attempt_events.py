"""How attempts end, and what becomes of their jobs and workers then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.errors import JobTimeoutError
from .._model.records import Run
from .._model.setback import Setback
from .._model.states import Cut, DeadReason, JobState, Phase
from .commands import Interrupt
from .retry_decision import Die, Retry

if TYPE_CHECKING:
    from .._basics.error_text import Words
    from .._model.records import JobRecord, Loan, WorkerRecord
    from .._policies.worker_limits import WorkerLimits
    from .changes import Changes, Features
    from .hedging import Race
    from .retry_decision import Verdict
    from .settle import Settling
    from .state import PoolState

SUCCEEDED = JobState.SUCCEEDED  # looked up with every job, and slow through the enum


class AttemptEvents:
    """Each of these calls ends an attempt on a worker, and returns the worker's next job.

    It ends altogether once it has ended on every worker that it was started on.
    """

    __slots__ = (
        "_changes",
        "_deadlines",
        "_dispatcher",
        "_hedging",
        "_lifecycle",
        "_loans",
        "_search",
        "_settling",
        "_state",
    )

    def __init__(self, state: PoolState, features: Features, changes: Changes, settling: Settling) -> None:
        self._state = state
        self._deadlines = state.deadlines
        self._lifecycle = state.lifecycle
        self._hedging = state.hedging
        self._dispatcher = features.dispatcher
        self._loans = features.loans
        self._search = features.search
        self._changes = changes
        self._settling = settling

    def succeeded(self, worker: WorkerRecord, value: object, now: float) -> JobRecord | None:
        """It has ended with a value."""
        if self._hedging.under_way and (race := self._hedging.ending(worker, decides=True)) is not None:
            return self._succeeded_in_race(race, worker, value, now)
        if self._deadlines.soonest <= now:
            self._settling.advance(now)
        lifecycle = self._lifecycle
        job = lifecycle.end_attempt(worker, now, None)
        job._value = value
        lifecycle.move(job, SUCCEEDED, now)
        if worker._limits is not None:
            worker._limits.succeeded()
        return self._settling.next_for(worker, now)

    def _succeeded_in_race(self, race: Race, worker: WorkerRecord, value: object, now: float) -> JobRecord | None:
        self._settling.advance(now)
        self._leave(race, worker, now)
        self._lifecycle.count_for(worker, None)
        race.succeeded(value)
        self._left_race(race, now)
        if worker._limits is not None:
            worker._limits.succeeded()
        return self._settling.next_for(worker, now)

    def failed(self, worker: WorkerRecord, error: Exception, verdict: Verdict, now: float) -> JobRecord | None:
        """It has ended with an error."""
        race = self._hedging.ending(worker, decides=verdict.is_the_last_word) if self._hedging.under_way else None
        if self._deadlines.soonest <= now:
            self._settling.advance(now)
        if race is None:
            job = self._lifecycle.end_attempt(worker, now, error)
        else:
            job = self._leave(race, worker, now)
            if not race.is_decided:
                self._lifecycle.count_for(worker, error)
        setback = job._setback
        if setback is None:
            setback = job._setback = Setback()
        setback.note(worker, worker._alone)
        # First what it means for the worker: it may end the round of a job before this one.
        if verdict.rest:
            self._changes.rest(worker, now + verdict.rest, now)
        if worker._limits is not None:
            self._tell_breaker(worker, worker._limits, verdict, now)
        if verdict.broken and worker._phase is Phase.OPEN:  # or it is known already
            self._changes.take_out_of_use(worker, error, now)
        if race is None:
            self._decide(job, error, verdict, now)
        else:
            race.failed(error, verdict)
            self._left_race(race, now)
        self._look_for_waits(job, race)
        return self._settling.next_for(worker, now)

    def timed_out(self, worker: WorkerRecord, error: Exception, now: float) -> JobRecord | None:
        """It was cut short by the job's total timeout."""
        race = self._hedging.ending(worker, decides=True) if self._hedging.under_way else None
        self._settling.advance(now)
        if worker._limits is not None:
            worker._limits.ended_otherwise()
        if race is None:
            job = self._lifecycle.end_attempt(worker, now, error)
            self._time_out_running(job, error, now)
        else:
            self._leave(race, worker, now)
            self._lifecycle.count_for(worker, error)
            race.failed(error, None)
            self._left_race(race, now)
        return self._settling.next_for(worker, now)

    def cut_short(self, worker: WorkerRecord, error: Exception, now: float, *, begun: bool = True) -> JobRecord | None:
        """It was cut short by a cancellation: it is neither counted nor kept.

        Arguments:
          begun: whether the function had been called at all.
        """
        race = self._hedging.ending(worker, decides=False) if self._hedging.under_way else None
        if not begun:
            for meter in worker._draws:
                meter.give_back()
            worker._draws = ()
        self._settling.advance(now)
        if worker._limits is not None:
            worker._limits.ended_otherwise()
        if race is None:
            job = self._lifecycle.cut_attempt(worker, now, error)
            self._go_on_after_cut(job, now)
        else:
            job = self._leave(race, worker, now)
            if not begun and worker is not race.first:
                del race.took_part[worker]
            self._left_race(race, now, error)
        self._look_for_waits(job, race)
        return self._settling.next_for(worker, now)

    def end_apart(self, loan: Loan, race: Race, now: float, cut: Exception | None = None) -> None:
        """The attempt of a cancelled job has ended that goes on without the worker that it had lent.

        What it has to say of the worker means nothing any more. Who has that waits for this end, and goes on.

        Arguments:
          race: says how it has ended, unless ``cut`` tells of a cancellation.
        """
        self._settling.advance(now)
        self._loans.close(loan)
        if cut is None:
            self._lifecycle.count_for(loan.worker, race.error)
        self._left_race(race, now, cut)
        self._state.may_start = True
        self._settling.settle(now)

    def _decide(self, job: JobRecord, error: Exception, verdict: Verdict, now: float) -> None:
        """An attempt has failed: carry out what becomes of its job."""
        fate = verdict.fate
        words: Words
        if job._cancelled and not verdict.is_the_last_word:
            words = ("failed after it was cancelled: {}", error)
            self._lifecycle.die(job, DeadReason.NOT_RETRYABLE, words, error, now)
        elif isinstance(fate, Retry):
            budget = self._state.limits.budget
            if now + fate.delay >= job._deadline:
                words = "no time left to try again"
                timeout = JobTimeoutError(words)
                timeout.__cause__ = error
                self._lifecycle.die(job, DeadReason.TIMED_OUT, words, timeout, now)
            elif now + fate.delay >= job._caller_deadline:
                words = "its caller has no time left to try again"
                self._lifecycle.die(job, DeadReason.TIMED_OUT, words, error, now)
            elif budget is not None and not budget.allows_retry(now):
                words = ("the pool has retried too much lately: {}", error)
                self._lifecycle.die(job, DeadReason.BUDGET_EXHAUSTED, words, error, now)
            else:
                if budget is not None:
                    budget.retry(now)
                self._retry(job, fate, now)
        elif isinstance(fate, Die):
            self._lifecycle.die(job, fate.reason, fate.words, fate.error, now)
        else:
            self._lifecycle.end(job, JobState.DISCARDED, now, fate.words)

    def _time_out_running(self, job: JobRecord, error: Exception, now: float) -> None:
        self._lifecycle.die(job, DeadReason.TIMED_OUT, "its total timeout passed", error, now)

    def _go_on_after_cut(self, job: JobRecord, now: float) -> None:
        """An attempt was cut short: carry out what becomes of its job."""
        if job._cancelled:
            self._lifecycle.end(job, JobState.CANCELLED, now, "cancelled while it ran")
        elif job._deadline <= now:
            self._lifecycle.time_out(job, now)
        else:
            self._changes.queue_again(job, now, front=True)

    def _leave(self, race: Race, worker: WorkerRecord, now: float) -> JobRecord:
        """An attempt that may run elsewhere too has ended on a worker."""
        job = self._lifecycle.take_off(worker, now)
        self._hedging.leave(race, worker)
        if race.runners:
            self._lifecycle.add_surplus(job, -1)
        return job

    def _left_race(self, race: Race, now: float, cut: Exception | None = None) -> None:
        """What that means for the attempt; ``cut`` tells of a cancellation."""
        if race.is_decided:
            for worker in race.runners:
                # A total timeout that has passed ends it there too.
                if worker._cut is None and (race.won or race.verdict is not None):
                    worker._cut = Cut.LOST
                    self._state.waits.cut(Run(race.job, worker))
                    self._state.commands.append(Interrupt(worker, race.job))
        if race.runners:
            return
        job, lifecycle = race.job, self._lifecycle
        told = (job, race.first, race.started_at, now)
        if race.won:
            lifecycle.keep_attempt(*told, None, race.hedges)
            job._value = race.value
            lifecycle.move(job, SUCCEEDED, now)
        elif race.error is None:
            assert cut is not None
            lifecycle.drop_attempt(*told, cut, race.hedges)
            self._go_on_after_cut(job, now)
        else:
            lifecycle.keep_attempt(*told, race.error, race.hedges)
            if race.verdict is None:
                self._time_out_running(job, race.error, now)
            else:
                self._decide(job, race.error, race.verdict, now)

    def _look_for_waits(self, job: JobRecord, race: Race | None) -> None:
        """A run has ended that has not settled its attempt, or its job is to run again: see who waits for that."""
        is_left = race is not None and race.runners
        if is_left or self._search.holds_up(job):
            # What is left of the job may wait itself, or may be for others now, which are held.
            self._state.may_be_stuck = True

    def _retry(self, job: JobRecord, fate: Retry, now: float) -> None:
        self._lifecycle.count_retry(job)
        setback = job._setback
        assert setback is not None
        if fate.counts:
            setback.counted += 1
        setback.delay = fate.delay
        setback.placement = fate.placement
        if fate.placement == "other":
            self._state.has_bounced = True
        setback.front = fate.front
        if fate.delay:
            until = now + fate.delay
            self._lifecycle.move(job, JobState.DELAYED, now, until)
            self._deadlines.add_delay(job, until)
        else:
            self._changes.queue_again(job, now, front=fate.front)

    def _tell_breaker(self, worker: WorkerRecord, limits: WorkerLimits, verdict: Verdict, now: float) -> None:
        if not verdict.is_failure:
            limits.ended_otherwise()
        elif (until := limits.failed(now)) is not None:
            self._state.availability.quarantine(worker, until)
            self._dispatcher.note(worker, now)
