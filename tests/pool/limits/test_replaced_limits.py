"""What holds a worker back when its rate limit is replaced, whatever else the worker does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trio_pool import PerKey, RateLimit, Resource, current_job, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


async def work(_: object, seconds: float = 1) -> float:
    started_at = trio.current_time()
    await trio.sleep(seconds)
    return started_at


async def test_a_limit_given_to_a_busy_worker_applies_from_its_next_start_on(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(work, 2)
        second = await pool.submit(work, 1)
        third = await pool.submit(work, 1)
        await trio.sleep(1)
        pool.workers[0].rate_limit = RateLimit(1, per=10)
        await trio.sleep(1.5)
        pool.workers[0].rate_limit = RateLimit(1, per=20)  # the level is 0.05
        await pool.join()
        assert [job.result() for job in (first, second, third)] == [0, 2, pytest.approx(2.5 + 19)]


async def test_a_limit_taken_from_a_paused_worker_holds_it_back_no_longer(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=1000))]) as pool:
        await pool.run(work)
        waiting = await pool.submit(work)
        worker = pool.workers[0]
        worker.pause()
        worker.rate_limit = None
        await trio.sleep(1)
        assert worker.statistics().available_at is None
        worker.resume()
        assert await waiting.wait() == 2


async def test_a_key_gets_back_what_its_job_has_not_used_of_a_shared_limit(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=1000, burst=5, unit="tokens").shared()

    async def cost_nothing(_: object) -> None:
        await trio.sleep(1)
        current_job().set_used(tokens=0)
        await trio.sleep(5)

    async with open_pool(["a", "b"], per_key=PerKey(rate_limit=shared)) as pool:
        await pool.submit(cost_nothing, key="k", uses={"tokens": 10})
        assert await pool.run(work, key="k", uses={"tokens": 1}) == 1
