"""How jobs come and go, wait for each other, and stand in groups; and what holds for all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from .._model.states import JobState
from .admission import Admission, Door
from .settle import Settling, waited_in_vain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.records import Group, JobRecord, Run, WorkerRecord
    from .._policies.rate_limit import RateLimit
    from .changes import Changes, Features
    from .state import PoolState
    from .waits import StreamJobs, Wait

# Looked up with every job, and slow through the enum.
BLOCKED = JobState.BLOCKED
QUEUED = JobState.QUEUED
SUCCEEDED = JobState.SUCCEEDED


class JobEvents:
    """Each of these calls is an event in the life of jobs and of their groups."""

    __slots__ = (
        "_autoscaler",
        "_changes",
        "_deadlines",
        "_dependencies",
        "_dispatcher",
        "_lending",
        "_lifecycle",
        "_roster",
        "_search",
        "_settling",
        "_state",
        "_unservable",
        "_waiting_line",
    )

    def __init__(self, state: PoolState, features: Features, changes: Changes, settling: Settling) -> None:
        self._state = state
        self._deadlines = state.deadlines
        self._dependencies = state.dependencies
        self._lifecycle = state.lifecycle
        self._waiting_line = state.waiting_line
        self._roster = state.roster
        self._dispatcher = features.dispatcher
        self._lending = features.lending
        self._unservable = features.unservable
        self._search = features.search
        self._autoscaler = features.autoscaler
        self._changes = changes
        self._settling = settling

    # Jobs come.

    def submit(self, job: JobRecord, door: Door, now: float) -> Admission:
        """A job asks to be let in."""
        if self._deadlines.soonest <= now:
            self._settling.advance(now)
        if job._deadline <= now:
            self._lifecycle.time_out(job, now)
            self._settling.settle(now)
            return Admission.ENTERED
        options = job._options
        if not (options.is_simple and self._roster.by_id):
            admission = self._submit_special(job, door, now)
            if admission is not None:
                return admission
        terms = options.terms
        if self._roster.idle_count and (worker := self._dispatcher.idle_worker_for(terms, now)) is not None:
            self._lifecycle.move(job, QUEUED, now)
            self._dispatcher.hand_over(worker, job, now)
            return Admission.ENTERED
        if door is Door.ALWAYS or (door is not Door.IF_IDLE and self._waiting_line.is_free()):
            self._lifecycle.move(job, QUEUED, now)
            self._dispatcher.let_wait(job, terms)
            self._settle_waiting(now)
            return Admission.ENTERED
        if door is not Door.QUEUE_UP:
            return Admission.FULL
        self._waiting_line.line_up(job, terms)
        self._settle_waiting(now)
        return Admission.WAITING

    def _submit_special(self, job: JobRecord, door: Door, now: float) -> Admission | None:
        """What comes of it where perhaps nobody may take the job, or it can't start yet; or None."""
        if self._unservable.is_one(job._options.terms):
            if self._unservable.policy == "reject":
                return Admission.NO_WORKER
            self._lifecycle.bury(job, now)
            self._settling.settle(now)
            return Admission.ENTERED
        return self._submit_blocked(job, door, now) if job._options.after else None

    def _submit_blocked(self, job: JobRecord, door: Door, now: float) -> Admission:
        """The same for a job that is to start after others."""
        after = job._options.after
        job._options = attrs.evolve(job._options, after=())  # it may outlive what they hold by far
        failed = next((other for other in after if other.state.is_final and other._state is not SUCCEEDED), None)
        if failed is not None:
            self._lifecycle.move(job, BLOCKED, now)
            self._lifecycle.end(job, JobState.DISCARDED, now, waited_in_vain(failed))
            return Admission.ENTERED
        after = tuple(other for other in after if other._state is not SUCCEEDED)
        if not after:
            return self.submit(job, door, now)
        enters = door is Door.ALWAYS or (door is not Door.IF_IDLE and self._waiting_line.is_free())
        if not enters and door is not Door.QUEUE_UP:
            return Admission.FULL
        self._dependencies.block(job, after)
        if enters:
            self._lifecycle.move(job, BLOCKED, now)
            if self._lifecycle.newcomers:
                self._settling.settle(now)
            return Admission.ENTERED
        self._waiting_line.line_up(job, None)
        return Admission.WAITING

    def submit_graph(self, key: JobRecord, jobs: Sequence[JobRecord], door: Door, now: float) -> Admission:
        """A graph asks to be let in, under the job that `key_of` has named."""
        self._settling.advance(now)
        if self._unservable.policy == "reject" and self._unservable.is_one(key._options.terms):
            return Admission.NO_WORKER
        if door is Door.ALWAYS or self._waiting_line.is_free() or any(self._may_start(job, now) for job in jobs):
            for job in jobs:
                self.submit(job, Door.ALWAYS, now)
            return Admission.ENTERED
        for job in jobs:
            if job._options.after:
                self._dependencies.block(job, job._options.after)
                job._options = attrs.evolve(job._options, after=())
        self._waiting_line.line_up_graph(key, jobs)
        # What can't be run at all need not wait for that.
        for job in jobs:
            if job._deadline <= now:
                self._changes.time_out(job, now)
            elif self._unservable.is_one(job._options.terms):
                self._unservable.turn_away(job, now)
        self._state.may_start = True
        self._settling.settle(now)
        return Admission.WAITING

    def _may_start(self, job: JobRecord, now: float) -> bool:
        """Whether an idle worker may take a job of a graph that has not been submitted."""
        is_ready = not job._options.after and now < job._deadline
        return is_ready and self._dispatcher.idle_worker_for(job._options.terms, now) is not None

    def withdraw(self, job: JobRecord) -> None:
        """A submitter that waits for a place has gone."""
        self._waiting_line.withdraw(job)

    def waits_for_place(self, job: JobRecord) -> bool:
        """Whether the submitter of a job, or of the graph whose key it is, waits still."""
        return job in self._waiting_line.line

    def close(self) -> list[JobRecord]:
        """Nobody is let in from outside any more; returns whose submitters wait in vain."""
        turned_away = list(self._waiting_line.line)
        for job in turned_away:
            self.withdraw(job)
        return turned_away

    def key_of(self, jobs: Sequence[JobRecord]) -> JobRecord:
        """The one of a graph's jobs that stands for all, if none is to be refused: else that one."""
        if self._unservable.policy == "reject":
            for job in jobs:
                if self._unservable.is_one(job._options.terms):
                    return job
        return jobs[0]

    # Jobs go.

    def cancel(self, job: JobRecord, now: float) -> None:
        """A job is no longer wanted."""
        self._settling.advance(now)
        if not job.state.is_final:
            self._changes.cancel(job, now)
            self._settling.settle(now)

    def cancel_all(self, now: float) -> None:
        """No job is wanted any more."""
        self._settling.advance(now)
        self._state.queue.clear()
        self._dependencies.clear()
        for job in list(self._lifecycle.live.values()):
            if job._state is JobState.RUNNING:
                self._changes.cancel(job, now)  # whatever may have come due since: nothing starts now
            else:
                if job._state is JobState.DELAYED or job._deadline != math.inf:
                    self._deadlines.forget()
                job._ticket = 0
                job._lane = None
                job._cancelled = True
                self._lifecycle.end(job, JobState.CANCELLED, now, "the pool was cancelled")

    # Jobs wait for jobs.

    def lend(self, run: Run, now: float) -> Run | None:
        """A job lends the place of its run; returns the worker's next run."""
        self._settling.advance(now)
        self._lending.lend(run, now)
        self._state.may_start = True
        return self._settling.next_for(run.worker, now)

    def claim(self, run: Run, now: float, task: object = None) -> None:
        """A job that has lent its place wants it back; ``task`` is the one of its tasks that waits for it."""
        self._settling.advance(now)
        wait = self._lending.claim(run, task, now)
        if wait is not None:
            self._search.begin(wait)
        self._settling.settle(now)  # it may have been the last that did something

    def forfeit(self, run: Run) -> None:
        """A job that wants its place back goes on without it."""
        self._lending.forfeit(run)

    def begin_wait(self, wait: Wait, now: float) -> bool:
        """A job begins to wait, unless that would be for ever; returns whether it does."""
        self._settling.advance(now)
        begins = self._search.begin(wait)
        self._settling.settle(now)  # it may have been the last that did something
        return begins

    def may_read(self, window: StreamJobs, now: float) -> None:
        """What those wait for who read from a stream is no longer what it was."""
        self._settling.advance(now)
        self._state.waits.look_at_readers(window)
        self._state.may_be_stuck = True
        self._settling.settle(now)

    def outlasted(self, run: Run, now: float) -> None:
        """A run has been cancelled, and some of its waits have not ended by that."""
        self._settling.advance(now)
        self._state.waits.outlasted(run)
        self._state.may_be_stuck = True
        self._settling.settle(now)

    # Groups come and go.

    def open_group(self, group: Group, now: float) -> None:
        """A group is about to be opened."""
        self._settling.advance(now)
        self._lifecycle.groups += 1
        if group.reserve:
            self._state.reservations.open(group)
            self._state.may_reserve = True
            self._settling.settle(now)

    def close_group(self, group: Group, now: float) -> None:
        """A group is over: all its jobs have ended."""
        self._settling.advance(now)
        self._lifecycle.groups -= 1
        if group.reserve:
            self._state.reservations.close(group)
            for queue in (self._state.queue, self._waiting_line.by_taker):
                queue.forget_kinds(group)
            self._state.look_again()
            self._state.may_be_stuck = True  # its workers may be another group's now
            if self._autoscaler is not None:
                self._autoscaler.given_back()
            self._settling.settle(now)

    def shut_group(self, group: Group) -> list[JobRecord]:
        """Nobody is let into a group from outside any more; returns whose submitters wait in vain."""
        turned_away = list(group.line)
        for job in turned_away:
            self.withdraw(job)
        return turned_away

    def cancel_group(self, group: Group, now: float) -> None:
        """No job of a group is wanted any more."""
        self._settling.advance(now)
        self._settling.follow_up(now)  # one of its jobs may be dead: then that is why they end
        self._changes.stop_group(group, now)
        self._settling.settle(now)

    # The limits change.

    def idle(self, now: float) -> list[WorkerRecord]:
        """The workers that could start a job now, the longest idle first."""
        return self._dispatcher.idle(now)

    def set_max_running(self, limit: float, now: float) -> None:
        """Change how many attempts may be under way at once."""
        self._settling.advance(now)
        self._state.limits.set_max_running(limit)
        self._state.may_start = self._state.may_be_stuck = True
        self._settling.settle(now)

    def set_rate_limit(self, limit: RateLimit | None, now: float) -> None:
        """Change how often attempts may start."""
        self._settling.advance(now)
        self._state.limits.set_rate_limit(limit, now)
        self._state.may_start = True
        self._settling.settle(now)

    def drain(self, now: float) -> None:
        """Nobody will submit or resume from outside any more."""
        self._settling.advance(now)
        state = self._state
        state.draining = state.may_reserve = True
        state.may_be_stuck |= bool(state.paused or state.reservations.waiting)
        self._changes.resume_all(now)
        self._settling.settle(now)

    def _settle_waiting(self, now: float) -> None:
        """A job has begun to wait, which no idle worker may take."""
        self._state.may_start |= self._state.limits.meter is not None  # somebody has to look at it when it may start
        self._settling.settle_if_needed(now)
