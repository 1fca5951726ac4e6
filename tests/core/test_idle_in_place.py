"""A worker that is idle again where it was in the order: after a check, a reservation, a limit of a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, calls_of, make_core, make_job, make_limits
from trio_pool import HealthCheck, RateLimit
from trio_pool._core.admission import Door
from trio_pool._model.records import ANYONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool._model.handles import Job
    from trio_pool._model.pool_config import Pick
    from trio_pool._model.records import WorkerRecord

    Act = Callable[[Core, WorkerRecord, float], Callable[[float], object]]


async def ping(resource: object) -> None:
    """What the checks would do, were there anybody to run them."""


def submit(core: Core, now: float = 100.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    core.scheduler.submit(job, Door.ALWAYS, now)
    return job


def check(core: Core, first: WorkerRecord, now: float) -> Callable[[float], object]:
    """Check the worker that has been idle for longest."""
    assert core.scheduler.begin_check(first, now)
    return lambda at: core.scheduler.checked(first, None, at)


def reserve(core: Core, first: WorkerRecord, now: float) -> Callable[[float], object]:
    """Reserve it for a group, which gives it back."""
    group = core.open_group(reserve=1, now=now)
    assert list(group.workers) == [first]
    return lambda at: core.scheduler.close_group(group, at)


def use_up(core: Core, first: WorkerRecord, now: float) -> Callable[[float], object]:
    """Use up its limit of a unit, which allows a start again ten seconds later; the others have had jobs since."""
    submit(core, now, worker=first, uses={"calls": 1})
    core.begin(now)
    core.succeeded(first, None, now)
    others = list(core.roster.by_id.values())[1:]
    for worker in others:
        submit(core, now, worker=worker)
    for worker in others:
        core.succeeded(worker, None, now)
    return core.scheduler.advance


ACTS = [check, reserve, use_up]


def core_with_idle(pick: Pick, number: int) -> tuple[Core, list[WorkerRecord]]:
    """Idle workers, the first of which has a limit and is checked."""
    core = make_core(pick=pick)
    limits = make_limits(rate_limit=(RateLimit(1, 10, unit="calls"),))
    limits.check = HealthCheck(ping, every=10)
    return core, [core.add_worker(limits=limits), *[core.add_worker() for _ in range(number - 1)]]


@pytest.mark.parametrize("number", [2, 5, 12])
@pytest.mark.parametrize("pick", ["longest_idle", "last_used"])
@pytest.mark.parametrize("act", ACTS)
def test_it_has_its_turn_as_before(act: Act, pick: Pick, number: int) -> None:
    core, workers = core_with_idle(pick, number)
    longest = workers[0]
    act(core, longest, 20.0)(30.0)
    order = workers if pick == "longest_idle" else workers[::-1]
    assert [submit(core).worker for _ in workers] == order
    for worker in order[::-1]:
        core.succeeded(worker, None, 100.0)
    assert [submit(core).worker for _ in workers] == workers[::-1]


@pytest.mark.parametrize("act", ACTS)
def test_that_costs_the_same_however_many_are_idle(act: Act) -> None:
    def cost(number: int) -> int:
        core, workers = core_with_idle("longest_idle", number)
        act(core, workers[0], 20.0)(30.0)
        undo = act(core, workers[0], 40.0)
        core.roster.choose(ANYONE)  # once they are not in order any more, the first search sorts them
        return calls_of(lambda: undo(50.0)) + calls_of(lambda: submit(core))

    assert cost(900) <= 1.2 * cost(10) + 2


@pytest.mark.parametrize("act", [check, reserve])
def test_once_none_is_idle_plain_jobs_cost_what_they_cost_before(act: Act) -> None:
    def cost(core: Core, workers: list[WorkerRecord]) -> int:
        for _ in workers:
            submit(core)
        for worker in workers[::-1]:
            core.succeeded(worker, None, 100.0)
        calls = calls_of(lambda: submit(core))
        return calls + calls_of(lambda: core.succeeded(workers[-1], None, 100.0))

    before = cost(*core_with_idle("longest_idle", 12))
    core, workers = core_with_idle("longest_idle", 12)
    act(core, workers[0], 20.0)(30.0)
    assert core.roster.kinds.only is None
    assert cost(core, workers) == before


def test_where_another_kind_has_places_the_search_stays_by_shares_when_those_put_back_are_all_busy() -> None:
    core, workers = core_with_idle("longest_idle", 12)
    shared = core.add_worker("other", places=2)
    check(core, workers[0], 100.0)(100.0)
    jobs = [submit(core) for _ in range(13)]
    assert {job.worker for job in jobs} == {*workers, shared}
    assert submit(core).worker is shared
