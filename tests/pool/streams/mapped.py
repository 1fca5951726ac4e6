"""Functions to map, the last argument of which is the job's own, and what collects the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def double(*args: Any) -> int:
    number: int = args[-1]
    return 2 * number


async def nap(*args: Any) -> float:
    await trio.sleep(args[-1])
    seconds: float = args[-1]
    return seconds


async def fail_at_3(*args: Any) -> int:
    if args[-1] == 3:
        raise ValueError("three")
    number: int = args[-1]
    return number


async def collect(results: AsyncIterator[Any]) -> list[Any]:
    return [result async for result in results]
