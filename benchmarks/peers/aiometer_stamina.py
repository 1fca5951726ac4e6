"""``aiometer.amap`` over a function that stamina retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiometer
import stamina

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def run(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The results in the order in which they came."""
    retrying = stamina.retry(on=Exception, attempts=3)(fn)
    async with aiometer.amap(retrying, items, max_at_once=workers) as results:
        return [result async for result in results]
