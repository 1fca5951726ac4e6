"""No event costs more where there are many workers, tag sets, lanes, waiting jobs or groups."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, calls_of, job_on, make_core, make_job, run_of, run_on
from trio_pool import Elastic, JobCancelledError, JobState
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._core.waits import Wait
from trio_pool._model.pool_config import PICKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool._model.handles import Job
    from trio_pool._model.pool_config import Pick
    from trio_pool._model.records import Group, WorkerRecord

RETRY = Verdict(Retry(0.0, "any", False, True))
BOUNCE = Verdict(Retry(0.0, "other", False, True))


def submit(core: Core, **options: Any) -> Job[Any]:
    job = make_job(**options)
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    return job


def is_flat(calls: Callable[[int], int], few: int = 20, many: int = 200) -> bool:
    """Whether many cost at most 1.3 times as much as few; a heap's depth is no call."""
    return calls(many) <= 1.3 * calls(few)


def crowd(core: Core, number: int, kind: str) -> list[WorkerRecord]:
    """Many of one thing or the other, and four idle workers that have nothing to do with it but for what they are."""
    scheduler = core.scheduler
    if kind == "idle workers":
        for _ in range(number):
            core.add_worker("all")
    elif kind == "busy workers":
        for _ in range(number):
            submit(core, worker=core.add_worker("all"))
    elif kind == "paused workers":
        for _ in range(number):
            scheduler.pause(core.add_worker("all"), 0.0)
    elif kind == "tag sets":
        for each in range(number):
            core.add_worker("all", f"tag {each}")
    elif kind == "lanes":
        for each in range(number):
            worker = core.add_worker("all", f"tag {each}")
            scheduler.pause(worker, 0.0)
            submit(core, requires=[f"tag {each}"])
            submit(core, worker=worker)
    elif kind == "waits":
        awaited = submit(core, worker=core.add_worker("all"))
        for _ in range(number):
            job = submit(core, worker=core.add_worker("all"))
            assert scheduler.begin_wait(Wait(run_of(job), None, lambda: (awaited,)), 0.0)
    elif kind == "full groups":
        for _ in range(number):
            group = core.open_group(max_running=1)
            submit(core, group=group, worker=core.add_worker("all"))
            for _ in range(2):
                submit(core, group=group, requires=["all"])
    elif kind == "groups with workers":
        for _ in range(number):
            core.add_worker("all")
            core.open_group(reserve=1)
    free = [core.add_worker("all", "free") for _ in range(4)]
    for tags in ((), ("all",), ("free",)):
        terms = make_job(requires=tags)._options.terms
        assert core.roster.has_any(terms)  # who fits is found out once
        core.roster.choose(terms)
    return free


CROWDS = [
    "idle workers",
    "busy workers",
    "paused workers",
    "tag sets",
    "lanes",
    "waits",
    "full groups",
    "groups with workers",
]


def start(core: Core, **options: Any) -> WorkerRecord:
    job = submit(core, **options)
    assert job.worker is not None, job
    return job.worker


def a_job(core: Core, free: list[WorkerRecord]) -> int:
    return calls_of(lambda: submit(core)) + calls_of(lambda: submit(core, requires=["all"]))


def an_end(core: Core, free: list[WorkerRecord]) -> int:
    worker = start(core)
    return calls_of(lambda: core.succeeded(worker, None, 0.0))


def an_end_before_a_queued_job(core: Core, free: list[WorkerRecord]) -> int:
    workers = [start(core, worker=worker) for worker in free]
    submit(core, requires=["free"])
    return calls_of(lambda: core.succeeded(workers[0], None, 0.0))


def a_failure(core: Core, free: list[WorkerRecord]) -> int:
    worker = start(core, worker=free[0])
    return calls_of(lambda: core.failed(worker, ValueError(), RETRY, 0.0))


