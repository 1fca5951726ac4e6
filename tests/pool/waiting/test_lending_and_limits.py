"""What a lent worker counts for, and what is told of it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, nap, sleeps_forever, state_of, works
from tests.lenders import lends, lends_and_works, lends_forever
from trio_pool import (
    Elastic,
    Job,
    JobState,
    NoEligibleWorkerError,
    Resource,
    RetryPolicy,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

# Limits


async def test_a_lending_job_does_not_count_in_the_pools_max_running(autojump_clock: MockClock) -> None:
    async with open_pool(3, max_running=1) as pool:
        await pool.submit(lends, 5)
        assert await pool.run(nap, 1) == 1
        pool.cancel()


async def test_a_job_that_gets_its_worker_back_may_make_one_more_than_max_running(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_running=1) as pool:
        first, second = pool.workers
        lender = await pool.submit(lends_and_works, 5, 4, worker=first)
        await pool.submit(nap, 7, worker=second)
        waiting = await pool.submit(nap, 1)
        assert await lender.wait() == 5
        assert await waiting.wait() == 10


async def test_a_lending_job_does_not_count_in_its_groups_max_running(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, pool.open_group(max_running=1) as group:
        lender = await group.submit(lends_and_works, 5, 4)
        others = [await group.submit(nap, 3) for _ in range(3)]
        assert await lender.wait() == 5
        assert [await job.wait() for job in others] == [3, 6, 12]


async def test_a_lending_job_still_is_one_that_runs(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        await pool.submit(nap, 2)
        await trio.sleep(1)
        assert state_of(lender) is JobState.RUNNING
        assert pool.statistics().running == 2


async def test_a_reserved_worker_is_lent_to_its_group_only(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        async with pool.open_group(reserve=1) as group:
            lender = await group.submit(lends, 5)
            outside = await pool.submit(nap, 1)
            inside = await group.submit(nap, 1)
            assert await inside.wait() == 1
            assert await lender.wait() == 5
        assert await outside.wait() == 6


async def test_a_lent_worker_is_set_aside_for_no_group(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(lends, 5)
        async with pool.open_group(reserve=1) as group:
            assert (trio.current_time(), len(group.statistics().workers)) == (5, 1)


async def test_a_lent_worker_is_not_waited_for_by_a_job_that_bounces(autojump_clock: MockClock) -> None:
    tried: list[str] = []

    async def fails_once(name: str) -> str:
        tried.append(name)
        if len(tried) == 1:
            raise OSError
        return name

    async with open_pool(["a", "b"], retry=RetryPolicy.immediate(placement="other")) as pool:
        first, second = pool.workers
        await pool.submit(lends, 50, worker=first)
        await pool.submit(nap, 10, worker=first)
        await trio.sleep(1)
        assert await pool.run(fails_once) == "b"
        assert tried == ["b", "b"]
        assert trio.current_time() == 1
        pool.cancel()
    del second


@pytest.mark.parametrize("lenders", [1, 3])
@pytest.mark.parametrize("tags", [["x"], ["x", "y"]])
async def test_a_job_that_bounces_runs_again_on_the_lent_worker_if_that_is_the_only_one(
    autojump_clock: MockClock, tags: list[str], lenders: int
) -> None:
    async def lender(_: object, level: int) -> None:
        async with current_job().lend():
            if level:
                await pool.run(lender, level - 1, requires=["x"])
            else:
                await pool.run(Flaky(1), requires=["x"], retry=RetryPolicy.fixed(3, placement="other"))

    async with open_pool([Resource(tag, tags=[tag]) for tag in tags]) as pool:
        with trio.fail_after(60):
            await pool.run(lender, lenders - 1, requires=["x"])
    assert trio.current_time() == 3


async def test_an_elastic_pool_retires_no_lent_worker(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=0, max=2, idle_timeout=3)) as pool:
        lender = await pool.submit(lends, 50)
        await trio.sleep(40)
        assert (len(pool.workers), mint.closed) == (1, [])
        assert await lender.wait() == 50
        await trio.sleep(10)
        assert mint.closed == [0]


# What is told


async def test_a_lent_worker_shows_whom_it_runs(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        [worker] = pool.workers
        lender = await pool.submit(lends_and_works, 5, 1)
        await trio.sleep(1)
        seen: list[object] = [(worker.state, worker.job, worker.jobs)]
        other = await pool.submit(nap, 1)
        seen.append((worker.state, worker.job, worker.jobs))
        await other.wait()
        seen.append((worker.state, worker.job, worker.jobs))
        await trio.sleep(3.5)
        seen.append((worker.state, worker.job, worker.jobs))
        idle = (WorkerState.IDLE, None, ())
        busy = WorkerState.BUSY
        assert seen == [idle, (busy, other, (other,)), idle, (busy, lender, (lender,))]
        assert lender.worker is worker


async def test_no_second_of_a_worker_is_counted_twice(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        [worker] = pool.workers
        lender = await pool.submit(lends_and_works, 5, 4)
        await pool.submit(nap, 2)
        await trio.sleep(7)
        assert worker.statistics().busy_seconds == 4  # two of the other's, two since it was back
        await lender.wait()
        statistics = worker.statistics()
        assert (statistics.busy_seconds, statistics.attempts, statistics.succeeded) == (6, 2, 2)


async def test_the_attempt_of_a_lender_lasts_from_its_beginning(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends_and_works, 5, 4)
        await lender.wait()
        [attempt] = lender.attempts
        assert (attempt.started_at, attempt.ended_at, attempt.worker_id) == (0, 9, 1)


async def test_jobs_on_a_lent_worker_see_the_variables_of_who_submitted_them(autojump_clock: MockClock) -> None:
    where: ContextVar[str] = ContextVar("where")

    async def look() -> tuple[str, Job[Any]]:
        await trio.lowlevel.checkpoint()
        return where.get(), current_job()

    async def parent() -> None:
        where.set("in the lender")
        async with current_job().lend():
            await trio.sleep(1)
        assert where.get() == "in the lender"

    where.set("outside")
    async with open_pool(1) as pool:
        await pool.submit(parent)
        job = await pool.submit(look)
        assert await job.wait() == ("outside", job)


async def test_a_pinned_child_runs_on_the_lent_worker(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        async with current_job().lend():
            await pool.run(trio.sleep, 1, worker=current_job().worker)
        return trio.current_time()

    async with open_pool(2) as pool:
        assert await pool.run(parent) == 1


async def test_a_job_for_a_lent_worker_that_is_to_leave_finds_no_worker(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        first, _ = pool.workers
        lender = await pool.submit(lends_forever)
        await wait_all_tasks_blocked()
        await first.remove(cancel=True)
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(nap, 1, worker=first)
        lender.cancel()


async def test_a_lender_that_sleeps_holds_up_no_queue(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(lends_forever)
        jobs = [await pool.submit(works) for _ in range(50)]
        assert [await other.wait() for other in jobs] == ["done"] * 50
        stuck = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        stuck.cancel()
        job.cancel()
