"""Every async function is a checkpoint, on each of its paths."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_pool import (
    Job,
    JobCancelledError,
    JobFailedError,
    Node,
    Pool,
    PoolClosedError,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


async def echo(resource: object, value: str = "x") -> str:
    return value


async def nap(resource: object, seconds: float = 1) -> None:
    await trio.sleep(seconds)


async def fail(resource: object) -> None:
    raise ValueError("no luck")


async def checked(call: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
    """Await the call, check that it was a checkpoint, and return its result or its error."""
    with assert_checkpoints():
        try:
            return await call(*args, **options)
        except (Exception, BaseExceptionGroup) as error:
            return error


async def check_cancelled(call: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> None:
    """Check that a call whose caller has been cancelled raises `trio.Cancelled`."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await call(*args, **options)
    assert scope.cancelled_caught


def one(**options: Any) -> Any:
    return open_pool(["a"], on_dead="keep", **options)


async def ended(pool: Pool[str], fn: Any = echo) -> Job[Any]:
    job: Job[Any] = await pool.submit(fn)
    await pool.join()
    return job


# submit


async def test_submit_that_is_admitted_at_once() -> None:
    async with one() as pool:
        assert isinstance(await checked(pool.submit, echo), Job)


async def test_submit_that_queues_its_job(autojump_clock: MockClock) -> None:
    async with one() as pool:
        await pool.submit(nap)
        assert isinstance(await checked(pool.submit, echo), Job)


async def test_submit_that_waits_for_a_place(autojump_clock: MockClock) -> None:
    async with one(max_queue=0) as pool:
        await pool.submit(nap)
        assert isinstance(await checked(pool.submit, echo), Job)


async def test_submit_whose_time_is_up(autojump_clock: MockClock) -> None:
    async with one() as pool:
        assert isinstance(await checked(pool.submit, echo, total_timeout=0), Job)


async def test_submit_that_buries_its_job() -> None:
    async with one(no_worker="bury") as pool:
        assert isinstance(await checked(pool.submit, echo, requires=["gpu"]), Job)


async def test_a_cancelled_submit_leaves_no_job() -> None:
    async with one() as pool:
        await check_cancelled(pool.submit, echo)
        assert pool.statistics().submitted == 0


async def test_a_submit_that_is_cancelled_while_it_waits_leaves_no_job(autojump_clock: MockClock) -> None:
    async with one(max_queue=0) as pool:
        await pool.submit(nap, 9)
        with trio.move_on_after(1) as scope:
            await pool.submit(echo)
        assert scope.cancelled_caught
        assert pool.statistics().submitted == 1
        assert pool.statistics().submitters_waiting == 0


async def test_submit_inside_a_job() -> None:
    async with one() as pool:

        async def submit(resource: object) -> Any:
            return await checked(pool.submit, echo)

        assert isinstance(await pool.run(submit), Job)


# submit_graph


async def test_submit_graph_that_is_admitted_at_once() -> None:
    async with one() as pool:
        jobs = await checked(pool.submit_graph, {"x": Node(echo), "y": Node(echo, after=["x"])})
        assert list(jobs) == ["x", "y"]


async def test_submit_graph_of_nothing() -> None:
    async with one() as pool:
        assert await checked(pool.submit_graph, {}) == {}
        await check_cancelled(pool.submit_graph, {})


async def test_submit_graph_that_waits_for_a_place(autojump_clock: MockClock) -> None:
    async with one(max_queue=0) as pool:
        await pool.submit(nap)
        assert list(await checked(pool.submit_graph, {"x": Node(echo)})) == ["x"]


async def test_a_cancelled_submit_graph_leaves_no_job() -> None:
    async with one() as pool:
        await check_cancelled(pool.submit_graph, {"x": Node(echo)})
        assert pool.statistics().submitted == 0


# run


async def test_run() -> None:
    async with one() as pool:
        assert await checked(pool.run, echo) == "x"


async def test_run_of_a_job_that_dies() -> None:
    async with one() as pool:
        assert isinstance(await checked(pool.run, fail), JobFailedError)


async def test_a_cancelled_run_leaves_no_job() -> None:
    async with one() as pool:
        await check_cancelled(pool.run, echo)
        assert pool.statistics().submitted == 0


# join


async def test_join_of_a_pool_at_rest() -> None:
    async with one() as pool:
        assert await checked(pool.join) is None
        await check_cancelled(pool.join)


async def test_join_of_a_busy_pool(autojump_clock: MockClock) -> None:
    async with one() as pool:
        await pool.submit(nap)
        await check_cancelled(pool.join)
        assert await checked(pool.join) is None


# add


async def test_add() -> None:
    async with one() as pool:
        assert (await checked(pool.add, "b")).resource == "b"


