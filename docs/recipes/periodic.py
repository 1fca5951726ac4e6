"""Periodic jobs: each is submitted when it is due, unless the one before it has not ended yet."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import trio

from trio_pool import Job, RetryPolicy, SlotPool, open_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def every(period: float, pool: SlotPool, fn: Callable[[], Awaitable[None]]) -> None:
    start = trio.current_time()
    job: Job[None] | None = None
    for turn in count():
        await trio.sleep_until(start + turn * period)  # counted from the start, so it does not drift
        if job is None or job.finished_at is not None:
            # Past the timeout it is dead, so that one that hangs does not stop this forever.
            job = pool.submit_nowait(fn, total_timeout=4 * period)
        else:
            print(f"turn {turn} of {job.name} is left out")


async def check_health() -> None:
    await trio.sleep(0.1)
    print("healthy")


async def make_backup() -> None:
    await trio.sleep(1.5)
    print("backed up")


async def main() -> None:
    async with (
        open_pool(4, retry=RetryPolicy(), on_dead="keep", max_dead=10) as pool,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(every, 2.0, pool, check_health)
        nursery.start_soon(every, 0.9, pool, make_backup)
        await trio.sleep(4.3)  # stands for what the program does until it ends
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
