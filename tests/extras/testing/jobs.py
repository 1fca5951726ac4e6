"""Jobs for pools with faults."""

from __future__ import annotations

from typing import Any

import trio

from trio_pool import RetryPolicy

AGAIN = RetryPolicy(max_attempts=4, base_delay=0.1)
QUIET: dict[str, Any] = {"failures": 0, "delays": 0}


async def works(first: Any = None, number: Any = None) -> Any:
    """Returns the number, which is the first argument in a pool of slots."""
    await trio.sleep(1)
    return first if number is None else number


async def at_once() -> None: ...
