"""What a queued job takes up, and what it costs to be rid of all of them."""

from __future__ import annotations

import gc
import math
import tracemalloc
from typing import TYPE_CHECKING

import trio

from trio_pool import open_pool

from .measure import Figure, Stopwatch, ratio, settled
from .programs import WORKERS, give_back

if TYPE_CHECKING:
    from .measure import Pair
    from .rows import Scale


async def measure_memory(jobs: int, history: bool) -> float:
    """The bytes per queued job.

    The arguments are there before. The tuple that holds them is the job's, and counts.
    """
    items = list(range(jobs))
    async with open_pool(WORKERS, max_queue=math.inf, history=history) as pool:
        await trio.lowlevel.checkpoint()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for item in items:
            pool.submit_nowait(give_back, item)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        pool.cancel()
        await trio.lowlevel.checkpoint()
    return (after - before) / jobs


async def submit_and_cancel(jobs: int) -> Pair:
    """The seconds per job of ``cancel()`` until the pool has ended, and of submitting."""
    async with open_pool(WORKERS, max_queue=math.inf) as pool:
        for worker in pool.workers:
            worker.pause()
        with Stopwatch() as submitting:
            for item in range(jobs):
                pool.submit_nowait(give_back, item)
        cancelling = Stopwatch()
        cancelling.__enter__()
        pool.cancel()
        await trio.lowlevel.checkpoint()
    cancelling.__exit__()
    return cancelling.cost / jobs, submitting.cost / jobs


def memory(scale: Scale, *, history: bool) -> Figure:
    """The bytes per queued job."""
    return Figure((settled(lambda: trio.run(measure_memory, scale.remembered, history)),))


def cancelling(scale: Scale) -> Figure:
    """The cost of ``pool.cancel()`` per queued job against that of submitting it."""
    pairs: list[Pair] = []
    for _ in range(scale.rounds):
        gc.collect()
        pairs.append(trio.run(submit_and_cancel, scale.cancelled))
    return ratio(pairs)
