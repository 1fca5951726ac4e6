"""Jobs that wait for others start when all of these have succeeded, and not at all if one doesn't."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Admitted, Refused, Start
from tests.core.makers import Core, calls_of, job_on, make_core, make_job
from tests.effort import part_of
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Die, Drop, Retry, Verdict

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import JobRecord, WorkerRecord

ERROR = ValueError("no")
AGAIN = Verdict(Retry(0.0, "any", front=False, counts=True))
LATER = Verdict(Retry(5.0, "any", front=False, counts=True))
DEAD = Verdict(Die(DeadReason.GAVE_UP, "it is so", ERROR))


def submit(core: Core, *, now: float = 0.0, door: Door = Door.ALWAYS, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    assert core.scheduler.submit(job, door, now) is Admission.ENTERED
    return job


def line_up(core: Core, *, now: float = 0.0, **options: Any) -> Job[Any]:
    """A job whose submitter waits for a place."""
    job = make_job(now=now, **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, now) is Admission.WAITING
    return job


def state_of(job: Job[Any]) -> JobState | None:
    """Its state now, None while it waits for a place."""
    return job._state


def states_of(*jobs: Job[Any]) -> list[JobState | None]:
    return [job._state for job in jobs]


def admitted(core: Core) -> list[Job[Any]]:
    return [command.job for command in core.commands_of(Admitted)]


def chain(core: Core, length: int, **options: Any) -> list[Job[Any]]:
    """Jobs each of which waits for the one before it; the first one waits for nothing."""
    jobs = [submit(core, **options)]
    for _ in range(length - 1):
        jobs.append(submit(core, after=jobs[-1:], **options))
    return jobs


def nothing_is_left(core: Core) -> bool:
    """Whether nobody waits for anybody, and nothing is to come due."""
    dependencies = core.scheduler.state.dependencies
    entries = core.scheduler.deadlines._stale == len(core.scheduler.deadlines)
    return not (dependencies.missing or dependencies.dependents or core.lifecycle.news) and entries


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


# Places.


def test_blocked_jobs_take_up_places() -> None:
    core = make_core(max_queue=2)
    core.add_worker()
    chain(core, 3, door=Door.AT_ONCE)
    assert core.scheduler.submit(make_job(), Door.AT_ONCE, 0.0) is Admission.FULL
    assert core.scheduler.submit(make_job(), Door.QUEUE_UP, 0.0) is Admission.WAITING


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_blocked_job_gives_up_its_place_with_its_start_or_its_end(ends_well: bool) -> None:
    core = make_core(max_queue=1)
    worker = core.add_worker()
    chain(core, 2, door=Door.AT_ONCE)
    waiting = line_up(core)
    if ends_well:
        core.succeeded(worker, None, 1.0)
    else:
        core.failed(worker, ERROR, DEAD, 1.0)
    assert state_of(waiting) is (JobState.QUEUED if ends_well else JobState.RUNNING)
    assert admitted(core) == [waiting]


@pytest.mark.parametrize("door", [Door.AT_ONCE, Door.IF_IDLE])
def test_a_job_after_others_that_gets_no_place_at_once_leaves_nothing_behind(door: Door) -> None:
    core = make_core(max_queue=0)
    core.add_worker()
    core.add_worker()
    first = submit(core)
    assert core.scheduler.submit(make_job(after=[first]), door, 0.0) is Admission.FULL
    assert nothing_is_left(core)


def test_a_job_after_others_is_never_let_in_for_an_idle_worker() -> None:
    core = make_core()
    core.add_worker()
    core.add_worker()
    first = submit(core)
    assert core.scheduler.submit(make_job(after=[first]), Door.IF_IDLE, 0.0) is Admission.FULL


def full_core() -> tuple[Core, WorkerRecord, Job[Any]]:
    """A core whose queue is full, with a worker and the job that it runs."""
    core = make_core(max_queue=1)
    worker = core.add_worker()
    running = submit(core)
    submit(core, worker=worker, priority=9)
    return core, worker, running


def test_who_waits_for_a_place_with_a_blocked_job_gets_it_in_turn() -> None:
    core, _, running = full_core()
    first, second = line_up(core, after=[running]), line_up(core)
    (queued,) = core.scheduler.state.queue
    core.scheduler.cancel(queued, 1.0)
    assert states_of(first, second) == [JobState.BLOCKED, None]
    assert admitted(core) == [first]


def test_a_blocked_job_that_got_its_place_starts_when_it_may() -> None:
    core, worker, running = full_core()
    blocked = line_up(core, after=[running])
    (queued,) = core.scheduler.state.queue
    core.scheduler.cancel(queued, 1.0)
    assert core.succeeded(worker, None, 2.0) is blocked


def test_a_job_that_is_blocked_no_longer_starts_on_an_idle_worker_without_a_place() -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    running = submit(core)
    blocked = line_up(core, after=[running])
    assert core.succeeded(worker, None, 1.0) is blocked
    assert admitted(core) == [blocked]


def test_jobs_in_line_start_in_the_order_in_which_they_could() -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    running = submit(core)
    blocked, ready = line_up(core, after=[running]), line_up(core)
    assert core.succeeded(worker, None, 1.0) is ready
    assert core.succeeded(worker, None, 2.0) is blocked


def test_a_blocked_job_in_line_does_not_keep_an_idle_worker_from_those_behind_it() -> None:
    core = make_core(max_queue=0)
    core.add_worker()
    other = core.add_worker()
    running = submit(core)
    line_up(core, after=[running])
    assert submit(core, door=Door.QUEUE_UP).worker is other


def test_a_submitter_in_line_is_let_go_with_its_job_discarded() -> None:
    core, worker, running = full_core()
    blocked = line_up(core, after=[running])
    core.failed(worker, ERROR, DEAD, 1.0)
    assert admitted(core) == [blocked]
    assert [transition.state for transition in blocked.history] == [JobState.BLOCKED, JobState.DISCARDED]
    assert core.scheduler.waiting == 0
    assert nothing_is_left(core)


def test_a_blocked_job_in_line_runs_out_of_time() -> None:
    core, _, running = full_core()
    blocked = line_up(core, after=[running], total_timeout=5.0)
    core.scheduler.advance(5.0)
    assert blocked.dead_reason is DeadReason.TIMED_OUT
    assert admitted(core) == [blocked]
    assert nothing_is_left(core)


def test_a_blocked_job_runs_out_of_time_after_it_has_got_its_place() -> None:
    core, _, running = full_core()
    blocked = line_up(core, after=[running], total_timeout=5.0)
    (queued,) = core.scheduler.state.queue
    core.scheduler.cancel(queued, 1.0)
    core.scheduler.advance(5.0)
    assert blocked.dead_reason is DeadReason.TIMED_OUT
    assert nothing_is_left(core)


@pytest.mark.parametrize("how", ["withdrawn", "closed"])
def test_of_a_submitter_that_has_gone_with_a_blocked_job_nothing_is_left(how: str) -> None:
    core, worker, running = full_core()
    blocked = line_up(core, after=[running], total_timeout=5.0)
    if how == "withdrawn":
        core.scheduler.withdraw(blocked)
    else:
        assert core.scheduler.close() == [blocked]
    assert nothing_is_left(core)
    core.succeeded(worker, None, 1.0)
    assert state_of(blocked) is None


# Who may take it.


def test_a_job_after_others_that_no_worker_may_take_is_refused_at_once() -> None:
    core = make_core()
    core.add_worker()
    first = submit(core)
    assert core.scheduler.submit(make_job(after=[first], requires=["a"]), Door.ALWAYS, 0.0) is Admission.NO_WORKER
    assert nothing_is_left(core)


def test_a_blocked_job_that_no_worker_may_take_any_more_is_dead_once_it_could_start() -> None:
    core = make_core()
    worker, other = core.add_worker(), core.add_worker("a")
    first = submit(core, worker=worker)
    second = submit(core, after=[first], requires=["a"])
    third = submit(core, after=[second])
    core.scheduler.depart(other, 1.0)
    core.scheduler.left(other, 1.0)
    assert state_of(second) is JobState.BLOCKED
    core.succeeded(worker, None, 2.0)
    assert (second.dead_reason, third.state) == (DeadReason.NO_WORKER, JobState.DISCARDED)
    assert nothing_is_left(core)


def test_a_submitter_in_line_with_a_blocked_job_is_refused_when_nobody_may_take_it_any_more() -> None:
    core = make_core(max_queue=0)
    worker, other = core.add_worker(), core.add_worker("a")
    first = submit(core, worker=worker)
    second = line_up(core, after=[first], requires=["a"])
    core.scheduler.depart(other, 1.0)
    core.scheduler.left(other, 1.0)
    assert [command.job for command in core.commands_of(Refused)] == [second]
    assert nothing_is_left(core)


def test_what_waits_for_a_job_that_is_buried_with_its_last_worker_is_discarded() -> None:
    core = make_core()
    worker = core.add_worker("a")
    core.add_worker()
    core.scheduler.pause(worker, 0.0)
    first = submit(core, requires=["a"])
    second = submit(core, after=[first])
    core.scheduler.depart(worker, 1.0)
    core.scheduler.left(worker, 1.0)
    assert (first.dead_reason, second.state) == (DeadReason.NO_WORKER, JobState.DISCARDED)


def test_what_waits_for_a_job_that_is_buried_at_the_pools_end_is_discarded() -> None:
    core = make_core(no_worker="wait")
    core.add_worker()
    first = submit(core, requires=["a"])
    second = submit(core, after=[first])
    core.scheduler.drain(1.0)
    assert (first.dead_reason, second.state) == (DeadReason.NO_WORKER, JobState.DISCARDED)
    assert nothing_is_left(core)


def test_nothing_is_buried_at_the_pools_end_while_a_job_runs_that_others_wait_for() -> None:
    core = make_core()
    worker = core.add_worker()
    first, second = chain(core, 2)
    core.scheduler.drain(1.0)
    assert states_of(first, second) == [JobState.RUNNING, JobState.BLOCKED]
    assert core.succeeded(worker, None, 2.0) is second


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
