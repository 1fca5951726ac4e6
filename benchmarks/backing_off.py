"""What jobs cost that fail and wait for their next attempt."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

import trio
import trio.testing

from trio_pool import RetryPolicy, open_pool

from .measure import Figure, Stopwatch, in_turn
from .programs import WORKERS, give_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .rows import Scale

DELAY = 0.05
"""Seconds; on the mock clock it is not waited for."""

RETRY = RetryPolicy.fixed(DELAY, max_attempts=2, jitter="none")


def fails_once(items: int) -> Callable[[int], Awaitable[int]]:
    """A function that fails for each item the first time."""
    tried = bytearray(items)

    async def fail_once(item: int) -> int:
        await trio.lowlevel.checkpoint()
        if not tried[item]:
            tried[item] = 1
            raise OSError("not yet")
        return item

    return fail_once


async def all_delayed(fn: Callable[[int], Awaitable[int]], jobs: int) -> tuple[float, int]:
    """Run jobs on a clock that is at rest until all have been tried once.

    Returns:
      the seconds that it took, and the Trio tasks that were there beyond those before.
    """
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    async with open_pool(WORKERS, max_queue=math.inf, retry=RETRY) as pool:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        with Stopwatch() as first:
            for item in range(jobs):
                pool.submit_nowait(fn, item)
            await trio.testing.wait_all_tasks_blocked()
        statistics = pool.statistics()
        if statistics.delayed != statistics.failures:
            raise RuntimeError(f"only {statistics.delayed} of {statistics.failures} failed jobs back off")
        tasks = trio.lowlevel.current_statistics().tasks_living - before
        with Stopwatch() as second:
            clock.jump(2 * DELAY)
            await pool.join()
    return first.cost + second.cost, tasks


def tasks(scale: Scale) -> Figure:
    """The Trio tasks that jobs use which back off."""
    jobs = scale.delayed
    _, used = trio.run(all_delayed, fails_once(jobs), jobs, clock=trio.testing.MockClock())
    return Figure((used,))


def cost(scale: Scale) -> Figure:
    """The cost of each attempt, against that of jobs that don't fail: those have one each."""
    jobs = scale.delayed

    def failing() -> float:
        seconds, _ = trio.run(all_delayed, fails_once(jobs), jobs, clock=trio.testing.MockClock())
        return seconds / (2 * jobs)

    def good() -> float:
        seconds, _ = trio.run(all_delayed, give_back, jobs, clock=trio.testing.MockClock())
        return seconds / jobs

    return in_turn(failing, good, scale.rounds)


def mixed() -> float:
    """The seconds of 2 workers, 100 jobs that fail once and wait, and 100 that don't fail."""
    jobs = 100

    async def main() -> float:
        fail_once = fails_once(jobs)
        with Stopwatch(time.perf_counter) as watch:
            async with open_pool(2, retry=RETRY) as pool:
                for fn in (fail_once, give_back):
                    for item in range(jobs):
                        await pool.submit(fn, item)
                await pool.join()
        return watch.cost

    return trio.run(main)


def ideal() -> float:
    """The seconds of the same work and of the delay, and nothing else."""
    jobs = 100

    async def main() -> float:
        fail_once = fails_once(jobs)
        with Stopwatch(time.perf_counter) as watch:
            for item in range(jobs):
                with contextlib.suppress(OSError):
                    await fail_once(item)
            for item in range(jobs):
                await give_back(item)
            await trio.sleep(DELAY)
            for item in range(jobs):
                await fail_once(item)
        return watch.cost

    return trio.run(main)


def against_ideal(scale: Scale) -> Figure:
    """The time of the whole against the ideal."""
    return in_turn(mixed, ideal, scale.rounds)
