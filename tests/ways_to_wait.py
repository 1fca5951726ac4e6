"""The ways in which a job can wait for others of its pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.testing import wait_all_tasks_blocked

from tests.actors import nap
from trio_pool import Job, JobDeadlockError, SlotPool, current_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def by_run(pool: SlotPool) -> object:
    return await pool.run(nap, 1)


async def by_wait(pool: SlotPool) -> object:
    return await (await pool.submit(nap, 1)).wait()


async def by_waiting_for_its_start(pool: SlotPool) -> object:
    await (await pool.submit(nap, 1)).wait_started()
    return None


async def by_map(pool: SlotPool) -> object:
    async with pool.map(nap, [1, 2]) as results:
        return [result async for result in results]


async def by_map_over_async_items(pool: SlotPool) -> object:
    async def items() -> AsyncIterator[float]:
        yield 1
        await trio.sleep(3)
        yield 2

    await trio.sleep(1)
    async with pool.map(nap, items()) as results:
        await wait_all_tasks_blocked()
        return [result async for result in results]


async def by_as_completed(pool: SlotPool) -> object:
    async with pool.as_completed(nap, [1, 2]) as jobs:
        return [job async for job in jobs]


async def by_leaving_a_group(pool: SlotPool) -> object:
    async with pool.open_group() as group:
        await group.submit(nap, 1)
    return None


async def by_joining_a_group(pool: SlotPool) -> object:
    async with pool.open_group() as group:
        job = await group.submit(nap, 1)
        try:
            await group.join()
        finally:
            job.cancel()
    return None


async def by_a_graph_in_a_chain(pool: SlotPool) -> object:
    first = await pool.submit(nap, 1)
    second = await pool.submit(nap, 1, after=[first])
    return await (await pool.submit(nap, 1, after=[second])).wait()


async def by_a_task_of_its_own(pool: SlotPool) -> object:
    found: list[JobDeadlockError] = []

    async def child() -> None:
        try:
            await pool.run(nap, 1)
        except JobDeadlockError as error:
            found.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    raise found[0]


async def by_waiting_for_itself(pool: SlotPool) -> object:
    return await current_job().wait()


WAYS = [
    by_run,
    by_wait,
    by_waiting_for_its_start,
    by_map,
    by_map_over_async_items,
    by_as_completed,
    by_leaving_a_group,
    by_joining_a_group,
    by_a_graph_in_a_chain,
    by_a_task_of_its_own,
    by_waiting_for_itself,
]


async def waits_for(getter: Callable[[], Job[Any]], *, lend: bool = False) -> str:
    """Waits for another job, which may not be there yet; tells how that went."""
    await trio.sleep(1)
    try:
        if lend:
            async with current_job().lend():
                await getter().wait()
        else:
            await getter().wait()
    except JobDeadlockError:
        return "deadlock"
    return "fine"