async def test_a_cancelled_add_leaves_no_worker() -> None:
    async with one() as pool:
        await check_cancelled(pool.add, "b")
        assert len(pool.workers) == 1


async def test_an_add_that_fails() -> None:
    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        if resource == "b":
            raise OSError("no answer")
        yield resource

    async with one(lifespan=connect) as pool:
        assert isinstance(await checked(pool.add, "b"), OSError)
        assert len(pool.workers) == 1


async def test_add_of_a_slot() -> None:
    async with open_pool(1) as pool:
        assert (await checked(pool.add)).id == 2


# The block


async def test_entering_and_leaving_a_pool() -> None:
    manager = one()
    await checked(manager.__aenter__)
    assert not await checked(manager.__aexit__, None, None, None)


async def test_entering_and_leaving_an_empty_pool() -> None:
    nobody: list[str] = []
    manager = open_pool(nobody)
    pool = await checked(manager.__aenter__)
    assert isinstance(pool, Pool)
    assert not await checked(manager.__aexit__, None, None, None)


async def test_entering_a_pool_after_a_cancellation() -> None:
    entered = False
    with trio.CancelScope() as scope:
        scope.cancel()
        async with one():
            entered = True
    assert scope.cancelled_caught
    assert not entered


# A group


async def test_entering_and_leaving_a_group() -> None:
    async with one() as pool:
        manager = pool.open_group()
        await checked(manager.__aenter__)
        assert not await checked(manager.__aexit__, None, None, None)


async def test_entering_a_group_whose_workers_are_idle() -> None:
    async with one() as pool:
        manager = pool.open_group(reserve=1)
        await checked(manager.__aenter__)
        assert not await checked(manager.__aexit__, None, None, None)


async def test_entering_a_group_that_waits_for_workers(autojump_clock: MockClock) -> None:
    async with one() as pool:
        await pool.submit(nap)
        manager = pool.open_group(reserve=1)
        await checked(manager.__aenter__)
        assert not await checked(manager.__aexit__, None, None, None)


async def test_entering_a_group_after_a_cancellation() -> None:
    async with one() as pool:
        for reserve in (0, 1):
            await check_cancelled(pool.open_group(reserve=reserve).__aenter__)
        assert await pool.run(echo) == "x"


async def test_join_of_a_group(autojump_clock: MockClock) -> None:
    async with one() as pool, pool.open_group() as group:
        assert await checked(group.join) is None
        await check_cancelled(group.join)
        await group.submit(nap)
        await check_cancelled(group.join)
        assert await checked(group.join) is None


# A job


@pytest.mark.parametrize("fn", [echo, fail])
async def test_wait_for_a_job_that_has_ended(fn: Any) -> None:
    async with one() as pool:
        job = await ended(pool, fn)
        outcome = await checked(job.wait)
        assert outcome == "x" or isinstance(outcome, JobFailedError)
        await check_cancelled(job.wait)


async def test_wait_for_a_job_that_was_cancelled() -> None:
    async with one() as pool:
        job = await pool.submit(nap)
        job.cancel()
        assert isinstance(await checked(job.wait), JobCancelledError)
        assert isinstance(await checked(job.wait), JobCancelledError)


async def test_wait_for_a_job_under_way(autojump_clock: MockClock) -> None:
    async with one() as pool:
        job = await pool.submit(nap)
        await check_cancelled(job.wait)
        assert await checked(job.wait) is None


async def test_wait_for_a_job_after_the_block() -> None:
    async with one() as pool:
        job = await ended(pool)
    assert await checked(job.wait) == "x"


async def test_wait_started_for_a_job_that_has_ended() -> None:
    async with one() as pool:
        job = await ended(pool)
        assert await checked(job.wait_started) is None
        await check_cancelled(job.wait_started)


async def test_wait_started_for_a_job_under_way(autojump_clock: MockClock) -> None:
    async with one() as pool:
        job = await pool.submit(nap)
        assert await checked(job.wait_started) is None


async def test_wait_started_for_a_job_that_waits(autojump_clock: MockClock) -> None:
    async with one() as pool:
        await pool.submit(nap)
        job = await pool.submit(nap)
        await check_cancelled(job.wait_started)
        assert await checked(job.wait_started) is None


# A worker


async def test_remove_of_an_idle_worker() -> None:
    async with one() as pool:
        assert await checked(pool.workers[0].remove) is None
        assert pool.workers == ()


@pytest.mark.parametrize("cancel", [False, True])
async def test_remove_of_a_busy_worker(cancel: bool, autojump_clock: MockClock) -> None:
    async with one(no_worker="bury") as pool:
        await pool.submit(nap)
        assert await checked(pool.workers[0].remove, cancel=cancel) is None
        assert pool.workers == ()


