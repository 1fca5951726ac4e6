"""What a job costs where there are many of something else: workers, waiting jobs, tag sets, lanes, groups.

All of it is counted in calls of functions, and held against the same with few of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
import trio.testing

from trio_pool import Resource, open_pool

from .measure import CallCounter, ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_pool import Pool

    from .measure import Figure
    from .rows import Scale

FEW = 4


async def use(resource: int) -> None:
    """A job that takes a turn of Trio's loop."""
    await trio.lowlevel.checkpoint()


async def leave(workers: int, jobs: int) -> float:
    """The calls for each job from the end of the body until all have ended, with what the workers have at first."""
    counter = CallCounter()
    left = jobs + workers

    async def count_down() -> None:
        nonlocal left
        await trio.lowlevel.checkpoint()
        left -= 1
        if not left:
            counter.__exit__()

    async with open_pool(workers, max_queue=math.inf) as pool:
        for _ in range(left):
            pool.submit_nowait(count_down)
        counter.__enter__()
    return counter.cost / (jobs + workers)


async def wait_for_one(waiting: int, jobs: int, *, draining: bool) -> float:
    """The calls for each job while others wait for one that ends after all of them."""
    counter = CallCounter()
    over = trio.Event()
    left = jobs

    async def count_down() -> None:
        nonlocal left
        await trio.lowlevel.checkpoint()
        left -= 1
        if not left:
            counter.__exit__()
            over.set()

    async with open_pool(waiting + 1 + FEW, max_queue=math.inf) as pool:
        awaited = pool.submit_nowait(over.wait)
        for _ in range(waiting):
            pool.submit_nowait(awaited.wait)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(jobs):
            pool.submit_nowait(count_down)
        counter.__enter__()
        if not draining:
            await over.wait()
    return counter.cost / jobs


async def require(tag_sets: int, jobs: int) -> float:
    """The calls for each job that any worker may take, that all have a tag for, or one alone."""
    resources = [Resource(number, tags=["all", f"tag {number}"]) for number in range(tag_sets)]
    required: list[list[str]] = []
    for number in range(tag_sets):
        required += [[], ["all"], [f"tag {number}"]]
    counter = CallCounter()
    async with open_pool(resources, max_queue=math.inf) as pool:
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):  # what is worked out once is not counted
            for tags in required[: 3 * FEW]:
                await pool.run(use, requires=tags)
        with counter:
            for number in range(jobs):
                pool.submit_nowait(use, requires=required[number % (3 * FEW)])
                if not number % FEW:
                    await pool.join()
            await pool.join()
    return counter.cost / jobs


async def pin(workers: int, jobs: int) -> float:
    """The calls for each job that one worker alone may take, where all but one of them may work at once."""
    counter = CallCounter()
    async with open_pool(range(workers), max_running=workers - 1, max_queue=math.inf) as pool:
        for worker in pool.workers:
            worker.pause()
        rounds = 2 + jobs // 100
        for _ in range(rounds):
            for worker in pool.workers:
                pool.submit_nowait(use, worker=worker)
        for worker in pool.workers:
            worker.resume()
        with counter:
            await pool.join()
    return counter.cost / (rounds * workers)


async def reserve(workers: int, jobs: int) -> float:
    """The calls for each job that ends while a group waits for all workers, which are set aside one by one."""
    counter = CallCounter()
    rounds = max(1, jobs // workers)

    async def open_one(pool: Pool[int]) -> None:
        async with pool.open_group(reserve=workers):
            counter.__exit__()

    cost = 0.0
    async with open_pool(range(workers), max_queue=math.inf) as pool:
        for _ in range(rounds):
            over = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    pool.submit_nowait(wait, over)
                nursery.start_soon(open_one, pool)
                await trio.testing.wait_all_tasks_blocked()
                counter.__enter__()
                over.set()
            cost += counter.cost
    return cost / (rounds * workers)


async def wait(resource: int, over: trio.Event) -> None:
    """A job that lasts until then."""
    await over.wait()


async def queue_groups(groups: int, jobs: int) -> float:
    """The calls for each group that waits for a worker of its own among as many."""
    counter = CallCounter()
    rounds = max(1, jobs // groups)

    async def open_one(pool: Pool[int]) -> None:
        async with pool.open_group(reserve=1) as group:
            await group.run(use)

    async with open_pool(range(FEW), max_queue=math.inf) as pool:
        cost = 0.0
        for _ in range(rounds):
            over = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(FEW):
                    pool.submit_nowait(wait, over)
                for _ in range(groups):
                    nursery.start_soon(open_one, pool)
                await trio.testing.wait_all_tasks_blocked()
                counter.__enter__()
                over.set()
            counter.__exit__()
            cost += counter.cost
    return cost / (rounds * groups)


def against_few(
    program: Callable[[int, int], Awaitable[float]], many: int, few: int = FEW
) -> Callable[[Scale], Figure]:
    """The cost of a job with many of something against that with few."""
    return lambda scale: ratio([(trio.run(program, many, scale.counted), trio.run(program, few, scale.counted))])
