"""Starting and ending on a worker with many places costs the same however many run there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, calls_of, make_core, make_job, make_limits
from trio_pool import JobCancelledError, RateLimit
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._model.pool_config import PICKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool._model.handles import Job
    from trio_pool._model.pool_config import Pick
    from trio_pool._model.records import Group, WorkerRecord

RETRY = Verdict(Retry(0.0, "any", False, True))


def wide_worker(core: Core, places: float = 1000, **limits: Any) -> WorkerRecord:
    """A worker with many places."""
    return core.add_worker(limits=make_limits(**limits) if limits else None, places=places)


def submit(core: Core, **options: Any) -> Job[Any]:
    job = make_job(**options)
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    return job


def begin(core: Core, jobs: list[Job[Any]]) -> int:
    return calls_of(lambda: submit(core))


def succeed(core: Core, jobs: list[Job[Any]]) -> int:
    run = jobs[len(jobs) // 2]._run
    assert run is not None
    return calls_of(lambda: core.scheduler.succeeded(run, None, 0.0))


def fail(core: Core, jobs: list[Job[Any]]) -> int:
    run = jobs[len(jobs) // 2]._run
    assert run is not None
    return calls_of(lambda: core.scheduler.failed(run, ValueError(), RETRY, 0.0))


def cut(core: Core, jobs: list[Job[Any]]) -> int:
    job = jobs[len(jobs) // 2]
    run = job._run
    assert run is not None
    calls = calls_of(lambda: core.scheduler.cancel(job, 0.0))
    return calls + calls_of(lambda: core.scheduler.cut_short(run, JobCancelledError(job), 0.0))


def lend_and_claim(core: Core, jobs: list[Job[Any]]) -> int:
    run = jobs[len(jobs) // 2]._run
    assert run is not None
    return calls_of(lambda: core.scheduler.lend(run, 0.0)) + calls_of(lambda: core.scheduler.claim(run, 0.0))


def change(core: Core, jobs: list[Job[Any]]) -> int:
    worker = jobs[0].worker
    assert worker is not None
    return calls_of(lambda: core.scheduler.set_places(worker, 2000, 0.0))


ACTS = [begin, succeed, fail, cut, lend_and_claim, change]


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("places", [1000, math.inf])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("limited", [False, True])
def test_no_event_costs_more_where_many_run(
    act: Callable[[Core, list[Job[Any]]], int], places: float, pick: Pick, limited: bool
) -> None:
    def cost(number: int) -> int:
        core = make_core(pick=pick)
        limits: dict[str, Any] = {"rate_limit": RateLimit(10_000, burst=10_000)} if limited else {}
        wide_worker(core, places, **limits)
        wide_worker(core, 1)
        jobs = [submit(core) for _ in range(number)]
        jobs = [job for job in jobs if job.worker is not None and job.worker._max_running > 1]
        core.commands.clear()
        return act(core, jobs)

    assert cost(900) <= 1.2 * cost(10) + 2


@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize("act", ACTS)
def test_no_event_costs_more_where_many_run_beside_reserved_places(
    act: Callable[[Core, list[Job[Any]]], int], is_own: bool
) -> None:
    def cost(number: int) -> int:
        core = make_core()
        wide_worker(core)
        group = core.open_group(reserve=20)
        jobs = [submit(core, group=group if is_own else None) for _ in range(number)]
        core.commands.clear()
        return act(core, jobs)

    assert cost(900) <= 1.2 * cost(10) + 2


@pytest.mark.parametrize("act", [begin, succeed, fail])
def test_no_event_costs_more_where_many_run_and_others_wait_for_tags(
    act: Callable[[Core, list[Job[Any]]], int],
) -> None:
    def cost(number: int) -> int:
        core = make_core(no_worker="wait")
        wide_worker(core)
        submit(core, requires=["nobody has this"])
        jobs = [submit(core) for _ in range(number)]
        core.commands.clear()
        return act(core, jobs)

    assert cost(900) <= 1.2 * cost(10) + 2


def open_and_close(core: Core, groups: list[Group]) -> int:
    opened: list[Group] = []
    calls = calls_of(lambda: opened.append(core.open_group(reserve=1)))
    return calls + calls_of(lambda: core.scheduler.close_group(opened[0], 0.0))


def run_in_group(core: Core, groups: list[Group]) -> int:
    return _cost_of_run(core, groups[len(groups) // 2])


def run_outside(core: Core, groups: list[Group]) -> int:
    return _cost_of_run(core, None)


def _cost_of_run(core: Core, group: Group | None) -> int:
    jobs: list[Job[Any]] = []
    calls = calls_of(lambda: jobs.append(submit(core, group=group)))
    run = jobs[0]._run
    assert run is not None
    return calls + calls_of(lambda: core.scheduler.succeeded(run, None, 0.0))


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("act", [open_and_close, run_in_group, run_outside])
def test_no_event_costs_more_with_the_number_of_groups_that_have_places_of_a_worker(
    act: Callable[[Core, list[Group]], int], pick: Pick
) -> None:
    def cost(number: int) -> int:
        core = make_core(pick=pick)
        for _ in range(2):
            wide_worker(core, 1000)
        groups = [core.open_group(reserve=1) for _ in range(number)]
        act(core, groups)
        return sum([act(core, groups) for _ in range(50)])  # what is stale in the heaps is dropped now and then

    assert cost(300) <= 1.2 * cost(10)


@pytest.mark.parametrize("act", [run_in_group, run_outside])
def test_nor_with_the_number_of_workers_of_which_a_group_has_places(act: Callable[[Core, list[Group]], int]) -> None:
    def cost(number: int) -> int:
        core = make_core()
        for _ in range(number):
            wide_worker(core, 2)
        groups = [core.open_group(reserve=number)]
        act(core, groups)
        return sum([act(core, groups) for _ in range(50)])

    assert cost(300) <= 1.2 * cost(10)


def test_a_worker_that_starts_and_ends_again_and_again_leaves_nothing_behind() -> None:
    core = make_core()
    wide_worker(core, 3)
    wide_worker(core, 3)
    job = submit(core)
    for _ in range(2000):
        run = job._run
        assert run is not None
        core.scheduler.succeeded(run, None, 0.0)
        core.commands.clear()
        job = submit(core)
    (fit,) = core.roster.kinds.fits_for(job._options.terms.requires, None)
    assert len(fit._idle) < 200
