"""Running jobs that wait for others, and waits that can never end, as plainly as the rest of the model.

What will come about is found by trying: at first nothing is taken to; then, again and again, whatever is kept by
nothing but what will. What is left over then is forever.

1. A wait ends when all that it is for has ended; or when its job has been cancelled or its attempt cut short,
   unless it is behind a shield; or when whoever waits has been told.
2. A running job ends unless one of its waits goes on. One that has lent its place has to have one back first, so
   a job that is on that worker has to end. One that does not wait ends.
3. A job that waits to start, ends if those end that it is after, if there is room beside the waiting jobs
   that hold theirs, in the pool and in its group, and if a place of a worker will be free that takes it: not held by a
   waiting job, not kept by a group whose block waits, nor of a worker that is broken or worn, and can't be reopened.
   One may be opened, or there may be none that could: then it ends, or one comes.
4. Of those waits that are forever on their own account, the last to begin is told, but first those that free their
   jobs. Waits for the ends of cancelled jobs can't be told; those for a lent worker only if their job is cancelled, and
   after the others: their job goes on without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from tests.core.plain_elastic import PlainElasticPool
from tests.core.plain_model import PlainPool
from tests.core.plain_parts import FINAL, Named, PlainJob, PlainVerdict, PlainWorker
from trio_pool import JobState

if TYPE_CHECKING:
    from tests.core.plain_groups import PlainGroup

Thing: TypeAlias = "PlainJob | PlainWait"


@attrs.define(eq=False, repr=False)
class PlainWait(Named):
    """A wait of one task of a running job: for jobs, for the workers of a group, or for the worker that it has lent."""

    waiter: PlainJob
    task: int
    jobs: list[PlainJob] = attrs.field(factory=list[PlainJob])
    # It waits for whatever this group has under way, or for the workers that it wants.
    members_of: PlainGroup | None = None
    group: PlainGroup | None = None
    is_loan: bool = False
    for_ends: bool = False
    shielded: bool = False
    number: int = 0
    # If it would be forever: the waiting jobs that keep it, and whether it would not had they lent their workers.
    told: bool = False
    stuck: list[PlainJob] = attrs.field(factory=list[PlainJob])
    lending_helps: bool = False

    @property
    def can_be_told(self) -> bool:
        """Whether its job can go on before it is over."""
        return self.waiter.cancelled if self.is_loan else not self.for_ends

    @property
    def goes_on(self) -> bool:
        """Whether neither the end of its attempt nor its being told ends it."""
        lasts = self.shielded or self.for_ends or self.is_loan
        return not self.told and (lasts or not self.waiter.is_cut)


@attrs.define(eq=False)
class PlainWaitingPool(PlainElasticPool):
    """The pool, with running jobs that wait."""

    waits: list[PlainWait] = attrs.field(factory=list[PlainWait])
    # Those that have been told since this was last cleared, and how many have ever begun.
    in_vain: list[PlainWait] = attrs.field(factory=list[PlainWait])
    begun_waits: int = 0
    # Jobs that are taken to have lent their workers, to find out what that would change.
    as_if_lent: list[PlainJob] = attrs.field(factory=list[PlainJob])

    # Looking.

    def waits_of(self, job: PlainJob) -> list[PlainWait]:
        """The waits of a job."""
        return [wait for wait in self.waits if wait.waiter is job]

    def awaited(self, wait: PlainWait) -> list[PlainJob]:
        """The jobs that it is for."""
        if wait.members_of is not None:
            return [job for job in self.live() if job.group is wait.members_of]
        return wait.jobs

    def has_come(self, wait: PlainWait) -> bool:
        """Whether what it is for has come."""
        if wait.is_loan:
            return False
        if wait.group is not None:
            return wait.group not in self.waiting_groups()
        return all(job.state in FINAL for job in self.awaited(wait))

    def stands(self, job: PlainJob) -> bool:
        """Whether a running job waits for others."""
        return any(wait.goes_on and not self.has_come(wait) for wait in self.waits_of(job))

    # What will come about.

    def to_come(self) -> set[Thing]:
        """All that will come about."""
        coming: set[Thing] = set()
        things: list[Thing] = [*self.waits, *self.live(), *self.line]
        while found := [thing for thing in things if thing not in coming and not self.kept_by(thing, coming)]:
            coming.update(found)
        return coming

    def kept_by(self, thing: Thing, coming: set[Thing]) -> list[Thing]:
        """What keeps something from coming about, as far as it will not come about itself."""
        if isinstance(thing, PlainWait):
            return self._wait_kept_by(thing, coming)
        if thing.state is JobState.RUNNING:
            kept: list[Thing] = [wait for wait in self.waits_of(thing) if wait not in coming]
            has_asked = any(wait.is_loan for wait in self.waits_of(thing))
            if thing.has_lent is not None and not thing.forfeited and not has_asked:
                kept += self._loan_kept_by(thing, coming)
            return kept
        return self._start_kept_by(thing, coming)

    def _wait_kept_by(self, wait: PlainWait, coming: set[Thing]) -> list[Thing]:
        if not wait.goes_on or self.has_come(wait):
            return []
        if wait.is_loan:
            return self._loan_kept_by(wait.waiter, coming)
        if wait.group is not None:
            return self._staff_kept_by(wait.group, coming)
        return [job for job in self.awaited(wait) if job.state not in FINAL and job not in coming]

    def _loan_kept_by(self, job: PlainJob, coming: set[Thing]) -> list[Thing]:
        assert job.has_lent is not None
        return self._held_by(job.has_lent, coming, is_broken=False, group=job.group)

    def _start_kept_by(self, job: PlainJob, coming: set[Thing]) -> list[Thing]:
        kept: list[Thing] = [each for each in self.missing(job) if each.state not in FINAL and each not in coming]
        holders = [each for each in self.those(JobState.RUNNING) if self.waits_of(each) and each.has_lent is None]
        stuck = [each for each in holders if each not in coming and each not in self.as_if_lent]
        if len(stuck) >= self.max_running:
            kept += stuck
        of_key = [each for each in stuck if each.owner is job.owner]
        if job.owner is not None and len(of_key) >= job.owner.max_running:
            kept += of_key
        members = [each for each in stuck if each.group is job.group]
        if job.group is not None and len(members) >= job.group.max_running:
            kept += members
        return kept + self._worker_kept_by(job, coming)

    def _worker_kept_by(self, job: PlainJob, coming: set[Thing]) -> list[Thing]:
        fitting = [
            worker
            for worker in self.workers
            if worker.phase != "gone" and job.requires <= worker.tags and job.only_worker in (None, worker)
        ]
        most = 0 if self.elastic is None else self.elastic.max
        if not fitting or (self.could_take(job) and (self.ordered or self.there() < most)):
            return []
        found = [
            self._held_by(worker, coming, is_broken=self._is_broken(worker), group=job.group)
            for worker in fitting
            if not worker.departing and not self.avoids(worker, job)
        ]
        if self.could_take(job) and len(self.crew()) + self.ordered < most:
            leaving = [w for w in self.workers if w.elastic and w.departing and w.phase != "gone"]
            found += [self._held_by(worker, coming, is_broken=True, group=None) for worker in leaving]
        if not found:  # all are to leave, and have to
            return [thing for worker in fitting for thing in self._held_by(worker, coming, is_broken=True, group=None)]
        return [] if [] in found else [thing for things in found for thing in things]

    def _is_broken(self, worker: PlainWorker) -> bool:
        """Whether all that it runs has to end before it starts something."""
        is_lent = any(run.job in self.as_if_lent for run in worker.runs)
        return worker.phase == "reopening" or (worker.is_worn(self.now) and not is_lent)

    def _held_by(
        self, worker: PlainWorker, coming: set[Thing], *, is_broken: bool, group: PlainGroup | None
    ) -> list[Thing]:
        """What keeps a place of a worker from a group, or from jobs of none; with ``is_broken`` its lenders do."""
        running = [run.job for run in worker.runs if is_broken or run.job not in self.as_if_lent]
        stuck = [job for job in running if job not in coming]
        lenders = [job for job in worker.lenders if job not in coming] if is_broken else []
        places, blocks = self._places_beside(worker, stuck, coming, group)
        if places <= 0:
            return [*stuck, *lenders, *blocks]
        return [*stuck, *lenders] if is_broken else []

    def _places_beside(
        self, worker: PlainWorker, stuck: list[PlainJob], coming: set[Thing], group: PlainGroup | None
    ) -> tuple[float, list[Thing]]:
        """How many places there will be for a group beside what is stuck, and what keeps those of other groups."""
        places, others, blocks = worker.places, list(stuck), list[Thing]()
        for keeper in dict.fromkeys(worker.kept):
            if block := self._block_of(keeper, coming) if keeper is not group else []:
                places -= worker.kept.count(keeper)
                for job in [job for job in stuck if job.group is keeper][: worker.kept.count(keeper)]:
                    others.remove(job)
                blocks += block
        return places - len(others), blocks

    def _block_of(self, group: PlainGroup, coming: set[Thing]) -> list[Thing]:
        """What keeps a group's block from its end, if it has all of its places: the waits of its opener."""
        if group.waits or group.opener is None:
            return []
        return [wait for wait in self.waits_of(group.opener) if wait.task == group.task and wait not in coming]

    def _staff_kept_by(self, group: PlainGroup, coming: set[Thing]) -> list[Thing]:
        more = 0 if self.elastic is None else self.elastic.max - len(self.crew())
        spare = more * self.elastic.places if self.elastic is not None and more else 0.0
        lacks = group.reserve - len(self.kept(group)) - spare
        found: list[Thing] = []
        most = free = 0.0
        for worker in self.staying():
            own = worker.kept.count(group)
            users = [*(run.job for run in worker.runs), *worker.lenders]
            places = worker.places - own - (group.opener in users)
            if places <= 0:
                continue
            most += places
            # The opener goes on only when the group has its places.
            stuck = [job for job in users if job is group.opener or job not in coming]
            in_own = [job for job in stuck if job.group is group][:own]
            beside, blocks = self._places_beside(worker, [job for job in stuck if job not in in_own], coming, group)
            is_broken = bool(stuck) and self._is_broken(worker)
            found += stuck if is_broken else ()
            if beside - own < min(places, group.reserve - len(self.kept(group))):
                found += [*(job for job in stuck if job not in (group.opener, *in_own)), *blocks]
            free += 0 if is_broken else max(0, beside - own)
        if lacks > most + 1 or free >= lacks:
            return []
        # The opener itself may have the place that is missing.
        return [group.opener] if lacks > most and group.opener is not None else found

    # Who is told.

    def look(self) -> None:
        """Tell those that wait forever on each other's account, one after the other as far as need be."""
        while True:
            coming = self.to_come()
            lost = [wait for wait in self.waits if wait not in coming and wait.can_be_told]
            lost.sort(key=lambda wait: (not self._frees_its_job(wait, coming), wait.is_loan, -wait.number))
            told = next((wait for wait in lost if self.keeps_itself(wait, coming)), None)
            if told is None:
                return
            self._explain(told, coming)
            told.told = True
            self.in_vain.append(told)

    def _explain(self, wait: PlainWait, coming: set[Thing]) -> None:
        """Find out who keeps it, and whether lending would help."""
        waiters = [each.waiter for each in (wait, *self._reached(wait, coming)) if isinstance(each, PlainWait)]
        wait.stuck = [job for job in self.jobs if job in waiters]
        self.as_if_lent = wait.stuck
        wait.lending_helps = wait in self.to_come()
        self.as_if_lent = []

    def keeps_itself(self, wait: PlainWait, coming: set[Thing]) -> bool:
        """Whether a wait that will not come about keeps something that keeps it."""
        return wait in self._reached(wait, coming)

    def _reached(self, start: Thing, coming: set[Thing]) -> list[Thing]:
        """What keeps something, and what keeps that, and so on."""
        reached: list[Thing] = []
        found = self.kept_by(start, coming)
        while found:
            thing = found.pop()
            if thing not in reached:
                reached.append(thing)
                found += self.kept_by(thing, coming)
        return reached

    def _frees_its_job(self, wait: PlainWait, coming: set[Thing]) -> bool:
        others = [each for each in self.waits_of(wait.waiter) if each not in coming]
        return all(each.can_be_told and (not each.is_loan or wait.is_loan) for each in others)

    # What everything is made of.

    def _wait_for_worker(self, job: PlainJob, task: int) -> None:
        self._add(PlainWait(job, task, is_loan=True))

    def _give_back(self, worker: PlainWorker, job: PlainJob) -> None:
        self.waits = [wait for wait in self.waits if not (wait.is_loan and wait.waiter is job)]
        super()._give_back(worker, job)

    # What happens.

    def advance(self) -> None:
        """Deal with what has come due."""
        super().advance()
        self.look()

    def begin_wait(self, wait: PlainWait) -> bool:
        """A job begins to wait, unless that would be forever on its own account; returns whether it does."""
        self._add(wait)
        coming = self.to_come()
        if wait in coming or wait.for_ends or not self.keeps_itself(wait, coming):
            self._settle()
            return True
        self._explain(wait, coming)
        self.waits.remove(wait)
        return False

    def _add(self, wait: PlainWait) -> None:
        self.begun_waits += 1
        wait.number = self.begun_waits
        self.waits.append(wait)

    def end_wait(self, wait: PlainWait) -> None:
        """A wait is over, or given up."""
        self.waits.remove(wait)

    def outlasted(self, job: PlainJob) -> None:
        """What a cancelled job waits for still, it goes on waiting for."""
        self.advance()
        for wait in self.waits_of(job):
            wait.shielded = True

    def forfeit(self, wait: PlainWait) -> None:
        """A job that wants its worker back goes on without it."""
        job = wait.waiter
        assert job.has_lent is not None
        assert job.cancelled
        job.has_lent.claims.remove(job)
        self.waits.remove(wait)
        job.forfeited = True

    def end_apart(self, job: PlainJob, outcome: PlainVerdict | None, *, succeeds: bool) -> None:
        """The attempt of a job ends that goes on without its worker; without anything to say if it is cut short."""
        self.advance()
        worker = job.has_lent
        assert worker is not None
        worker.lenders.remove(job)
        job.loan, job.forfeited = None, False
        PlainPool._wear(self, worker)
        self._update(worker)
        if succeeds or outcome is not None:
            job.attempt.outcomes.append("value" if outcome is None else outcome)
            worker.ended += 1
            worker.succeeded += succeeds
        self._conclude(job)
        self._settle()
