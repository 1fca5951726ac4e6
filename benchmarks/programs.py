"""The pool's side: the same work as the peers do, as users of the pool write it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from trio_pool import RetryPolicy, open_pool

from .measure import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .measure import Cost, Meter

WORKERS = 4
CALLERS = 1_000
"""Tasks that call at once: as many as the queue has places for by default, so that none waits to submit."""
RETRY = RetryPolicy(max_attempts=3)
TIMEOUTS = {"attempt_timeout": 10.0, "total_timeout": 60.0}


async def give_back(item: int) -> int:
    """What the jobs do: as little as can be."""
    await trio.lowlevel.checkpoint()
    return item


async def submit_all(
    fn: Callable[[int], Awaitable[int]],
    items: Sequence[int],
    workers: int,
    *,
    retry: RetryPolicy = RETRY,
    **options: Any,
) -> list[int]:
    """``submit`` all, ``join``, and each ``result()``."""
    async with open_pool(workers, retry=retry, **options) as pool:
        jobs = [await pool.submit(fn, item) for item in items]
        await pool.join()
        return [job.result() for job in jobs]


async def submit_all_nowait(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> None:
    """``submit_nowait`` all, then ``join``."""
    async with open_pool(workers, max_queue=math.inf) as pool:
        for item in items:
            pool.submit_nowait(fn, item)
        await pool.join()


async def map_all(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int, **options: Any) -> list[int]:
    """``map``."""
    async with open_pool(workers, **options) as pool, pool.map(fn, items) as results:
        return [result async for result in results]


async def run_each(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """``run`` for one after the other."""
    async with open_pool(workers, retry=RETRY) as pool:
        return [await pool.run(fn, item) for item in items]


async def acquire_each(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The same in blocks of ``acquire``."""
    results: list[int] = []
    async with open_pool(workers, retry=RETRY) as pool:
        for item in items:
            async with pool.acquire():
                results.append(await fn(item))
    return results


async def run_from_tasks(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """``run``, called by many tasks at once, each for an item."""
    results: list[int] = []
    async with open_pool(workers) as pool:

        async def call(item: int) -> None:
            results.append(await pool.run(fn, item))

        for start in range(0, len(items), CALLERS):
            async with trio.open_nursery() as nursery:
                for item in items[start : start + CALLERS]:
                    nursery.start_soon(call, item)
    return results


async def acquire_from_tasks(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """``acquire``, called by many tasks at once, each for an item."""
    results: list[int] = []
    async with open_pool(workers) as pool:

        async def call(item: int) -> None:
            async with pool.acquire():
                results.append(await fn(item))

        for start in range(0, len(items), CALLERS):
            async with trio.open_nursery() as nursery:
                for item in items[start : start + CALLERS]:
                    nursery.start_soon(call, item)
    return results


def whole(
    run: Callable[..., Awaitable[list[int] | None]],
    jobs: int,
    *,
    meter: Callable[[], Meter] = Stopwatch,
    **options: Any,
) -> Cost:
    """The seconds per job of a whole program, or what else the meter measures, its opening and closing included.

    Raises:
      RuntimeError: when run, if the program returns other results than it should.
    """
    items = range(jobs)

    async def main() -> tuple[float, list[int] | None]:
        with meter() as watch:
            results = await run(give_back, items, WORKERS, **options)
        return watch.cost, results

    def cost() -> float:
        seconds, results = trio.run(main)
        if results is not None and sorted(results) != list(items):
            raise RuntimeError(f"{run.__module__}.{run.__name__} has lost or made up results")
        return seconds / jobs

    return cost
