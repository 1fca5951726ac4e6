"""``aiometer.amap`` over a function that tenacity retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiometer
from tenacity import retry, stop_after_attempt, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def run(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The results in the order in which they came."""
    retrying = retry(stop=stop_after_attempt(3), wait=wait_random_exponential(multiplier=0.1, max=20))(fn)
    async with aiometer.amap(retrying, items, max_at_once=workers) as results:
        return [result async for result in results]
