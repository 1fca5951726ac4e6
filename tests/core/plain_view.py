"""What the pool of the plain model is made of, and what can be seen in it.

Nothing of the library's is used in the model but the names of states, reasons and doors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs

from tests.core.plain_limits import PlainRates
from tests.core.plain_parts import FINAL, PlainJob, PlainWorker
from trio_pool import JobState

if TYPE_CHECKING:
    from tests.core.plain_limits import PlainBudget
    from tests.core.plain_parts import PlainKey
    from trio_pool._policies.rate_meter import Amount


@attrs.define(eq=False)
class PlainView:
    """The pool as it is: all that is kept of it, and what that comes to."""

    max_queue: float
    max_running: float
    no_worker: Literal["reject", "wait", "bury"]
    lifo: bool
    rates: PlainRates = attrs.field(factory=PlainRates)
    used: dict[str, Amount] = attrs.field(factory=dict[str, "Amount"])
    budget: PlainBudget | None = None
    now: float = 0.0
    draining: bool = False
    # Whether all has been cancelled, so that no resource is reopened.
    is_cancelled: bool = False
    # Whether nothing starts in the whole pool, and until when it rests.
    is_paused: bool = False
    rests_until: float | None = None
    workers: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    jobs: list[PlainJob] = attrs.field(factory=list[PlainJob])
    line: list[PlainJob] = attrs.field(factory=list[PlainJob])
    attempts: int = 0
    failures: int = 0
    retries: int = 0
    # What has happened since this was last cleared.
    started: list[tuple[PlainWorker, PlainJob]] = attrs.field(factory=list[tuple[PlainWorker, PlainJob]])
    let_go: list[PlainJob] = attrs.field(factory=list[PlainJob])
    refused: list[PlainJob] = attrs.field(factory=list[PlainJob])
    interrupted: list[tuple[PlainWorker, PlainJob]] = attrs.field(factory=list[tuple[PlainWorker, PlainJob]])
    recalled: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    told: list[tuple[str, PlainWorker, object]] = attrs.field(factory=list[tuple[str, PlainWorker, object]])
    ended: list[tuple[PlainJob, list[PlainWorker]]] = attrs.field(factory=list[tuple[PlainJob, list[PlainWorker]]])
    # The virtual time of turns between keys, and the latest finish tag; and the keys at their bounds of whose jobs
    # some have ended.
    virtual_time: float = 0.0
    latest: float = 0.0
    reopening: list[PlainKey] = attrs.field(factory=list["PlainKey"])
    _count: int = 0

    def forget_news(self) -> None:
        """Clear what has happened."""
        for news in (self.started, self.let_go, self.refused, self.interrupted, self.recalled, self.told, self.ended):
            news.clear()

    # Looking.

    def those(self, state: JobState) -> list[PlainJob]:
        """The jobs in a state."""
        return [job for job in self.jobs if job.state is state]

    def live(self) -> list[PlainJob]:
        """The jobs that have not ended."""
        return [job for job in self.jobs if job.state not in FINAL]

    def unstarted(self) -> int:
        """How many of them never started."""
        return sum(1 for job in self.live() if not job.ever_started)

    def queue(self) -> list[PlainJob]:
        """The jobs that wait for a worker, in their order."""
        return sorted(
            self.those(JobState.QUEUED),
            key=lambda job: (job.priority, job.owner.turn if job.owner else 0.0, job.place_in_queue),
        )

    def closed_of(self, key: PlainKey) -> set[str | None]:
        """The units of which a key's limits let nothing start now, and None if they or its rest let nothing start."""
        found: set[str | None] = {*key.rates.closed(self.now)}
        is_held = key.rests_until is not None or key.rates.ready_at(self.now) > self.now
        return found | {None} if is_held else found

    def owners(self) -> list[PlainKey]:
        """The keys that have ever had jobs."""
        return list(dict.fromkeys(job.owner for job in self.jobs if job.owner is not None))

    def is_key_closed(self, job: PlainJob) -> bool:
        """Whether the key of a job lets it not start now."""
        if job.owner is None:
            return False
        return self.key_room(job.owner) <= 0 or not self.closed_of(job.owner).isdisjoint({None, *job.uses})

    def key_room(self, key: PlainKey | None) -> float:
        """How many more attempts of a key's jobs may run."""
        if key is None:
            return math.inf
        return key.max_running - self.under_way([job for job in self.those(JobState.RUNNING) if job.owner is key])

    def submitters(self) -> list[PlainJob]:
        """Those who wait for a place, each by the job that stands for what it waits with."""
        return list(dict.fromkeys(job.key for job in self.line))

    def ready_line(self) -> list[PlainJob]:
        """The jobs that wait for a place, but could start without one, in their order."""
        return self.line

    def idle(self) -> list[PlainWorker]:
        """The free workers, first the one that has gone longest without a start or an end."""
        found = [(worker.idle_since, worker) for worker in self.workers if worker.idle_since is not None]
        return [worker for _, worker in sorted(found, key=lambda pair: pair[0])]

    def idle_for(self, job: PlainJob) -> list[PlainWorker]:
        """The free workers in the order in which they come into question for a job: by their shares that are taken."""
        del job
        return self.in_turn(self.idle())

    def in_turn(self, workers: list[PlainWorker]) -> list[PlainWorker]:
        """The workers by their shares that are taken, of equal ones as before."""
        return sorted(workers, key=lambda worker: worker.share)

    def is_held(self) -> bool:
        """Whether the pool as a whole is paused or rests."""
        return self.is_paused or self.rests_until is not None

    def has_room(self) -> bool:
        """Whether one more attempt, or an attempt on one more worker, is within the bound."""
        return not self.is_held() and self.under_way(self.those(JobState.RUNNING)) < self.max_running

    def under_way(self, jobs: list[PlainJob]) -> int:
        """How many attempts of running jobs there are, those on further workers included."""
        # Until it is decided what becomes of a job whose attempt has ended, that counts too.
        return sum(max(1, len(job.attempt.runs)) for job in jobs)

    def ready_at(self) -> float:
        """When the pool's rate limit lets an attempt start."""
        return self.rates.ready_at(self.now)

    def may_start(self) -> bool:
        """Whether one more attempt may start now, as far as the pool is concerned."""
        return self.has_room() and self.ready_at() <= self.now

    def waits_for_rate(self) -> bool:
        """Whether some job could start but for the pool's rate limit."""
        if not self.has_room() or self.ready_at() <= self.now:
            return False
        jobs = [*self.queue(), *self.ready_line()]
        return self.next_pair(jobs) is not None or self.next_further() is not None

    def is_eligible(self, job: PlainJob) -> bool:
        """Whether any worker that has not left may ever run the job."""
        return any(
            worker.phase != "gone" and job.requires <= worker.tags and job.pinned in (None, worker)
            for worker in self.workers
        )

    def can_serve(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the worker could take such jobs, if it were free."""
        return worker.available and job.requires <= worker.tags

    def may_take(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the worker may take the job now."""
        if not self.can_serve(worker, job) or self.closed_for(worker).intersection(job.uses):
            return False
        if self.is_key_closed(job):
            return False
        return job.only_worker in (None, worker) and not self.avoids(worker, job)

    def closed_for(self, worker: PlainWorker) -> set[str]:
        """The units of which nothing may start on the worker now."""
        return self.rates.closed(self.now) | worker.rates.closed(self.now)

    def waits_for_units(self) -> bool:
        """Whether some job may wait for a unit."""
        closed = self.rates.closed(self.now).union(
            *(worker.rates.closed(self.now) for worker in self.workers if worker.phase != "gone")
        )
        waiting = [*self.queue(), *self.ready_line()]
        return any(closed.intersection(job.uses) or (job.owner and self.closed_of(job.owner)) for job in waiting)

    def _units_due(self) -> list[float]:
        """When units are open again for which jobs wait."""
        used = {unit for job in [*self.queue(), *self.ready_line()] for unit in job.uses}
        holders = [self.rates, *(worker.rates for worker in self.workers if worker.phase != "gone")]
        times = [rates.ready_at(self.now, unit) for rates in holders for unit in used]
        owners = {job.owner for job in [*self.queue(), *self.ready_line()] if job.owner is not None}
        times += [owner.rates.ready_at(self.now, unit) for owner in owners for unit in (None, *used)]
        return [time for time in times if time > self.now]

    def avoids(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the job goes rather to one that it has not failed on, in a new round to any but the last."""
        if job.placement != "other" or not job.failed_on or job.only_worker is not None:
            return False
        counted = [other for other in self.workers if self.can_serve(other, job) and not other.lenders]
        if any(other not in job.failed_on for other in counted):
            return worker in job.failed_on
        return worker is job.last and any(other is not worker for other in counted)

    def next_pair(self, jobs: list[PlainJob]) -> tuple[PlainWorker, PlainJob] | None:
        """The first of the jobs that a free worker may take, with the first of these."""
        for job in jobs:
            for worker in self.idle_for(job):
                if self.may_take(worker, job):
                    return worker, job
        return None

    def waiting(self) -> list[PlainJob]:
        """The running jobs that wait for one more worker, in their order."""
        found = [(job.attempt.waits_since, job) for job in self.jobs if job.attempt.waits_since is not None]
        return [job for _, job in sorted(found, key=lambda pair: pair[0])]

    def next_further(self) -> tuple[PlainWorker, PlainJob] | None:
        """The first job that a free worker may run too, with the first of these."""
        for job in self.waiting():
            for worker in self.idle_for(job):
                if worker not in job.attempt.workers and self.may_take(worker, job):
                    return worker, job
        return None

    def has_hedges_due(self) -> bool:
        """Whether an attempt has run for long enough to be started on one more worker."""
        return any(due is not None and due <= self.now for due in self._hedges())

    def _hedges(self) -> list[float | None]:
        return [job.attempt.due for job in self.those(JobState.RUNNING)]

    def dues(self) -> list[float]:
        """The times at which something has to happen by itself."""
        waiting = [*self.line, *self.those(JobState.QUEUED), *self.those(JobState.DELAYED)]
        ends = [job.deadline for job in waiting]
        delays = [job.delayed_until for job in self.those(JobState.DELAYED)]
        found = [*ends, *delays, *(due for due in self._hedges() if due is not None)]
        found += [job.attempt.deadline for job in self.waiting()]
        for worker in self.workers:
            held = (worker.rest_until, worker.quarantined_until)
            found.extend(until for until in held if until is not None)
            if worker.available and worker.may_start_more(self.now) and worker.ready_at(self.now) > self.now:
                found.append(worker.ready_at(self.now))
            if worker.phase == "open" and not (worker.runs or worker.departing or worker.lenders):
                found.append(worker.expires_at)
        if self.waits_for_rate():
            found.append(self.ready_at())
        for until in (self.rests_until, *(owner.rests_until for owner in self.owners())):
            if until is not None:
                found.append(until)
        return found + self._units_due()
