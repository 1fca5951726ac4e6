"""Limits cost no more with the number of workers, or of units, that have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, begun, calls_of, job_on, make_core, make_job, run_of
from trio_pool import JobState, RateLimit
from trio_pool._core.admission import Door
from trio_pool._policies.worker_limits import WorkerLimits

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord
    from trio_pool._policies.rate_meters import RateLimits


def submit(core: Core, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    core.scheduler.submit(job, Door.ALWAYS, now)
    return job


def life_of_a_job(core: Core, unit: str) -> int:
    """What it costs to submit a job that uses a unit, and to end the one that runs."""
    worker = next(iter(core.roster.by_id.values()))
    return calls_of(lambda: submit(core, uses={unit: 1})) + calls_of(lambda: core.succeeded(worker, None, 0.0))


@pytest.mark.parametrize("busy_workers", [0, 3])
def test_units_without_a_limit_cost_nothing_however_many_there_are(busy_workers: int) -> None:
    def cost(number: int) -> int:
        core = make_core(rate_limit=RateLimit(1, unit="another"), max_running=1 + busy_workers)
        for _ in range(1 + busy_workers):
            core.add_worker()
        for index in range(number):
            submit(core, uses={str(index): 1})
        life_of_a_job(core, "0")
        return life_of_a_job(core, "1")

    assert cost(900) <= 1.2 * cost(10) + 2


@pytest.mark.parametrize("of_pool", [True, False])
def test_only_units_with_a_limit_keep_jobs_apart(of_pool: bool) -> None:
    core = make_core()
    worker = core.add_worker(limits=limits_of(core, None))
    submit(core)
    jobs = [submit(core, uses={str(index): 1, "tokens": 1}) for index in range(20)]
    assert len(core.scheduler.state.queue.lanes()) == 1
    core.scheduler.set_rate_limit(RateLimit(1, unit="7"), 0.0, None if of_pool else worker)
    assert len(core.scheduler.state.queue.lanes()) == 2
    order: list[Job[Any] | None] = []
    for _ in jobs:
        core.succeeded(worker, None, 0.0)
        order.append(job_on(worker))
    assert order == jobs


def test_a_worker_that_joins_brings_a_limit_for_a_unit_that_waiting_jobs_use() -> None:
    core = make_core(no_worker="wait")
    jobs = [submit(core, uses={"tokens": 1}) for _ in range(3)]
    worker = core.make_worker(limits=limits_of(core, RateLimit(1, per=10, unit="tokens")))
    core.scheduler.join(worker, 0.0)
    core.scheduler.opened(worker, 0.0)
    begun(run_of(jobs[0]), 0.0)
    core.succeeded(worker, None, 0.0)
    free = submit(core)
    assert [job.state for job in (*jobs, free)] == [
        JobState.SUCCEEDED,
        JobState.QUEUED,
        JobState.QUEUED,
        JobState.RUNNING,
    ]
    core.succeeded(worker, None, 0.0)
    core.scheduler.advance(10.0)
    assert jobs[1].state is JobState.RUNNING


@pytest.mark.parametrize("how", ["for all", "by tags", "for one worker", "with a unit", "with own limits too"])
@pytest.mark.parametrize("waiting", [0, 500])
def test_a_job_costs_the_same_however_many_workers_share_a_limit(how: str, waiting: int) -> None:
    def cost(number: int) -> int:
        core = make_core()
        shared = RateLimit(1, unit="tokens" if how == "with a unit" else None).shared()
        limits: RateLimits = (shared, RateLimit(10, burst=10)) if how == "with own limits too" else shared
        core.scheduler.metering.on_wake = lambda: None
        workers: list[WorkerRecord] = []
        for index in range(number):
            tags = (str(index % 5), "all") if how == "by tags" else ()
            worker = core.make_worker(*tags, limits=limits_of(core, limits))
            core.scheduler.join(worker, 0.0)
            core.scheduler.opened(worker, 0.0)
            workers.append(worker)

        def add(index: int, now: float) -> Job[Any]:
            options: dict[str, Any] = {"uses": {"tokens": 1}} if how == "with a unit" else {}
            if how == "by tags":
                options["requires"] = [str(index % 5)] if index % 2 else ["all"]
            if how == "for one worker":
                options["worker"] = workers[index % number]
            return submit(core, now, **options)

        def live(jobs: list[Job[Any]], now: float) -> None:
            core.scheduler.advance(now)
            for job in jobs:
                if job.state is JobState.RUNNING:
                    begun(run_of(job), now)
                    core.scheduler.succeeded(run_of(job), None, now)
            core.commands.clear()

        jobs = [add(index, 0.0) for index in range(2 * number if how == "for one worker" else waiting)]
        for second in range(20):
            jobs.append(add(second, float(second)))
            live(jobs, float(second))
            jobs = [job for job in jobs if not job.state.is_final]
        assert len(core.roster.idle()) == number  # those that the shared limit holds back are free otherwise
        calls = calls_of(lambda: jobs.append(add(20, 20.0)))
        calls += calls_of(lambda: core.scheduler.advance(20.0))
        (running,) = [job for job in jobs if job.state is JobState.RUNNING]
        calls += calls_of(lambda: core.scheduler.succeeded(run_of(running), None, 20.0))
        return calls + calls_of(lambda: core.scheduler.advance(20.5))

    assert cost(900) <= 1.2 * cost(10) + 2


def limits_of(core: Core, rate_limit: RateLimits) -> WorkerLimits:
    """The limits of a worker, which may share some of them."""
    return WorkerLimits(rate_limit, None, None, math.inf, core.scheduler.state.roster._rng, core.scheduler.metering)
