"""``aiometer.amap``, which like the pool's ``map`` gives the results as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiometer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def run(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The results in the order in which they came."""
    async with aiometer.amap(fn, items, max_at_once=workers) as results:
        return [result async for result in results]
