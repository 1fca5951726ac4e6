"""A limit that workers share holds back what waits for it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.makers import Core, begun, job_on, make_core, make_job, run_of
from tests.core.test_limits_cost import limits_of
from trio_pool import JobState, RateLimit, SharedRateLimit
from trio_pool._core.admission import Door
from trio_pool._core.tag_index import FEW
from trio_pool._model.handles import Job
from trio_pool._model.pool_config import PICKS, Pick
from trio_pool._model.records import WorkerRecord

SLOW = RateLimit(1, per=10)


def core_with(*, pick: Pick = "longest_idle") -> Core:
    core = make_core(pick=pick)
    core.scheduler.metering.on_wake = lambda: None
    return core


def add(core: Core, *tags: str, limits: Any = None) -> WorkerRecord:
    return core.add_worker(*tags, limits=limits_of(core, limits))


def submit(core: Core, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    core.scheduler.submit(job, Door.ALWAYS, now)
    if job._run is not None:
        begun(run_of(job), now)
    return job


def start_at(core: Core, now: float, jobs: list[Job[Any]]) -> list[Job[Any]]:
    """Those of the jobs that start at a time."""
    waiting = [job for job in jobs if job.state is JobState.QUEUED]
    core.scheduler.advance(now)
    started = [job for job in waiting if job.state is JobState.RUNNING]
    for job in started:
        begun(run_of(job), now)
    return started


@pytest.mark.parametrize("pick", PICKS)
def test_jobs_go_to_workers_that_do_not_have_the_limit(pick: Pick) -> None:
    core = core_with(pick=pick)
    shared = SLOW.shared()
    workers = [add(core, limits=shared if number % 2 else None) for number in range(6)]
    jobs = [submit(core) for _ in range(8)]
    running = [job for job in jobs if job.state is JobState.RUNNING]
    assert len(running) == 4  # three on those without the limit
    assert sum(job_on(worker) is not None for worker in workers[1::2]) == 1
    assert start_at(core, 10.0, jobs) == [jobs[4]]


def test_what_waits_for_the_limit_starts_in_the_order_of_priorities() -> None:
    core = core_with()
    shared = SLOW.shared()
    tagged = [add(core, f"tag {number}", "all", limits=shared) for number in range(FEW + 2)]
    add(core, limits=shared)
    first = submit(core)
    assert first.state is JobState.RUNNING
    jobs = [
        submit(core, requires=["tag 3"], priority=3),
        submit(core, requires=["all"], priority=1),
        submit(core, worker=tagged[4], priority=2),
        submit(core, priority=4),
        submit(core, requires=["all", "tag 5"], priority=0),
    ]
    for number, job in enumerate(sorted(jobs, key=lambda job: job.priority), start=1):
        assert start_at(core, 10.0 * number, jobs) == [job]


def test_a_job_that_becomes_the_first_while_the_limit_is_closed_is_the_first_to_start() -> None:
    core = core_with()
    shared = SLOW.shared()
    for _ in range(3):
        add(core, "a", limits=shared)
    submit(core)
    jobs = [submit(core, requires=["a"], priority=priority) for priority in (5, 4, 6, 3)]
    core.scheduler.cancel(jobs[3], 0.0)
    assert start_at(core, 10.0, jobs) == [jobs[1]]
    assert start_at(core, 20.0, jobs) == [jobs[0]]


@pytest.mark.parametrize("number", [1, 2, FEW + 3])
def test_each_of_several_limits_holds_back_only_its_own_workers(number: int) -> None:
    core = core_with()
    limits = [RateLimit(1, per=10 + index).shared() for index in range(number)]
    workers = [add(core, str(index % 2), limits=limit) for index, limit in enumerate(limits) for _ in range(2)]
    jobs = [submit(core, worker=worker) for worker in workers for _ in range(2)]
    assert [job.state for job in jobs] == [JobState.RUNNING, *[JobState.QUEUED] * 3] * number
    for index in range(number):
        assert start_at(core, 10.0 + index, jobs) == [jobs[4 * index + 2]]


def test_a_worker_with_two_limits_needs_both() -> None:
    core = core_with()
    one, other = SLOW.shared(), RateLimit(1, per=4).shared()
    first, second, both = add(core, limits=one), add(core, limits=other), add(core, limits=(one, other))
    jobs = [submit(core, worker=worker) for worker in (first, second, both, second)]
    assert [job.state is JobState.RUNNING for job in jobs] == [True, True, False, False]
    core.succeeded(second, None, 1.0)
    assert start_at(core, 4.0, jobs) == [jobs[3]]
    assert start_at(core, 8.0, jobs) == []
    assert start_at(core, 10.0, jobs) == [jobs[2]]


def test_a_unit_of_a_shared_limit_holds_back_only_jobs_that_use_it() -> None:
    core = core_with()
    shared = RateLimit(1, per=10, unit="tokens").shared()
    for _ in range(3):
        add(core, limits=shared)
    jobs = [submit(core, uses=uses) for uses in ({"tokens": 1}, {"tokens": 1}, {"bytes": 1}, {}, {"tokens": 1})]
    assert [job.state is JobState.RUNNING for job in jobs] == [True, False, True, True, False]


def test_a_group_gets_workers_that_the_limit_holds_back() -> None:
    core = core_with()
    shared = SLOW.shared()
    for _ in range(3):
        add(core, limits=shared)
    submit(core)
    submit(core)  # which finds that the limit is used up
    group = core.open_group(reserve=2)
    assert len(group.workers) == 2
    jobs = [submit(core, group=group) for _ in range(2)]
    assert start_at(core, 10.0, jobs) == [jobs[0]]


def test_a_limit_can_be_assigned_and_taken_away_again_and_again() -> None:
    core = core_with()
    worker = add(core)
    for number in range(100):
        shared = SLOW.shared()
        core.scheduler.set_rate_limit(shared, float(number), worker)
        job = submit(core, float(number))
        assert job.state is JobState.RUNNING
        waiting = submit(core, float(number))
        core.succeeded(worker, None, float(number))
        assert job_on(worker) is None
        core.scheduler.set_rate_limit(None, float(number), worker)
        assert job_on(worker) is waiting
        begun(run_of(waiting), float(number))
        core.succeeded(worker, None, float(number))
    assert len(core.roster.kinds.fits_for(frozenset(), None)) <= 2


def test_limits_may_be_assigned_to_a_worker_that_has_left() -> None:
    core = core_with()
    worker, other = add(core, limits=RateLimit(1, per=10, unit="tokens")), add(core)
    submit(core, worker=worker, uses={"tokens": 5})
    core.succeeded(worker, None, 0.0)
    core.scheduler.depart(worker, 0.0)
    core.scheduler.left(worker, 0.0)
    core.scheduler.set_rate_limit((RateLimit(1, per=10, unit="tokens"), SLOW.shared()), 1.0, worker)
    assert [kind.members for kind in core.roster.kinds.all()] == [1]
    assert submit(core, 1.0).worker is other


def test_an_attempt_cut_before_it_began_opens_the_limit_again() -> None:
    core = core_with()
    shared: SharedRateLimit = SLOW.shared()
    first = add(core, limits=shared)
    add(core, limits=shared)
    job = make_job()
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    waiting = submit(core)
    assert (job.worker, waiting.state) == (first, JobState.QUEUED)
    core.scheduler.cancel(job, 0.0)
    core.cut_short(first, ValueError(), 0.0, begun=False)
    core.scheduler.advance(0.0)
    assert waiting.state is JobState.RUNNING
