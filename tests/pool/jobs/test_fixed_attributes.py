"""3.2: nothing but what is meant to be assigned can be assigned to what a program gets of a pool."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import attrs
import pytest
import trio

from tests.actors import fails, works
from tests.openers import OpenPool, both
from trio_pool import (
    CircuitBreaker,
    Elastic,
    Hedge,
    Node,
    RateLimit,
    Resource,
    RetryBudget,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

VALUES = [
    CircuitBreaker(),
    Elastic(lambda: open_pool(1), max=1),
    Flaky(0),
    Hedge(1),
    Node(works),
    RateLimit(1),
    Resource("a"),
    RetryBudget(),
    RetryPolicy(),
]

ASSIGNABLE = "elastic, max_running, on_failure, rate_limit, retry"


def refuses(thing: Any) -> None:
    """Check that an object takes no attribute that it doesn't have, at whatever level of its classes."""
    with pytest.raises(AttributeError):
        thing.no_such_attribute = 1
    assert not hasattr(thing, "__dict__")


@both
async def test_pools_take_no_other_attributes(opened: OpenPool) -> None:
    async with opened() as pool:
        refuses(pool)


@both
async def test_groups_take_no_other_attributes(opened: OpenPool) -> None:
    async with opened() as pool, pool.open_group() as group:
        refuses(group)


@both
@pytest.mark.parametrize("call", ["map", "as_completed"])
async def test_streams_take_no_other_attributes(opened: OpenPool, call: str) -> None:
    async with opened() as pool:
        stream = getattr(pool, call)(trio.sleep, [])
        refuses(stream)
        async with stream as results:
            refuses(results)


async def test_jobs_and_what_they_lead_to_take_no_other_attributes() -> None:
    async def lends(_: object) -> None:
        refuses(current_job())
        block = current_job().lend()
        refuses(block)
        async with block:
            pass

    async with open_pool(["a"], on_dead="keep") as pool:
        await pool.run(lends)
        job = await pool.submit(fails)
        await pool.join()
        refuses(job)
        refuses(job.attempts[0])
        refuses(job.history[0])
        refuses(pool.dead)


async def test_workers_and_what_tells_of_them_take_no_other_attributes() -> None:
    async with open_pool(["a"]) as pool:
        [worker] = pool.workers
        refuses(worker)
        refuses(worker.statistics())
        refuses(pool.statistics())
        refuses(pool.snapshots(1))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_take_no_other_attributes(value: object) -> None:
    refuses(value)


@pytest.mark.parametrize("name", ["max_queue", "attempt_timeout", "foo", "name", "workers", "closed", "run", "dead"])
@both
async def test_a_pool_says_what_of_it_can_be_assigned(opened: OpenPool, name: str) -> None:
    async with opened() as pool:
        with pytest.raises(AttributeError) as caught:
            setattr(pool, name, 3)
    assert str(caught.value) == f"{type(pool).__name__}.{name} can't be assigned; what can be: {ASSIGNABLE}"


@pytest.mark.parametrize("name", ["must_succeed", "reserve", "foo", "name", "closed", "submit"])
@both
async def test_a_group_says_what_of_it_can_be_assigned(opened: OpenPool, name: str) -> None:
    async with opened() as pool, pool.open_group(name="batch") as group:
        with pytest.raises(AttributeError, match=rf"^{type(group).__name__}\.{name} can't be assigned"):
            setattr(group, name, 3)
        assert group.name == "batch"


@both
async def test_what_can_be_assigned_is_checked_as_ever(opened: OpenPool) -> None:
    async with opened() as pool:
        pool.max_running = 3
        assert pool.max_running == 3
        with pytest.raises(ValueError, match=r"^max_running must be at least 1, got 0$"):
            pool.max_running = 0


@both
async def test_pools_groups_jobs_and_workers_can_be_referred_to_weakly(opened: OpenPool) -> None:
    async with opened() as pool, pool.open_group() as group:
        job = await pool.submit(Flaky(0))
        for thing in (pool, group, job, pool.workers[0]):
            assert weakref.ref(thing)() is thing


def test_policies_can_still_be_derived_from() -> None:
    @attrs.frozen(kw_only=True)
    class Named(RetryPolicy):
        name: str

    assert copy.copy(Named(name="mine")).name == "mine"
