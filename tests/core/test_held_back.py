"""Budgets, worn resources and breakers hold up what they are meant to, as long as they are meant to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Recall, Tell
from tests.core.limited_jobs import ERROR, ONE_IN_TEN, state_of, submit
from tests.core.makers import Core, job_on, make_core, make_limits
from trio_pool import CircuitBreaker, DeadReason, JobState, RetryBudget, WorkerState
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._policies.circuit_breaker import BreakerState

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord


def fail(
    core: Core, worker: WorkerRecord, now: float, *, delay: float = 0.0, rest: float = 0.0, counts: bool = False
) -> None:
    verdict = Verdict(Retry(delay, "any", front=False, counts=True), rest=rest, is_failure=counts)
    core.failed(worker, ERROR, verdict, now)


def told(core: Core, event: str) -> list[tuple[object, ...]]:
    return [tell.arguments for tell in core.commands_of(Tell) if tell.event == event]


# The budget of retries.


def test_a_retry_past_the_budget_is_not_made() -> None:
    core = make_core(retry_budget=RetryBudget(ratio=0.0, minimum=1))
    worker = core.add_worker()
    job = submit(core, 0.0)
    fail(core, worker, 1.0)
    assert state_of(job) is JobState.RUNNING
    fail(core, worker, 2.0)
    assert job.dead_reason is DeadReason.BUDGET_EXHAUSTED
    assert core.lifecycle.retries == 1


def test_a_retry_that_the_total_timeout_forbids_takes_nothing_from_the_budget() -> None:
    core = make_core(retry_budget=RetryBudget(ratio=0.0, minimum=1))
    worker = core.add_worker()
    hasty = submit(core, 0.0, total_timeout=5.0)
    fail(core, worker, 1.0, delay=4.0)
    assert hasty.dead_reason is DeadReason.TIMED_OUT
    patient = submit(core, 1.0)
    fail(core, worker, 1.0)
    assert state_of(patient) is JobState.RUNNING


# Resources that have served for long enough.


def test_a_resource_that_has_done_its_jobs_is_reopened_before_another() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_jobs=2))
    waiting = [submit(core, 0.0) for _ in range(3)][-1]
    assert core.succeeded(worker, None, 1.0) is not None
    assert core.succeeded(worker, None, 2.0) is None
    assert state_of(worker) is WorkerState.REOPENING
    assert told(core, "worker_reopening") == [(worker, None)]
    assert state_of(waiting) is JobState.QUEUED
    core.scheduler.opened(worker, 3.0)
    assert state_of(waiting) is JobState.RUNNING


def test_an_idle_worker_is_called_back_when_its_resource_gets_too_old() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_age=10.0))
    core.scheduler.advance(10.0)
    assert state_of(worker) is WorkerState.REOPENING
    assert told(core, "worker_reopening") == [(worker, None)]
    assert [recall.worker for recall in core.commands_of(Recall)] == [worker]


def test_a_resource_that_gets_too_old_while_a_job_uses_it_is_reopened_after_that() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_age=10.0))
    submit(core, 0.0)
    core.scheduler.advance(10.0)
    assert state_of(worker) is WorkerState.BUSY
    assert worker._is_open
    core.succeeded(worker, None, 11.0)
    assert state_of(worker) is WorkerState.REOPENING
    assert [recall.worker for recall in core.commands_of(Recall)] == [worker]


@pytest.mark.parametrize("limits", [{"max_jobs": 1}, {"max_age": 1.0}])
def test_a_worker_that_is_to_leave_is_not_reopened_for_that(limits: dict[str, Any]) -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(**limits))
    submit(core, 0.0)
    core.scheduler.depart(worker, 0.5)
    core.succeeded(worker, None, 2.0)
    assert told(core, "worker_reopening") == []


def test_any_number_of_resources_may_get_too_old_at_one_instant() -> None:
    core = make_core()
    workers = [core.add_worker(limits=make_limits(max_age=10.0)) for _ in range(2000)]
    core.scheduler.advance(10.0)
    assert {worker.state for worker in workers} == {WorkerState.REOPENING}


def test_the_age_of_a_resource_that_was_reopened_for_another_reason_counts_from_then_on() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_age=10.0))
    core.scheduler.reopen(worker, ERROR, 4.0)
    core.scheduler.opened(worker, 6.0)
    core.scheduler.advance(10.0)
    assert state_of(worker) is WorkerState.IDLE
    core.scheduler.advance(16.0)
    assert state_of(worker) is WorkerState.REOPENING


def test_a_resource_that_would_have_got_too_old_while_it_is_reopened_is_as_good_as_new_after_that() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_age=10.0))
    core.scheduler.reopen(worker, ERROR, 9.0)
    core.scheduler.advance(10.0)
    core.scheduler.opened(worker, 11.0)
    assert state_of(worker) is WorkerState.IDLE
    submit(core, 11.0)
    core.succeeded(worker, None, 12.0)
    assert state_of(worker) is WorkerState.IDLE


# Breakers.


def open_breaker(core: Core) -> tuple[WorkerRecord, Job[Any]]:
    """A worker whose breaker opens at 1 and lets a probe start at 6, and the job that is it."""
    worker = core.add_worker(limits=make_limits(breaker=CircuitBreaker(failures=1, reset_after=5.0)))
    job = submit(core, 0.0, total_timeout=9.0)
    fail(core, worker, 1.0, counts=True)
    core.scheduler.advance(6.0)
    assert job_on(worker) is job
    return worker, job


def breaker_of(worker: WorkerRecord) -> BreakerState:
    limits = worker._limits
    assert limits is not None
    assert limits.breaker is not None
    return limits.breaker.state


def test_a_worker_whose_breaker_is_open_gets_one_job_as_a_probe() -> None:
    core = make_core()
    worker, _ = open_breaker(core)
    behind = submit(core, 6.0)
    assert breaker_of(worker) is BreakerState.PROBING
    fail(core, worker, 7.0, delay=1.0, counts=True)
    assert state_of(worker) is WorkerState.QUARANTINED
    assert state_of(behind) is JobState.QUEUED
    core.scheduler.advance(12.0)
    assert state_of(worker) is WorkerState.BUSY


def test_a_probe_that_succeeds_lets_the_worker_go_on() -> None:
    core = make_core()
    worker, _ = open_breaker(core)
    behind = submit(core, 6.0)
    assert core.succeeded(worker, None, 7.0) is behind
    assert breaker_of(worker) is BreakerState.CLOSED


def test_a_probe_that_the_total_timeout_ends_gives_its_place_to_another() -> None:
    core = make_core()
    worker, job = open_breaker(core)
    behind = submit(core, 6.0)
    assert core.timed_out(worker, ERROR, 9.0) is behind
    assert state_of(job) is JobState.DEAD
    assert breaker_of(worker) is BreakerState.PROBING
    core.succeeded(worker, None, 10.0)
    assert breaker_of(worker) is BreakerState.CLOSED


def test_a_probe_that_is_cancelled_gives_its_place_to_another() -> None:
    core = make_core()
    worker, job = open_breaker(core)
    behind = submit(core, 6.0)
    core.scheduler.cancel(job, 7.0)
    assert core.cut_short(worker, ERROR, 7.0) is behind
    assert breaker_of(worker) is BreakerState.PROBING
    core.succeeded(worker, None, 10.0)
    assert breaker_of(worker) is BreakerState.CLOSED


# Two things at one instant.


def test_a_worker_whose_rest_and_limit_end_together_starts_one_job() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    core.scheduler.rest(worker, 10.0, 1.0)
    first, second = submit(core, 1.0), submit(core, 1.0)
    core.scheduler.advance(10.0)
    assert job_on(worker) is first
    assert state_of(second) is JobState.QUEUED
    assert core.roster.idle() == []


def test_a_resource_whose_time_is_over_when_a_rest_ends_gets_no_job_in_between() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_age=10.0))
    core.scheduler.rest(worker, 10.0, 1.0)
    job = submit(core, 1.0)
    core.scheduler.advance(10.0)
    assert state_of(worker) is WorkerState.REOPENING
    assert state_of(job) is JobState.QUEUED


def test_a_job_that_runs_out_of_time_when_a_limit_lets_it_start_does_not_start() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    worker = core.add_worker()
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    late = submit(core, 1.0, total_timeout=9.0)
    next_one = submit(core, 1.0)
    core.scheduler.advance(10.0)
    assert late.dead_reason is DeadReason.TIMED_OUT
    assert job_on(worker) is next_one


def test_an_attempt_that_ends_when_its_resource_gets_too_old_is_the_last_before_it_is_reopened() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_age=10.0))
    submit(core, 0.0)
    waiting = submit(core, 0.0)
    assert core.succeeded(worker, None, 10.0) is None
    assert state_of(worker) is WorkerState.REOPENING
    assert state_of(waiting) is JobState.QUEUED


def test_a_failure_may_bring_a_rest_and_a_quarantine_and_both_have_to_end() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(breaker=CircuitBreaker(failures=1, reset_after=5.0)))
    job = submit(core, 0.0)
    fail(core, worker, 1.0, rest=9.0, counts=True)
    assert state_of(worker) is WorkerState.QUARANTINED
    core.scheduler.advance(6.0)
    assert state_of(worker) is WorkerState.RESTING
    assert state_of(job) is JobState.QUEUED
    core.scheduler.advance(10.0)
    assert state_of(job) is JobState.RUNNING


def test_what_came_due_while_nobody_looked_is_dealt_with_before_what_ends_then() -> None:
    core = make_core()
    limited = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    other = core.add_worker("a")
    submit(core, 0.0, worker=limited)
    core.succeeded(limited, None, 0.0)
    submit(core, 1.0, worker=other)
    waiting = submit(core, 2.0)
    assert core.succeeded(other, None, 20.0) is None
    assert job_on(limited) is waiting


# While the pool ends.


def drained(core: Core, now: float) -> None:
    core.scheduler.close(0.0)
    core.scheduler.drain(now)


def test_a_pool_that_ends_buries_nothing_that_its_own_limit_holds_up() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    worker = core.add_worker()
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    held_up = submit(core, 1.0)
    drained(core, 1.0)
    assert state_of(held_up) is JobState.QUEUED


@pytest.mark.parametrize(
    "limits",
    [
        {"rate_limit": ONE_IN_TEN},
        {"breaker": CircuitBreaker(failures=1, reset_after=10.0)},
        {"max_jobs": 1},
        {"max_age": 0.5},
    ],
)
def test_a_pool_that_ends_buries_nothing_that_a_workers_limits_hold_up(limits: dict[str, Any]) -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(**limits))
    job = submit(core, 0.0)
    drained(core, 0.0)
    fail(core, worker, 1.0, counts=True)
    assert job_on(worker) is None
    assert state_of(job) is JobState.QUEUED


def test_a_pool_that_ends_does_not_wait_for_its_limit_once_nothing_waits_for_that() -> None:
    core = make_core(rate_limit=ONE_IN_TEN, no_worker="wait")
    worker = core.add_worker()
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    held_up = submit(core, 1.0)
    nobodys = submit(core, 1.0, requires=["a"])
    drained(core, 1.0)
    assert state_of(nobodys) is JobState.QUEUED
    core.scheduler.cancel(held_up, 2.0)
    assert nobodys.dead_reason is DeadReason.NO_WORKER


def test_a_pool_that_ends_does_not_wait_for_a_limit_that_a_leaving_worker_has() -> None:
    core = make_core(no_worker="wait")
    worker = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    submit(core, 0.0)
    core.succeeded(worker, None, 0.0)
    waiting = submit(core, 1.0)
    drained(core, 1.0)
    core.scheduler.depart(worker, 2.0)
    assert waiting.dead_reason is DeadReason.NO_WORKER


def test_a_worker_that_has_left_leaves_nothing_to_wake_up_for() -> None:
    core = make_core()
    breaker = CircuitBreaker(failures=1, reset_after=5.0)
    worker = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN, breaker=breaker, max_age=20.0))
    job = submit(core, 0.0)
    fail(core, worker, 1.0, rest=3.0, counts=True)
    core.scheduler.cancel(job, 1.0)
    core.scheduler.depart(worker, 2.0)
    core.scheduler.left(worker, 2.0)
    core.commands.clear()
    while core.scheduler.deadlines.soonest < math.inf:
        core.scheduler.advance(core.scheduler.deadlines.soonest)
    assert not core.commands
