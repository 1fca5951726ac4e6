"""A job costs the same however many units have limits of their own, and however many of them are at these."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, begun, calls_of, job_on, make_core, make_job
from trio_pool import Elastic, JobState, RateLimit
from trio_pool._core.admission import Door
from trio_pool._policies.worker_limits import WorkerLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool._model.records import WorkerRecord
    from trio_pool._policies.rate_meters import AnyLimit, RateLimits

STEP = 0.25


def is_flat(cost: Callable[[int], int]) -> bool:
    """Whether hundreds cost hardly more than tens; what a heap does in C is no call."""
    return cost(400) <= 1.1 * cost(50) + 20


def limits_of(core: Core, rate_limit: RateLimits) -> WorkerLimits:
    """The limits of a worker, which may share some of them."""
    return WorkerLimits(rate_limit, None, None, math.inf, core.scheduler.state.roster._rng, core.scheduler.metering)


def units(number: int, *, shared: bool = False) -> tuple[AnyLimit, ...]:
    """A limit for each of many units, of which all together let one job start in each step."""
    limits = [RateLimit(1, per=STEP * number, unit=str(index)) for index in range(number)]
    return tuple(limit.shared() for limit in limits) if shared else tuple(limits)


def add_worker(core: Core, limits: RateLimits, places: float, *tags: str) -> WorkerRecord:
    worker = core.make_worker(*tags, limits=limits_of(core, limits), places=places)
    core.scheduler.join(worker, 0.0)
    core.scheduler.opened(worker, 0.0)
    return worker


def cost_of_steps(core: Core, number: int, options_of: Callable[[int], dict[str, Any]]) -> int:
    """What it takes for each job to submit one in each of a hundred steps, and to start and end those that may."""
    ended = 0
    scheduler = core.scheduler
    scheduler.metering.on_wake = lambda: None

    def submit(index: int, now: float) -> None:
        scheduler.submit(make_job(now=now, **options_of(index % number)), Door.ALWAYS, now)

    def step(index: int) -> None:
        nonlocal ended
        now = index * STEP
        submit(index, now)
        scheduler.advance(now)
        for worker in list(core.roster.by_id.values()):
            for run in list(worker._runs):
                begun(run, now)
                scheduler.succeeded(run, None, now)
                ended += 1
        core.commands.clear()

    for index in range(3 * number):
        submit(index, 0.0)
    for index in range(number + 1):
        step(index)
    ended = 0

    def steps() -> None:
        for index in range(100):
            step(number + 1 + index)

    calls = calls_of(steps)
    assert ended >= 80
    return calls // ended


@pytest.mark.parametrize("how", ["alone", "for one worker", "beside a common unit", "for one of two keys"])
@pytest.mark.parametrize("places", [1, 5])
@pytest.mark.parametrize("holder", ["pool", "worker", "pool, shared", "worker, shared"])
def test_a_job_costs_the_same_however_many_units_have_limits(holder: str, places: int, how: str) -> None:
    def cost(number: int) -> int:
        limits = units(number, shared="shared" in holder)
        if how == "beside a common unit":
            limits += (RateLimit(1, per=STEP, burst=3, unit="all"),)
        core = make_core(rate_limit=limits if "pool" in holder else None)
        worker = add_worker(core, limits if "worker" in holder else None, places)

        def options_of(index: int) -> dict[str, Any]:
            options: dict[str, Any] = {"uses": {str(index): 1}}
            if how == "beside a common unit":
                options["uses"]["all"] = 1
            if how == "for one worker":
                options["worker"] = worker
            if how == "for one of two keys":
                options["key"] = index % 2
            return options

        return cost_of_steps(core, number, options_of)

    assert is_flat(cost)


def test_nothing_is_kept_of_the_combinations_of_units_that_were_closed_at_the_same_time() -> None:
    core = make_core()
    worker = add_worker(core, units(50), 1)
    cost_of_steps(core, 50, lambda index: {"uses": {str(index): 1}})
    assert len(worker._kind.family.kinds) < 20


@pytest.mark.parametrize("shared", [False, True])
def test_a_worker_that_joins_or_loses_its_limits_takes_what_these_keep_from_all_others(shared: bool) -> None:
    core = make_core()
    core.scheduler.metering.on_wake = lambda: None
    limits = tuple(limit.shared() if shared else limit for limit in [RateLimit(1, per=100, unit="a"), RateLimit(1)])
    first, second = (add_worker(core, limits[:1], 1) for _ in range(2))
    jobs = [make_job(uses={"a": 1}) for _ in range(6)]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    for _ in range(2):
        for worker in (first, second):
            for run in list(worker._runs):
                begun(run, 0.0)
                core.scheduler.succeeded(run, None, 0.0)
    ended = [job for job in jobs if job.state is JobState.SUCCEEDED]
    assert len(ended) == (1 if shared else 2)
    assert core.roster.is_idle(first)
    third = add_worker(core, None, 1)
    assert job_on(third) is jobs[len(ended)]
    core.scheduler.set_rate_limit(None, 1.0, second)
    assert job_on(second) is jobs[len(ended) + 1]


@pytest.mark.parametrize("open_after", [0.0, 1.0])
@pytest.mark.parametrize("shared", [False, True])
def test_an_elastic_pool_looks_at_no_units_that_are_closed(shared: bool, open_after: float) -> None:
    def cost(number: int) -> int:
        limits = units(number, shared=shared)
        elastic = Elastic(nullcontext[Any], min=0, max=1000, idle_timeout=10, open_after=open_after)
        core = make_core(rate_limit=limits, elastic=elastic)
        core.scheduler.begin(0.0)
        add_worker(core, None, 1)
        return cost_of_steps(core, number, lambda index: {"uses": {str(index): 1}})

    assert is_flat(cost)
