"""Many tasks at once that each call the function for an item, with a capacity limiter around the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from benchmarks.programs import CALLERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def run(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The results in the order in which they came."""
    results: list[int] = []
    limiter = trio.CapacityLimiter(workers)

    async def call(item: int) -> None:
        async with limiter:
            result = await fn(item)
        results.append(result)

    for start in range(0, len(items), CALLERS):
        async with trio.open_nursery() as nursery:
            for item in items[start : start + CALLERS]:
                nursery.start_soon(call, item)
    return results
