"""What a job costs while others wait that its worker may not take.

One worker is free and works through plain jobs. The others are held by jobs that don't end
meanwhile, and only they may take what waits: jobs that require tags which the free one
lacks, each another tag, and jobs that bounced off the free one and off some of the others,
each off another set of them. All that waits would go first if it could.
"""

from __future__ import annotations

import math
from itertools import chain, combinations, islice
from typing import TYPE_CHECKING, TypeVar

import trio
import trio.testing

from trio_pool import JobState, Resource, RetryPolicy, current_job, open_pool

from .measure import Stopwatch, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trio_pool import Pool, Worker

    from .measure import Cost, Figure, Meter
    from .rows import Scale

T = TypeVar("T")

KINDS = 100
HELD = 8
"""Workers, which have more than enough sets: 254 that are neither empty nor all of them."""

BOUNCE = RetryPolicy.fixed(0, max_attempts=None, jitter="none", placement="other")


async def give_back(resource: str, item: int) -> int:
    """A plain job."""
    await trio.lowlevel.checkpoint()
    return item


async def hold(resource: str) -> None:
    """Keep the worker busy."""
    await trio.sleep_forever()


async def bounce(resource: str) -> None:
    """Fail, and take no worker's next job with it."""
    worker = current_job().worker
    assert worker is not None
    worker.pause()
    raise OSError("not here")


async def fail_on(pool: Pool[str], route: Sequence[Worker], priority: int) -> None:
    """Have a job fail on these workers, one after the other, all workers being paused.

    It is resumed one worker at a time, so that there is no other that could take it. It has
    to come before what waits already.
    """
    pool.submit_nowait(bounce, priority=priority, retry=BOUNCE)
    for worker in route:
        worker.resume()
        await trio.testing.wait_all_tasks_blocked()


def subsets(workers: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """All sets of them but the empty one and the whole, small ones first."""
    return chain.from_iterable(combinations(workers, size) for size in range(1, len(workers)))


async def fill(pool: Pool[str], free: Worker, held: Sequence[Worker]) -> None:
    """Let jobs of every kind and of every set wait."""
    for number, others in enumerate(islice(subsets(held), KINDS)):
        await fail_on(pool, (*others, free), -1 - number)
    for kind in range(KINDS):
        pool.submit_nowait(give_back, kind, priority=-1, requires=[f"kind {kind}"])


def beside_waiting(jobs: int, *, waiting: bool, meter: Callable[[], Meter] = Stopwatch) -> Cost:
    """The cost of each of ``jobs`` plain ones, with or without others that wait."""
    tags = [f"kind {kind}" for kind in range(KINDS)]
    resources = [Resource("free"), *(Resource(f"held {number}", tags=tags) for number in range(HELD))]

    async def main() -> float:
        async with open_pool(resources, max_queue=math.inf) as pool:
            free, *held = pool.workers
            for worker in pool.workers:
                worker.pause()
            if waiting:
                await fill(pool, free, held)
            for worker in held:
                pool.submit_nowait(hold, worker=worker, priority=-1_000)
                worker.resume()
            free.resume()
            await trio.testing.wait_all_tasks_blocked()
            check(pool, KINDS if waiting else 0)
            with meter() as taken:
                plain = [pool.submit_nowait(give_back, item) for item in range(jobs)]
                await plain[-1].wait()
            check(pool, KINDS if waiting else 0)
            pool.cancel()
            await trio.lowlevel.checkpoint()
        return taken.cost / jobs

    return lambda: trio.run(main)


def check(pool: Pool[str], each: int) -> None:
    """Make sure that what is to wait does wait: so many of each sort, no two alike."""
    queued = list(pool.jobs(JobState.QUEUED))
    bounced = {frozenset(attempt.worker_id for attempt in job.attempts) for job in queued if job.attempts}
    if len(queued) != 2 * each or len(bounced) != each:
        raise RuntimeError(
            f"{len(queued)} jobs wait, with {len(bounced)} different sets, instead of {each} of each sort"
        )


def waiting_jobs(scale: Scale) -> Figure:
    """The cost per plain job with others waiting against none."""
    subject = beside_waiting(scale.jobs, waiting=True)
    return in_turn(subject, beside_waiting(scale.jobs, waiting=False), scale.rounds)
