"""The ends of attempts, and the consequences for their jobs and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.errors import JobTimeoutError
from .._model.setback import Setback
from .._model.states import Cut, DeadReason, Hold, JobState
from .commands import INTERRUPT
from .deadlines import Due
from .lifecycle import why_again
from .retry_decision import Die, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._basics.error_text import Words
    from .._model.history import Why
    from .._model.job_extra import Progress
    from .._model.records import JobRecord, Run
    from .._policies.rate_meter import Amount
    from .._policies.worker_limits import WorkerLimits
    from .changes import Changes, Features
    from .race import Race
    from .retry_decision import Verdict
    from .settle import Settling
    from .state import PoolState

SUCCEEDED = JobState.SUCCEEDED  # read for every job, and slow to access through the enum


class AttemptEvents:
    """Each of these calls ends a run, and returns the next run of its worker.

    An attempt ends once all its runs have ended.
    """

    __slots__ = (
        "_changes",
        "_deadlines",
        "_dispatcher",
        "_hedging",
        "_lending",
        "_lifecycle",
        "_metering",
        "_search",
        "_settling",
        "_state",
    )

    def __init__(self, state: PoolState, features: Features, changes: Changes, settling: Settling) -> None:
        self._state = state
        self._deadlines = state.deadlines
        self._lifecycle = state.lifecycle
        self._hedging = state.hedging
        self._metering = features.metering
        self._dispatcher = features.dispatcher
        self._lending = features.lending
        self._search = features.search
        self._changes = changes
        self._settling = settling

    def succeeded_in_race(self, run: Run, value: object, now: float) -> Run | None:
        """End one of several runs of an attempt, which has returned a value; see `StraightWay` for the only one."""
        worker, race = run.worker, run.race
        self._hedging.ending(race, decides=True)
        if self._deadlines.soonest <= now:
            self._settling.advance(now)
        self._leave(race, run, now, "value")
        self._lifecycle.count_for(worker, None)
        race.succeeded(value)
        self._left_race(race, now)
        if run.is_lent:
            return self._after_lent(now)
        if worker._limits is not None:
            worker._limits.succeeded(now, run.trial)
        return self._settling.next_for(worker, now)

    def failed(self, run: Run, error: Exception, verdict: Verdict, now: float) -> Run | None:
        """End a run that has failed."""
        race: Race | None = run.race
        if race is not None:
            self._hedging.ending(race, decides=verdict.is_the_last_word)
        if self._deadlines.soonest <= now:
            self._settling.advance(now)
        job, worker = run.job, run.worker
        if race is None:
            self._lifecycle.end_attempt(run, now, error)
        else:
            self._leave(race, run, now, "error")
            if not race.is_decided:
                self._lifecycle.count_for(worker, error)
        setback = job._setback
        if setback is None:
            setback = job._setback = Setback()
        setback.note(worker, worker._alone)
        # The worker is updated first, since this may begin a new round of workers for another job that bounces.
        if not run.is_lent:
            if verdict.rest:
                self._changes.rest(worker, now + verdict.rest, now)
            if worker._limits is not None:
                self._tell_breaker(run, worker._limits, verdict, now)
            if verdict.broken and worker._is_open:  # otherwise it already has to reopen
                self._changes.take_out_of_use(worker, error, now)
            if run.is_cut or now >= run.deadline:
                self._leave_unfinished(run, now)
        if verdict.key_rest and self._state.keys is not None:
            self._state.keys.rest(job, now + verdict.key_rest, now)
        if race is None:
            self._decide(job, error, verdict, now)
        else:
            race.failed(error, verdict)
            self._left_race(race, now)
        # If the job runs again, others that wait for it may hold what it needs.
        self._state.may_be_stuck |= self._search.holds_up(job)
        return self._after_lent(now) if run.is_lent else self._settling.next_for(run.worker, now)

    def timed_out(self, run: Run, error: Exception, now: float) -> Run | None:
        """End a run that the job's total timeout has cut short."""
        race: Race | None = run.race
        if race is not None:
            self._hedging.ending(race, decides=True)
        self._settling.advance(now)
        if run.worker._limits is not None and not run.is_lent:
            run.worker._limits.ended_otherwise(now, run.trial)
        self._leave_unfinished(run, now)
        if race is None:
            job = self._lifecycle.end_attempt(run, now, error)
            self._time_out_running(job, error, now)
        else:
            self._leave(race, run, now, "cut")
            self._lifecycle.count_for(run.worker, error)
            race.failed(error, None)
            self._left_race(race, now)
        return self._after_lent(now) if run.is_lent else self._settling.next_for(run.worker, now)

    def cut_short(self, run: Run, error: Exception, now: float, *, begun: bool = True) -> Run | None:
        """End a run that was cancelled: the attempt is neither counted nor kept.

        Arguments:
          begun: whether the function had been called.
        """
        race: Race | None = run.race
        if race is not None:
            self._hedging.ending(race, decides=False)
        if not begun:
            self._give_back(run, now)
        self._settling.advance(now)
        if run.worker._limits is not None and not run.is_lent:
            run.worker._limits.cut_short(run.trial)
        if begun:
            self._leave_unfinished(run, now)
        job = run.job
        if race is None:
            self._lifecycle.cut_attempt(run, now, error)
            ticket = self._state.evicted.pop(run, None)
            self._go_on_after_cut(job, now, _why_cut(run), ticket, begun=begun, cut=run.cut)
        else:
            self._leave(race, run, now, "cut")
            if not begun and run.worker is not race.first:
                del race.took_part[run.worker]
            self._left_race(race, now, error, _why_cut(run))
        # If the job runs again, others that wait for it may hold what it needs.
        self._state.may_be_stuck |= self._search.holds_up(job)
        return self._after_lent(now) if run.is_lent else self._settling.next_for(run.worker, now)

    def set_used(self, run: Run, amounts: Mapping[str, Amount], now: float) -> None:
        """Set how much of these units a run has used in total."""
        self._settling.advance(now)
        self._metering.set_used(run, amounts, now)
        self._settling.settle_if_needed(now)

    def report(self, run: Run, progress: Progress) -> None:
        """Record the progress that a run reports, unless another run of the same attempt is as far."""
        race: Race | None = run.race
        extra = run.job._extras
        before = extra.progress
        if race is not None and before is not None and progress.done <= before.done:
            others = (other for other in race.runners if other is not run)
            if any(other.number == extra.reporter for other in others):
                return
        if run.cut is not Cut.LOST:  # otherwise another run has settled the attempt
            extra.progress, extra.reporter = progress, run.number
            self._lifecycle.tell("job_progress", run.job)

    def _give_back(self, run: Run, now: float) -> None:
        """Give back what a run has drawn if its function will not be called."""
        self._metering.give_back(run, now)
        if Hold.LIMITED in run.worker._holds:
            self._dispatcher.relax(run.worker, now)

    def _after_lent(self, now: float) -> Run | None:
        """Settle after the end of a run that had lent its worker; such a run has no next run."""
        self._state.may_start = True
        self._settling.settle(now)
        return None

    def _decide(self, job: JobRecord, error: Exception, verdict: Verdict, now: float) -> None:
        """Carry out the decision about the job of a failed attempt."""
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
            elif job._extra is not None and now + fate.delay >= job._extra.caller_deadline:
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
            if fate.handed_back is not None:
                job._extras.handed_back = fate.handed_back
            self._lifecycle.end(job, JobState.DISCARDED, now, fate.words)

    def _time_out_running(self, job: JobRecord, error: Exception, now: float) -> None:
        self._lifecycle.die(job, DeadReason.TIMED_OUT, "its total timeout passed", error, now)

    def _go_on_after_cut(
        self,
        job: JobRecord,
        now: float,
        why: Why,
        ticket: int | None = None,
        *,
        begun: bool = True,
        cut: Cut | None = None,
    ) -> None:
        """Decide about the job of an attempt that was cut short."""
        if job._cancelled or (begun and job._options.is_lease):  # a block can't be run again
            by = "because its worker was removed" if cut is Cut.EVICTED else "with its caller"
            if job._cancelled:
                by = job._extras.cancelled_by
            self._lifecycle.end(job, JobState.CANCELLED, now, f"cancelled while it ran, {by}")
        elif job._deadline <= now:
            self._lifecycle.time_out(job, now)
        else:
            self._changes.queue_again(job, now, front=True, ticket=ticket, why=why)

    def _leave(self, race: Race, run: Run, now: float, how: str) -> None:
        """Remove an ended run from its attempt and from its worker."""
        if len(race.took_part) > 1:
            self._lifecycle.tell("_run_left", run, how)
        if run.is_lent:
            self._lending.close(run)
            self._changes.wear_out(run.worker, now)  # it could not be reopened while this run used it
        else:
            self._lifecycle.take_off(run, now)
        if run.draws is not None:
            race.add_used(run.draws.used)
        self._hedging.leave(race, run)
        if race.runners:
            self._lifecycle.add_surplus(race.job, -1)

    def _left_race(self, race: Race, now: float, cut: Exception | None = None, why: Why = ()) -> None:
        """Update the attempt after a run has ended; if it was cancelled, ``cut`` and ``why`` say so."""
        if race.is_decided:
            for other in race.runners:
                # If a total timeout has passed, it also ends the other runs.
                if other.cut is None and (race.won or race.verdict is not None):
                    other.cut = Cut.LOST
                    self._state.waits.cut(other)
                    self._state.commands.append((INTERRUPT, other))
        if race.runners:
            self._state.may_be_stuck = True  # the other runs may wait forever
            return
        job, lifecycle = race.job, self._lifecycle
        told = (job, race.first, race.started_at, now)
        if race.won:
            lifecycle.keep_attempt(*told, None, race.hedges, race.used)
            job._value = race.value
            lifecycle.move(job, SUCCEEDED, now)
        elif race.error is None:
            assert cut is not None
            lifecycle.drop_attempt(*told, cut, race.hedges, race.used)
            self._go_on_after_cut(job, now, why)
        else:
            lifecycle.keep_attempt(*told, race.error, race.hedges, race.used)
            if race.verdict is None:
                self._time_out_running(job, race.error, now)
            else:
                self._decide(job, race.error, race.verdict, now)

    def _retry(self, job: JobRecord, fate: Retry, now: float) -> None:
        self._lifecycle.retries += 1
        if (group := job._options.group) is not None:
            group.retries += 1
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
            self._lifecycle.move(job, JobState.DELAYED, now, until, why_again(job))
            self._deadlines.add_ticketed(Due.DELAY, job, until)
        else:
            self._changes.queue_again(job, now, front=fate.front, why=why_again(job))

    def _leave_unfinished(self, run: Run, now: float) -> None:
        """Reopen the resource of a run that was cancelled before it returned a value, if the worker requires it."""
        worker = run.worker
        if worker._limits is None or not worker._limits.reopens_on_cut or run.is_lent:
            return
        if worker._is_open and not worker._is_leaving:
            self._changes.take_out_of_use(worker, None, now)

    def _tell_breaker(self, run: Run, limits: WorkerLimits, verdict: Verdict, now: float) -> None:
        if not verdict.is_failure:
            limits.ended_otherwise(now, run.trial)
        elif (until := limits.failed(now, run.trial)) is not None:
            self._state.availability.quarantine(run.worker, until)
            self._dispatcher.note(run.worker, now)


def _why_cut(run: Run) -> Why:
    """Why the job of a run that has been cut short is queued again."""
    if run.cut is Cut.EVICTED:
        return ("{} was removed", run.worker._name)
    return ("the resource of {} had to be reopened before the attempt began", run.worker._name)
