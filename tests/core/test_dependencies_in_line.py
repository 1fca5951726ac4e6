"""Jobs that wait for others take up places, and no worker may be left for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Admitted, Refused
from tests.core.dependents import DEAD, ERROR, chain, nothing_is_left, state_of, states_of, submit
from tests.core.makers import Core, make_core, make_job
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord


def line_up(core: Core, *, now: float = 0.0, **options: Any) -> Job[Any]:
    """A job whose submitter waits for a place."""
    job = make_job(now=now, **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, now) is Admission.WAITING
    return job


def admitted(core: Core) -> list[Job[Any]]:
    return [command.job for command in core.commands_of(Admitted)]


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
        core.scheduler.withdraw(blocked, 0.0)
    else:
        assert core.scheduler.close(0.0) == [blocked]
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
