"""Jobs whose threads run and submit further jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from trio.testing import wait_all_tasks_blocked

from tests.actors import works
from tests.threads import in_plain_thread, in_trios_thread
from trio_pool import JobDeadlockError, JobFailedError, Pool, current_job, open_pool

V = TypeVar("V")


def by_run(pool: Pool[str], fn: Callable[[str], Awaitable[V]]) -> V:
    return pool.run_from_thread(fn)


def by_result(pool: Pool[str], fn: Callable[[str], Awaitable[V]]) -> V:
    return pool.submit_from_thread(fn).result()


def by_exception(pool: Pool[str], fn: Callable[[str], Awaitable[V]]) -> BaseException | None:
    return pool.submit_from_thread(fn).exception()


@pytest.mark.parametrize("way", [by_run, by_result, by_exception])
async def test_a_job_that_waits_by_a_thread_for_one_that_cannot_start_is_told_so(
    way: Callable[..., Any],
) -> None:
    async def waits_for_another(_: object) -> None:
        await in_trios_thread(way, pool, works)

    async with open_pool(["the only one"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(waits_for_another)
    assert isinstance(caught.value.__cause__, JobDeadlockError)


@pytest.mark.parametrize("way", [by_run, by_result])
async def test_a_job_can_lend_its_worker_to_what_its_thread_waits_for(way: Callable[..., Any]) -> None:
    async def lends(_: object) -> str:
        async with current_job().lend():
            return str(await in_trios_thread(way, pool, works))

    async with open_pool(["the only one"]) as pool:
        assert await pool.run(lends) == "done"


async def test_a_job_that_submits_from_a_thread_is_not_held_up_by_the_bound() -> None:
    async def submits(_: object) -> Any:
        future = await in_trios_thread(pool.submit_from_thread, works)
        await wait_all_tasks_blocked()
        assert (pool.statistics().queued, pool.statistics().submitters_waiting) == (1, 0)
        return future

    async with open_pool(["the only one"], max_queue=0) as pool:
        future = await pool.run(submits)
        assert await in_plain_thread(future.result) == "done"


async def test_a_job_may_submit_from_a_thread_though_the_pool_is_closed() -> None:
    async def submits(_: object) -> str:
        return await in_trios_thread(pool.run_from_thread, works)

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(submits)
        pool.close()
        assert await job.wait() == "done"
