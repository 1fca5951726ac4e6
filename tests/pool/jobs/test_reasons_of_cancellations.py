"""The reason of a job that was cancelled while it ran names who has cancelled it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.actors import sleeps_forever
from tests.pool.leases.borrowers import stay
from trio_pool import JobCancelledError, open_pool

if TYPE_CHECKING:
    from trio_pool import Job


async def test_its_handle() -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        job.cancel()
    assert job.reason == "cancelled while it ran, by job.cancel()"


async def test_its_caller() -> None:
    async with open_pool(["a"]) as pool:
        jobs: list[Job[Any]] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pool.run, sleeps_forever)
                await wait_all_tasks_blocked()
                jobs += pool.jobs()
                scope.cancel()
        lease = pool.acquire()
        with trio.CancelScope() as scope:
            async with lease:
                scope.cancel()
                await trio.sleep_forever()
    assert [job.reason for job in (*jobs, lease.job)] == ["cancelled while it ran, with its caller"] * 2


async def test_its_group() -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        job = await group.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        group.cancel()
    assert job.reason == "cancelled while it ran, with its group"


async def test_the_pool() -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        pool.cancel()
    assert job.reason == "cancelled while it ran, with the pool"


async def test_the_end_of_its_worker() -> None:
    async def borrow() -> None:
        with pytest.raises(JobCancelledError):
            await stay(lease)

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()
        nursery.start_soon(borrow)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove(cancel=True)
    assert lease.job.reason == "cancelled while it ran, because its worker was removed"
