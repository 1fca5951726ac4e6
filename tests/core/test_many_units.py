"""Jobs that use many different units find every worker that may take them, in their order."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, begun, make_core, make_job
from tests.core.test_units_cost import add_worker
from trio_pool import JobCancelledError, JobState, RateLimit
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._core.terms import limited_terms, terms_of

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import Run, WorkerRecord
    from trio_pool._policies.rate_meters import AnyLimit

UNITS = [f"unit {number}" for number in range(14)]
RETRY = Verdict(Retry(0.0, "other", False, True))


class Life:
    """Random events of a pool whose limits have many units, after each of which all is checked."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.now = 0.0
        of_pool = [self.limit(unit) for unit in UNITS if rng.random() < 0.3]
        self.shared = [self.limit(unit).shared() for unit in rng.sample(UNITS, 3)]
        self.shared += [RateLimit(2, per=3).shared()] if rng.random() < 0.3 else []
        self.core: Core = make_core(
            rate_limit=tuple(of_pool) or None,
            max_running=rng.choice([2, 1000, 1000]),
            pick=rng.choice(["longest_idle", "last_used", "random"]),
            no_worker="wait",
        )
        self.core.scheduler.metering.on_wake = lambda: None
        self.group = self.core.open_group(max_running=2)
        self.jobs: list[Job[Any]] = []
        for _ in range(rng.randint(1, 4)):
            self.join()
        for _ in range(rng.choice([0, 40])):
            self.submit()

    def limit(self, unit: str) -> RateLimit:
        return RateLimit(1, per=self.rng.choice([2, 5, 20]), burst=self.rng.choice([1, 1, 3]), unit=unit)

    def limits(self) -> tuple[AnyLimit, ...]:
        share = self.rng.choice([0.0, 0.5, 1.0])
        own: list[AnyLimit] = [self.limit(unit) for unit in UNITS if self.rng.random() < share]
        return (*own, *(limit for limit in self.shared if self.rng.random() < 0.4))

    def workers(self) -> list[WorkerRecord]:
        return list(self.core.roster.by_id.values())

    def runs(self) -> list[Run]:
        return [run for worker in self.workers() for run in worker._runs]

    def join(self) -> None:
        tags = self.rng.sample(["x", "y"], self.rng.randint(0, 2))
        add_worker(self.core, self.limits() or None, self.rng.choice([1, 1, 3]), *tags)

    def submit(self) -> None:
        rng = self.rng
        options: dict[str, Any] = {"uses": dict.fromkeys(rng.sample(UNITS, rng.choice([0, 1, 1, 1, 2])), 1)}
        options["priority"] = rng.randint(0, 1)
        if rng.random() < 0.2:
            options["requires"] = [rng.choice(["x", "y"])]
        if rng.random() < 0.2 and self.workers():
            options["worker"] = rng.choice(self.workers())
            options["requires"] = ()
        if rng.random() < 0.3:
            options["group"] = self.group
        job = make_job(now=self.now, **options)
        self.jobs.append(job)
        self.core.scheduler.submit(job, Door.ALWAYS, self.now)

    def end(self) -> None:
        if not (runs := self.runs()):
            return
        run, scheduler = self.rng.choice(runs), self.core.scheduler
        begun(run, self.now)
        if self.rng.random() < 0.2:
            scheduler.failed(run, ValueError(), RETRY, self.now)
        else:
            scheduler.succeeded(run, None, self.now)

    def cancel(self) -> None:
        if not (jobs := [job for job in self.jobs if not job.state.is_final]):
            return
        job = self.rng.choice(jobs)
        run = job._run
        self.core.scheduler.cancel(job, self.now)
        if run is not None:
            self.core.scheduler.cut_short(run, JobCancelledError(job), self.now)

    def change(self) -> None:
        limits = self.limits() or None
        self.core.scheduler.set_rate_limit(limits, self.now, self.rng.choice(self.workers()))

    def pass_time(self) -> None:
        self.now += self.rng.choice([0.5, 1.0, 3.0])
        while self.core.scheduler.state.deadlines.soonest <= self.now:
            self.core.scheduler.advance(self.now)

    def step(self) -> None:
        acts = [self.submit] * 6 + [self.end] * 6 + [self.pass_time] * 3 + [self.cancel, self.change]
        if len(self.workers()) <= 4:
            acts.append(self.join)
        self.core.scheduler.advance(self.now)
        self.rng.choice(acts)()
        self.core.commands.clear()
        self.check()

    def check(self) -> None:
        """No idle worker stands beside a job that it may take and all limits allow."""
        state, roster = self.core.scheduler.state, self.core.roster
        if state.limits.room <= 0:
            return
        for job in state.queue:
            terms = limited_terms(terms_of(job), roster.limited_units)
            assert job._state is JobState.QUEUED
            if not roster.is_closed(terms):
                able = [worker for worker in roster.idle() if roster.admits(terms, worker)]
                assert not able, (self.now, job, able)


@pytest.mark.parametrize("seed", range(60))
def test_no_worker_is_idle_beside_a_job_that_it_may_take(seed: int) -> None:
    life = Life(seed)
    for _ in range(300):
        life.step()
    for _ in range(3000):
        life.pass_time()
        life.end()
        life.check()
        if not life.runs() and not len(life.core.scheduler.state.queue):
            break
    waiting = [job for job in life.core.scheduler.state.queue if not job._options.requires]
    assert not [job for job in waiting if terms_of(job).pinned is None]
