"""Elastic pools whose last worker has left while jobs wait: the next one takes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from trio_pool import Elastic, JobState, RateLimit, open_pool


@asynccontextmanager
async def factory() -> AsyncGenerator[str]:
    yield "a resource"


async def work(_: str) -> float:
    return trio.current_time()


async def test_a_job_of_a_bounded_group_that_comes_while_there_is_no_worker_is_for_the_next_one(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(Elastic(factory, max=1, idle_timeout=0.5)) as pool, pool.open_group(max_running=1) as group:
        with trio.fail_after(60):
            await group.run(work)
            await trio.sleep(1)
            assert not pool.workers
            assert await group.run(work) == 1


async def test_when_the_body_has_ended_a_job_that_a_limit_holds_back_is_for_a_worker_that_is_opened_later(
    autojump_clock: MockClock,
) -> None:
    elastic = Elastic(factory, max=1, idle_timeout=0)
    async with open_pool(elastic, rate_limit=RateLimit(2)) as pool:
        first = await pool.submit(work)
        second = await pool.submit(work)
    assert first.result() == 0
    assert second.state is JobState.SUCCEEDED
    assert second.result() == 0.5
