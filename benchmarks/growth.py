"""How the cost of a job grows with the jobs that are queued and with the workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
import trio.testing

from trio_pool import open_pool

from .measure import Figure, Stopwatch, in_turn, ratio
from .programs import WORKERS, give_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from .measure import Cost, Meter
    from .rows import Scale


class Counted(float):
    """A priority that counts how often two of its kind are compared."""

    comparisons = 0

    def __lt__(self, other: float, /) -> bool:
        Counted.comparisons += 1
        return super().__lt__(other)

    def __le__(self, other: float, /) -> bool:
        Counted.comparisons += 1
        return super().__le__(other)

    def __gt__(self, other: float, /) -> bool:
        Counted.comparisons += 1
        return super().__gt__(other)

    def __ge__(self, other: float, /) -> bool:
        Counted.comparisons += 1
        return super().__ge__(other)

    def __eq__(self, other: object, /) -> bool:
        Counted.comparisons += 1
        return super().__eq__(other)

    __hash__ = float.__hash__


def through_the_queue(queued: int, jobs: int, meter: Callable[[], Meter] = Stopwatch) -> Cost:
    """The cost of each of ``jobs``, submitted and run in waves of ``queued``.

    ``submit_nowait`` lets no worker run, so that all of a wave are queued at once.
    """

    async def main() -> float:
        async with open_pool(WORKERS, max_queue=math.inf) as pool:
            with meter() as taken:
                for _ in range(jobs // queued):
                    for item in range(queued):
                        pool.submit_nowait(give_back, item)
                    await pool.join()
        return taken.cost / jobs

    return lambda: trio.run(main)


def by_workers(workers: int, jobs: int, meter: Callable[[], Meter] = Stopwatch) -> Cost:
    """The cost of each of ``jobs`` by ``submit`` until all have ended, opening and closing left out."""

    async def main() -> float:
        async with open_pool(workers) as pool:
            await trio.testing.wait_all_tasks_blocked()
            with meter() as taken:
                for item in range(jobs):
                    await pool.submit(give_back, item)
                await pool.join()
        return taken.cost / jobs

    return lambda: trio.run(main)


async def compare(queued: int) -> float:
    """The comparisons of priorities made for each pick out of so many jobs.

    The priorities are all different and in no order: 7919 is prime to the number of jobs.
    """
    async with open_pool(WORKERS, max_queue=math.inf) as pool:
        for item in range(queued):
            pool.submit_nowait(give_back, item, priority=Counted(item * 7919 % queued))
        Counted.comparisons = 0
        await pool.join()
    return Counted.comparisons / queued


def queued_jobs(scale: Scale) -> Figure:
    """The cost per job with many queued against few."""
    many = through_the_queue(scale.many_queued, scale.many_queued)
    few = through_the_queue(scale.few_queued, max(scale.jobs, scale.few_queued))
    return in_turn(many, few, scale.rounds)


def comparisons(scale: Scale) -> Figure:
    """The comparisons per pick with many queued against few."""
    return ratio([(trio.run(compare, scale.many_compared), trio.run(compare, scale.few_compared))])


def workers(number: int, scale: Scale) -> Figure:
    """The cost per job with many workers against few."""
    return in_turn(by_workers(number, scale.jobs), by_workers(WORKERS, scale.jobs), scale.rounds)
