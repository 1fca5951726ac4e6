"""What comes due does so in order, once, and not when it is over."""

from __future__ import annotations

import math
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import make_core, make_job, make_limits
from trio_pool import DeadReason, JobState, RateLimit
from trio_pool._core.admission import Door
from trio_pool._core.deadlines import Deadlines, Due, _is_current
from trio_pool._core.worker_index import WorkerIndex
from trio_pool._model.records import WorkerRecord
from trio_pool._model.states import Hold

if TYPE_CHECKING:
    from trio_pool._model.handles import Job

WORKER = WorkerRecord(WorkerIndex("longest_idle", Random(0)), 1, "worker 1", frozenset())


def test_nothing_comes_due_by_itself() -> None:
    deadlines = Deadlines(count(1))
    assert deadlines.soonest == math.inf
    assert list(deadlines.pop_due(math.inf)) == []


def waiting_job(deadlines: Deadlines, total_timeout: float) -> Job[Any]:
    """A job that waits, with its timeout in the heap."""
    job = make_job(total_timeout=total_timeout)
    job._ticket = next(deadlines._tickets)
    deadlines.add_timeout(job)
    return job


def test_a_job_without_a_timeout_costs_no_entry() -> None:
    core = make_core(no_worker="wait")
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    assert len(core.scheduler.deadlines) == 0


def test_a_running_job_costs_no_entry() -> None:
    core = make_core()
    core.add_worker()
    core.scheduler.submit(make_job(total_timeout=5.0), Door.ALWAYS, 0.0)
    assert len(core.scheduler.deadlines) == 0


def test_a_job_that_waits_again_has_its_timeout_again() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(total_timeout=5.0), Door.ALWAYS, 0.0)
    core.scheduler.depart(worker, 1.0, cut=True)
    core.add_worker()
    core.scheduler.submit(make_job(), Door.ALWAYS, 1.0)
    core.cut_short(worker, OSError(), 2.0)
    assert job.state is JobState.QUEUED
    assert core.scheduler.deadlines.soonest == 5.0
    core.scheduler.advance(5.0)
    assert job.dead_reason is DeadReason.TIMED_OUT


@given(st.lists(st.integers(0, 10), min_size=1), st.integers(0, 10))
def test_what_is_due_comes_out_in_order_and_the_rest_stays(times: list[int], now: int) -> None:
    deadlines = Deadlines(count(1))
    jobs = [waiting_job(deadlines, time) for time in times]
    found = [item for _, item in deadlines.pop_due(now)]
    assert found == sorted((job for job in jobs if job.deadline <= now), key=lambda job: job.deadline)
    assert deadlines.soonest == min((time for time in times if time > now), default=math.inf)


def test_at_one_instant_timeouts_come_before_rests_and_rests_before_delays() -> None:
    deadlines = Deadlines(count(1))
    delayed = make_job()
    deadlines.add_ticketed(Due.DELAY, delayed, 1.0)
    WORKER._holds[Hold.RESTING] = 1.0
    deadlines.add_of_worker(Due.REST, WORKER, 1.0)
    timed = waiting_job(deadlines, 1.0)
    assert list(deadlines.pop_due(1.0)) == [(Due.TOTAL_TIMEOUT, timed), (Due.REST, WORKER), (Due.DELAY, delayed)]


def test_a_rest_that_was_replaced_by_a_longer_one_does_not_come_due() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.rest(worker, 1.0, 0.0)
    core.scheduler.rest(worker, 3.0, 0.0)
    core.scheduler.advance(2.0)
    assert worker._holds.get(Hold.RESTING) == 3.0
    core.scheduler.advance(3.0)
    assert worker._holds.get(Hold.RESTING) is None


def test_the_timeout_of_a_job_that_no_longer_waits_does_not_come_due() -> None:
    deadlines = Deadlines(count(1))
    job = waiting_job(deadlines, 1.0)
    job._ticket = 0
    assert list(deadlines.pop_due(1.0)) == []


def test_the_heap_does_not_grow_by_the_timeouts_of_jobs_that_have_ended() -> None:
    core = make_core()
    core.add_worker()
    for _ in range(5000):
        core.scheduler.submit(job := make_job(total_timeout=1000.0), Door.ALWAYS, 0.0)
        worker = job.worker
        assert isinstance(worker, WorkerRecord)
        core.succeeded(worker, None, 0.0)
    assert len(core.scheduler.deadlines) <= 66


def test_the_heap_does_not_grow_by_cancelled_jobs() -> None:
    core = make_core(no_worker="wait")
    for _ in range(5000):
        core.scheduler.submit(job := make_job(total_timeout=1000.0), Door.ALWAYS, 0.0)
        core.scheduler.cancel(job, 0.0)
    assert len(core.scheduler.deadlines) <= 66


def test_the_heap_does_not_grow_by_submitters_that_gave_up() -> None:
    core = make_core(no_worker="wait", max_queue=0)
    for _ in range(5000):
        core.scheduler.submit(job := make_job(total_timeout=1000.0), Door.QUEUE_UP, 0.0)
        core.scheduler.withdraw(job, 0.0)
    assert len(core.scheduler.deadlines) <= 66
    assert core.scheduler.waiting == 0


def test_the_heap_does_not_grow_by_rests_that_are_prolonged() -> None:
    core = make_core()
    worker = core.add_worker()
    for number in range(1, 5000):
        core.scheduler.rest(worker, float(number), 0.0)
    assert len(core.scheduler.deadlines) <= 66


def stale(deadlines: Deadlines) -> int:
    return sum(not _is_current(entry) for entry in deadlines)


def test_a_rest_may_be_prolonged_at_the_very_time_when_the_heap_is_compacted() -> None:
    core = make_core()
    deadlines = core.scheduler.deadlines
    workers = [core.add_worker() for _ in range(80)]
    for until in (1.0, 2.0, 3.0):
        for worker in workers:
            core.scheduler.rest(worker, until, 0.0)
            assert deadlines._stale == stale(deadlines)


@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_a_workers_limit_that_is_removed_and_set_again_holds_it_once(seconds: float) -> None:
    core = make_core()
    limit = RateLimit(1, seconds)
    worker = core.add_worker(limits=make_limits(rate_limit=RateLimit(1, 1.0)))
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    core.succeeded(worker, None, 0.0)
    core.scheduler.set_rate_limit(None, 0.0, worker)
    core.scheduler.set_rate_limit(limit, 0.0, worker)
    deadlines = core.scheduler.deadlines
    assert [due for _, due, _, _ in filter(_is_current, deadlines)] == [Due.LIMIT]
    assert deadlines._stale == stale(deadlines) == 1


def test_compacting_the_heap_loses_nothing_that_is_still_to_come() -> None:
    deadlines = Deadlines(count(1))
    kept: list[Job[Any]] = []
    over: list[Job[Any]] = []
    for number in range(400):
        job = waiting_job(deadlines, float(number + 1))
        (over if number % 4 else kept).append(job)
    for job in over:
        job._ticket = 0
        deadlines.forget()
    assert len(deadlines) < 400
    assert [item for _, item in deadlines.pop_due(math.inf)] == kept
