"""Workers that are lent, in the core: what their records say, and whose turn it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Interrupt, Recall, Regain, Start
from tests.core.makers import Core, job_on, make_core, make_job, make_limits, run_of, run_on
from trio_pool import CircuitBreaker, JobState, ResourceBroken, WorkerState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Die, Verdict
from trio_pool._core.waits import Wait
from trio_pool._model.records import Group
from trio_pool._model.states import Cut, DeadReason, Hold
from trio_pool._policies.circuit_breaker import BreakerState

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord

ERROR = ResourceBroken("no")


def submit(core: Core, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, now) is Admission.ENTERED
    return job


def taken(core: Core, kind: type[Start | Regain]) -> list[tuple[WorkerRecord, Job[Any]]]:
    """What was given to workers since this was last asked."""
    found = [(command.run.worker, command.run.job) for command in core.commands_of(kind)]
    core.commands.clear()
    return found


def state_of(item: WorkerRecord | Job[Any]) -> WorkerState | JobState:
    """Its state now: type checkers hold an attribute that they have seen once to stay as it was."""
    return item.state


def lent(core: Core, worker: WorkerRecord, now: float = 0.0) -> Job[Any]:
    """A job that has lent this worker, for which nothing waited."""
    job = submit(core, now, worker=worker)
    assert core.lend(worker, now) is None
    core.commands.clear()
    return job


def test_a_lent_worker_is_idle_and_its_job_runs() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    assert (state_of(worker), state_of(job), job.worker) == (WorkerState.IDLE, JobState.RUNNING, worker)
    assert core.scheduler.free(0.0) == [worker]


def test_a_lent_worker_is_given_the_next_job_at_once() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    waiting = submit(core)
    assert core.lend(worker, 1.0) is waiting
    assert job_on(worker) is waiting


def test_a_worker_that_runs_nothing_is_given_back_at_once() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    core.scheduler.claim(run_of(job), 5.0)
    assert taken(core, Regain) == [(worker, job)]
    assert (job_on(worker), worker._lent, core.scheduler.free(5.0)) == (job, {}, [])


def test_a_worker_is_given_back_before_the_queue() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    submit(core)
    waiting = submit(core, priority=-1)
    core.scheduler.claim(run_of(job), 1.0)
    core.commands.clear()
    assert core.succeeded(worker, None, 2.0) is None
    assert taken(core, Regain) == [(worker, job)]
    assert core.succeeded(worker, None, 3.0) is waiting


def test_who_lends_a_worker_for_which_another_waits_gives_it_to_that_one() -> None:
    core = make_core()
    worker = core.add_worker()
    first = lent(core, worker)
    second = submit(core)
    waiting = submit(core)
    core.scheduler.claim(run_of(first), 1.0)
    core.commands.clear()
    assert core.lend(worker, 2.0) is None
    assert taken(core, Regain) == [(worker, first)]
    assert [run.job for run in worker._lent] == [second]
    assert state_of(waiting) is JobState.QUEUED


def test_those_who_wait_for_one_worker_get_it_in_turn() -> None:
    core = make_core()
    worker = core.add_worker()
    first, second, third = lent(core, worker), lent(core, worker), lent(core, worker)
    for job in (second, third, first):
        core.scheduler.claim(run_of(job), 1.0)
    for job in (second, third, first):
        assert taken(core, Regain) == [(worker, job)]
        core.succeeded(worker, None, 2.0)
    assert core.scheduler.free(2.0) == [worker]


def test_the_attempts_fields_are_those_of_the_job_that_is_on_the_worker() -> None:
    core = make_core()
    worker = core.add_worker()
    job = submit(core, 1.0, attempt_timeout=10.0)
    core.lend(worker, 2.0)
    submit(core, 3.0, attempt_timeout=2.0)
    assert (run_on(worker).started_at, run_on(worker).deadline) == (3.0, 5.0)
    core.succeeded(worker, None, 4.0)
    core.scheduler.claim(run_of(job), 4.0)
    assert (run_on(worker).started_at, run_on(worker).deadline) == (1.0, 11.0)


def test_a_worker_has_been_busy_only_while_it_ran_something() -> None:
    core = make_core()
    worker = core.add_worker()
    job = submit(core, 1.0)
    core.lend(worker, 2.0)
    submit(core, 3.0)
    core.succeeded(worker, None, 4.0)
    core.scheduler.claim(run_of(job), 8.0)
    core.succeeded(worker, None, 16.0)
    assert worker._busy_seconds == 1.0 + 1.0 + 8.0


def test_a_lender_makes_room_under_max_running_and_takes_it_back() -> None:
    core = make_core(max_running=1)
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, worker=first)
    waiting = [submit(core, worker=second), submit(core, worker=second)]
    core.commands.clear()
    core.lend(first, 1.0)
    assert taken(core, Start) == [(second, waiting[0])]
    core.scheduler.claim(run_of(job), 2.0)
    assert core.succeeded(second, None, 3.0) is None
    assert state_of(waiting[1]) is JobState.QUEUED
    core.commands.clear()
    core.succeeded(first, None, 4.0)
    assert taken(core, Start) == [(second, waiting[1])]


def test_a_lender_makes_room_in_its_group() -> None:
    core = make_core()
    workers = [core.add_worker(), core.add_worker()]
    group = Group(None, 1, 0, False)
    core.scheduler.open_group(group, 0.0)
    jobs = [make_job(group=group) for _ in range(2)]
    for job in jobs:
        core.scheduler.submit(job, Door.QUEUE_UP, 0.0)
    assert state_of(jobs[1]) is JobState.QUEUED
    core.commands.clear()
    following = core.lend(workers[0], 1.0)
    assert jobs[1] in (following, *(job for _, job in taken(core, Start)))
    assert (group.room, state_of(jobs[1])) == (0, JobState.RUNNING)


def test_a_lender_that_is_cancelled_is_interrupted_and_not_who_is_on_its_worker() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    other = submit(core)
    core.commands.clear()
    core.scheduler.cancel(job, 1.0)
    assert [(command.run.worker, command.run.job) for command in core.commands_of(Interrupt)] == [(worker, job)]
    assert (run_on(worker).cut, run_of(job).cut) == (None, Cut.CANCELLED)
    core.succeeded(worker, None, 2.0)
    assert other.state is JobState.SUCCEEDED
    core.scheduler.claim(run_of(job), 2.0)
    assert run_of(job).cut is Cut.CANCELLED


def test_a_lender_whose_time_is_up_is_not_cut_short_by_what_comes_later() -> None:
    core = make_core()
    worker = core.add_worker()
    job = submit(core, attempt_timeout=5.0)
    core.lend(worker, 1.0)
    core.scheduler.cancel(job, 6.0)
    assert run_of(job).cut is None


def test_a_worker_that_is_removed_cuts_whoever_has_it_or_has_lent_it() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    other = submit(core)
    core.commands.clear()
    core.scheduler.depart(worker, 1.0, cut=True)
    assert {command.run.job for command in core.commands_of(Interrupt)} == {job, other}
    assert (run_on(worker).cut, run_of(job).cut) == (Cut.EVICTED, Cut.EVICTED)


def test_a_lent_worker_that_is_told_to_leave_is_still_given_back() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    core.scheduler.depart(worker, 1.0)
    assert len(core.commands_of(Recall)) == 1
    core.commands.clear()
    core.scheduler.claim(run_of(job), 2.0)
    assert taken(core, Regain) == [(worker, job)]


def test_a_lent_worker_whose_resource_is_broken_is_still_given_back() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    submit(core)
    verdict = Verdict(Die(DeadReason.NOT_RETRYABLE, "no", ERROR), broken=True)
    core.failed(worker, ERROR, verdict, 1.0)
    assert Hold.REOPENING in worker._holds
    core.commands.clear()
    core.scheduler.claim(run_of(job), 2.0)
    assert taken(core, Regain) == [(worker, job)]
    assert core.succeeded(worker, None, 3.0) is None


def test_a_worn_worker_is_opened_anew_when_no_job_has_lent_it_any_more() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_jobs=2))
    job = lent(core, worker)
    submit(core)
    core.succeeded(worker, None, 1.0)
    assert worker._is_open
    core.scheduler.claim(run_of(job), 2.0)
    core.succeeded(worker, None, 3.0)
    assert state_of(worker) is WorkerState.REOPENING


def test_a_worker_that_grows_old_while_it_is_lent_is_opened_anew_afterwards() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_age=5.0))
    job = lent(core, worker)
    core.scheduler.advance(6.0)
    assert worker._is_open
    core.scheduler.claim(run_of(job), 7.0)
    core.succeeded(worker, None, 8.0)
    assert state_of(worker) is WorkerState.REOPENING


def test_a_lent_worker_that_is_paused_is_given_back_and_stays_paused() -> None:
    core = make_core()
    worker = core.add_worker()
    job = lent(core, worker)
    core.scheduler.pause(worker, 1.0)
    assert worker._kind.available == 0
    core.scheduler.claim(run_of(job), 2.0)
    core.succeeded(worker, None, 3.0)
    assert (state_of(worker), worker._kind.available) == (WorkerState.PAUSED, 0)
    core.scheduler.resume(worker, 4.0)
    assert (state_of(worker), worker._kind.available) == (WorkerState.IDLE, 1)


def test_nobody_is_to_rely_on_a_lent_worker() -> None:
    core = make_core()
    worker = core.add_worker()
    first, second = lent(core, worker), lent(core, worker)
    assert worker._kind.available == 0
    core.scheduler.claim(run_of(first), 1.0)
    assert worker._kind.available == 0
    core.succeeded(worker, None, 2.0)
    core.scheduler.claim(run_of(second), 3.0)
    assert worker._kind.available == 1


# Lenders that could never have it back.


def circle(core: Core, worker: WorkerRecord) -> tuple[Job[Any], Job[Any]]:
    """A cancelled job that wants its worker back, and who has that and waits for its end."""
    lender = lent(core, worker)
    holder = submit(core, worker=worker)
    core.scheduler.cancel(lender, 1.0)
    core.scheduler.begin_wait(Wait(run_of(holder), None, lambda: [lender], for_ends=True), 1.0)
    assert core.told() == []
    core.commands.clear()
    core.scheduler.claim(run_of(lender), 2.0)
    return lender, holder


def test_one_that_is_cancelled_is_told_if_who_has_its_worker_waits_for_its_end() -> None:
    core = make_core()
    worker = core.add_worker()
    lender, holder = circle(core, worker)
    [wait] = core.told()
    stuck = [run.job for run in wait.stuck]
    assert (wait.for_place, stuck, wait.lending_helps) == (True, [lender, holder], True)


def test_so_it_is_if_the_other_begins_to_wait_later() -> None:
    core = make_core()
    worker = core.add_worker()
    lender = lent(core, worker)
    holder = submit(core, worker=worker)
    core.scheduler.claim(run_of(lender), 1.0)
    core.scheduler.cancel(lender, 2.0)
    assert core.told() == []
    core.scheduler.begin_wait(Wait(run_of(holder), None, lambda: [lender], for_ends=True), 2.0)
    assert [wait.run.job for wait in core.told()] == [lender]


def test_one_that_is_not_cancelled_is_never_told() -> None:
    core = make_core()
    worker = core.add_worker()
    lender = lent(core, worker)
    holder = submit(core, worker=worker)
    core.scheduler.claim(run_of(lender), 1.0)
    assert not core.scheduler.begin_wait(Wait(run_of(holder), None, lambda: [lender]), 2.0)
    assert core.told() == []


def test_one_that_goes_on_without_its_worker_counts_where_it_has_counted() -> None:
    core = make_core(max_running=1)
    worker = core.add_worker()
    lender, holder = circle(core, worker)
    run = run_of(lender)
    core.scheduler.forfeit(run)
    assert (run.is_forfeited, list(worker._claims), job_on(worker)) == (True, [], holder)
    assert (state_of(lender), lender.worker, core.lifecycle.surplus) == (JobState.RUNNING, None, -1)
    assert core.scheduler.succeeded(run, "value", 3.0) is None
    assert (state_of(lender), lender.worker, core.lifecycle.surplus) == (JobState.SUCCEEDED, None, 0)
    assert (job_on(worker), worker._lent, worker._succeeded) == (holder, {}, 1)


@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_that_it_alone_had_lent_can_be_relied_on_when_it_has_ended(others: int) -> None:
    core = make_core()
    worker = core.add_worker()
    for _ in range(others):
        lent(core, worker)
    lender, _ = circle(core, worker)
    assert worker._kind.available == 0
    run = run_of(lender)
    core.scheduler.forfeit(run)
    core.scheduler.cut_short(run, ERROR, 3.0)
    assert (state_of(lender), worker._kind.available) == (JobState.CANCELLED, 1 - others)


# Breakers.


def probing(core: Core) -> tuple[WorkerRecord, Job[Any]]:
    """A worker whose breaker is open, and the job that is its probe."""
    worker = core.add_worker(limits=make_limits(breaker=CircuitBreaker(1, reset_after=10.0)))
    failing = submit(core, worker=worker)
    core.failed(worker, ERROR, Verdict(Die(DeadReason.NOT_RETRYABLE, "no", ERROR), is_failure=True), 0.0)
    assert failing.state is JobState.DEAD
    core.scheduler.advance(10.0)
    probe = submit(core, 10.0, worker=worker)
    assert state_of_breaker(worker) is BreakerState.PROBING
    return worker, probe


def state_of_breaker(worker: WorkerRecord) -> BreakerState:
    assert worker._limits is not None
    assert worker._limits.breaker is not None
    return worker._limits.breaker.state


def test_a_probe_that_has_lent_its_worker_is_one_still_when_it_is_back() -> None:
    core = make_core()
    worker, probe = probing(core)
    core.lend(worker, 10.0)
    submit(core, 10.0, worker=worker)
    core.succeeded(worker, None, 11.0)
    assert state_of_breaker(worker) is BreakerState.PROBING
    core.scheduler.claim(run_of(probe), 11.0)
    core.succeeded(worker, None, 12.0)
    assert state_of_breaker(worker) is BreakerState.CLOSED


def test_a_probe_that_goes_on_without_its_worker_gives_its_place_to_another() -> None:
    core = make_core()
    worker, probe = probing(core)
    core.lend(worker, 10.0)
    holder = submit(core, 10.0, worker=worker)
    core.scheduler.cancel(probe, 11.0)
    core.scheduler.begin_wait(Wait(run_of(holder), None, lambda: [probe], for_ends=True), 11.0)
    core.scheduler.claim(run_of(probe), 11.0)
    core.scheduler.forfeit(run_of(probe))
    assert state_of_breaker(worker) is BreakerState.OPEN
