"""Workers with several places, beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Reserved
from tests.core.makers import Core, make_core, make_job, make_limits, run_on
from trio_pool import JobState, RateLimit, WorkerState
from trio_pool._core.admission import Door
from trio_pool._core.kinds import has_free_place_for
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._model.states import Hold

if TYPE_CHECKING:
    from trio_pool import Job
    from trio_pool._model.records import WorkerRecord
    from trio_pool._policies.retry import Placement


def submit(core: Core, *, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    core.scheduler.submit(job, Door.ALWAYS, now)
    return job


def fail(core: Core, job: Job[Any], placement: Placement = "any") -> None:
    worker: WorkerRecord | None = job.worker
    assert worker is not None
    verdict = Verdict(Retry(0.0, placement, front=False, counts=True))
    core.scheduler.failed(run_on(worker, job), ValueError(), verdict, 0.0)


def test_a_job_that_is_tried_again_at_once_goes_rather_to_the_place_it_has_left_than_to_one_beside_others() -> None:
    core = make_core()
    one, shared = core.add_worker(), core.add_worker(places=2)
    job = submit(core)
    assert submit(core).worker is shared
    fail(core, job)
    assert job.worker is one


def test_assigning_the_number_of_places_that_a_worker_has_leaves_it_where_it_is_in_the_order() -> None:
    core = make_core()
    first, _ = core.add_worker(), core.add_worker()
    core.scheduler.set_places(first, 1, 0.0)
    assert submit(core).worker is first


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("places", [1, 2])
def test_a_group_keeps_the_worker_that_it_has_when_that_gets_another_number_of_places(
    paused: bool, places: int
) -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(reserve=1)
    assert core.commands_of(Reserved)
    core.commands.clear()
    if paused:
        core.scheduler.pause(worker, 0.0)
    core.scheduler.set_places(worker, places, 0.0)
    core.scheduler.resume(worker, 0.0)
    assert not core.commands_of(Reserved)
    assert group.workers == {worker: 1}
    assert submit(core).state is (JobState.QUEUED if places == 1 else JobState.RUNNING)
    assert submit(core, group=group).state is JobState.RUNNING


def test_a_job_of_a_group_that_has_places_of_a_worker_may_fail_on_it_where_there_is_no_other() -> None:
    core = make_core()
    worker = core.add_worker(places=2)
    group = core.open_group(reserve=1)
    job = submit(core, group=group)
    fail(core, job, "other")
    assert job.worker is worker


def test_jobs_of_a_group_take_its_places_by_their_shares_where_it_has_whole_workers_too() -> None:
    core = make_core()
    whole, shared = core.add_worker(), core.add_worker(places=2)
    group = core.open_group(reserve=2)
    assert submit(core).worker is shared
    assert submit(core, group=group).worker is whole
    core.succeeded(whole, None, 0.0)
    assert submit(core, group=group).worker is whole


def test_a_place_that_is_given_back_leaves_the_rate_limit_of_the_worker_alone() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(rate_limit=RateLimit(1)), places=2)
    lender = submit(core)
    core.begin(0.0)
    core.lend(worker, 0.5)
    for now in (1.0, 2.0):
        submit(core, now=now)
        core.begin(now)
    assert lender._run is not None
    core.scheduler.claim(lender._run, 2.5)
    core.scheduler.set_places(worker, 4, 2.5)
    assert lender.worker is worker
    late = submit(core, now=2.5)
    assert late.state is JobState.QUEUED
    core.scheduler.advance(3.0)
    assert late.worker is worker


@pytest.mark.parametrize("places", [1, 2])
def test_a_resource_that_is_worn_is_reopened_when_the_last_job_that_has_lent_it_ends_apart(places: int) -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_jobs=1), places=places)
    lender = submit(core)
    core.lend(worker, 0.0)
    others = [submit(core) for _ in range(places)]
    run = lender._run
    assert run is not None
    core.scheduler.claim(run, 0.0)
    core.scheduler.cancel(lender, 0.0)
    core.scheduler.forfeit(run)
    for other in others[1:]:
        core.scheduler.succeeded(run_on(worker, other), None, 0.0)
    core.scheduler.cut_short(run, OSError(), 0.0)
    late = submit(core)
    assert late.state is JobState.QUEUED
    core.scheduler.succeeded(run_on(worker, others[0]), None, 0.0)
    assert worker.state is WorkerState.REOPENING


def test_also_where_nothing_runs_any_more() -> None:
    core = make_core()
    worker = core.add_worker(limits=make_limits(max_jobs=1))
    lender = submit(core)
    core.lend(worker, 0.0)
    submit(core)
    run = lender._run
    assert run is not None
    core.scheduler.claim(run, 0.0)
    core.scheduler.cancel(lender, 0.0)
    core.scheduler.forfeit(run)
    core.succeeded(worker, None, 0.0)
    assert Hold.REOPENING not in worker._holds  # it can't be left while the lender runs inside of it
    core.scheduler.cut_short(run, OSError(), 0.0)
    assert worker.state is WorkerState.REOPENING


def test_a_group_with_a_whole_worker_also_uses_the_place_that_it_gets_of_another() -> None:
    core = make_core()
    whole = core.add_worker()
    group = core.open_group(reserve=2)
    shared = core.add_worker(places=2)
    assert submit(core).worker is shared
    assert [submit(core, group=group).worker for _ in range(2)] == [whole, shared]


def test_a_worker_whose_places_are_all_taken_has_none_for_anybody() -> None:
    core = make_core()
    worker = core.add_worker(places=2)
    group = core.open_group(reserve=1)
    submit(core)
    submit(core, group=group)
    assert core.roster.kinds.open_to(worker) == []
    assert not has_free_place_for(worker, group)
    assert not has_free_place_for(worker, None)


def test_a_place_stays_reserved_where_a_unit_of_its_worker_is_used_up() -> None:
    core = make_core()
    worker = core.add_worker(places=2, limits=make_limits(rate_limit=RateLimit(1, 10, unit="calls")))
    group = core.open_group(reserve=1)
    submit(core, uses={"calls": 1})
    other = submit(core)
    assert submit(core, group=group, uses={"calls": 1}).worker is None
    assert submit(core, group=group).worker is worker
    assert other.worker is None


def test_of_the_changes_of_free_places_only_the_latest_are_looked_at_unless_they_are_many() -> None:
    core = make_core()
    workers = [core.add_worker(places=2) for _ in range(4)]
    places = core.roster.kinds.places
    seen = places.last
    for worker in workers[:2]:
        places.add(worker, 1)
    assert places.since(seen, 2) == [workers[1], workers[0]]
    assert places.since(seen, 1) is None


def test_a_free_place_stays_reserved_when_a_unit_of_its_worker_is_open_again() -> None:
    core = make_core()
    worker = core.add_worker(places=2, limits=make_limits(rate_limit=RateLimit(1, 10, unit="calls")))
    group = core.open_group(reserve=1)
    submit(core, uses={"calls": 1})
    core.begin(0.0)
    core.scheduler.advance(10.0)
    assert submit(core, now=10.0, uses={"calls": 1}).worker is None
    assert submit(core, now=10.0, group=group, uses={"calls": 1}).worker is worker
