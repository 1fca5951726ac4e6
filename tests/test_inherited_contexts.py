"""Threads that have the context of a job and are no part of it, as all that it starts in some builds of Python."""

from __future__ import annotations

import threading
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.actors import works
from tests.threads import in_plain_thread, in_trios_thread
from trio_pool import JobFailedError, Pool, PoolClosedError, current_job, open_pool
from trio_pool.testing import assert_settled

CALLS = ["run_from_thread", "submit_from_thread"]


async def in_thread_of_this_context(fn: Any, *args: Any) -> Any:
    """Call it in a plain thread that begins with the caller's context."""
    return await in_plain_thread(fn, *args, context=copy_context())


async def test_a_thread_with_the_context_of_a_job_is_told_of_that_job() -> None:
    async def asks(_: object) -> bool:
        return await in_thread_of_this_context(current_job) is current_job()

    async with open_pool(["a"]) as pool:
        assert await pool.run(asks)


@pytest.mark.parametrize("call", CALLS)
async def test_a_closed_pool_refuses_a_thread_that_merely_has_the_context_of_a_job(call: str) -> None:
    async def calls(_: object, pool: Pool[str]) -> None:
        pool.close()
        with pytest.raises(PoolClosedError):
            await in_thread_of_this_context(getattr(pool, call), works)

    async with open_pool(["a", "b"]) as pool:
        await pool.run(calls, pool)
    assert pool.statistics().submitted == 1


async def test_a_closed_group_refuses_a_thread_that_merely_has_the_context_of_one_of_its_jobs() -> None:
    async def calls(_: object, group: Any) -> None:
        group.close()
        with pytest.raises(PoolClosedError):
            await in_thread_of_this_context(group.run_from_thread, works)
        await in_trios_thread(group.run_from_thread, works)

    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        await group.run(calls, group)


async def test_a_closed_pool_lets_in_a_thread_that_the_task_of_a_job_waits_for() -> None:
    async def calls(_: object, pool: Pool[str]) -> str:
        pool.close()
        await in_trios_thread(lambda: pool.submit_from_thread(works).result())
        return await in_trios_thread(pool.run_from_thread, works)

    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(calls, pool) == "done"


async def test_a_thread_that_a_cancelled_job_waits_for_is_part_of_it_still() -> None:
    cancelled, futures = threading.Event(), list[Any]()

    def submits(pool: Pool[str]) -> None:
        cancelled.wait()
        futures.append(pool.submit_from_thread(works))

    async def calls(_: object, pool: Pool[str]) -> None:
        pool.close()
        await in_trios_thread(submits, pool)

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(calls, pool)
        await trio.testing.wait_all_tasks_blocked()
        job.cancel()
        cancelled.set()
    assert futures[0].result() == "done"


async def test_what_such_a_thread_submits_waits_for_its_place_as_any_job_from_outside() -> None:
    async def calls(_: object, pool: Pool[str]) -> int:
        future = await in_thread_of_this_context(pool.submit_from_thread, works)
        await trio.testing.wait_all_tasks_blocked()
        waiting = pool.statistics().submitters_waiting
        future.cancel()
        return waiting

    async with open_pool(["a"], max_queue=0) as pool:
        assert await pool.run(calls, pool) == 1
    assert_settled(pool)


async def test_what_such_a_thread_submits_is_no_part_of_the_job_either() -> None:
    joined: list[str] = []

    async def joins(_: object, group: Any) -> None:
        await group.join()  # inside a job of the group this would be an error
        joined.append(current_job().name)

    async def calls(_: object, pool: Pool[str], group: Any) -> None:
        await in_thread_of_this_context(partial(pool.submit_from_thread, joins, group, name="outside"))
        with pytest.raises(JobFailedError) as caught:
            await in_trios_thread(pool.run_from_thread, joins, group)
        assert isinstance(caught.value.__cause__, RuntimeError)

    async with open_pool(["a", "b", "c"]) as pool, pool.open_group() as group:
        await group.run(calls, pool, group)
    assert joined == ["outside"]


async def test_a_thread_without_any_context_is_outside() -> None:
    async def calls(_: object, pool: Pool[str]) -> None:
        pool.close()
        with pytest.raises(PoolClosedError):
            await in_plain_thread(pool.run_from_thread, works)
        with pytest.raises(RuntimeError, match=r"^current_job\(\) must be called inside a job's function$"):
            await in_plain_thread(current_job)

    async with open_pool(["a", "b"]) as pool:
        await pool.run(calls, pool)
