"""Core: which job goes to which worker, and when.

The scheduler is called with the time and decides; what has to be done about it, it notes
as effects, for the shell to carry out. It never waits and knows nothing of Trio.

How jobs come and go is here, how attempts end in ``_attempt_events``, and what can happen
to workers in ``_worker_events``; how jobs and workers are brought together is in
``_dispatch``, what becomes of a job's state in ``_ledger``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from ._aftermath import waited_in_vain
from ._attempt_events import AttemptEvents
from ._job import JobState
from ._places import Admission, Door

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._group import Group
    from ._job import Job
    from ._limits import RateLimit
    from ._loans import Loan
    from ._seat import Seat
    from ._waits import Wait

# Looked up with every job, and slow through the enum.
BLOCKED = JobState.BLOCKED
QUEUED = JobState.QUEUED
SUCCEEDED = JobState.SUCCEEDED


class Scheduler(AttemptEvents):
    """The core's front: every event in the life of jobs and workers is a call of it."""

    __slots__ = ()

    # Jobs come.

    def submit(self, job: Job[Any], door: Door, now: float) -> Admission:
        """A job asks to be let in."""
        if self.deadlines.soonest <= now:
            self.advance(now)
        if job._deadline <= now:
            self._ledger.time_out(job, now)
            self._after(now)
            return Admission.ENTERED
        options = job._options
        if not (options.is_simple and self._roster.seats):
            admission = self._submit_special(job, door, now)
            if admission is not None:
                return admission
        terms = options.terms
        if self._roster.idle_count and (seat := self._dispatch.idle_worker_for(terms, now)) is not None:
            self._ledger.move(job, QUEUED, now)
            self._dispatch.hand_over(seat, job, now)
            return Admission.ENTERED
        if door is Door.ALWAYS or (door is not Door.IF_IDLE and self._places.is_free()):
            self._ledger.move(job, QUEUED, now)
            self._dispatch.let_wait(job, terms)
            self._after_waiting(now)
            self._look_for_members(job)
            return Admission.ENTERED
        if door is not Door.QUEUE_UP:
            return Admission.FULL
        self._places.line_up(job, terms)
        self._after_waiting(now)
        return Admission.WAITING

    def _submit_special(self, job: Job[Any], door: Door, now: float) -> Admission | None:
        """What comes of it where perhaps nobody may take the job, or it can't start yet; or None."""
        if self._orphans.is_one(job._options.terms):
            if self._orphans.policy == "reject":
                return Admission.NO_WORKER
            self._ledger.bury(job, now)
            self._after(now)
            return Admission.ENTERED
        return self._submit_blocked(job, door, now) if job._options.after else None

    def _submit_blocked(self, job: Job[Any], door: Door, now: float) -> Admission:
        """The same for a job that is to start after others."""
        after = job._options.after
        job._options = attrs.evolve(job._options, after=())  # it may outlive what they hold by far
        failed = next((other for other in after if other.state.is_final and other._state is not SUCCEEDED), None)
        if failed is not None:
            self._ledger.move(job, BLOCKED, now)
            self._ledger.end(job, JobState.DISCARDED, now, waited_in_vain(failed))
            return Admission.ENTERED
        after = tuple(other for other in after if other._state is not SUCCEEDED)
        if not after:
            return self.submit(job, door, now)
        enters = door is Door.ALWAYS or (door is not Door.IF_IDLE and self._places.is_free())
        if not enters and door is not Door.QUEUE_UP:
            return Admission.FULL
        self._dependencies.block(job, after)
        if enters:
            self._ledger.move(job, BLOCKED, now)
            self._look_for_members(job)
            return Admission.ENTERED
        self._places.line_up(job, None)
        return Admission.WAITING

    def submit_graph(self, key: Job[Any], jobs: Sequence[Job[Any]], door: Door, now: float) -> Admission:
        """A graph asks to be let in, under the job that `key_of` has named."""
        self.advance(now)
        if self._orphans.policy == "reject" and self._orphans.is_one(key._options.terms):
            return Admission.NO_WORKER
        if door is Door.ALWAYS or self._places.is_free() or any(self._may_start(job, now) for job in jobs):
            for job in jobs:
                self.submit(job, Door.ALWAYS, now)
            return Admission.ENTERED
        for job in jobs:
            if job._options.after:
                self._dependencies.block(job, job._options.after)
                job._options = attrs.evolve(job._options, after=())
        self._places.line_up_graph(key, jobs)
        # What can't be run at all need not wait for that.
        for job in jobs:
            if job._deadline <= now:
                self._overdue(job, now)
            elif self._orphans.is_one(job._options.terms):
                self._orphans.turn_away(job, now)
        self._settle(now)
        self._after(now)
        return Admission.WAITING

    def _may_start(self, job: Job[Any], now: float) -> bool:
        """Whether an idle worker may take a job of a graph that has not been submitted."""
        is_ready = not job._options.after and now < job._deadline
        return is_ready and self._dispatch.idle_worker_for(job._options.terms, now) is not None

    def withdraw(self, job: Job[Any]) -> None:
        """A submitter that waits for a place has gone."""
        self._places.withdraw(job)

    def waits_for_place(self, job: Job[Any]) -> bool:
        """Whether the submitter of a job, or of the graph whose key it is, waits still."""
        return job in self._places.line

    def close(self) -> list[Job[Any]]:
        """Nobody is let in from outside any more; returns whose submitters wait in vain."""
        turned_away = list(self._places.line)
        for job in turned_away:
            self.withdraw(job)
        return turned_away

    @property
    def waiting(self) -> int:
        """How many submitters wait for a place."""
        return len(self._places)

    def key_of(self, jobs: Sequence[Job[Any]]) -> Job[Any]:
        """The one of a graph's jobs that stands for all, if none is to be refused: else that one."""
        if self._orphans.policy == "reject":
            for job in jobs:
                if self._orphans.is_one(job._options.terms):
                    return job
        return jobs[0]

    # Jobs go.

    def cancel(self, job: Job[Any], now: float) -> None:
        """A job is no longer wanted."""
        self.advance(now)
        if not job.state.is_final:
            self._cancel(job, now)
            self._after(now)

    def is_decided(self, job: Job[Any]) -> bool:
        """Whether another worker has decided already how the attempt under way ends."""
        return self._races.is_decided(job)

    def workers_of(self, job: Job[Any]) -> list[Seat]:
        """The workers that run a job, or that it has lent."""
        return self._races.runners_of(job)

    def cancel_all(self, now: float) -> None:
        """No job is wanted any more."""
        self.advance(now)
        self._queue.clear()
        self._dependencies.clear()
        for job in list(self._ledger.live.values()):
            if job._state is JobState.RUNNING:
                self._cancel(job, now)  # whatever may have come due since: nothing starts now
            else:
                if job._state is JobState.DELAYED or job._deadline != math.inf:
                    self.deadlines.forget()
                job._ticket = 0
                job._lane = None
                job._cancelled = True
                self._ledger.end(job, JobState.CANCELLED, now, "the pool was cancelled")

    # Jobs wait for jobs.

    def lend(self, seat: Seat, now: float) -> Job[Any] | None:
        """A job lends its worker; returns the worker's next job."""
        self.advance(now)
        self._loans.lend(seat, now)
        return self._next_for(seat, now, together=True)

    def claim(self, seat: Seat, job: Job[Any], now: float, task: object = None) -> None:
        """A job that has lent its worker wants it back; ``task`` is the one of its tasks that waits for it."""
        self.advance(now)
        self._loans.claim(seat._loans[job], task, now)
        if self._is_watched:
            self._after(now)  # it may have been the last that did something
        if seat._current is job and self.waits.is_waiting(job):
            self.waits.look_again()

    def forfeit(self, loan: Loan) -> None:
        """A job that wants its worker back goes on without it."""
        self._loans.forfeit(loan)

    def begin_wait(self, wait: Wait, now: float) -> bool:
        """A job begins to wait, unless that would be for ever; returns whether it does."""
        is_watched = self._is_watched
        if is_watched:
            self.advance(now)
        begins = self.waits.begin(wait)
        if is_watched and begins:
            self._after(now)  # as above
        return begins

    @property
    def _is_watched(self) -> bool:
        """Whether something is to be done once nothing happens by itself any more."""
        return bool(self._reservations.waiting) or (self.draining and self._ledger.count[QUEUED] > 0)

    def outlasted(self, job: Job[Any], now: float) -> None:
        """A job has been cancelled, and some of its waits have not ended by that."""
        self.advance(now)
        self.waits.outlasted(job)
        self.waits.look_again()

    # Groups come and go.

    def open_group(self, group: Group, now: float) -> None:
        """A group is about to be opened."""
        self.advance(now)
        self._ledger.groups += 1
        if group.reserve:
            self._reservations.open(group)
            self._review(now)
            self._after(now)

    def close_group(self, group: Group, now: float) -> None:
        """A group is over: all its jobs have ended."""
        self.advance(now)
        self._ledger.groups -= 1
        if group.reserve:
            self._reservations.close(group)
            for queue in (self._queue, self._places.by_taker):
                queue.forget_kinds(group)
                queue.look_again()
            if self._staffing is not None:
                self._staffing.given_back()
            self._dispatch.match(now)
            self._after(now)
            self.waits.look_again()  # its workers may be another group's now

    def shut_group(self, group: Group) -> list[Job[Any]]:
        """Nobody is let into a group from outside any more; returns whose submitters wait in vain."""
        turned_away = list(group.line)
        for job in turned_away:
            self.withdraw(job)
        return turned_away

    def cancel_group(self, group: Group, now: float) -> None:
        """No job of a group is wanted any more."""
        self.advance(now)
        self._follow_up(now)  # one of its jobs may be dead: then that is why they end
        self._stop_group(group, now)
        self._after(now)

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
        self.waits.look_again()

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
        is_news = bool(self._paused or self._reservations.waiting)
        self._review(now)
        self._resume_all(now)
        self._after(now)
        if is_news:
            self.waits.look_again()

    # From here on nobody but the scheduler calls.

    def _look_for_members(self, job: Job[Any]) -> None:
        """A job has come that has to wait: those who wait for all that is in its group wait for it too."""
        if job._options.group is not None and self.waits.holds_up(job):
            self.waits.look_again()

    def _after_waiting(self, now: float) -> None:
        """A job has begun to wait: see that somebody looks at it when it may start."""
        if self._dispatch.meter is not None:
            self._dispatch.match(now)
        if self._places.line or self.draining or self._staffing is not None or self._reservations.waiting:
            self._after(now)
