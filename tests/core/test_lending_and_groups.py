"""Lent workers where there are groups, jobs that wait for others, and the bounce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.core.commands import Interrupt
from tests.core.makers import Core, job_on, make_core, make_job, run_of
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Die, Retry, Verdict

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import Group, JobRecord, WorkerRecord
    from trio_pool._policies.retry import Placement

ERROR = ValueError("no")


def submit(core: Core, group: Group | None = None, *, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, group=group, **options)
    assert core.scheduler.submit(job, Door.ALWAYS, now) is Admission.ENTERED
    return job


def fail(core: Core, worker: WorkerRecord, placement: Placement, *, now: float = 0.0) -> JobRecord | None:
    return core.failed(worker, ERROR, Verdict(Retry(0.0, placement, front=False, counts=True)), now)


def state_of(job: Job[Any]) -> JobState:
    """Its state now: type checkers hold an attribute that they have seen once to stay as it was."""
    return job.state


def available(core: Core) -> list[int]:
    return [kind.available for kind in core.roster.kinds.all()]


def lender_and_next(core: Core, worker: WorkerRecord, **options: Any) -> tuple[Job[Any], Job[Any]]:
    """A job that has lent a worker and wants it back, and one that has it meanwhile."""
    lender = cast("Job[Any]", job_on(worker))
    core.lend(worker, 0.0)
    other = submit(core, worker=worker, **options)
    assert job_on(worker) is other
    core.scheduler.claim(run_of(lender), 0.0)
    return lender, other


def test_what_waited_for_the_job_on_a_lent_worker_goes_to_others() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    lender, other = lender_and_next(core, worker)
    idle = core.add_worker()
    behind = submit(core, after=[other])
    core.succeeded(worker, None, 1.0)
    assert (job_on(worker), job_on(idle)) == (lender, behind)


def test_the_room_that_the_job_on_a_lent_worker_leaves_in_its_group_is_for_others() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    group = core.open_group(max_running=1)
    lender_and_next(core, worker, group=group)
    idle = core.add_worker()
    queued = submit(core, group)
    assert state_of(queued) is JobState.QUEUED
    core.succeeded(worker, None, 1.0)
    assert queued.worker is idle


def test_the_death_of_the_job_on_a_lent_worker_stops_its_group() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    submit(core, group)
    lender, _ = lender_and_next(core, worker, group=group)
    queued = submit(core, group)
    core.commands.clear()
    core.failed(worker, ERROR, Verdict(Die(DeadReason.GAVE_UP, "it is so", ERROR)), 1.0)
    assert state_of(queued) is JobState.DISCARDED
    assert [(command.run.worker, command.run.job) for command in core.commands_of(Interrupt)] == [(worker, lender)]


def test_a_lender_that_takes_its_room_back_from_a_full_group_leaves_nothing_to_be_seen_to() -> None:
    core = make_core()
    worker, _ = core.add_worker(), core.add_worker()
    group = core.open_group(max_running=1)
    lender, other, queued = [submit(core, group) for _ in range(3)]
    core.lend(worker, 1.0)
    assert state_of(other) is JobState.RUNNING
    core.scheduler.claim(run_of(lender), 2.0)
    assert not core.lifecycle.news
    assert (group.room, state_of(queued)) == (-1, JobState.QUEUED)


def test_a_bounced_job_waits_no_longer_for_a_worker_that_is_lent() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    bounced = submit(core)
    submit(core)
    fail(core, first, "other")
    assert state_of(bounced) is JobState.QUEUED  # the second worker is busy, but it will be tried
    urgent = submit(core, worker=second, priority=-1)
    core.lend(second, 1.0)
    assert (job_on(second), job_on(first)) == (urgent, bounced)


def test_a_worker_finds_a_bounced_job_again_when_the_one_that_it_waited_for_is_lent() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    bounced = submit(core)
    submit(core)
    submit(core, worker=first, priority=-2)
    fail(core, first, "other")
    submit(core, worker=first, priority=-1)
    core.succeeded(first, None, 1.0)
    submit(core, worker=second, priority=-3)
    core.lend(second, 2.0)
    assert core.succeeded(first, None, 3.0) is bounced


def test_a_job_bounces_off_the_last_of_several_lent_workers_to_another_that_is_idle() -> None:
    core = make_core()
    workers = [core.add_worker(), core.add_worker()]
    for worker in workers:
        submit(core, worker=worker)
        core.lend(worker, 0.0)
    bounced = submit(core)
    for number in range(3):
        assert job_on(workers[number % 2]) is bounced
        fail(core, workers[number % 2], "other")


def test_a_job_bounces_off_a_lent_worker_only_while_another_is_there_that_is_not_lent() -> None:
    core = make_core()
    lent, other = core.add_worker(), core.add_worker()
    submit(core, worker=lent)
    core.lend(lent, 0.0)
    submit(core, worker=other)
    bounced = submit(core)
    assert job_on(lent) is bounced
    fail(core, lent, "other")
    assert state_of(bounced) is JobState.QUEUED
    core.scheduler.pause(other, 1.0)
    assert job_on(lent) is bounced


@pytest.mark.parametrize("how", ["departs", "has left"])
def test_a_groups_worker_that_goes_while_it_is_lent_is_relied_on_by_nobody(how: str) -> None:
    core = make_core()
    kept, other = core.add_worker(), core.add_worker()
    group = core.open_group(reserve=1)
    submit(core, group)
    core.lend(kept, 1.0)
    core.scheduler.depart(kept, 2.0)
    assert (list(group.workers), sorted(available(core))) == ([other], [0, 1])
    if how == "has left":
        core.scheduler.claim(next(iter(kept._lent)), 3.0)
        core.succeeded(kept, None, 3.0)
        core.scheduler.left(kept, 3.0)
        assert available(core) == [1]


def test_a_lent_worker_is_not_set_aside_before_it_is_given_back_and_free() -> None:
    core = make_core()
    worker = core.add_worker()
    lender = submit(core)
    core.lend(worker, 1.0)
    group = core.open_group(reserve=1)
    assert list(group.workers) == []
    other = submit(core, now=2.0)
    core.scheduler.claim(run_of(lender), 3.0)
    assert core.succeeded(worker, None, 4.0) is None
    assert (state_of(other), job_on(worker), list(group.workers)) == (JobState.SUCCEEDED, lender, [])
    core.succeeded(worker, None, 5.0)
    assert list(group.workers) == [worker]
