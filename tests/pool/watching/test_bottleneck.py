"""What is named as the bottleneck where workers have as many places as they need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_pool import RateLimit, Resource, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


async def work(_: object, number: int) -> None:
    await trio.sleep(1)


@pytest.mark.parametrize(
    ("resource", "options", "bottleneck"),
    [
        ({}, {"rate_limit": RateLimit(1)}, "a rate limit that workers share, 98 % of the time."),
        ({"rate_limit": RateLimit(2)}, {}, "the rate limits of the workers, 99 % of the time."),
        ({}, {"max_running": 4}, "max_running of the pool, 93 % of the time."),
        ({}, {}, "the jobs themselves. There were as many places as they needed."),
    ],
)
async def test_it_is_never_the_number_of_places(
    resource: Any, options: Any, bottleneck: str, autojump_clock: MockClock
) -> None:
    async with open_pool([Resource("key", max_running=math.inf, **resource)], **options) as pool:
        async with pool.as_completed(work, range(60)) as jobs:
            async for _ in jobs:
                pass
        lines: list[str] = pool.explain().splitlines()
    assert lines[0] == f"Bottleneck: {bottleneck}"
    assert not any(line.startswith("To be faster") for line in lines)


async def test_a_limit_that_no_job_has_waited_for_is_no_bottleneck(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("key", max_running=math.inf, rate_limit=RateLimit(1))]) as pool:
        for number in range(3):
            await pool.run(work, number)
        assert pool.explain().startswith("Bottleneck: the jobs themselves.")
