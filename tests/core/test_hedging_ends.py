"""An attempt that runs on several workers is one attempt, and the first value that it gets counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Interrupt, Tell
from tests.core.makers import Core, job_on, make_core, make_job, make_limits, run_on
from trio_pool import CircuitBreaker, DeadReason, JobState, RetryBudget, WorkerState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Die, Drop, Retry, Verdict
from trio_pool._model.states import Cut, Hold
from trio_pool._policies.circuit_breaker import BreakerState
from trio_pool._policies.hedge import Hedge

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord
    from trio_pool._model.states import Attempt

ERROR = ValueError("no")
OTHER_ERROR = OSError("not at all")
RETRY = Verdict(Retry(0.0, "any", front=False, counts=True))
LATER = Verdict(Retry(50.0, "any", front=False, counts=True))
GIVEN_UP = Verdict(Die(DeadReason.GAVE_UP, "given up", ERROR))
DISCARDED = Verdict(Drop("forget it"))


def race(core: Core, number: int = 2, **options: Any) -> tuple[Job[Any], list[WorkerRecord]]:
    """A job that runs on so many new workers, the first from 0 on, and each of the others a second later."""
    workers = [core.add_worker() for _ in range(number)]
    job = make_job(hedge=Hedge(1.0, max(1, number - 1)), **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.ENTERED
    for now in range(1, number):
        core.scheduler.advance(float(now))
    assert [job_on(worker) for worker in workers] == [job] * number
    core.commands.clear()
    return job, workers


def queue(core: Core, now: float) -> Job[Any]:
    job = make_job(now=now)
    core.scheduler.submit(job, Door.QUEUE_UP, now)
    return job


def state_of(item: WorkerRecord | Job[Any]) -> WorkerState | JobState:
    """Its state now: type checkers hold an attribute that they have seen once to stay as it was."""
    return item.state


def cut_off(core: Core) -> list[WorkerRecord]:
    """The workers whose attempt is to be cancelled, one for each time that it was said."""
    return [command.run.worker for command in core.commands_of(Interrupt)]


def told(core: Core, event: str) -> list[tuple[Any, ...]]:
    return [tell.arguments for tell in core.commands_of(Tell) if tell.event == event]


def only_attempt(job: Job[Any]) -> Attempt:
    (attempt,) = job.attempts
    return attempt


# One attempt.


def test_it_is_told_and_counted_as_one_attempt() -> None:
    core = make_core(retry_budget=RetryBudget(ratio=0.5, minimum=0))
    workers = [core.add_worker() for _ in range(3)]
    job = make_job(hedge=Hedge(1.0, 2))
    core.scheduler.submit(job, Door.QUEUE_UP, 0.0)
    for now in (1.0, 2.0):
        core.scheduler.advance(now)
    for worker in workers:
        core.failed(worker, ERROR, RETRY, 3.0)
    assert job.attempt_count == len(job.attempts) == 1
    assert (core.lifecycle.failures, core.lifecycle.retries) == (1, 0)
    assert told(core, "attempt_started") == [(job, workers[0])]
    assert told(core, "attempt_ended") == [(job, only_attempt(job))]
    # Were it more than one, half of them would be enough for a retry.
    assert job.dead_reason is DeadReason.BUDGET_EXHAUSTED


def test_it_says_who_took_part_and_when() -> None:
    core = make_core()
    job, (first, second, third) = race(core, 3)
    for worker in (first, second, third):
        core.failed(worker, ERROR, RETRY, 5.0)
    core.scheduler.advance(6.0)
    core.scheduler.advance(7.0)
    core.succeeded(first, None, 8.0)
    core.cut_short(second, ERROR, 9.0)
    core.cut_short(third, ERROR, 9.0)
    for number, attempt in enumerate(job.attempts, 1):
        assert (attempt.number, attempt.worker_id, attempt.worker_name) == (number, first.id, first.name)
        assert attempt.hedges == ((second.id, second.name), (third.id, third.name))
    assert [(attempt.started_at, attempt.ended_at) for attempt in job.attempts] == [(0.0, 5.0), (5.0, 9.0)]


def test_a_hedged_attempt_that_needed_no_further_worker_is_like_any_other() -> None:
    core = make_core()
    job, (worker,) = race(core, 1)
    core.succeeded(worker, "value", 0.5)
    assert (job.state, job._value, only_attempt(job).hedges) == (JobState.SUCCEEDED, "value", ())


def test_its_workers_all_have_the_deadline_of_the_first() -> None:
    core = make_core()
    _, workers = race(core, 3, attempt_timeout=9.0, total_timeout=20.0)
    assert [run_on(worker).deadline for worker in workers] == [9.0] * 3


def test_the_jobs_worker_is_the_first_of_those_that_still_run_it() -> None:
    core = make_core()
    job, (first, second, third) = race(core, 3)
    assert job.worker is first
    core.failed(first, ERROR, RETRY, 3.0)
    assert job.worker is second
    core.failed(third, ERROR, RETRY, 3.0)
    assert job.worker is second


def test_each_worker_that_has_ended_it_by_itself_has_that_in_its_statistics() -> None:
    core = make_core()
    _, (first, second, third, fourth) = race(core, 4)
    core.failed(first, ERROR, RETRY, 5.0)
    core.succeeded(second, None, 6.0)
    core.cut_short(third, ERROR, 7.0)
    core.succeeded(fourth, None, 8.0)
    workers = (first, second, third, fourth)
    assert [(worker._failed, worker._succeeded) for worker in workers] == [(1, 0), (0, 1), (0, 0), (0, 1)]
    assert [worker._busy_seconds for worker in workers] == [5.0, 5.0, 5.0, 5.0]
    assert [worker._last_error for worker in workers] == [ERROR, None, None, None]


def test_a_worker_whose_attempt_the_total_timeout_has_ended_has_that_in_its_statistics() -> None:
    core = make_core()
    _, (first, second) = race(core, total_timeout=9.0)
    core.timed_out(first, ERROR, 9.0)
    core.cut_short(second, OTHER_ERROR, 9.0)
    assert [(worker._failed, worker._last_error) for worker in (first, second)] == [(1, ERROR), (0, None)]


# The first value wins.


@pytest.mark.parametrize("winner", [0, 1, 2])
def test_once_there_is_a_value_the_others_are_cut(winner: int) -> None:
    core = make_core()
    _, workers = race(core, 3)
    core.succeeded(workers[winner], "value", 4.0)
    others = [worker for worker in workers if worker is not workers[winner]]
    assert cut_off(core) == others
    assert [run_on(worker).cut for worker in others] == [Cut.LOST] * 2


def test_the_job_has_succeeded_only_when_the_last_of_them_has_ended() -> None:
    core = make_core()
    job, (first, second, third) = race(core, 3)
    core.succeeded(second, "value", 4.0)
    core.cut_short(first, ERROR, 5.0)
    assert state_of(job) is JobState.RUNNING
    core.cut_short(third, ERROR, 6.0)
    assert state_of(job) is JobState.SUCCEEDED
    assert (job._value, job.finished_at) == ("value", 6.0)
    assert only_attempt(job).error is None


def test_the_winners_worker_goes_on_at_once() -> None:
    core = make_core()
    job, (first, second) = race(core)
    behind = queue(core, 2.0)
    assert core.succeeded(second, None, 4.0) is behind
    assert job_on(first) is job


def test_the_worker_of_one_that_has_lost_goes_on_when_that_has_ended() -> None:
    core = make_core()
    _, (first, second) = race(core)
    queue(core, 2.0)
    last = queue(core, 2.0)
    core.succeeded(second, None, 4.0)
    assert core.cut_short(first, ERROR, 5.0) is last


def test_a_second_value_does_not_count() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.succeeded(second, "value", 4.0)
    core.succeeded(first, "too late", 5.0)
    assert job._value == "value"


@pytest.mark.parametrize("verdict", [RETRY, GIVEN_UP, DISCARDED])
def test_what_the_others_fail_with_after_that_does_not_matter(verdict: Verdict) -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.succeeded(second, "value", 4.0)
    core.failed(first, ERROR, verdict, 5.0)
    assert job.state is JobState.SUCCEEDED
    assert job.attempt_count == 1
    assert core.lifecycle.failures == 0


def test_a_value_counts_after_the_function_has_said_that_there_is_none_to_be_had() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.failed(first, ERROR, GIVEN_UP, 4.0)
    core.succeeded(second, "value", 5.0)
    assert (job.state, job._value) == (JobState.SUCCEEDED, "value")


def test_a_value_counts_after_the_total_timeout() -> None:
    core = make_core()
    job, (first, second) = race(core, total_timeout=9.0)
    core.timed_out(first, ERROR, 9.0)
    core.succeeded(second, "value", 9.5)
    assert (job.state, job._value) == (JobState.SUCCEEDED, "value")


def test_a_value_counts_after_the_job_was_cancelled() -> None:
    core = make_core()
    job, (first, second, third) = race(core, 3)
    core.scheduler.cancel(job, 4.0)
    core.cut_short(first, ERROR, 5.0)
    core.succeeded(second, "value", 5.0)
    core.failed(third, ERROR, RETRY, 5.0)
    assert (job.state, job._value) == (JobState.SUCCEEDED, "value")


def test_a_job_that_is_cancelled_once_it_has_a_value_has_succeeded() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.succeeded(first, "value", 4.0)
    core.scheduler.cancel(job, 5.0)
    assert run_on(second).cut is Cut.LOST
    core.cut_short(second, ERROR, 6.0)
    assert job.state is JobState.SUCCEEDED


# Failures.


def test_a_runner_that_fails_waits_for_the_others() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.failed(first, ERROR, RETRY, 4.0)
    assert state_of(job) is JobState.RUNNING
    assert cut_off(core) == []
    core.succeeded(second, "value", 5.0)
    assert state_of(job) is JobState.SUCCEEDED
    assert (only_attempt(job).error, core.lifecycle.failures) == (None, 0)


def test_if_all_fail_the_last_failure_decides_what_becomes_of_the_job() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.failed(first, ERROR, Verdict(Die(DeadReason.ATTEMPTS_EXHAUSTED, "no more", ERROR)), 4.0)
    core.failed(second, OTHER_ERROR, LATER, 5.0)
    assert job.state is JobState.DELAYED
    assert only_attempt(job).error is OTHER_ERROR
    core.scheduler.advance(55.0)
    assert state_of(job) is JobState.RUNNING


def test_failures_of_one_attempt_count_once_against_its_policy() -> None:
    core = make_core()
    job, workers = race(core, 3)
    for worker in workers:
        core.failed(worker, ERROR, LATER, 4.0)
    assert job._setback is not None
    assert job._setback.counted == 1


def test_each_runner_that_fails_is_one_that_the_job_has_failed_on() -> None:
    core = make_core()
    job, (first, second, third) = race(core, 3)
    bounce = Verdict(Retry(0.0, "other", front=False, counts=True))
    for worker in (second, first):
        core.failed(worker, ERROR, bounce, 4.0)
    core.scheduler.depart(third, 4.0, cut=True)
    core.cut_short(third, ERROR, 4.0)
    assert job._setback is not None
    assert job._setback.failed_on == {first, second}
    assert job._setback.last is first


def test_attempt_timeouts_are_failures_and_the_last_of_them_decides() -> None:
    core = make_core()
    job, (first, second) = race(core, attempt_timeout=9.0)
    core.failed(second, ERROR, LATER, 9.0)
    assert state_of(job) is JobState.RUNNING
    core.failed(first, ERROR, LATER, 9.0)
    assert state_of(job) is JobState.DELAYED


@pytest.mark.parametrize(
    ("verdict", "state", "reason"),
    [(GIVEN_UP, JobState.DEAD, DeadReason.GAVE_UP), (DISCARDED, JobState.DISCARDED, None)],
)
def test_what_the_function_says_itself_decides_at_once(
    verdict: Verdict, state: JobState, reason: DeadReason | None
) -> None:
    core = make_core()
    job, (first, second, third) = race(core, 3)
    core.failed(first, ERROR, verdict, 4.0)
    assert cut_off(core) == [second, third]
    core.failed(second, OTHER_ERROR, RETRY, 5.0)
    core.cut_short(third, OTHER_ERROR, 5.0)
    assert (job.state, job.dead_reason) == (state, reason)
    assert only_attempt(job).error is ERROR


def test_the_total_timeout_decides_and_ends_it_everywhere_by_itself() -> None:
    core = make_core()
    job, (first, second, third) = race(core, 3, total_timeout=9.0)
    core.timed_out(second, ERROR, 9.0)
    assert cut_off(core) == []
    core.failed(first, OTHER_ERROR, GIVEN_UP, 9.0)
    core.timed_out(third, OTHER_ERROR, 9.0)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job._error is only_attempt(job).error is ERROR


def test_the_last_runner_may_be_ended_by_the_total_timeout() -> None:
    core = make_core()
    job, (first, second) = race(core, total_timeout=9.0)
    core.failed(first, ERROR, RETRY, 4.0)
    core.timed_out(second, OTHER_ERROR, 9.0)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert only_attempt(job).error is OTHER_ERROR


# What it means for the workers.


def test_a_rest_is_that_of_the_worker_it_was_asked_for_on() -> None:
    core = make_core()
    _, (first, second) = race(core)
    core.failed(first, ERROR, Verdict(RETRY.fate, rest=3.0), 4.0)
    assert (state_of(first), state_of(second)) == (WorkerState.RESTING, WorkerState.BUSY)
    assert (first._holds.get(Hold.RESTING), second._holds.get(Hold.RESTING)) == (7.0, None)


def test_a_broken_resource_is_that_of_the_worker_that_found_it_so() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.failed(second, ERROR, Verdict(RETRY.fate, broken=True, is_failure=True), 4.0)
    assert (state_of(first), state_of(second)) == (WorkerState.BUSY, WorkerState.REOPENING)
    assert state_of(job) is JobState.RUNNING


def test_a_failure_counts_for_the_breaker_of_its_worker() -> None:
    core = make_core()
    job, _ = race(core, 1)
    worker = core.add_worker(limits=make_limits(breaker=CircuitBreaker(failures=1, reset_after=5.0)), now=1.0)
    core.scheduler.advance(1.0)
    assert job_on(worker) is job
    core.failed(worker, ERROR, Verdict(RETRY.fate, is_failure=True), 4.0)
    assert worker._holds.get(Hold.QUARANTINED) == 9.0
    assert state_of(job) is JobState.RUNNING


@pytest.mark.parametrize(
    ("end", "state"),
    [("lose", BreakerState.OPEN), ("succeed too late", BreakerState.CLOSED)],
)
def test_what_a_probe_that_has_lost_means_for_the_breaker(end: str, state: BreakerState) -> None:
    core = make_core()
    limits = make_limits(breaker=CircuitBreaker(failures=1, reset_after=5.0))
    worker = core.add_worker(limits=limits)
    queue(core, 0.0)
    core.failed(worker, ERROR, Verdict(LATER.fate, is_failure=True), 0.0)
    job, (first,) = race(core, 1)
    core.scheduler.advance(5.0)
    assert job_on(worker) is job
    core.succeeded(first, None, 6.0)
    if end == "lose":
        core.cut_short(worker, ERROR, 7.0)
    else:
        core.succeeded(worker, None, 7.0)
    assert limits.breaker is not None
    assert limits.breaker.state is state
    assert core.scheduler.free(7.0) == [first, worker]


# Cut short.


def evict(core: Core, worker: WorkerRecord, now: float) -> None:
    core.scheduler.depart(worker, now, cut=True)
    core.cut_short(worker, ERROR, now)


@pytest.mark.parametrize("evicted", [0, 1])
def test_a_runner_that_is_evicted_is_dropped_while_others_go_on(evicted: int) -> None:
    core = make_core()
    job, workers = race(core)
    evict(core, workers[evicted], 4.0)
    assert state_of(job) is JobState.RUNNING
    assert told(core, "attempt_ended") == []
    core.succeeded(workers[1 - evicted], "value", 5.0)
    assert state_of(job) is JobState.SUCCEEDED
    attempt = only_attempt(job)
    assert (attempt.worker_id, attempt.hedges) == (workers[0].id, ((workers[1].id, workers[1].name),))


def test_if_all_are_evicted_the_job_is_queued_again_in_front_and_the_attempt_is_not_counted() -> None:
    core = make_core()
    job, workers = race(core)
    waiting = queue(core, 4.0)
    for worker in workers:
        evict(core, worker, 4.0)
    assert list(core.scheduler.state.queue) == [job, waiting]
    assert (job.attempts, job.attempt_count) == ((), 0)
    ((_, attempt),) = told(core, "attempt_ended")
    assert (attempt.worker_id, attempt.hedges) == (workers[0].id, ((workers[1].id, workers[1].name),))


def test_if_all_are_evicted_and_its_time_is_up_the_job_is_dead() -> None:
    core = make_core()
    job, workers = race(core, total_timeout=9.0)
    for worker in workers:
        core.scheduler.depart(worker, 8.0, cut=True)
    for worker in workers:
        core.cut_short(worker, ERROR, 9.0)
    assert job.dead_reason is DeadReason.TIMED_OUT


def test_what_one_has_failed_with_decides_if_the_last_is_evicted() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.failed(first, ERROR, LATER, 3.0)
    evict(core, second, 4.0)
    assert job.state is JobState.DELAYED
    assert only_attempt(job).error is ERROR


def test_a_worker_is_cut_off_once_whoever_wants_it() -> None:
    core = make_core()
    _, (first, second) = race(core)
    core.scheduler.depart(second, 3.0, cut=True)
    core.succeeded(first, "value", 4.0)
    assert cut_off(core) == [second]
    assert run_on(second).cut is Cut.EVICTED


def test_a_job_that_is_cancelled_is_so_on_all_its_workers() -> None:
    core = make_core()
    job, workers = race(core, 3)
    core.scheduler.cancel(job, 4.0)
    assert cut_off(core) == workers
    for worker in workers:
        assert run_on(worker).cut is Cut.CANCELLED
        assert state_of(job) is JobState.RUNNING
        core.cut_short(worker, ERROR, 5.0)
    assert state_of(job) is JobState.CANCELLED
    assert job.attempts == ()


def test_an_error_of_the_functions_own_after_that_is_what_the_job_dies_of() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.scheduler.cancel(job, 4.0)
    core.failed(first, ERROR, RETRY, 5.0)
    core.cut_short(second, OTHER_ERROR, 5.0)
    assert (job.dead_reason, job._error) == (DeadReason.NOT_RETRYABLE, ERROR)


def test_a_job_is_cancelled_although_one_runner_had_failed_before() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.failed(first, ERROR, RETRY, 3.0)
    core.scheduler.cancel(job, 4.0)
    core.cut_short(second, OTHER_ERROR, 5.0)
    assert (job.state, job.attempts, core.lifecycle.failures) == (JobState.CANCELLED, (), 0)


def test_what_was_decided_before_the_job_was_cancelled_holds() -> None:
    core = make_core()
    job, (first, second) = race(core)
    core.failed(first, ERROR, GIVEN_UP, 3.0)
    core.scheduler.cancel(job, 4.0)
    core.cut_short(second, OTHER_ERROR, 5.0)
    assert job.dead_reason is DeadReason.GAVE_UP


def test_an_attempt_that_has_ended_leaves_nothing_behind() -> None:
    core = make_core()
    worker = core.add_worker()
    for now in range(1000):
        core.scheduler.submit(make_job(hedge=Hedge(5000.0)), Door.QUEUE_UP, float(now))
        core.succeeded(worker, None, now + 0.5)
    hedging = core.scheduler.state.hedging
    assert (hedging.under_way, hedging.waiting, core.lifecycle.surplus) == ({}, {}, 0)
    assert len(core.scheduler.deadlines) < 100