def a_bounce(core: Core, free: list[WorkerRecord]) -> int:
    worker = start(core, requires=["free"])
    return calls_of(lambda: core.failed(worker, ValueError(), BOUNCE, 0.0))


def a_cancellation(core: Core, free: list[WorkerRecord]) -> int:
    job = submit(core)
    assert job.worker is not None
    worker = job.worker

    def cancel() -> None:
        core.scheduler.cancel(job, 0.0)
        core.cut_short(worker, JobCancelledError(job), 0.0)

    return calls_of(cancel)


def a_pause(core: Core, free: list[WorkerRecord]) -> int:
    calls = calls_of(lambda: core.scheduler.pause(free[0], 0.0))
    return calls + calls_of(lambda: core.scheduler.resume(free[0], 0.0))


def a_rest(core: Core, free: list[WorkerRecord]) -> int:
    calls = calls_of(lambda: core.scheduler.rest(free[0], 1.0, 0.0))
    return calls + calls_of(lambda: core.scheduler.advance(1.0))


def a_removal(core: Core, free: list[WorkerRecord]) -> int:
    calls = calls_of(lambda: core.scheduler.depart(free[0], 0.0))
    return calls + calls_of(lambda: core.scheduler.left(free[0], 0.0))


def a_newcomer(core: Core, free: list[WorkerRecord]) -> int:
    return calls_of(lambda: core.add_worker("all", "free"))


def a_wait(core: Core, free: list[WorkerRecord]) -> int:
    waiter, awaited = submit(core, worker=free[0]), submit(core, worker=free[1])
    wait = Wait(run_of(waiter), None, lambda: (awaited,))
    calls = calls_of(lambda: core.scheduler.begin_wait(wait, 0.0))
    return calls + calls_of(lambda: core.scheduler.waits.end(wait))


def a_loan(core: Core, free: list[WorkerRecord]) -> int:
    job = submit(core, worker=free[0])
    calls = calls_of(lambda: core.lend(free[0], 0.0))
    return calls + calls_of(lambda: core.scheduler.claim(run_of(job), 0.0))


def a_group(core: Core, free: list[WorkerRecord]) -> int:
    opened: list[Group] = []
    calls = calls_of(lambda: opened.append(core.open_group(max_running=1)))
    return calls + calls_of(lambda: core.scheduler.close_group(opened[0], 0.0))


EVENTS = [
    a_job,
    an_end,
    an_end_before_a_queued_job,
    a_failure,
    a_bounce,
    a_cancellation,
    a_pause,
    a_rest,
    a_removal,
    a_newcomer,
    a_wait,
    a_loan,
    a_group,
]


@pytest.mark.parametrize("kind", CROWDS)
@pytest.mark.parametrize("state", ["open", "draining", "bounded"])
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_costs_no_more_in_a_crowd(
    event: Callable[[Core, list[WorkerRecord]], int], state: str, kind: str
) -> None:
    def calls(number: int) -> int:
        core = make_core(max_running=2 * number + 10 if state == "bounded" else math.inf)
        free = crowd(core, number, kind)
        if state == "draining":
            core.scheduler.drain(0.0)
        return event(core, free)

    assert is_flat(calls)


def test_a_pool_is_drained_of_waiting_jobs_at_once() -> None:
    def calls(number: int) -> int:
        core = make_core()
        crowd(core, number, "waits")
        return calls_of(lambda: core.scheduler.drain(0.0))

    assert is_flat(calls)


@pytest.mark.parametrize("pick", PICKS)
def test_a_job_goes_to_the_preferred_one_of_many_kinds_of_workers(pick: Pick) -> None:
    def calls(number: int) -> int:
        core = make_core(pick=pick)
        crowd(core, number, "tag sets")
        submit(core, requires=["all"])
        return a_job(core, [])

    assert is_flat(calls)


