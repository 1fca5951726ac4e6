"""Elastic pools: when one more worker is opened, and for which jobs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, fails, sleeps, state_of, works
from tests.pool.workers.elastic_crew import crew
from trio_pool import (
    CircuitBreaker,
    Elastic,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    RateLimit,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import one_at_a_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def gets(resource: int) -> int:
    """Returns what it is given."""
    return resource


# Opening.


@pytest.mark.parametrize("least", [0, 1, 3])
async def test_the_pool_begins_with_the_least_number_of_workers(least: int, autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=1.0)
    async with open_pool(Elastic(mint, min=least, max=5)) as pool:
        assert trio.current_time() == min(least, 1)  # all of them at the same time
        assert [worker.state for worker in pool.workers] == [WorkerState.IDLE] * least
        await trio.sleep(100)
    assert len(mint.called) == least


async def test_a_pool_forced_to_run_one_at_a_time_begins_with_the_least_number_too(autojump_clock: MockClock) -> None:
    mint = Mint()
    with one_at_a_time():
        async with open_pool(Elastic(mint, min=2, max=5)):
            await wait_all_tasks_blocked()
    assert len(mint.called) == 2


async def test_a_worker_is_opened_for_a_job_that_waits(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=2.0)
    async with open_pool(Elastic(mint, max=5)) as pool:
        assert await pool.run(gets) == 0
        assert trio.current_time() == 2.0
        assert len(crew(pool)) == 1


async def test_a_worker_has_no_resource_until_it_is_open(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(seconds_in=2.0), max=5)) as pool:
        job = await pool.submit(gets)
        (worker,) = pool.workers
        assert (worker.state, worker.resource) == (WorkerState.STARTING, None)
        assert await job.wait() == worker.resource == 0


async def test_none_is_opened_for_a_job_that_an_idle_worker_takes(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5)) as pool:
        for _ in range(3):
            await pool.run(works)
    assert len(mint.called) == 1


async def test_as_many_are_opened_at_once_as_jobs_wait(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=2.0)
    async with open_pool(Elastic(mint, max=10)) as pool:
        for number in range(4):
            await pool.submit(sleeps, 1.0)
            assert len(crew(pool)) == number + 1
        await pool.join()
        assert trio.current_time() == 3.0
    assert mint.called == [0.0] * 4


async def test_jobs_that_need_not_wait_do_not_count(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=2, max=10)) as pool:
        for _ in range(3):
            await pool.submit(sleeps, 1.0)
        await pool.join()
    assert len(mint.called) == 3


async def test_there_are_never_more_than_the_most(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=1.0)
    async with open_pool(Elastic(mint, max=3)) as pool:
        for _ in range(9):
            await pool.submit(sleeps, 1.0)
        assert len(crew(pool)) == 3
        await pool.join()
        assert trio.current_time() == 4.0
    assert len(mint.called) == 3


async def test_where_the_least_is_the_most_there_are_always_as_many(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=2, max=2, idle_timeout=1.0)) as pool:
        for _ in range(9):
            await pool.submit(sleeps, 1.0)
        await trio.sleep(100)
        assert len(crew(pool)) == 2
        assert mint.closed == []


async def test_a_submitter_that_waits_for_a_place_has_a_worker_opened(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=1.0)
    async with open_pool(Elastic(mint, max=2), max_queue=0) as pool, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(pool.submit, sleeps, 5.0)
        await trio.sleep(3)
        assert pool.statistics().running == 2


async def test_a_job_for_an_idle_worker_only_opens_none(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=2)) as pool:
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, idle_only=True)
        await wait_all_tasks_blocked()
    assert mint.called == []


async def test_a_map_has_workers_opened_up_to_the_most(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=4)) as pool, pool.map(sleeps, [1.0] * 40) as results:
        assert [result async for result in results] == [1.0] * 40
        assert len(crew(pool)) == 4


# Who may take what.


async def test_a_job_that_a_worker_to_be_opened_may_take_is_not_rejected(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=2, tags=["gpu", "big"]), no_worker="reject") as pool:
        assert crew(pool) == ()
        assert await pool.run(gets, requires=["gpu"]) == 0
        assert pool.workers[0].tags == {"gpu", "big"}


async def test_a_job_whose_tags_no_worker_has_is_rejected(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=2, tags=["gpu"])) as pool:
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(works, requires=["tpu"])


async def test_a_job_whose_tags_no_worker_has_opens_none(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=2), no_worker="wait", on_dead="keep") as pool:
        await pool.submit(works, requires=["tpu"])
        await wait_all_tasks_blocked()
    assert mint.called == []


async def test_a_job_for_one_busy_worker_opens_no_other(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5)) as pool:
        (worker,) = pool.workers
        for _ in range(3):
            await pool.submit(sleeps, 1.0, worker=worker)
    assert len(mint.called) == 1


async def test_a_job_that_is_to_go_elsewhere_has_another_worker_opened(autojump_clock: MockClock) -> None:
    used: list[int] = []

    async def fails_once(resource: int) -> None:
        used.append(resource)
        if len(used) == 1:
            await pool.submit(sleeps, 9.0)  # takes the worker it leaves
            raise ValueError

    policy = RetryPolicy.fixed(1.0, placement="other")
    async with open_pool(Elastic(Mint(), max=3), retry=policy) as pool:
        await pool.run(fails_once)
    assert used[0] != used[1]


# Limits of the pool.


async def test_no_more_are_opened_than_may_run_at_once(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=10), max_running=2) as pool:
        for _ in range(6):
            await pool.submit(sleeps, 1.0)
        await trio.sleep(0.5)
        assert len(crew(pool)) == 2
        pool.max_running = 4
        await trio.lowlevel.checkpoint()
        assert len(crew(pool)) == 4
    assert len(mint.called) == 4


async def test_no_more_are_opened_than_the_rate_limit_lets_start(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=10), rate_limit=RateLimit(1, per=5.0, burst=2)) as pool:
        for _ in range(4):
            await pool.submit(sleeps, 100.0)
        await trio.sleep(20)
    assert mint.called == [0.0, 0.0, 5.0, 10.0]


async def test_short_jobs_at_a_limited_rate_need_but_one_worker(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=10), rate_limit=RateLimit(1, per=5.0)) as pool:
        jobs = [await pool.submit(sleeps, 1.0) for _ in range(4)]
    assert [job.finished_at for job in jobs] == [1.0, 6.0, 11.0, 16.0]
    assert len(mint.called) == 1


async def test_a_job_that_only_the_rate_limit_holds_back_outlives_the_last_worker(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=2, idle_timeout=1.0), rate_limit=RateLimit(1, per=10.0)) as pool:
        await pool.run(works)
        await trio.sleep(5)
        assert crew(pool) == ()
        job = await pool.submit(works)
    assert (job.state, job.finished_at) == (JobState.SUCCEEDED, 10.0)


# Limits of each worker.


async def test_workers_that_their_own_rate_limits_hold_back_are_not_idle(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3, rate_limit=RateLimit(1, per=10.0))) as pool:
        jobs = [await pool.submit(works) for _ in range(4)]
    assert [job.finished_at for job in jobs] == [0.0, 0.0, 0.0, 10.0]
    assert len(mint.called) == 3


async def test_a_worker_kept_from_jobs_by_its_breaker_is_not_idle(autojump_clock: MockClock) -> None:
    elastic = Elastic(Mint(), max=3, breaker=CircuitBreaker(failures=1, reset_after=60.0))
    async with open_pool(elastic, on_dead="keep") as pool:
        await pool.submit(fails)
        await wait_all_tasks_blocked()
        assert pool.workers[0].state is WorkerState.QUARANTINED
        assert await pool.run(gets) == 1


async def test_a_resource_that_has_done_its_jobs_is_opened_anew(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3, max_jobs=2)) as pool:
        assert [await pool.run(gets) for _ in range(5)] == [0, 0, 1, 1, 2]
        assert len(crew(pool)) == 1
    assert mint.closed == [0, 1, 2]


async def test_an_idle_worker_too_old_is_opened_anew_but_retired_in_time(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=1.0)
    async with open_pool(Elastic(mint, max=1, max_age=30.0, idle_timeout=70.0)) as pool:
        await pool.run(works)
        await trio.sleep(69.5)
        assert len(crew(pool)) == 1
        await trio.sleep(1)
        assert crew(pool) == ()
    assert len(mint.called) == 3


# What the program does with them.


async def test_an_added_worker_is_never_retired(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=2, idle_timeout=10.0)) as pool:
        extra = await pool.add(-1)
        for _ in range(3):
            await pool.submit(sleeps, 1.0)
        await trio.sleep(100)
        assert pool.workers == (extra,)


async def test_an_added_worker_does_not_count(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=2)) as pool:
        await pool.add(-1)
        for _ in range(5):
            await pool.submit(sleeps, 1.0)
        assert len(crew(pool)) == 3
    assert len(mint.called) == 2


async def test_for_a_worker_removed_from_the_least_another_is_opened(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=2, max=3)) as pool:
        await pool.workers[0].remove()
        await wait_all_tasks_blocked()
        assert [worker.resource for worker in pool.workers] == [1, 2]


async def test_for_a_worker_removed_beyond_the_least_none_is_opened(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3)) as pool:
        await pool.run(works)
        await pool.workers[0].remove()
        await trio.sleep(1)
        assert crew(pool) == ()
    assert len(mint.called) == 1


async def test_a_job_cut_off_from_its_worker_has_another_opened(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=1)) as pool:
        job = await pool.submit(sleeps, 2.0)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
        await job.wait()
        assert job.finished_at == 3.0
        assert [worker.resource for worker in pool.workers] == [1]


async def test_a_paused_worker_has_another_opened_for_the_job_that_waits(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=1, max=2)) as pool:
        pool.workers[0].pause()
        assert await pool.run(gets) == 1


async def test_a_resting_worker_has_another_opened_for_the_job_that_waits(autojump_clock: MockClock) -> None:
    async def is_told_to_wait(resource: int) -> int:
        if resource == 0:
            raise RetryAfter(10, rest=True)
        return resource

    async with open_pool(Elastic(Mint(), min=1, max=2), retry=RetryPolicy()) as pool:
        assert await pool.run(is_told_to_wait) == 1
        assert trio.current_time() == 0.0


async def test_a_broken_resource_is_opened_anew_by_the_same_worker(autojump_clock: MockClock) -> None:
    async def breaks_the_first(resource: int) -> int:
        if resource == 0:
            raise ResourceBroken("torn")
        return resource

    mint = Mint(seconds_in=1.0)
    async with open_pool(Elastic(mint, max=5), retry=RetryPolicy.immediate()) as pool:
        job = await pool.submit(breaks_the_first)
        (worker,) = pool.workers
        assert await job.wait() == 1
        assert pool.workers == (worker,)
        assert state_of(worker) is WorkerState.IDLE
    assert mint.closed == [0, 1]


async def test_another_worker_is_opened_for_what_a_job_waits_for_that_has_lent_a_broken_one(
    autojump_clock: MockClock,
) -> None:
    async def waits() -> str:
        async with current_job().lend():
            with pytest.raises(JobFailedError):
                await pool.run(breaks, retry=RetryPolicy.never())
            return await pool.run(works)

    async def parent(resource: object) -> None:
        with pytest.raises(ResourceBroken):
            await waits()

    async def breaks(resource: object) -> None:
        raise ResourceBroken("gone")

    with trio.fail_after(60):
        async with open_pool(Elastic(Mint(), max=2)) as pool:
            await pool.run(parent)
    assert pool.statistics().succeeded == 2


async def test_so_it_is_where_the_resource_is_found_broken_when_it_is_lent(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def is_short_lived() -> AsyncGenerator[str]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaks, nursery.cancel_scope)
            yield "resource"
            nursery.cancel_scope.cancel()

    async def breaks(scope: trio.CancelScope) -> None:
        await trio.sleep(1)
        scope.cancel()

    served: list[str] = []

    async def lends() -> None:
        async with current_job().lend():
            served.append(await pool.run(works))

    async def stubborn(resource: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
            with pytest.raises(ResourceBroken):
                await lends()

    with trio.fail_after(60):
        async with open_pool(Elastic(is_short_lived, max=2), on_dead="keep") as pool:
            await pool.submit(stubborn, retry=RetryPolicy.never())
    assert served == ["done"]
