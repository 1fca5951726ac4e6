"""Where jobs wait though workers are idle, what may start is found without looking at what has not changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, job_on, make_core, make_job, run_of, run_on
from trio_pool import JobState
from trio_pool._core.admission import Door
from trio_pool._core.tag_index import FEW

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import JobRecord


def submit(core: Core, **options: Any) -> Job[Any]:
    job = make_job(**options)
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    return job


def test_a_worker_given_back_by_a_group_finds_what_waits_for_its_tags() -> None:
    core = make_core()
    worker, other = core.add_worker("a"), core.add_worker()
    submit(core, worker=worker)
    first = submit(core, requires=["a"])
    assert core.succeeded(worker, None, 0.0) is first  # from here on there is an index for its kind
    group = core.open_group(reserve=2)
    core.succeeded(worker, None, 0.0)
    assert set(group.workers) == {worker, other}
    waiting = submit(core, requires=["a"])
    assert waiting.state is JobState.QUEUED
    core.scheduler.close_group(group, 0.0)
    assert job_on(worker) is waiting


def test_the_first_of_all_that_idle_workers_may_take_starts_when_there_is_room() -> None:
    core = make_core(max_running=1)
    workers = [core.add_worker(f"tag {number}", "all") for number in range(FEW + 2)]
    running = submit(core)
    busy = run_of(running).worker
    waiting = [
        submit(core, requires=["tag 3"], priority=3),
        submit(core, requires=["all"], priority=1),
        submit(core, worker=workers[4], priority=2),
        submit(core, priority=4),
        submit(core, requires=["all", "tag 5"], priority=0),
    ]
    order: list[JobRecord] = []
    for _ in waiting:
        core.succeeded(busy, None, 0.0)
        busy = next(worker for worker in workers if job_on(worker) is not None)
        order.append(run_on(busy).job)
    assert order == sorted(waiting, key=lambda job: job.priority)


def test_what_waited_for_room_and_was_cancelled_holds_nothing_up() -> None:
    core = make_core(max_running=1)
    workers = [core.add_worker("a"), core.add_worker("b")]
    core.scheduler.submit(make_job(worker=workers[0]), Door.ALWAYS, 0.0)
    gone = [submit(core, requires=["b"], priority=-1) for _ in range(300)]
    last = submit(core, worker=workers[1])
    for job in gone:
        core.scheduler.cancel(job, 0.0)
    core.succeeded(workers[0], None, 0.0)
    assert job_on(workers[1]) is last


def test_a_job_for_one_worker_in_a_full_group_starts_when_the_group_has_room() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    submit(core, worker=second)
    submit(core, worker=first, group=group)
    waiting = submit(core, worker=second, group=group)
    assert core.succeeded(second, None, 0.0) is None
    core.succeeded(first, None, 0.0)
    assert job_on(second) is waiting


def test_the_groups_whose_jobs_may_start_take_their_turns_by_the_first_jobs() -> None:
    core = make_core(max_running=1)
    workers = [core.add_worker() for _ in range(3)]
    submit(core, worker=workers[0])
    groups = [core.open_group(max_running=1) for _ in range(100)]
    waiting = [submit(core, group=group, priority=number % 7) for number, group in enumerate(groups)]
    for job in sorted(waiting, key=lambda job: job.priority):
        busy = next(worker for worker in workers if job_on(worker) is not None)
        core.succeeded(busy, None, 0.0)
        assert job.state is JobState.RUNNING


def test_ever_earlier_jobs_for_a_busy_worker_leave_nothing_behind() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    jobs = [submit(core, worker=worker, priority=-number) for number in range(300)]
    startable = core.scheduler.state.queue._startable
    assert len(startable._order) < 100
    assert sum(map(len, startable._shelves.values())) < 100
    assert core.succeeded(worker, None, 0.0) is jobs[-1]
