"""Bad input for a job is turned away by each call that submits one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.bad_values import BAD_SECONDS, NAN, bad_counts, says
from tests.pool.jobs.kept_deaths import OpenPool, both, echo, whoami
from trio_pool import Job, Node, NoEligibleWorkerError, Resource, open_pool


async def fail(*args: Any) -> None:
    raise ValueError("no luck")


Call = Callable[..., Any]


async def by_submit(pool: Any, fn: Any, **options: Any) -> None:
    await pool.submit(fn, **options)


async def by_submit_nowait(pool: Any, fn: Any, **options: Any) -> None:
    pool.submit_nowait(fn, **options)


async def by_run(pool: Any, fn: Any, **options: Any) -> None:
    await pool.run(fn, **options)


async def by_map(pool: Any, fn: Any, **options: Any) -> None:
    pool.map(fn, [1], **options)


async def by_as_completed(pool: Any, fn: Any, **options: Any) -> None:
    pool.as_completed(fn, [1], **options)


async def by_a_group(pool: Any, fn: Any, **options: Any) -> None:
    async with pool.open_group() as group:
        await group.submit(fn, **options)


async def by_submit_graph(pool: Any, fn: Any, **options: Any) -> None:
    node: Any = Node
    await pool.submit_graph({"good": node(echo), "bad": node(fn, **options)})


async def by_requeue(pool: Any, fn: Any, **options: Any) -> None:
    pool.dead.requeue(await a_dead_job(pool), **options)


async def a_dead_job(pool: Any) -> Job[None]:
    job: Job[None] = await pool.submit(fail, worker=pool.workers[0])
    await pool.join()
    return job


CALLS = [
    by_submit,
    by_submit_nowait,
    by_run,
    by_map,
    by_as_completed,
    by_a_group,
    by_submit_graph,
    by_requeue,
]
every_call = pytest.mark.parametrize("call", CALLS)


async def check_turned_away(
    opened: OpenPool, call: Call, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    async with opened() as pool:
        with pytest.raises(kind, match=says(message)):
            await call(pool, echo, **options)
        assert list(pool.jobs()) == []
    assert pool.statistics().submitted == (1 if call is by_requeue else 0)


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_SECONDS)
@pytest.mark.parametrize("option", ["attempt_timeout", "total_timeout"])
@every_call
@both
async def test_bad_timeouts_of_a_job(
    opened: OpenPool, call: Call, option: str, value: Any, kind: type[Exception], rule: str
) -> None:
    await check_turned_away(opened, call, {option: value}, kind, f"{option} {rule}")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        pytest.param({"retry": 3}, TypeError, "retry must be a RetryPolicy, got 3", id="retry"),
        pytest.param({"priority": "high"}, TypeError, "priority must be a number, got 'high'", id="priority"),
        pytest.param({"priority": NAN}, ValueError, "priority must not be NaN", id="priority NaN"),
        pytest.param(
            {"requires": "gpu"}, TypeError, "requires must be an iterable of tags, not the single 'gpu'", id="requires"
        ),
        pytest.param({"requires": [5]}, TypeError, "requires must hold strings, got 5", id="requires numbers"),
        pytest.param({"worker": "a"}, TypeError, "worker must be a", id="worker"),
        pytest.param({"worker": 1}, TypeError, "worker must be a", id="worker by number"),
        pytest.param({"name": 7}, TypeError, "name must be a str or None, got 7", id="name"),
        pytest.param({"metadata": [1]}, TypeError, "metadata must be a mapping, got [1]", id="metadata"),
        pytest.param({"hedge": 3}, TypeError, "hedge must be a Hedge, got 3", id="hedge"),
    ],
)
@every_call
@both
async def test_options_of_a_job_of_the_wrong_type(
    opened: OpenPool, call: Call, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    await check_turned_away(opened, call, options, kind, message)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (by_submit, "submit"),
        (by_submit_nowait, "submit_nowait"),
        (by_run, "run"),
        (by_map, "map"),
        (by_as_completed, "as_completed"),
        (by_requeue, "requeue"),
    ],
)
@both
async def test_an_unknown_option_of_a_job_is_told_with_the_known_ones_and_where_keywords_go(
    opened: OpenPool, call: Call, name: str
) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=re.escape(f"{name}() got an unexpected keyword argument 'url'")) as caught:
            await call(pool, echo, url="/index")
    assert "attempt_timeout" in str(caught.value)
    assert "functools.partial" in str(caught.value)


@every_call
@both
async def test_a_worker_of_another_pool(opened: OpenPool, call: Call) -> None:
    async with opened() as other:
        stranger = other.workers[0]
        await check_turned_away(
            opened, call, {"worker": stranger}, ValueError, f"worker must be a worker of this pool, got {stranger!r}"
        )


@pytest.mark.parametrize("call", [by_submit, by_submit_nowait, by_run, by_requeue])
@both
async def test_requires_that_nobody_has(opened: OpenPool, call: Call) -> None:
    async with opened() as pool:
        with pytest.raises(NoEligibleWorkerError, match="no worker of the pool can ever run the job") as caught:
            await call(pool, echo, requires=["gpu", "big"])
        assert list(pool.jobs()) == []
    assert "'big', 'gpu'" in str(caught.value)


async def test_a_pool_without_workers_says_what_to_do() -> None:
    nobody: list[str] = []
    async with open_pool(nobody) as pool:
        with pytest.raises(NoEligibleWorkerError) as caught:
            await pool.submit(whoami)
    assert str(caught.value) == (
        "no worker of the pool can ever run the job whoami: "
        'the pool has no workers; add one first, or open it with no_worker="wait"'
    )


async def test_a_worker_that_has_left_is_told_by_name() -> None:
    async with open_pool([Resource("a", name="the first"), Resource("b")]) as pool:
        first, _ = pool.workers
        await first.remove()
        with pytest.raises(NoEligibleWorkerError, match="the first"):
            await pool.submit(whoami, worker=first)


CALLS_OF_A_FUNCTION = [by_submit, by_submit_nowait, by_run, by_map, by_as_completed]


@pytest.mark.parametrize("call", CALLS_OF_A_FUNCTION)
@both
async def test_a_coroutine_instead_of_a_function_is_told_what_to_do(opened: OpenPool, call: Call) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=says("the first argument must be an async function, got")) as caught:
            await call(pool, echo("x"))
    assert "the coroutine <coroutine object echo" in str(caught.value)
    assert "(fn, arg), not (fn(arg))" in str(caught.value)
    assert pool.statistics().submitted == 0


@pytest.mark.parametrize("call", CALLS_OF_A_FUNCTION)
@pytest.mark.parametrize("value", [None, "fetch", 5])
@both
async def test_something_that_cannot_be_called(opened: OpenPool, value: Any, call: Call) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=says(f"the first argument must be an async function, got {value!r}")):
            await call(pool, value)
    assert pool.statistics().submitted == 0


@pytest.mark.parametrize("items", [None, 5])
@pytest.mark.parametrize("name", ["map", "as_completed"])
@both
async def test_items_that_cannot_be_iterated_over(opened: OpenPool, name: str, items: Any) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=says(f"items must be an iterable or an async iterable, got {items!r}")):
            getattr(pool, name)(echo, items)


@pytest.mark.parametrize(("value", "kind", "rule"), bad_counts(1))
@pytest.mark.parametrize("name", ["map", "as_completed"])
@both
async def test_a_bad_buffer(opened: OpenPool, name: str, value: Any, kind: type[Exception], rule: str) -> None:
    async with opened() as pool:
        with pytest.raises(kind, match=says(f"buffer {rule}")):
            getattr(pool, name)(echo, [1], buffer=value)