def test_where_no_more_may_run_an_end_looks_at_no_lanes_but_the_first() -> None:
    def calls(number: int) -> int:
        core = make_core(max_running=2)
        workers = [core.add_worker(f"tag {each}") for each in range(number)]
        for worker in workers:
            for _ in range(3):
                submit(core, worker=worker)
                submit(core, requires=worker.tags)
        total = 0
        for _ in range(10):
            busy = next(worker for worker in workers if job_on(worker) is not None)
            total += calls_of(partial(core.scheduler.succeeded, run_on(busy), None, 0.0))
        return total

    assert is_flat(calls)


def test_a_full_groups_jobs_for_one_worker_each_are_no_more_to_look_at() -> None:
    def calls(number: int) -> int:
        core = make_core()
        group = core.open_group(max_running=2)
        workers = [core.add_worker() for _ in range(number)]
        for worker in workers:
            for _ in range(3):
                submit(core, group=group, worker=worker)
        total = 0
        for _ in range(10):
            busy = next(worker for worker in workers if job_on(worker) is not None)
            total += calls_of(partial(core.scheduler.succeeded, run_on(busy), None, 0.0))
        return total

    assert is_flat(calls)


def test_jobs_that_wait_for_each_other_in_a_row_end_one_by_one() -> None:
    def calls(number: int) -> int:
        core = make_core()
        jobs = [submit(core, worker=core.add_worker()) for _ in range(number)]
        waits: list[Wait] = []
        for job, other in zip(jobs[1:], jobs, strict=False):
            waits.append(Wait(run_of(job), None, partial(tuple, [other])))
            assert core.scheduler.begin_wait(waits[-1], 0.0)
        submit(core, worker=jobs[-1].worker)
        core.scheduler.drain(0.0)

        def end() -> None:
            for job, wait in zip(jobs[:10], waits[:10], strict=True):
                assert job.worker is not None
                core.succeeded(job.worker, None, 0.0)
                core.scheduler.waits.end(wait)

        return calls_of(end)

    assert is_flat(calls)


def test_the_lanes_of_jobs_that_were_to_try_others_and_are_gone_are_not_looked_at() -> None:
    def calls(number: int) -> int:
        core = make_core()
        idle, _ = core.add_worker(), core.add_worker()
        workers = [core.add_worker("x") for _ in range(200)]
        for worker in workers:
            submit(core, worker=worker)
        for worker in workers[:number]:
            core.succeeded(worker, None, 0.0)
            job = submit(core, requires=["x"])
            core.failed(worker, ValueError(), BOUNCE, 0.0)
            assert job.state is JobState.QUEUED
            core.scheduler.cancel(job, 0.0)
            submit(core, worker=worker)
        return calls_of(lambda: core.scheduler.pause(idle, 0.0))

    assert is_flat(calls)


def test_a_job_that_is_cancelled_costs_no_more_in_a_long_queue() -> None:
    def calls(number: int) -> int:
        core = make_core()
        submit(core, worker=core.add_worker())
        jobs = [submit(core) for _ in range(number)]
        return calls_of(lambda: core.scheduler.cancel(jobs[-1], 0.0))

    assert is_flat(calls)


def test_an_elastic_pool_counts_the_jobs_of_many_lanes_without_looking_at_them() -> None:
    def calls(number: int) -> int:
        tags = [f"tag {each}" for each in range(number)]
        core = make_core(elastic=Elastic(lambda: None, min=0, max=5, tags=tags))  # type: ignore[arg-type,return-value]
        core.scheduler.begin(0.0)
        for tag in tags:
            submit(core, requires=[tag])
        return calls_of(lambda: submit(core, requires=[tags[0]]))

    assert is_flat(calls)


def test_the_count_of_what_is_worked_out_for_requirements_is_bounded() -> None:
    core = make_core()
    core.add_worker("a")
    for number in range(5_000):
        core.roster.has_any(make_job(requires=[f"tag {number}"])._options.terms)
    assert len(core.roster.kinds._everybody._fits) <= 1_002
    assert submit(core, requires=["a"]).state is JobState.RUNNING