@pytest.mark.parametrize("cancel", [False, True])
async def test_remove_of_a_worker_that_has_gone(cancel: bool) -> None:
    async with one() as pool:
        [worker] = pool.workers
        await worker.remove()
        assert await checked(worker.remove, cancel=cancel) is None
        await check_cancelled(worker.remove, cancel=cancel)


async def test_a_remove_that_is_cancelled_while_it_waits(autojump_clock: MockClock) -> None:
    async with one() as pool:
        [worker] = pool.workers
        await pool.submit(nap, 5)
        with trio.move_on_after(1) as scope:
            await worker.remove()
        assert scope.cancelled_caught
        await trio.sleep(5)
        assert pool.workers == ()


# Streams


STREAMS = ["map", "as_completed"]


@pytest.mark.parametrize("name", STREAMS)
async def test_entering_and_leaving_a_stream(name: str) -> None:
    async with one() as pool:
        manager = getattr(pool, name)(echo, ["x"])
        assert await checked(manager.__aenter__) is manager
        assert not await checked(manager.__aexit__, None, None, None)


@pytest.mark.parametrize("name", STREAMS)
async def test_leaving_a_stream_of_nothing(name: str) -> None:
    async with one() as pool:
        manager = getattr(pool, name)(echo, [])
        await checked(manager.__aenter__)
        await wait_all_tasks_blocked()
        assert not await checked(manager.__aexit__, None, None, None)


@pytest.mark.parametrize("name", STREAMS)
async def test_each_result_of_a_stream(name: str) -> None:
    async with one() as pool, getattr(pool, name)(echo, ["x", "y", "z"]) as results:
        found = [await checked(results.__anext__) for _ in range(2)]
        await wait_all_tasks_blocked()  # now the third is there already
        found.append(await checked(results.__anext__))
        assert [item.result() if isinstance(item, Job) else item for item in found] == ["x", "y", "z"]
        assert isinstance(await checked(results.__anext__), StopAsyncIteration)


@pytest.mark.parametrize("name", STREAMS)
async def test_a_result_that_is_there_is_not_lost_to_a_cancellation(name: str) -> None:
    async with one() as pool, getattr(pool, name)(echo, ["x", "y"]) as results:
        await wait_all_tasks_blocked()
        await check_cancelled(results.__anext__)
        found = [await checked(results.__anext__) for _ in range(2)]
        assert [item.result() if isinstance(item, Job) else item for item in found] == ["x", "y"]
        await check_cancelled(results.__anext__)


async def test_a_result_of_a_stream_that_is_an_error() -> None:
    async with one() as pool, pool.map(echo_or_fail, ["x", "y"]) as results:
        assert isinstance(await checked(results.__anext__), JobFailedError)
        await wait_all_tasks_blocked()
        assert isinstance(await checked(results.__anext__), JobFailedError)


async def echo_or_fail(resource: object, value: str) -> str:
    raise ValueError(value)


@pytest.mark.parametrize("name", STREAMS)
async def test_the_error_of_the_items(name: str) -> None:
    def items() -> Any:
        yield from map(int, ["not a number"])

    async with one() as pool, getattr(pool, name)(echo, items()) as results:
        assert isinstance(await checked(results.__anext__), ValueError)
        assert isinstance(await checked(results.__anext__), StopAsyncIteration)


# Snapshots


async def test_each_snapshot(autojump_clock: MockClock) -> None:
    async with one() as pool:
        snapshots = pool.snapshots(2)
        for _ in range(2):
            assert (await checked(snapshots.__anext__)).submitted == 0
        await trio.sleep(5)  # now the next one is due already
        assert (await checked(snapshots.__anext__)).submitted == 0
        await check_cancelled(snapshots.__anext__)
        pool.close()
        await check_cancelled(snapshots.__anext__)
        assert (await checked(snapshots.__anext__)).submitted == 0
        assert isinstance(await checked(snapshots.__anext__), StopAsyncIteration)
        assert isinstance(await checked(snapshots.__anext__), StopAsyncIteration)


async def test_the_first_snapshot_after_a_cancellation() -> None:
    async with one() as pool:
        snapshots = pool.snapshots(2)
        await check_cancelled(snapshots.__anext__)
        assert (await checked(snapshots.__anext__)).submitted == 0


# Calls that are the caller's mistake


async def test_a_closed_pool_raises_without_losing_anything() -> None:
    async with one() as pool:
        pool.close()
        for call in (pool.submit, pool.run):
            with pytest.raises(PoolClosedError):
                await call(echo)
        assert pool.statistics().submitted == 0
