"""Waits for what workers with several places have room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, make_core, make_job, run_of
from trio_pool import WorkerState
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._core.waits import Wait

if TYPE_CHECKING:
    from trio_pool import Job
    from trio_pool._model.records import Group, WorkerRecord

BROKEN = Verdict(Retry(1.0, "any", front=False, counts=True), broken=True)


def running(core: Core, worker: WorkerRecord, group: Group | None = None) -> Job[Any]:
    """A job that runs on this worker."""
    job = make_job(worker=worker, group=group)
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    assert run_of(job).worker is worker
    return job


def waits(core: Core, waiter: Job[Any], *jobs: Job[Any]) -> bool:
    """A task of a job waits for others; returns whether it may."""
    return core.scheduler.begin_wait(Wait(run_of(waiter), object(), lambda: jobs), 0.0)


def waits_for_group(core: Core, opener: Job[Any], reserve: int) -> bool:
    """A job opens a group with places for itself, and waits for them; returns whether it may."""
    group = core.make_group(reserve=reserve)
    group.opener, group.task = run_of(opener), group
    core.scheduler.open_group(group, 0.0)
    assert group.lacks
    return core.scheduler.begin_wait(Wait(run_of(opener), group.task, group), 0.0)


def lent(core: Core, worker: WorkerRecord) -> Job[Any]:
    """A job that has lent its place of this worker."""
    job = running(core, worker)
    core.scheduler.lend(run_of(job), 0.0)
    return job


def test_the_opener_of_a_group_may_have_a_reserved_place_of_another_group_which_leaves_the_free_ones() -> None:
    core = make_core()
    worker = core.add_worker(places=2)
    other = core.add_worker()
    opener = running(core, worker, core.open_group(reserve=1))
    waiter = running(core, other)
    lender = lent(core, worker)
    assert waits_for_group(core, opener, 1)
    assert waits(core, waiter, opener)
    assert core.told() == []  # the lender gets its place back, and ends
    core.scheduler.claim(run_of(lender), 0.0)
    core.scheduler.succeeded(run_of(lender), None, 0.0)
    assert core.scheduler.waits.standing() == 1


def test_a_place_that_another_job_has_lent_of_the_openers_own_worker_comes_back() -> None:
    core = make_core()
    worker, other = core.add_worker(places=2), core.add_worker()
    opener, waiter = running(core, worker), running(core, other)
    lent(core, worker)
    assert waits(core, waiter, opener)
    assert waits_for_group(core, opener, 1)


def test_a_place_that_is_the_openers_in_another_group_is_none_for_its_own() -> None:
    core = make_core()
    worker = core.add_worker(places=2)
    opener = running(core, worker, core.open_group(reserve=1))
    core.scheduler.set_places(worker, 1, 0.0)
    assert not waits_for_group(core, opener, 1)
    assert waits_for_group(core, opener, 2)  # more than there can be, until a worker is added
    assert core.told() == []


def test_a_group_gets_no_place_of_a_broken_worker_on_which_its_opener_runs() -> None:
    core = make_core()
    worker = core.add_worker(places=3)
    opener, other = running(core, worker), running(core, worker)
    core.scheduler.failed(run_of(other), OSError(), BROKEN, 0.0)
    assert not waits_for_group(core, opener, 1)


def test_beside_jobs_that_wait_a_lent_worker_has_only_as_many_places_as_are_left() -> None:
    core = make_core()
    worker, other = core.add_worker(places=2), core.add_worker()
    opener, waiter = running(core, other), running(core, worker)
    lent(core, worker)
    assert waits(core, waiter, opener)
    assert not waits_for_group(core, opener, 2)


def test_where_places_become_too_few_what_is_reserved_goes_before_what_runs() -> None:
    core = make_core()
    worker = core.add_worker(places=4)
    groups = [core.open_group(reserve=1) for _ in range(2)]
    others = [running(core, worker) for _ in range(2)]
    core.scheduler.set_places(worker, 3, 0.0)
    assert [group.reserved for group in groups] == [1, 0]
    late = running(core, worker, groups[0])
    core.scheduler.succeeded(run_of(others[0]), None, 0.0)
    assert [group.reserved for group in groups] == [1, 1]
    assert late.worker is worker


def test_lending_a_broken_worker_does_not_help_those_who_wait_for_it() -> None:
    core = make_core()
    worker = core.add_worker(places=2)
    waiter, other = running(core, worker), running(core, worker)
    core.scheduler.failed(run_of(other), OSError(), BROKEN, 0.0)
    assert worker.state is WorkerState.BUSY
    wait = Wait(run_of(waiter), None, lambda: (other,))
    assert not core.scheduler.begin_wait(wait, 0.0)
    assert not wait.lending_helps
