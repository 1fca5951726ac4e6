"""3.1: a worker of an elastic pool is opened for a job that has waited so long for nothing but a worker."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.actors import Mint, nap, sleeps, works
from tests.pool.workers.elastic_crew import crew
from trio_pool import Elastic, JobState, RateLimit, RetryPolicy, open_pool
from trio_pool.testing import Flaky


async def now(resource: int) -> float:
    """When the job runs."""
    await trio.lowlevel.checkpoint()
    return trio.current_time()


async def test_a_worker_is_opened_for_a_job_that_has_waited_so_long(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2)) as pool:
        job = await pool.submit(now)
        await trio.sleep(1.5)
        assert crew(pool) == ()
        assert await job.wait() == 2
    assert mint.called == [2]


async def test_none_is_opened_for_a_spike_that_is_over_sooner(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2)) as pool:
        for _ in range(20):
            await pool.submit(sleeps, 0.1)
        await pool.join()
        assert trio.current_time() == pytest.approx(2)
    assert mint.called == [0]


async def test_jobs_that_each_wait_for_a_short_time_open_none_however_many_come(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2)) as pool:
        for _ in range(20):  # one of them always waits
            await pool.submit(sleeps, 1)
            await trio.sleep(1)
            await pool.submit(works)
    assert mint.called == [0]


async def test_as_many_are_opened_as_jobs_have_waited_so_long(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2)) as pool:
        await pool.submit(sleeps, 9)
        await pool.submit(sleeps, 9)
        await trio.sleep(1)
        await pool.submit(sleeps, 9)
    assert mint.called == [2, 2, 3]


async def test_a_worker_under_way_counts_for_a_job(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=5)
    async with open_pool(Elastic(mint, max=5, open_after=2)) as pool:
        first = await pool.submit(sleeps, 9)
        await trio.sleep(3)
        first.cancel()
        second = await pool.submit(now)
        await trio.sleep(3)  # it has waited for so long, but a worker is about to come
        assert len(crew(pool)) == 1
        assert await second.wait() == 7
    assert mint.called == [2]


async def test_all_places_of_a_worker_under_way_count(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=5)
    async with open_pool(Elastic(mint, max=5, open_after=2, max_running=3)) as pool:
        for _ in range(3):
            await pool.submit(sleeps, 9)
        await trio.sleep(3)
        await pool.submit(sleeps, 9)
    assert mint.called == [2, 5]


async def test_the_time_in_line_for_a_place_in_the_queue_counts(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2), max_queue=0) as pool:
        assert await pool.run(now) == 2


async def test_a_job_that_gets_a_place_in_the_queue_goes_on_waiting(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with (
        open_pool(Elastic(mint, min=1, max=5, open_after=2), max_queue=1) as pool,
        trio.open_nursery() as nursery,
    ):
        await pool.submit(sleeps, 9)
        first = await pool.submit(works)
        nursery.start_soon(pool.run, sleeps, 9)
        await trio.sleep(1)
        assert pool.statistics().submitters_waiting == 1
        first.cancel()
        await trio.sleep(0.5)
        assert pool.statistics().submitters_waiting == 0
    assert mint.called == [0, 2]


async def test_a_retry_waits_anew(autojump_clock: MockClock) -> None:
    mint = Mint()
    retry = RetryPolicy.fixed(1, max_attempts=2, jitter="none")
    async with open_pool(Elastic(mint, max=5, idle_timeout=0.5, open_after=2), retry=retry) as pool:
        await pool.run(Flaky(1))  # fails at 2, is queued again at 3, and then there is no worker any more
    assert mint.called == [2, 5]


async def test_the_time_of_a_pause_does_not_count(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2)) as pool:
        job = await pool.submit(now)
        await trio.sleep(1)
        pool.pause()
        await trio.sleep(10)
        other = await pool.submit(now)
        await trio.sleep(10)
        pool.resume()
        assert await job.wait() == 22
        assert await other.wait() == 22  # on the worker that was opened for the first
    assert mint.called == [22]


async def test_the_time_of_a_rest_does_not_count(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2)) as pool:
        job = await pool.submit(now)
        await trio.sleep(1)
        pool.rest(10)
        assert await job.wait() == 12
    assert mint.called == [12]


async def test_the_time_does_not_count_while_max_running_keeps_the_job_from_starting(
    autojump_clock: MockClock,
) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2), max_running=1) as pool:
        await pool.submit(sleeps, 99)
        job = await pool.submit(now)
        await trio.sleep(10)
        pool.max_running = 2
        assert await job.wait() == 12
    assert mint.called == [0, 12]


async def test_the_time_does_not_count_while_a_rate_limit_keeps_the_job_from_starting(
    autojump_clock: MockClock,
) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2), rate_limit=RateLimit(1, per=10)) as pool:
        await pool.submit(sleeps, 99)
        job = await pool.submit(now)
        assert await job.wait() == 12
    assert mint.called == [0, 12]


async def test_the_time_does_not_count_while_the_bound_of_the_group_keeps_the_job_from_starting(
    autojump_clock: MockClock,
) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2)) as pool, pool.open_group(max_running=1) as group:
        await group.submit(sleeps, 9)
        job = await group.submit(now)
        await trio.sleep(8)
        await pool.submit(sleeps, 99, priority=-1)  # takes the worker over
        assert await job.wait() == 11
    assert mint.called == [0, 11]


async def test_a_job_that_no_worker_to_come_may_take_opens_none(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2), no_worker="wait", on_dead="keep") as pool:
        job = await pool.submit(works, requires=["x"])
        await trio.sleep(9)
        assert job.state is JobState.QUEUED
    assert mint.called == []


async def test_the_end_of_the_block_waits_for_a_worker_to_be_opened(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=1, open_after=2)) as pool:
        job = await pool.submit(now)
    assert job.result() == 2


async def test_a_job_that_waits_for_a_job_without_a_worker_is_in_no_deadlock(autojump_clock: MockClock) -> None:
    async def outer(resource: int) -> float:
        return await pool.run(now)

    async with open_pool(Elastic(Mint(), max=2, open_after=2)) as pool:
        assert await pool.run(outer) == 4


async def test_the_first_workers_and_those_of_groups_are_opened_at_once(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2)) as pool, pool.open_group(reserve=3):
        assert trio.current_time() == 0
        assert len(crew(pool)) == 3


async def test_a_worker_that_is_missing_is_replaced_at_once(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2)) as pool:
        await pool.workers[0].remove()
        await trio.sleep(1)
        assert len(crew(pool)) == 1


async def test_a_job_that_has_waited_for_long_gets_a_worker_as_soon_as_there_may_be_more(
    autojump_clock: MockClock,
) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=1, open_after=2)) as pool:
        await pool.submit(sleeps, 99)
        job = await pool.submit(now)
        await trio.sleep(10)
        assert pool.elastic is not None
        pool.elastic = attrs.evolve(pool.elastic, max=2)
        assert await job.wait() == 10


async def test_cancelled_jobs_open_none(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2)) as pool:
        jobs = [await pool.submit(works) for _ in range(3)]
        await trio.sleep(1)
        for job in jobs:
            job.cancel()
        await trio.sleep(9)
    assert mint.called == []


async def test_the_wait_of_a_later_job_counts_from_its_own_beginning(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, open_after=2)) as pool:
        first = await pool.submit(works)
        await trio.sleep(1)
        later = await pool.submit(now)
        first.cancel()
        assert await later.wait() == 3


async def test_a_slot_pool_is_not_concerned(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        assert pool.elastic is None
        assert await pool.run(partial(nap, 1)) == 1


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_the_time_is_finite_and_not_negative(seconds: float) -> None:
    with pytest.raises(ValueError, match="open_after"):
        Elastic(Mint(), max=1, open_after=seconds)


def test_the_time_is_a_number() -> None:
    wrong: Any = None
    with pytest.raises(TypeError, match="open_after"):
        Elastic(Mint(), max=1, open_after=wrong)
