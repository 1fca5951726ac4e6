"""For the tests of streams: what jobs do, and how what comes is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import trio

from trio_pool import Job, SlotPool

EITHER = pytest.mark.parametrize("name", ["map", "as_completed"])
"""Both kinds of streams, by the names of the methods."""


async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


def result_of(each: Any) -> Any:
    """The result, of a job too."""
    return cast("Any", each).result() if isinstance(each, Job) else each


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    """The results, of one or the other kind of stream."""
    return [result_of(each) async for each in stream]


async def read_to_the_end(stream: AsyncIterator[Any], found: list[float]) -> None:
    """Add what comes to what was found; it is there also if it ends with an error."""
    async for each in stream:
        found.append(result_of(each))  # noqa: PERF401


async def ending_of(stream: AsyncIterator[Any]) -> BaseException | None:
    """What it ends with; pytest would look at it too closely."""
    try:
        await collect(stream)
    except BaseException as error:
        return error
    return None


async def check_it_goes_on(pool: SlotPool) -> None:
    """The pool takes jobs and runs them, and so it does with other streams."""
    assert await pool.run(nap, 1) == 1
    async with pool.map(nap, [1, 2]) as results:
        assert await collect(results) == [1, 2]
