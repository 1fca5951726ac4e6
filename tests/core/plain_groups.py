"""Groups and jobs that wait for jobs, as plainly as the rest of the model.

What the end of a job means for others is dealt with before anything is started; and before
that, too, idle workers are set aside for the groups that want some for themselves.
"""

from __future__ import annotations

import math

import attrs

from tests.core.plain_model import PlainPool
from tests.core.plain_parts import FINAL, Named, PlainJob, PlainWorker
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door


@attrs.define(eq=False, repr=False)
class PlainGroup(Named):
    """A group."""

    max_running: float = math.inf
    reserve: int = 0
    must_succeed: bool = False
    # Whether its jobs wait apart from others, as it has, or had, a bound or places of its own.
    is_apart: bool = attrs.field(
        default=attrs.Factory(lambda self: self.max_running < math.inf or self.reserve > 0, takes_self=True)
    )
    # Whether it waits for its workers, for more of them than there can be, or no longer wants any.
    waits: bool = True
    is_beyond: bool = False
    is_turned_away: bool = False
    # The running job that has opened it, if any has, and in which of its tasks.
    opener: PlainJob | None = None
    task: int = 0


@attrs.define(eq=False)
class PlainGroupedPool(PlainPool):
    """The pool, with groups."""

    # Those that are open, in the order of their opening.
    groups: list[PlainGroup] = attrs.field(factory=list[PlainGroup])
    # The jobs that some others have been told have ended badly.
    followed_up: list[PlainJob] = attrs.field(factory=list[PlainJob])
    # When a job came, and when there was nothing left that it waited for, in a count of such events.
    came: dict[PlainJob, int] = attrs.field(factory=dict[PlainJob, int])
    ready_since: dict[PlainJob, int] = attrs.field(factory=dict[PlainJob, int])
    # Those that have got all the workers that they want for themselves since this was last cleared.
    staffed: list[PlainGroup] = attrs.field(factory=list[PlainGroup])
    # Those that have been told since then that they won't.
    turned_away: list[PlainGroup] = attrs.field(factory=list[PlainGroup])

    # Looking.

    def missing(self, job: PlainJob) -> list[PlainJob]:
        """What the job waits for."""
        return [other for other in job.after if other.state is not JobState.SUCCEEDED]

    def members(self, group: PlainGroup) -> list[PlainJob]:
        """The jobs of a group that have not ended, those that wait for a place included."""
        return [job for job in [*self.live(), *self.line] if job.group is group]

    def kept(self, group: PlainGroup) -> list[PlainWorker]:
        """The workers that a group has for itself, each as often as it has places there."""
        return [worker for worker in self.workers for each in worker.kept if each is group]

    def lacking(self) -> list[PlainGroup]:
        """The groups that are to have more workers for themselves."""
        return [
            group
            for group in self.groups
            if len(self.kept(group)) < group.reserve and not (group.is_beyond or group.is_turned_away)
        ]

    def waiting_groups(self) -> list[PlainGroup]:
        """Those that have not had all the workers that they want."""
        return [group for group in self.groups if group.waits and group.reserve and not group.is_turned_away]

    def is_full(self, group: PlainGroup) -> bool:
        """Whether nothing more of a group may start."""
        running = [job for job in self.those(JobState.RUNNING) if job.group is group]
        return self.under_way(running) >= group.max_running

    def ready_line(self) -> list[PlainJob]:
        """The jobs that wait for a place and for no job, first what has done so for the longest time."""
        return sorted((job for job in self.line if job in self.ready_since), key=self.ready_since.__getitem__)

    def idle_for(self, job: PlainJob) -> list[PlainWorker]:
        """The free workers in the order in which they come into question for a job: first those of its group."""
        free = super().idle_for(job)
        group = job.group
        return free if group is None else sorted(free, key=lambda worker: not worker.unused(group))

    def can_serve(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the worker could take such jobs, if it were free."""
        return super().can_serve(worker, job) and (job.group in worker.kept or len(worker.kept) < worker.places)

    def may_take(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the worker may take the job now."""
        if self.missing(job) or (job.group is not None and self.is_full(job.group)):
            return False
        if worker.free_places(job.group) <= 0:
            return False
        return super().may_take(worker, job)

    def dues(self) -> list[float]:
        """The times at which something has to happen by itself."""
        return [*super().dues(), *(job.deadline for job in self.those(JobState.BLOCKED))]

    def staying(self) -> list[PlainWorker]:
        """The workers that have not left and are not to leave."""
        return [worker for worker in self.workers if worker.phase != "gone" and not worker.departing]

    def most_places(self, group: PlainGroup) -> float:
        """How many places a group can have at most: not the one of the job that has opened it."""
        staying = self.staying()
        return sum(worker.places for worker in staying) - (self.openers_worker(group) in staying)

    def openers_worker(self, group: PlainGroup) -> PlainWorker | None:
        """The worker that the opener of a group runs on, or has lent."""
        job = group.opener
        if job is None or job.state is not JobState.RUNNING:
            return None
        return job.has_lent or (job.attempt.runs[0].worker if job.attempt.runs else None)

    # What everything is made of.

    def _queue_up(self, job: PlainJob, *, front: bool = False) -> None:
        if self.missing(job):
            self._move(job, JobState.BLOCKED)
        else:
            super()._queue_up(job, front=front)

    def _start(self, worker: PlainWorker, job: PlainJob) -> None:
        assert worker.free_places(job.group) > 0
        assert job.group is None or not self.is_full(job.group)
        assert not self.missing(job)
        super()._start(worker, job)

    def _set_aside(self, workers: list[PlainWorker], only: PlainGroup | None = None) -> None:
        for worker in self.in_turn(workers):
            while worker.may_start_more(self.now) and worker.places_to_keep() > 0:
                lacking = [group for group in self.lacking() if only in (None, group)]
                if not lacking:
                    return
                worker.kept.append(lacking[0])
                if lacking[0] not in self.lacking():
                    lacking[0].waits = False
                    self.staffed.append(lacking[0])

    def _release(self, group: PlainGroup) -> None:
        for worker in self.kept(group):
            worker.kept.remove(group)

    def _turn_group_away(self, group: PlainGroup) -> None:
        self._release(group)
        group.is_turned_away = True
        self.turned_away.append(group)

    def _review(self) -> None:
        """Nothing is set aside for groups that want more workers than there are; at the end they are turned away."""
        some_are_back = False
        for group in self.waiting_groups():
            was_beyond, group.is_beyond = group.is_beyond, group.reserve > self.most_places(group)
            some_are_back = some_are_back or (was_beyond and not group.is_beyond)
            if group.is_beyond or some_are_back:  # these go before all that came after them
                self._release(group)
            if group.is_beyond and self.draining:
                self._turn_group_away(group)

    def _match(self) -> None:
        self._set_aside(self.idle())
        super()._match()

    def _bring_together(self) -> None:
        self._follow_up()
        super()._bring_together()

    def _go_on(self, worker: PlainWorker) -> None:
        self._follow_up()
        if worker.available:
            self._set_aside([worker])
        super()._go_on(worker)

    def _let_nothing_hang(self) -> None:
        waiting = self.waiting_groups()
        if not waiting and not (self.draining and self.those(JobState.QUEUED)):
            return
        if not self.is_still():
            return
        if self.draining and self.has_paused():
            self._resume_all()
            return
        lost = [job for job in self.those(JobState.QUEUED) if not self.is_eligible(job)]
        if self.draining and lost:
            for job in lost:
                self._die(job, DeadReason.NO_WORKER)
            self._follow_up()  # those who wait for them go on
            self._let_nothing_hang()
            return
        running = len(self.those(JobState.RUNNING))
        # What is set aside for groups that wait may be what they wait for.
        for group in waiting:
            self._release(group)
        super()._match()
        holders = [group for worker in self.workers for group in worker.kept]
        given_back_later = any(not group.waits and group.opener is None for group in holders)
        is_stuck = len(self.those(JobState.RUNNING)) == running and not given_back_later
        served = [group for group in waiting if self._has_whole(group)] if is_stuck else []
        self._set_aside(self.idle())
        if served:
            return
        holders = [group for worker in self.workers for group in worker.kept]
        given_back_later = any(not group.waits and group.opener is None for group in holders)
        if not self.draining or len(self.those(JobState.RUNNING)) > running or given_back_later:
            return
        if self.waiting_groups():
            self._turn_group_away(self.waiting_groups()[0])
            self._settle()
        elif not running:
            self._bury_all()
            self._follow_up()

    def _has_whole(self, group: PlainGroup) -> bool:
        """Whether a group that waits gets all its places of those that are free, or none."""
        self._set_aside(self.idle(), group)
        if group.waits:
            self._release(group)
        return not group.waits

    def _follow_up(self) -> None:
        """See to what has ended, and what has left: once for all, as who comes later waits for who came before."""
        self._reopen_keys()
        for worker in self.workers:
            self._keep_no_more_than_there_is(worker)
        self._review()
        for job in self.those(JobState.DEAD):
            if job not in self.followed_up:
                self.followed_up.append(job)
                if job.group is not None and job.group.must_succeed and not job.is_lease:
                    self._stop(job.group, JobState.DISCARDED)
        for job in sorted([*self.line, *self.those(JobState.BLOCKED)], key=self.came.__getitem__):
            if any(other.state in FINAL for other in self.missing(job)):
                self._discard(job)
            elif not self.missing(job) and job not in self.ready_since:
                self.ready_since[job] = self._next_count()
                if job.state is JobState.BLOCKED:
                    self._queue_again(job, front=False)

    def _keep_no_more_than_there_is(self, worker: PlainWorker) -> None:
        """What runs keeps its place; of what is kept, free places go first, those of the last group before others."""
        places = 0 if worker.departing or worker.phase == "gone" else worker.places
        while worker.kept:
            groups = list(dict.fromkeys(worker.kept))[::-1]
            if places and len(worker.runs) + sum(map(worker.unused, groups)) <= places:
                return
            worker.kept.remove(next((group for group in groups if worker.unused(group)), groups[0]))

    def _discard(self, job: PlainJob) -> None:
        if job in self.line:
            self._leave_line(job)
            self._queue_up(job)
        self._move(job, JobState.DISCARDED)

    def _stop(self, group: PlainGroup, end: JobState) -> None:
        """No job of a group is wanted any more: cut those that run, and let others end so."""
        for job in self.members(group):
            if job.state is JobState.RUNNING and not job.cancelled:
                self._cancel_running(job)
            elif job.state is not JobState.RUNNING and end is JobState.DISCARDED:
                self._discard(job)
            elif job.state not in (None, JobState.RUNNING):
                job.cancelled = True
                self._move(job, end)

    def _let_in(self, job: PlainJob, door: Door) -> Admission:
        self.came[job] = self._next_count()
        if not self.missing(job):
            self.ready_since[job] = self._next_count()
        if any(other.state in FINAL for other in self.missing(job)):
            door = Door.ALWAYS  # it takes up no place
        answer = super()._let_in(job, door)
        self._settle()
        return answer

    # What happens.

    def submit_graph(self, jobs: list[PlainJob], door: Door) -> Admission:
        """A graph wants to enter, all or nothing."""
        self.advance()
        if self.no_worker == "reject" and not all(self.is_eligible(job) for job in jobs):
            return Admission.NO_WORKER
        ready = [job for job in jobs if not job.after and self.now < job.deadline]
        for job in ready:
            if self.may_start() and self.next_pair([job]) is not None:
                door = Door.ALWAYS
        if door is Door.ALWAYS or self.unstarted() < self.max_queue:
            for job in jobs:
                self.submit(job, Door.ALWAYS)
            return Admission.ENTERED
        for job in jobs:
            self.came[job] = self._next_count()
            if not job.after:
                self.ready_since[job] = self._next_count()
            job.key = jobs[0]
            self.line.append(job)
        for job in jobs:
            if job.deadline <= self.now:
                self._leave_line(job)
                self._die(job, DeadReason.TIMED_OUT)
            elif self.no_worker == "bury" and not self.is_eligible(job):
                self._turn_away(job)
        self._settle()
        return Admission.WAITING

    def join(self, worker: PlainWorker, *, ordered: bool = False) -> None:
        """A worker is about to open its resource: those may hope for it who want so many."""
        super().join(worker, ordered=ordered)
        self._review()
        self._set_aside(self.idle())

    def open_group(self, group: PlainGroup) -> None:
        """A group is opened, or its opener begins to wait for its workers."""
        self.advance()
        self.groups.append(group)
        self._settle()

    def set_group_max_running(self, group: PlainGroup, limit: float) -> None:
        """Another bound on the attempts of a group under way."""
        self.advance()
        group.max_running = limit
        group.is_apart |= limit < math.inf
        self._settle()

    def close_group(self, group: PlainGroup) -> None:
        """A group has come to its end."""
        self.advance()
        self.groups.remove(group)
        self._release(group)
        self._settle()

    def cancel_group(self, group: PlainGroup) -> None:
        """No job of a group is wanted any more."""
        self.advance()
        self._stop(group, JobState.CANCELLED)
        self._settle()
