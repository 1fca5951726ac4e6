"""A pool that opens and retires workers, as plainly as the rest of the model.

1. There are never more of these workers than ``max``, those that are to leave included, and some
   are ordered whenever fewer than ``min`` stay.
2. As many are ordered as have places for the jobs that one of these workers may take, and that wait for nothing but a
   worker, and for the places that groups are to have for themselves; but for as many of these as are
   ordered, being opened or being reopened, those aside whose jobs have to end before that. The bounds of keys count
   for the jobs of each group with a bound apart, and for all others together. A job has to have
   waited for ``open_after``, the time aside in which its group, the pool or a unit that it
   uses let nothing start.
3. While the resource of one of them can't be opened, none is ordered; and when none is wanted any more,
   such ones leave, as long as ``min`` stay.
4. It is kept since when there has been one idle worker, two, and so on. When one of these times is
   longer ago than ``idle_timeout``, and more than ``min`` stay, that worker leaves which has been idle for
   longest, of those that are not needed: by a group, by who has lent it, by a job that no other may take; or,
   while it is being reopened, by any that waits. If all are needed, it is looked again that much later.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from tests.core.plain_loans import PlainLendingPool
from tests.core.plain_parts import PlainJob, PlainKey, PlainWorker
from trio_pool import JobState

if TYPE_CHECKING:
    from tests.core.plain_groups import PlainGroup


@attrs.frozen
class PlainElastic:
    """How many workers there are to be."""

    min: int
    max: int
    idle_timeout: float
    tags: frozenset[str]
    open_after: float = 0.0
    places: float = 1


@attrs.define(eq=False)
class PlainElasticPool(PlainLendingPool):
    """The pool, opening and retiring workers if it is elastic."""

    elastic: PlainElastic | None = None
    begun: bool = False
    # How many workers are ordered that have not joined; and how many were since this was last cleared.
    ordered: int = 0
    hired: int = 0
    # Those that are idle, the longest first; and since when there have been so many.
    idlers: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    idle_times: list[float] = attrs.field(factory=list[float])
    # If there were too many, but all of them were needed: when it is to be looked again.
    not_before: float = -math.inf

    # How long each job has waited that a worker could be opened for, ``inf`` once that is long enough; and for those
    # whose time goes on, when it was last added up.
    waited: dict[PlainJob, float] = attrs.field(factory=dict[PlainJob, float])
    counting: dict[PlainJob, float] = attrs.field(factory=dict[PlainJob, float])

    # Looking.

    def crew(self) -> list[PlainWorker]:
        """Those that it has opened itself, and that stay."""
        return [worker for worker in self.staying() if worker.elastic]

    def there(self) -> int:
        """How many there are of them, or will be."""
        return self.ordered + sum(1 for worker in self.workers if worker.elastic and worker.phase != "gone")

    def failing(self) -> list[PlainWorker]:
        """Those of them whose resource could not be opened and is not yet, the first to fail first."""
        found = [worker for worker in self.crew() if worker.failing and worker.phase != "open"]
        return sorted(found, key=lambda worker: worker.failing)

    def could_take(self, job: PlainJob) -> bool:
        """Whether a worker that is opened may take the job."""
        return self.elastic is not None and job.only_worker is None and job.requires <= self.elastic.tags

    def is_eligible(self, job: PlainJob) -> bool:
        """Whether any worker that has not left, or that may be opened, may ever run the job."""
        return self.could_take(job) or super().is_eligible(job)

    def most_places(self, group: PlainGroup) -> float:
        """How many places a group can have at most."""
        most = super().most_places(group)
        more = 0 if self.elastic is None else self.elastic.max - len(self.crew())
        return most if self.elastic is None or not more else most + more * self.elastic.places

    def waiting_for_new(self) -> list[PlainJob]:
        """The jobs that wait and that a worker could be opened for."""
        return [job for job in [*self.queue(), *self.ready_line()] if self.could_take(job)]

    def wanting(self, *, ripe: bool = False) -> int:
        """How many of these their groups and units let start; of those alone that have waited enough if ``ripe``."""
        closed = self.rates.closed(self.now)
        jobs = [job for job in self.waiting_for_new() if not self.is_key_closed(job)]
        jobs = [job for job in jobs if not ripe or self.waited[job] == math.inf]
        jobs = [job for job in jobs if not closed.intersection(job.uses)]
        total = 0
        apart = {job: job.group if job.group is not None and job.group.is_apart else None for job in jobs}
        for group in set(apart.values()):
            those = [job for job in jobs if apart[job] is group]
            running = [job for job in self.those(JobState.RUNNING) if job.group is group]
            room = math.inf if group is None else max(0.0, group.max_running - self.under_way(running))
            number = sum(
                self._within_key(key, sum(job.owner is key for job in those), ripe=ripe)
                for key in {job.owner for job in those}
            )
            total += int(min(number, room))
        return min(total, self.affordable(jobs)) if ripe else total

    def _within_key(self, key: PlainKey | None, number: int, *, ripe: bool) -> float:
        """How many of so many jobs, which its limits let start one by one, a key lets start."""
        if key is None:
            return number
        number = int(max(0, min(self.key_room(key), number)))
        return min(number, max(1, key.rates.startable(self.now))) if ripe and number > 1 else number

    def affordable(self, jobs: list[PlainJob]) -> int:
        """How many of these may start one after the other under the pool's levels; all use the same."""
        for number, job in enumerate(jobs):
            if any(
                level - number * job.uses[unit] < 1 for unit in job.uses for level in self.rates.levels(self.now, unit)
            ):
                return number or 1  # a level just below 1 may count as 1
        return len(jobs)

    def startable(self) -> float:
        """How many attempts the pool's limits let start now."""
        if self.is_held():
            return 0
        room = self.max_running - self.under_way(self.those(JobState.RUNNING))
        return max(0.0, min(room, self.rates.startable(self.now)))

    def on_their_way(self) -> int:
        """How many are ordered or about to open their resources."""
        opening = [worker for worker in self.crew() if worker.phase in ("starting", "reopening")]
        return self.ordered + sum(not (worker.runs or worker.lenders) for worker in opening)

    def missing_workers(self) -> int:
        """How many workers are to be ordered."""
        if self.elastic is None or not self.begun or self.failing():
            return 0
        for_groups = sum(group.reserve - len(self.kept(group)) for group in self.lacking())
        places = for_groups + min(self.wanting(ripe=True), self.startable())
        wanted = max(1, math.ceil(places / self.elastic.places)) - self.on_their_way() if places else 0
        wanted = max(wanted, self.elastic.min - len(self.crew()) - self.ordered)
        return int(max(0, min(wanted, self.elastic.max - self.there())))

    def waits_for_rate(self) -> bool:
        """Whether some job could start, or a worker be opened for it, but for the pool's rate limit."""
        if super().waits_for_rate():
            return True
        if self.elastic is None or self.failing() or not self.has_room() or self.ready_at() <= self.now:
            return False
        return self.there() < self.elastic.max and self.wanting() > self.on_their_way()

    def is_still(self) -> bool:
        """Whether nothing will happen by itself any more."""
        leaving = any(worker.elastic and worker.departing and worker.phase != "gone" for worker in self.workers)
        if leaving and not self.those(JobState.RUNNING):
            return False  # once it has left, another may be opened
        return not self.ordered and self.opens_at() == math.inf and super().is_still()

    def has_hedges_due(self) -> bool:
        """The same; or there are too many workers only now that one has joined."""
        return super().has_hedges_due() or self.too_many_at() <= self.now

    def dues(self) -> list[float]:
        """The times at which something has to happen by itself."""
        return [*super().dues(), self.too_many_at(), self.opens_at()]

    def opens_at(self) -> float:
        """When the next job will have waited for long enough."""
        if self.elastic is None or not self.begun or self.failing() or self.there() >= self.elastic.max:
            return math.inf
        lefts = {job: self.elastic.open_after - self.waited[job] for job in self.counting}
        return min((self.counting[job] + left for job, left in lefts.items() if left > -math.inf), default=math.inf)

    def _add_up(self) -> None:
        """See how long jobs have waited."""
        assert self.elastic is not None
        jobs, is_open = self.waiting_for_new(), self.startable() > 0
        for job, since in self.counting.items():
            self.waited[job] += self.now - since
        self.counting = {}
        before = self.waited
        self.waited = {job: before.get(job, 0.0 if self.elastic.open_after else math.inf) for job in jobs}
        closed = self.rates.closed(self.now)
        for job in jobs:
            is_full = (job.group is not None and self.is_full(job.group)) or self.is_key_closed(job)
            if is_open and not is_full and closed.isdisjoint(job.uses):
                self.counting[job] = self.now
                if self.waited[job] >= self.elastic.open_after:
                    self.waited[job] = math.inf

    def too_many_at(self) -> float:
        """When there will have been too many workers for too long."""
        if self.elastic is None or not self.idle_times or len(self.crew()) <= self.elastic.min:
            return math.inf
        return max(self.idle_times[0] + self.elastic.idle_timeout, self.not_before)

    # What everything is made of.

    def _see_to_staff(self) -> None:
        if self.elastic is not None and self.begun:
            self._add_up()
        missing = self.missing_workers()
        self.ordered += missing
        self.hired += missing
        if self.elastic is None or self.wanting() or self.lacking():
            return
        for worker in self.failing():
            if not worker.kept and len(self.crew()) > self.elastic.min:
                self._dismiss(worker)
                self._update(worker)

    def _reopen(self, worker: PlainWorker, error: object) -> None:
        if worker.phase == "open" or worker not in self.crew():
            worker.failing = 0
        elif not worker.failing:
            worker.failing = self._next_count()
        super()._reopen(worker, error)

    def _dismiss(self, worker: PlainWorker) -> None:
        super()._dismiss(worker)
        if worker in self.idlers:
            self.idlers.remove(worker)
            self.idle_times.pop(0)  # it is its time that is up, not that of the others

    def _update(self, worker: PlainWorker) -> None:
        super()._update(worker)
        self._count_idlers(worker)

    def _count_idlers(self, worker: PlainWorker) -> None:
        if not worker.elastic or worker.departing:
            return
        # One that is reopened meanwhile stays idle.
        is_idle = (worker.idle_since is not None and not worker.runs) or (
            worker in self.idlers and worker.phase == "reopening"
        )
        if is_idle and worker not in self.idlers:
            self.idlers.append(worker)
            self.idle_times.append(self.now)
        elif not is_idle and worker in self.idlers:
            self.idlers.remove(worker)
            self.idle_times.pop()

    def _retire(self) -> None:
        while self.elastic is not None and self.too_many_at() <= self.now:
            found = [worker for worker in self.idlers if not self._is_needed(worker)]
            if not found:
                self.not_before = self.now + self.elastic.idle_timeout
                return
            self._dismiss(found[0])
            self._update(found[0])

    def _is_needed(self, worker: PlainWorker) -> bool:
        if worker.phase == "reopening" and (self.wanting() or self.lacking()):
            return True
        return self._is_bound(worker)

    def _is_bound(self, worker: PlainWorker) -> bool:
        waiting = [*self.queue(), *self.ready_line()]
        return bool(worker.kept or worker.lenders) or any(job.only_worker is worker for job in waiting)

    def _has_surplus(self) -> bool:
        return self.elastic is not None and len(self.crew()) > self.elastic.max

    def _match(self) -> None:
        while self._has_surplus() and (found := [worker for worker in self.idlers if not self._is_bound(worker)]):
            self._dismiss(found[0])
            self._update(found[0])
        super()._match()

    def _wear(self, worker: PlainWorker) -> None:
        is_done = worker in self.crew() and worker.available and not worker.runs
        if is_done and self._has_surplus() and not self._is_bound(worker):
            self._dismiss(worker)
        else:
            super()._wear(worker)

    # What happens.

    def change(self, elastic: PlainElastic) -> None:
        """There are to be more workers, or fewer, or they are to be opened or retired at other times."""
        self.advance()
        self.elastic = elastic
        self.not_before = -math.inf
        self._settle()
        self.advance()

    def begin(self, elastic: PlainElastic) -> None:
        """The workers are there with which it begins."""
        self.elastic = elastic
        self.begun = True
        self.advance()
        self._settle()

    def join(self, worker: PlainWorker, *, ordered: bool = False) -> None:
        """A worker is about to open its resource; perhaps as it was ordered."""
        self.ordered -= ordered
        super().join(worker)

    def not_hired(self) -> None:
        """A worker that was ordered will not come."""
        self.ordered -= 1
