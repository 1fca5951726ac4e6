"""A job that would not wait forever for others of its pool is left alone."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, nap, sleeps_forever
from tests.ways_to_wait import waits_for
from trio_pool import (
    Elastic,
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    ResourceBroken,
    RetryPolicy,
    SlotPool,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def has_a_child(pool: Any) -> float:
    """Waits for a child in its own pool, without lending."""
    found: float = await pool.run(nap, 1)
    return found


async def test_a_wait_for_a_running_job_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        child = await pool.submit(nap, 5)
        assert await pool.run(waits_for, lambda: child) == "fine"


async def test_a_wait_while_another_worker_is_busy_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        await pool.submit(nap, 5)
        assert await pool.run(has_a_child, pool) == 6


async def test_a_wait_while_another_worker_is_paused_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        first, second = pool.workers
        second.pause()
        job = await pool.submit(has_a_child, pool, worker=first)
        await trio.sleep(5)
        second.resume()
        assert await job.wait() == 6


async def test_a_wait_while_another_worker_rests_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        first, second = pool.workers
        second.rest(5)
        assert await pool.run(has_a_child, pool, worker=first) == 6


async def test_a_wait_while_another_worker_is_opened_anew_is_fine(autojump_clock: MockClock) -> None:
    async def breaks() -> None:
        raise ResourceBroken

    async with open_pool(2, retry=RetryPolicy.never(), on_dead="keep") as pool:
        first, second = pool.workers
        await pool.submit(breaks, worker=second)
        with trio.fail_after(60):
            assert await pool.run(has_a_child, pool, worker=first) == 1


async def test_a_wait_while_another_worker_could_be_opened_is_fine(autojump_clock: MockClock) -> None:
    async def parent(_: object) -> float:
        return await has_a_child(pool)

    async with open_pool(Elastic(Mint(seconds_in=3), min=1, max=2)) as pool:
        assert await pool.run(parent) == 7


async def test_a_wait_in_an_elastic_pool_that_is_as_large_as_can_be_is_found(autojump_clock: MockClock) -> None:
    async def parent(_: object) -> None:
        with pytest.raises(JobDeadlockError):
            await has_a_child(pool)

    async with open_pool(Elastic(Mint(), min=0, max=1)) as pool:
        await pool.run(parent)


async def test_a_wait_for_a_cancelled_job_is_fine(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        child = await pool.submit(nap, 1)
        child.cancel()
        with pytest.raises(JobCancelledError):
            await child.wait()

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_a_wait_for_a_job_that_is_about_to_be_cancelled_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        waiting = await pool.submit(sleeps_forever, None)
        running = await pool.submit(waits_for, lambda: waiting)
        await trio.sleep(5)
        waiting.cancel()
        running.cancel()
        with pytest.raises(JobCancelledError):
            await running.wait()


async def test_a_wait_for_what_waits_with_one_that_was_cancelled_is_fine(autojump_clock: MockClock) -> None:
    jobs: list[Job[Any]] = []

    async def is_slow_to_leave() -> None:
        await trio.sleep(1)
        try:
            await jobs[1].wait()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async def waits() -> None:
        await trio.sleep(5)
        jobs[0].cancel()
        with pytest.raises(JobCancelledError):
            await jobs[0].wait()

    async with open_pool(2) as pool:
        jobs.append(await pool.submit(is_slow_to_leave))
        jobs.append(await pool.submit(waits))
        await jobs[1].wait()


async def test_a_job_that_nobody_may_take_is_waited_for_until_somebody_comes(autojump_clock: MockClock) -> None:
    async def parent(_: object) -> float:
        return await pool.run(nap, 1, requires=["gpu"])

    async with open_pool(["a"], no_worker="wait") as pool:
        job = await pool.submit(parent)
        await trio.sleep(5)
        await pool.add("b", tags=["gpu"])
        assert await job.wait() == 6


async def test_what_a_job_has_started_outside_of_itself_may_wait(autojump_clock: MockClock) -> None:
    async def child(pool: SlotPool) -> None:
        found.append(await pool.run(nap, 1))

    async def parent() -> None:
        nursery.start_soon(child, pool)
        await trio.sleep(5)

    found: list[float] = []
    async with open_pool(1) as pool, trio.open_nursery() as nursery:
        await pool.run(parent)
    assert found == [6]


async def test_a_job_may_wait_for_one_of_another_pool(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool, open_pool(1) as other:
        assert await pool.run(has_a_child, other) == 1


async def test_as_completed_waits_as_long_as_one_of_its_jobs_can_end(autojump_clock: MockClock) -> None:
    async def parent() -> int:
        async with pool.as_completed(nap, [1, 2, 3]) as jobs:
            return len([job async for job in jobs])

    async with open_pool(2) as pool:
        assert await pool.run(parent) == 3


async def test_a_job_that_was_told_may_wait_again_by_lending(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        child = await pool.submit(nap, 1)
        try:
            await child.wait()
        except JobDeadlockError:
            async with current_job().lend():
                await child.wait()
        return trio.current_time()

    async with open_pool(1) as pool:
        assert await pool.run(parent) == 1


async def test_two_waits_of_one_job_are_both_looked_at(autojump_clock: MockClock) -> None:
    async def parent(first: Job[Any]) -> str:
        second = await pool.submit(nap, 1, worker=current_job().worker)
        outcomes: list[str] = []

        async def waits(job: Job[Any]) -> None:
            try:
                await job.wait()
            except JobDeadlockError:
                outcomes.append("deadlock")
            else:
                outcomes.append("fine")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits, first)
            await wait_all_tasks_blocked()
            nursery.start_soon(waits, second)
        return ", ".join(outcomes)

    async with open_pool(2) as pool:
        running = await pool.submit(nap, 10, worker=pool.workers[0])
        assert await pool.run(parent, running, worker=pool.workers[1]) == "deadlock, fine"


async def test_a_job_beside_a_group_is_fine_where_the_group_will_be_over(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        async with trio.open_nursery() as nursery, pool.open_group(reserve=1):
            nursery.start_soon(pool.run, nap, 1)  # by a task that the group's block doesn't wait for
            await trio.sleep(5)
        return trio.current_time()

    async with open_pool(2) as pool:
        assert await pool.run(parent) == 6


async def test_a_job_beside_a_group_is_fine_where_somebody_else_has_the_group(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        return await pool.run(nap, 1)

    async with open_pool(2) as pool:
        async with pool.open_group(reserve=1):
            job = await pool.submit(parent)
            await trio.sleep(5)
        assert await job.wait() == 6


async def test_a_wait_while_an_elastic_worker_is_just_leaving_is_fine(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        yield "resource"
        await trio.sleep(5)

    async def parent(resource: str) -> float:
        await trio.sleep(2)  # meanwhile the other has begun to leave
        return await pool.run(nap, 1)

    async with open_pool(Elastic(factory, max=2, idle_timeout=1)) as pool:
        job = await pool.submit(parent)
        await pool.run(nap, 0)
        assert await job.wait() == 7


async def test_as_completed_waits_for_items_that_may_still_come(autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[str]:
        yield "waits for its parent"
        await trio.sleep(1)
        yield "is fine"

    async def parent() -> str:
        me = current_job()

        async def work(item: str) -> str:
            if item != "is fine":
                await me.wait()
            return item

        async with pool.as_completed(work, items(), buffer=2) as jobs:
            async for job in jobs:
                return job.result()
        raise AssertionError

    async with open_pool(3) as pool:
        assert await pool.run(parent) == "is fine"


@pytest.mark.parametrize("number", [1, 2])
async def test_as_completed_over_async_items_that_can_not_end_is_found(autojump_clock: MockClock, number: int) -> None:
    async def items() -> AsyncGenerator[int]:
        for item in range(number):
            await trio.sleep(1)
            yield item
        if number == 2:
            await trio.sleep_forever()  # there is no room for a third before one of these has ended

    async def parent() -> float:
        me = current_job()

        async def work(_: int) -> None:
            await trio.sleep(0.5)  # so that it is the last to wait, and is told
            await me.wait()

        async with pool.as_completed(work, items(), buffer=2) as jobs:
            job = await anext(jobs)
            with pytest.raises(JobFailedError) as caught:
                job.result()
        assert isinstance(caught.value.__cause__, JobDeadlockError)
        return trio.current_time()

    with trio.fail_after(60):
        async with open_pool(4, retry=RetryPolicy.never()) as pool:
            assert await pool.run(parent) == number + 0.5
