"""A nursery with a task for each item, which a capacity limiter holds back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def run(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The results in the order in which they came."""
    results: list[int] = []
    limiter = trio.CapacityLimiter(workers)

    async def work(item: int) -> None:
        async with limiter:
            results.append(await fn(item))

    async with trio.open_nursery() as nursery:
        for item in items:
            nursery.start_soon(work, item)
    return results
