"""A group that may run so many attempts at once runs no more, and holds up nobody but itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Start
from tests.core.makers import Core, calls_of, job_on, make_core, make_job
from trio_pool import JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._policies.hedge import Hedge

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import Group, WorkerRecord

ERROR = ValueError("no")


def submit(core: Core, group: Group | None = None, *, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, group=group, **options)
    assert core.scheduler.submit(job, Door.ALWAYS, now) is Admission.ENTERED
    return job


def line_up(core: Core, group: Group | None = None, **options: Any) -> Job[Any]:
    """A job whose submitter waits for a place."""
    job = make_job(group=group, **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    return job


def fail(
    core: Core, worker: WorkerRecord, *, delay: float = 0.0, front: bool = False, now: float = 0.0
) -> Job[Any] | None:
    return core.failed(worker, ERROR, Verdict(Retry(delay, "any", front=front, counts=True)), now)


def running(*jobs: Job[Any]) -> list[bool]:
    return [job.state is JobState.RUNNING for job in jobs]


def started(core: Core) -> list[tuple[WorkerRecord, Job[Any]]]:
    """What was handed to idle workers since this was last asked."""
    found = [(start.run.worker, start.run.job) for start in core.commands_of(Start)]
    core.commands.clear()
    return found


def test_no_more_of_a_group_runs_than_may_however_many_workers_are_idle() -> None:
    core = make_core()
    for _ in range(5):
        core.add_worker()
    group = core.open_group(max_running=2)
    jobs = [submit(core, group) for _ in range(4)]
    assert running(*jobs) == [True, True, False, False]
    assert core.roster.idle_count == 3


def test_a_full_groups_jobs_do_not_hold_up_those_of_others() -> None:
    core = make_core()
    core.add_worker()
    free = core.add_worker()
    group, other = core.open_group(max_running=1), core.open_group(max_running=1)
    submit(core, group)
    held_up = submit(core, group, priority=-1)
    behind = submit(core, other)
    assert behind.worker is free
    assert not any(running(held_up))


def test_a_worker_that_becomes_free_passes_over_the_jobs_of_full_groups() -> None:
    core = make_core()
    first, _ = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    plain, _ = submit(core), submit(core, group)
    held_up, behind = submit(core, group), submit(core)
    assert plain.worker is first
    assert core.succeeded(first, None, 1.0) is behind
    assert core.succeeded(first, None, 2.0) is None
    assert not any(running(held_up))


def test_jobs_that_wait_for_another_worker_do_not_hold_up_a_group() -> None:
    core = make_core()
    core.add_worker("a")
    free = core.add_worker()
    group = core.open_group(max_running=1)
    submit(core, requires=["a"])
    submit(core, requires=["a"])
    assert submit(core, group).worker is free


@pytest.mark.parametrize("ending", ["succeeds", "backs off", "is cancelled"])
def test_when_one_of_a_full_group_runs_no_longer_the_next_starts(ending: str) -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(max_running=1)
    first, second = submit(core, group), submit(core, group)
    if ending == "succeeds":
        found = core.succeeded(worker, None, 1.0)
    elif ending == "backs off":
        found = fail(core, worker, delay=5.0, now=1.0)
    else:
        core.scheduler.cancel(first, 1.0)
        found = core.cut_short(worker, ERROR, 1.0)
    assert found is second


def test_the_next_of_a_group_may_start_on_a_worker_that_was_idle_all_the_time() -> None:
    core = make_core()
    busy, idle = core.add_worker("a"), core.add_worker("b")
    group = core.open_group(max_running=1)
    submit(core, group, requires=["a"])
    second = submit(core, group, requires=["b"])
    started(core)
    assert core.succeeded(busy, None, 1.0) is None
    assert started(core) == [(idle, second)]


def test_of_a_group_the_most_urgent_starts_whether_its_worker_was_idle_or_has_just_become_so() -> None:
    core = make_core()
    busy, _ = core.add_worker("a"), core.add_worker("b")
    group = core.open_group(max_running=1)
    submit(core, group, requires=["a"])
    urgent, late = submit(core, group, requires=["a"], priority=-1), submit(core, group, requires=["b"])
    core.succeeded(busy, None, 1.0)
    assert running(urgent, late) == [True, False]


def test_what_the_end_of_a_job_lets_start_does_not_overtake_more_urgent_jobs_of_its_group() -> None:
    core = make_core()
    busy, _ = core.add_worker("a"), core.add_worker("b")
    group = core.open_group(max_running=1)
    first = submit(core, requires=["a"])
    urgent = submit(core, group, requires=["a"], priority=-1)
    late = submit(core, group, after=[first], requires=["b"])
    core.succeeded(busy, None, 1.0)
    assert running(urgent, late) == [True, False]


def test_a_retry_does_not_overtake_more_urgent_jobs_of_its_group() -> None:
    core = make_core()
    worker, _ = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    late = submit(core, group, priority=5)
    urgent = submit(core, group)
    fail(core, worker)
    assert running(urgent, late) == [True, False]


def test_a_retry_in_a_group_that_is_not_full_starts_at_once_on_an_idle_worker() -> None:
    core = make_core()
    worker, idle = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=2)
    job = submit(core, group)
    fail(core, worker)
    assert job.worker is idle


def test_an_attempt_that_is_cut_short_gives_its_room_to_the_first_of_its_group() -> None:
    core = make_core()
    worker, idle = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    first, second = submit(core, group), submit(core, group, priority=-1)
    core.scheduler.depart(worker, 1.0, cut=True)
    core.cut_short(worker, ERROR, 1.0)
    assert second.worker is idle
    assert first.state is JobState.QUEUED


def test_the_bounds_of_the_pool_and_of_the_group_both_hold() -> None:
    core = make_core(max_running=2)
    workers = [core.add_worker() for _ in range(4)]
    group = core.open_group(max_running=1)
    jobs = [submit(core, group), submit(core, group), submit(core), submit(core)]
    assert running(*jobs) == [True, False, True, False]
    core.succeeded(workers[0], None, 1.0)
    assert running(*jobs[1:]) == [True, True, False]


def test_attempts_on_further_workers_count_too() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(3)]
    group = core.open_group(max_running=2)
    submit(core, group, hedge=Hedge(1.0, extra=2))
    core.scheduler.advance(1.0)
    core.scheduler.advance(2.0)
    waiting = submit(core, group, now=2.0)
    assert [job_on(worker) is not None for worker in workers] == [True, True, False]
    assert not any(running(waiting))
    fail(core, workers[0], now=3.0)
    assert running(waiting) == [True]
    assert group.surplus == 0


def test_an_attempt_is_started_on_no_further_worker_while_its_group_is_full() -> None:
    core = make_core()
    first, second, third = [core.add_worker() for _ in range(3)]
    group = core.open_group(max_running=2)
    submit(core, group)
    slow = submit(core, group, hedge=Hedge(1.0))
    core.scheduler.advance(1.0)
    assert job_on(third) is None
    core.succeeded(first, None, 2.0)
    assert [job_on(worker) for worker in (second, third)] == [slow, slow]


def test_a_submitter_with_a_job_of_a_full_group_does_not_hold_up_others_in_line() -> None:
    core = make_core(max_queue=0)
    worker, _ = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    submit(core)
    submit(core, group)
    held_up, behind = line_up(core, group), line_up(core)
    assert core.succeeded(worker, None, 1.0) is behind
    assert core.succeeded(worker, None, 2.0) is None
    assert held_up._state is None


def test_a_submitter_with_a_job_of_a_full_group_is_let_in_when_that_may_start() -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    group = core.open_group(max_running=1)
    submit(core, group)
    held_up = line_up(core, group)
    assert core.succeeded(worker, None, 1.0) is held_up


def test_a_submitter_with_a_job_of_a_group_that_is_not_full_needs_no_place() -> None:
    core = make_core(max_queue=0)
    core.add_worker()
    group = core.open_group(max_running=1)
    assert core.scheduler.submit(make_job(group=group), Door.IF_IDLE, 0.0) is Admission.ENTERED
    core.add_worker()
    assert core.scheduler.submit(make_job(group=group), Door.IF_IDLE, 0.0) is Admission.FULL


def test_a_worker_finds_the_jobs_of_a_group_again_that_it_passed_over() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    submit(core)
    submit(core, group)
    held_up, plain = submit(core, group), submit(core)
    assert core.succeeded(first, None, 1.0) is plain
    more = submit(core)
    assert core.succeeded(second, None, 2.0) is held_up
    assert core.succeeded(first, None, 3.0) is more


def test_a_job_of_a_group_may_ask_for_one_worker() -> None:
    core = make_core()
    worker, _ = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    submit(core, group, worker=worker)
    second = submit(core, group, worker=worker)
    core.succeeded(worker, None, 1.0)
    assert second.worker is worker


def test_a_job_of_a_group_that_is_to_go_to_the_same_worker_goes_to_others_once_that_has_left() -> None:
    core = make_core()
    worker, other = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    job = submit(core, group)
    core.scheduler.pause(worker, 0.0)
    core.failed(worker, ERROR, Verdict(Retry(0.0, "same", front=False, counts=True)), 1.0)
    assert job.state is JobState.QUEUED
    core.scheduler.depart(worker, 2.0)
    core.scheduler.left(worker, 2.0)
    assert job.worker is other


# What it costs.


def test_nothing_piles_up_while_a_group_is_full() -> None:
    core = make_core()
    core.add_worker()
    group = core.open_group(max_running=1)
    for _ in range(1000):
        submit(core, group)
    assert len(core.lifecycle.news) == 0


@pytest.mark.parametrize("idle", [0, 1])
def test_what_the_end_of_an_attempt_costs_depends_neither_on_how_many_wait_nor_on_other_groups(idle: int) -> None:
    def cost(waiting: int) -> int:
        core = make_core()
        worker = core.add_worker()
        group, full = core.open_group(max_running=1), core.open_group(max_running=1)
        submit(core, group)
        for _ in range(idle):
            submit(core, full)
            core.add_worker()
            core.add_worker()
        for _ in range(waiting):
            submit(core, group)
            if idle:
                submit(core, full)
        return calls_of(lambda: core.succeeded(worker, None, 1.0))

    assert cost(10) == cost(1000)
