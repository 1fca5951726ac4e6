"""What a job costs under limits that hold nothing back, and with other options, in calls of functions.

There is an idle worker for each job all the time, and no limit is ever reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from trio_pool import Hedge, RateLimit, Resource, open_pool

from .crowds import use
from .measure import CallCounter, ratio
from .programs import WORKERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio_pool import JobGroup, Pool

    from .measure import Figure
    from .rows import Scale

UNREACHED = RateLimit(1e6, burst=10**6)
TAG_SETS = 400


async def submit_each(target: Pool[int] | JobGroup[int], jobs: int, options: Sequence[dict[str, Any]] = ({},)) -> float:
    """The calls for each job by ``submit`` until all have ended, with these options in turn."""
    await trio.testing.wait_all_tasks_blocked()
    for each in options:  # what is worked out once is not counted
        await target.run(use, **each)
    with CallCounter() as counter:
        for number in range(jobs):
            await target.submit(use, **options[number % len(options)])
        await target.join()
    return counter.cost / jobs


async def plain(jobs: int) -> float:
    """Jobs without any of it."""
    async with open_pool(range(WORKERS)) as pool:
        return await submit_each(pool, jobs)


async def under_limit_of_worker(jobs: int) -> float:
    """Jobs whose workers have a rate limit each."""
    async with open_pool([Resource(number, rate_limit=UNREACHED) for number in range(WORKERS)]) as pool:
        return await submit_each(pool, jobs)


async def under_limit_of_pool(jobs: int) -> float:
    """Jobs whose pool has a rate limit."""
    async with open_pool(range(WORKERS), rate_limit=UNREACHED) as pool:
        return await submit_each(pool, jobs)


async def in_bounded_group(jobs: int) -> float:
    """Jobs of a group of which only so many run at once."""
    async with open_pool(range(WORKERS)) as pool, pool.open_group(max_running=2 * WORKERS) as group:
        return await submit_each(group, jobs)


async def with_tags(jobs: int) -> float:
    """Jobs that require a tag, one after the other another one, where each worker has a tag of its own."""
    async with open_pool([Resource(number, tags=[f"tag {number}"]) for number in range(TAG_SETS)]) as pool:
        return await submit_each(pool, jobs, [{"requires": [f"tag {number}"]} for number in range(TAG_SETS)])


async def hedged(jobs: int) -> float:
    """Jobs that would start once more if they were slow, and never are."""
    async with open_pool(range(WORKERS)) as pool:
        return await submit_each(pool, jobs, [{"hedge": Hedge(60.0)}])


def against_plain(program: Callable[[int], Awaitable[float]]) -> Callable[[Scale], Figure]:
    """The cost of such a job against that of a plain one."""
    return lambda scale: ratio([(trio.run(program, scale.counted), trio.run(plain, scale.counted))])
