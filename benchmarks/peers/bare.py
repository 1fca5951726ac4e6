"""A nursery of workers over a memory channel, results appended to a list: nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def work(
    fn: Callable[[int], Awaitable[int]], receive: trio.MemoryReceiveChannel[int], results: list[int]
) -> None:
    """Take items until there are no more."""
    async for item in receive:
        results.append(await fn(item))  # noqa: PERF401  # other workers append to it too


async def run(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The results in the order in which they came."""
    results: list[int] = []
    async with trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[int](0)
        async with send:
            for _ in range(workers):
                nursery.start_soon(work, fn, receive, results)
            for item in items:
                await send.send(item)
    return results
