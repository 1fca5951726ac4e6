"""Jobs that wait for others start when all of these have succeeded, and not at all if one doesn't."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.core.commands import Start
from tests.core.dependents import DEAD, ERROR, chain, nothing_is_left, state_of, states_of, submit
from tests.core.makers import Core, calls_of, job_on, make_core
from tests.effort import part_of
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Drop, Retry, Verdict

if TYPE_CHECKING:
    from trio_pool._model.records import JobRecord, WorkerRecord

AGAIN = Verdict(Retry(0.0, "any", front=False, counts=True))
LATER = Verdict(Retry(5.0, "any", front=False, counts=True))


# Starting.


def test_a_job_starts_when_what_it_waits_for_has_succeeded() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    second = submit(core, after=[first])
    assert states_of(first, second) == [JobState.RUNNING, JobState.BLOCKED]
    assert core.succeeded(worker, None, 1.0) is second
    assert [transition.state for transition in second.history] == [JobState.BLOCKED, JobState.QUEUED, JobState.RUNNING]
    assert nothing_is_left(core)


def test_a_job_waits_for_the_last_of_several() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(3)]
    jobs = [submit(core) for _ in workers]
    last = submit(core, after=jobs)
    for worker in workers[:2]:
        core.succeeded(worker, None, 1.0)
        assert state_of(last) is JobState.BLOCKED
    core.succeeded(workers[2], None, 2.0)
    assert state_of(last) is JobState.RUNNING


def test_idle_workers_start_what_the_end_of_a_job_lets_start() -> None:
    core = make_core()
    busy, *idle = [core.add_worker() for _ in range(3)]
    first = submit(core)
    others = [submit(core, after=[first]) for _ in range(3)]
    core.commands.clear()
    core.succeeded(busy, None, 1.0)
    found = [(start.run.worker, start.run.job) for start in core.commands_of(Start)]
    assert found == [(idle[0], others[0]), (idle[1], others[1]), (busy, others[2])]


def test_where_nobody_is_idle_the_worker_itself_goes_on_with_what_it_lets_start() -> None:
    core = make_core()
    worker, _ = core.add_worker(), core.add_worker()
    first, _ = submit(core), submit(core)
    second = submit(core, after=[first])
    core.commands.clear()
    assert core.succeeded(worker, None, 1.0) is second
    assert core.commands_of(Start) == []


def test_a_job_after_jobs_that_have_succeeded_starts_at_once() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    core.succeeded(worker, None, 1.0)
    second = submit(core, after=[first], now=2.0)
    assert [transition.state for transition in second.history] == [JobState.QUEUED, JobState.RUNNING]


def test_a_job_waits_only_for_those_that_have_not_succeeded_yet() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    core.succeeded(worker, None, 1.0)
    running = submit(core, now=1.0)
    waiting = submit(core, after=[first, running], now=1.0)
    assert list(core.scheduler.state.dependencies.missing[waiting]) == [running]


def test_a_job_named_twice_is_waited_for_once() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    second = submit(core, after=[first, first])
    assert core.succeeded(worker, None, 1.0) is second


def test_what_a_job_waits_for_may_fail_and_be_tried_again() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    second = submit(core, after=[first])
    core.failed(worker, ERROR, AGAIN, 1.0)
    core.failed(worker, ERROR, LATER, 2.0)
    assert states_of(first, second) == [JobState.DELAYED, JobState.BLOCKED]
    core.scheduler.advance(7.0)
    core.succeeded(worker, None, 8.0)
    assert state_of(second) is JobState.RUNNING


def test_a_job_stands_behind_those_that_were_queued_when_it_could_start() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    blocked = submit(core, after=[first])
    queued = submit(core)
    assert core.succeeded(worker, None, 1.0) is queued
    assert core.succeeded(worker, None, 2.0) is blocked


def test_of_jobs_that_can_start_together_the_more_urgent_does() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    _, urgent = submit(core, after=[first], priority=5), submit(core, after=[first], priority=-5)
    assert core.succeeded(worker, None, 1.0) is urgent


def test_a_job_does_not_hold_on_to_what_it_has_waited_for() -> None:
    core = make_core()
    core.add_worker()
    second = submit(core, after=[submit(core)])
    assert second._options.after == ()


# Not starting.


def end(core: Core, worker: WorkerRecord, how: str) -> JobRecord:
    """Let the job that a worker runs end without success."""
    job = job_on(worker)
    assert job is not None
    if how == "dead":
        core.failed(worker, ERROR, DEAD, 1.0)
    elif how == "discarded":
        core.failed(worker, ERROR, Verdict(Drop("it is so")), 1.0)
    else:
        core.scheduler.cancel(job, 1.0)
        core.cut_short(worker, ERROR, 1.0)
    return job


@pytest.mark.parametrize("how", ["dead", "discarded", "cancelled"])
def test_a_job_is_discarded_when_what_it_waits_for_does_not_succeed(how: str) -> None:
    core = make_core()
    worker, _ = core.add_worker(), core.add_worker()
    first, other = submit(core, name="the first"), submit(core)
    second = submit(core, after=[other, first])
    end(core, worker, how)
    assert state_of(second) is JobState.DISCARDED
    assert second.reason == f"it waited for the first, which is {how}"
    assert nothing_is_left(core)


@pytest.mark.parametrize("how", ["dead", "discarded", "cancelled"])
def test_a_job_after_one_that_has_not_succeeded_is_discarded_at_once(how: str) -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    first = submit(core, name="the first")
    end(core, worker, how)
    job = submit(core, after=[first], now=2.0, door=Door.AT_ONCE)
    assert [transition.state for transition in job.history] == [JobState.BLOCKED, JobState.DISCARDED]
    assert job.reason == f"it waited for the first, which is {how}"
    assert nothing_is_left(core)


def test_all_that_stands_behind_is_discarded_each_for_what_it_waited_for() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core, name="one")
    second = submit(core, name="two", after=[first])
    third = submit(core, name="three", after=[second])
    fourth = submit(core, name="four", after=[third, first])
    core.failed(worker, ERROR, DEAD, 1.0)
    assert [job.reason for job in (second, third, fourth)] == [
        "it waited for one, which is dead",
        "it waited for two, which is discarded",
        "it waited for one, which is dead",
    ]


def test_jobs_beside_a_failure_go_on() -> None:
    core = make_core()
    bad, good = core.add_worker(), core.add_worker()
    first, second = submit(core), submit(core)
    behind, beside = submit(core, after=[first]), submit(core, after=[second])
    core.failed(bad, ERROR, DEAD, 1.0)
    core.succeeded(good, None, 2.0)
    assert states_of(behind, beside) == [JobState.DISCARDED, JobState.RUNNING]


def test_a_blocked_job_can_be_cancelled_and_what_is_behind_it_is_discarded() -> None:
    core = make_core()
    core.add_worker()
    first, second, third = chain(core, 3)
    core.scheduler.cancel(second, 1.0)
    assert states_of(first, second, third) == [JobState.RUNNING, JobState.CANCELLED, JobState.DISCARDED]
    assert nothing_is_left(core)


def test_a_cancelled_job_is_not_what_another_waits_for_any_longer() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    cancelled, kept = submit(core, after=[first]), submit(core, after=[first])
    core.scheduler.cancel(cancelled, 1.0)
    assert core.succeeded(worker, None, 2.0) is kept


def test_when_all_is_cancelled_blocked_jobs_are_too() -> None:
    core = make_core()
    core.add_worker()
    first, *others = chain(core, 3, total_timeout=100.0)
    core.scheduler.cancel_all(1.0)
    assert states_of(*others) == [JobState.CANCELLED] * 2
    assert not first.state.is_final
    assert nothing_is_left(core)


# Time.


def test_the_total_timeout_runs_on_while_a_job_is_blocked() -> None:
    core = make_core()
    core.add_worker()
    first = submit(core)
    second = submit(core, after=[first], total_timeout=5.0)
    third = submit(core, after=[second])
    assert core.scheduler.deadlines.soonest == 5.0
    core.scheduler.advance(5.0)
    assert (second.dead_reason, third.state) == (DeadReason.TIMED_OUT, JobState.DISCARDED)
    assert nothing_is_left(core)


def test_a_job_that_is_blocked_no_longer_times_out_in_the_queue() -> None:
    core = make_core()
    worker = core.add_worker()
    first, _ = submit(core), submit(core)
    second = submit(core, after=[first], total_timeout=5.0)
    core.succeeded(worker, None, 1.0)
    assert state_of(second) is JobState.QUEUED
    core.scheduler.advance(5.0)
    assert second.dead_reason is DeadReason.TIMED_OUT


def test_in_a_tie_the_timeout_wins_over_what_would_have_let_the_job_start() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core)
    second = submit(core, after=[first], total_timeout=5.0)
    assert core.succeeded(worker, None, 5.0) is None
    assert second.dead_reason is DeadReason.TIMED_OUT


def test_in_a_tie_the_timeout_wins_over_what_would_have_discarded_the_job() -> None:
    core = make_core()
    core.add_worker()
    submit(core)
    first = submit(core, total_timeout=5.0)
    second = submit(core, after=[first], total_timeout=5.0)
    core.scheduler.advance(5.0)
    assert [job.dead_reason for job in (first, second)] == [DeadReason.TIMED_OUT] * 2
    assert nothing_is_left(core)


def test_a_job_after_others_whose_time_is_up_is_dead_at_once() -> None:
    core = make_core()
    core.add_worker()
    first = submit(core)
    second = submit(core, after=[first], total_timeout=0.0)
    assert second.dead_reason is DeadReason.TIMED_OUT
    assert nothing_is_left(core)


# What it costs.


MANY = part_of(100_000)


def test_a_very_long_chain_is_discarded_in_one_event() -> None:
    core = make_core(keep_history=False)
    worker = core.add_worker()
    jobs = chain(core, MANY)
    core.failed(worker, ERROR, DEAD, 1.0)
    assert core.lifecycle.count[JobState.DISCARDED] == MANY - 1
    assert jobs[-1].reason.endswith("which is discarded")
    assert nothing_is_left(core)


def test_a_very_wide_fan_is_let_go_in_one_event() -> None:
    core = make_core(keep_history=False)
    worker = core.add_worker()
    first = submit(core)
    for _ in range(MANY):
        submit(core, after=[first])
    core.succeeded(worker, None, 1.0)
    assert core.lifecycle.count[JobState.QUEUED] == MANY - 1
    assert nothing_is_left(core)


@pytest.mark.parametrize("ends_well", [True, False])
def test_what_the_end_of_a_job_costs_is_in_proportion_to_those_that_wait_for_it(ends_well: bool) -> None:
    def cost(dependents: int) -> int:
        core = make_core()
        worker = core.add_worker()
        first = submit(core)
        for _ in range(dependents):
            submit(core, after=[first])
        if ends_well:
            return calls_of(lambda: core.succeeded(worker, None, 1.0))
        return calls_of(lambda: core.failed(worker, ERROR, DEAD, 1.0))

    # So that heaps that are built anew from time to time are, too, as large as they were.
    each = (cost(2000) - cost(1000)) / 1000
    assert cost(4000) == pytest.approx(cost(2000) + 2000 * each, rel=0.01)
    assert each < 40


def test_what_the_end_of_a_chains_first_job_costs_does_not_depend_on_its_length() -> None:
    def cost(length: int) -> int:
        core = make_core()
        worker = core.add_worker()
        chain(core, length)
        return calls_of(lambda: core.succeeded(worker, None, 1.0))

    assert cost(10) == cost(1000)


def test_what_a_chain_that_is_discarded_costs_is_in_proportion_to_its_length() -> None:
    def cost(length: int) -> int:
        core = make_core()
        worker = core.add_worker()
        chain(core, length)
        return calls_of(lambda: core.failed(worker, ERROR, DEAD, 1.0))

    assert cost(2000) - cost(1000) == cost(3000) - cost(2000)


def test_a_job_after_very_many_costs_as_much_with_the_end_of_each() -> None:
    def cost(before: int) -> int:
        core = make_core()
        worker, _ = core.add_worker(), core.add_worker()
        jobs = [submit(core) for _ in range(before)]
        submit(core, after=jobs)
        return calls_of(lambda: core.succeeded(worker, None, 1.0))

    assert cost(10) == cost(1000)


def test_nothing_is_remembered_of_very_many_jobs_that_have_come_and_gone() -> None:
    core = make_core()
    core.add_worker()
    first = submit(core)
    for _ in range(1000):
        job = submit(core, after=[first], total_timeout=100.0)
        core.scheduler.cancel(job, 0.0)
    assert nothing_is_left(core)
    assert len(core.scheduler.deadlines) <= 64
    assert core.scheduler.deadlines.soonest in (100.0, math.inf)
