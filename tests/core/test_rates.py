"""The rates of a worker and of the pool hold up what they are meant to, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Start
from tests.core.limited_jobs import ERROR, ONE_IN_TEN, state_of, submit
from tests.core.makers import Core, job_on, make_core, make_job, make_limits
from trio_pool import JobState, RateLimit, WorkerState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.deadlines import Due

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord

THREE_AT_ONCE = RateLimit(1, per=10.0, burst=3)


def started(core: Core) -> list[tuple[WorkerRecord, Job[Any]]]:
    """What was handed to idle workers since this was last asked."""
    found = [(start.run.worker, start.run.job) for start in core.commands_of(Start)]
    core.commands.clear()
    return found


def run_all(core: Core, workers: list[WorkerRecord], now: float) -> int:
    """End whatever runs, at once, until nothing more starts; returns how many attempts that were."""
    count = 0
    while busy := [worker for worker in workers if job_on(worker) is not None]:
        core.succeeded(busy[0], None, now)
        count += 1
    return count


# The rate of one worker.


def test_a_worker_starts_no_more_than_its_limit_lets_it() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(rate_limit=THREE_AT_ONCE))
    for _ in range(9):
        submit(core, 0.0)
    assert run_all(core, [worker], 0.0) == 3
    assert core.scheduler.deadlines.soonest == 10.0
    core.scheduler.advance(10.0)
    assert run_all(core, [worker], 10.0) == 1


def test_a_worker_that_only_its_limit_holds_back_is_idle_but_not_free() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    submit(core, 0.0)
    core.succeeded(worker, None, 1.0)
    assert state_of(worker) is WorkerState.IDLE
    assert core.scheduler.free(1.0) == []
    assert core.scheduler.submit(make_job(), Door.IF_IDLE, 1.0) is Admission.FULL
    core.scheduler.advance(10.0)
    assert core.scheduler.free(10.0) == [worker]


def test_a_job_that_one_workers_limit_holds_up_does_not_hold_up_those_behind_it() -> None:
    core = make_core()
    limited = core.add_worker("a", limits=make_limits(rate_limit=ONE_IN_TEN))
    free = core.add_worker("b")
    submit(core, 0.0, worker=limited)
    core.succeeded(limited, None, 0.0)
    started(core)
    held_up = submit(core, 1.0, requires=["a"])
    behind = submit(core, 1.0)
    assert started(core) == [(free, behind)]
    assert state_of(held_up) is JobState.QUEUED


def test_a_job_goes_to_a_free_worker_rather_than_wait_for_a_limited_one() -> None:
    core = make_core()
    limited = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    submit(core, 0.0)
    core.succeeded(limited, None, 0.0)
    waiting = submit(core, 1.0)
    started(core)
    other = core.add_worker(now=2.0)
    assert started(core) == [(other, waiting)]


@pytest.mark.parametrize("what", ["pause", "rest", "reopen"])
def test_what_else_keeps_a_worker_from_jobs_hands_out_no_fresh_burst(what: str) -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    if what == "pause":
        core.scheduler.pause(worker, 1.0)
        core.scheduler.resume(worker, 2.0)
    elif what == "rest":
        core.scheduler.rest(worker, 2.0, 1.0)
        core.scheduler.advance(2.0)
    else:
        core.scheduler.reopen(worker, ERROR, 1.0)
        core.scheduler.opened(worker, 2.0)
    waiting = submit(core, 3.0)
    assert state_of(waiting) is JobState.QUEUED
    core.scheduler.advance(10.0)
    assert state_of(waiting) is JobState.RUNNING


def test_a_worker_is_not_woken_by_its_limit_from_what_lasts_longer() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    waiting = submit(core, 1.0)
    core.scheduler.pause(worker, 1.0)
    core.scheduler.advance(10.0)
    assert state_of(waiting) is JobState.QUEUED
    core.scheduler.resume(worker, 11.0)
    assert state_of(waiting) is JobState.RUNNING


# The rate of the pool.


def test_the_pool_starts_no_more_than_its_limit_lets_it_on_all_workers_together() -> None:
    core = make_core(rate_limit=THREE_AT_ONCE)
    workers = [core.add_worker() for _ in range(5)]
    for _ in range(9):
        submit(core, 0.0)
    assert run_all(core, workers, 0.0) == 3
    core.scheduler.advance(10.0)
    assert run_all(core, workers, 10.0) == 1


def test_a_limit_that_changes_hands_out_no_fresh_burst() -> None:
    core = make_core(rate_limit=THREE_AT_ONCE)
    worker = core.add_worker()
    for _ in range(9):
        submit(core, 0.0)
    run_all(core, [worker], 0.0)
    core.scheduler.set_rate_limit(RateLimit(1, per=4.0, burst=3), 0.0)
    assert run_all(core, [worker], 0.0) == 0
    core.scheduler.advance(4.0)
    assert run_all(core, [worker], 4.0) == 1


def test_a_limit_taken_away_and_put_back_hands_out_no_fresh_burst() -> None:
    core = make_core(rate_limit=THREE_AT_ONCE)
    worker = core.add_worker()
    for _ in range(3):
        submit(core, 0.0)
    run_all(core, [worker], 0.0)
    core.scheduler.set_rate_limit(None, 1.0)
    core.scheduler.set_rate_limit(THREE_AT_ONCE, 1.0)
    submit(core, 1.0)
    assert run_all(core, [worker], 1.0) == 0
    core.scheduler.advance(10.0)
    assert run_all(core, [worker], 10.0) == 1


def test_workers_that_come_and_go_bring_the_pool_no_fresh_burst() -> None:
    core = make_core(rate_limit=THREE_AT_ONCE, no_worker="wait")
    worker = core.add_worker()
    for _ in range(9):
        submit(core, 0.0)
    run_all(core, [worker], 0.0)
    core.scheduler.depart(worker, 1.0)
    core.scheduler.left(worker, 1.0)
    workers = [core.add_worker(now=1.0) for _ in range(2)]
    assert run_all(core, workers, 1.0) == 0
    core.scheduler.advance(10.0)
    assert run_all(core, workers, 10.0) == 1


def test_without_its_limit_the_pool_starts_what_waited_for_it() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    worker = core.add_worker()
    for _ in range(4):
        submit(core, 0.0)
    run_all(core, [worker], 0.0)
    core.scheduler.set_rate_limit(None, 1.0)
    assert run_all(core, [worker], 1.0) == 3
    assert core.scheduler.rate_limit is None


def test_a_limit_for_a_pool_that_had_none_lets_a_burst_start() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.set_rate_limit(THREE_AT_ONCE, 5.0)
    for _ in range(9):
        submit(core, 5.0)
    assert run_all(core, [worker], 5.0) == 3


@pytest.mark.parametrize("limit", [ONE_IN_TEN, RateLimit(2, per=20.0)])
def test_a_limit_that_is_set_again_while_a_job_waits_for_it_adds_nothing_to_the_heap(limit: RateLimit) -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    worker = core.add_worker()
    for _ in range(2):
        submit(core, 0.0)
    run_all(core, [worker], 0.0)
    for _ in range(100):
        core.scheduler.set_rate_limit(limit, 0.0)
    deadlines = core.scheduler.deadlines
    assert [(entry[0], entry[1]) for entry in deadlines] == [(10.0, Due.RATE)]


def test_a_limit_that_is_set_to_and_fro_while_a_job_waits_for_it_is_woken_for_once() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    worker = core.add_worker()
    for _ in range(2):
        submit(core, 0.0)
    run_all(core, [worker], 0.0)
    for limit in (RateLimit(1, per=5.0), ONE_IN_TEN):
        core.scheduler.set_rate_limit(limit, 0.0)
    assert [due for due, _ in core.scheduler.deadlines.pop_due(10.0)] == [Due.RATE]


def test_a_job_that_the_pools_limit_holds_up_is_no_job_for_only_if_idle() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    worker = core.add_worker()
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    assert core.scheduler.submit(make_job(), Door.IF_IDLE, 1.0) is Admission.FULL
    assert core.scheduler.free(1.0) == []
    assert core.scheduler.free(10.0) == [worker]


def test_a_submitter_that_only_the_pools_limit_holds_up_gets_in_when_it_lets_the_job_start() -> None:
    core = make_core(rate_limit=ONE_IN_TEN, max_queue=0)
    worker = core.add_worker()
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    job = make_job(now=1.0)
    assert core.scheduler.submit(job, Door.QUEUE_UP, 1.0) is Admission.WAITING
    assert core.scheduler.deadlines.soonest == 10.0
    core.scheduler.advance(10.0)
    assert job_on(worker) is job
