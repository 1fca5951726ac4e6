"""Groups that wait for places of workers with several, held by jobs that wait themselves."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, works
from tests.pool.workers.places import crew, running
from trio_pool import JobDeadlockError, JobState, Resource, RetryPolicy, current_job, open_pool

if TYPE_CHECKING:
    from trio_pool import Job


async def waits_for(job: Job[Any], told: list[str], name: str) -> None:
    """Wait for a job, or note who is told that this would be forever."""
    try:
        await job.wait()
    except JobDeadlockError:
        told.append(name)


async def test_a_group_that_waits_for_the_end_of_a_loan_that_waits_for_its_opener_is_a_deadlock(
    autojump_clock: MockClock,
) -> None:
    told: list[str] = []

    async def opens(resource: str) -> None:
        await trio.sleep(1.0)
        try:
            async with pool.open_group(reserve=2):
                pass
        except JobDeadlockError:
            told.append("opener")

    async def lends(resource: str, opener: Job[Any]) -> None:
        async with current_job().lend():
            await waits_for(opener, told, "lender")

    async with open_pool(crew(a=2, b=1)) as pool:
        a, b = pool.workers
        with trio.fail_after(60):
            opener = await pool.submit(opens, worker=b)
            await pool.run(lends, opener, worker=a)
    assert told == ["opener"]


async def test_a_group_that_waits_for_the_end_of_a_loan_that_ends_is_none(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> float:
        async with pool.open_group(reserve=2):
            return trio.current_time()

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await pool.run(sleeps, 2.0, worker=pool.workers[0])

    async with open_pool(crew(a=2, b=1)) as pool:
        a, b = pool.workers
        with trio.fail_after(60):
            await pool.submit(lends, worker=a)
            await wait_all_tasks_blocked()
            assert await pool.run(opens, worker=b) == 2.0


async def test_a_job_that_lends_may_reserve_other_places_of_its_worker_and_others(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> list[str]:
        async with current_job().lend(), pool.open_group(reserve=2) as group:
            return [worker.name for worker in group.reserved]

    async with open_pool(crew(a=2, b=1, c=1)) as pool:
        a, _, c = pool.workers
        with trio.fail_after(60):
            await pool.submit(sleeps, 3.0, worker=c)
            assert await pool.run(opens, worker=a) == ["b", "a"]
            assert trio.current_time() == 0.0


async def test_a_group_that_waits_for_places_of_a_group_whose_opener_waits_for_it_is_a_deadlock(
    autojump_clock: MockClock,
) -> None:
    told: list[str] = []

    async def opens_first(resource: str, other: Job[Any]) -> None:
        async with pool.open_group(reserve=1):
            await trio.sleep(2.0)
            await waits_for(other, told, "first")

    async def opens_second(resource: str) -> None:
        await trio.sleep(1.0)
        try:
            async with pool.open_group(reserve=2):
                pass
        except JobDeadlockError:
            told.append("second")

    async with open_pool(crew(a=2, b=1, c=1)) as pool:
        _, b, c = pool.workers
        with trio.fail_after(60):
            second = await pool.submit(opens_second, worker=c)
            await pool.run(opens_first, second, worker=b)
    assert told == ["first"]


async def test_a_job_waits_for_one_that_gets_the_place_of_a_group_once_that_closes(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        await (await pool.submit(works)).wait()
        return trio.current_time()

    async with open_pool(crew(a=2)) as pool:
        with trio.fail_after(60):
            async with pool.open_group(reserve=1) as group:
                await group.submit(sleeps, 2.0)
                job = await pool.submit(parent)
                await trio.sleep(3.0)
                assert job.state is JobState.RUNNING
            assert await job.wait() == 3.0


async def test_jobs_of_a_group_that_hold_its_places_and_one_more_are_a_deadlock(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def parent(resource: str) -> None:
        await trio.sleep(1.0)
        child = await pool.submit(works, worker=pool.workers[0])
        await waits_for(child, told, "parent")

    async def opens(resource: str) -> None:
        async with pool.open_group(reserve=1) as group:
            for _ in range(2):
                await group.submit(parent, worker=pool.workers[0])
            await group.join()

    async with open_pool(crew(a=2, b=1)) as pool:
        _, b = pool.workers
        with trio.fail_after(60):
            await pool.run(opens, worker=b)
    assert told


async def test_a_lender_gets_its_place_back_beside_a_group_that_still_waits(autojump_clock: MockClock) -> None:
    back: list[float] = []

    async def lends(resource: str) -> None:
        await trio.sleep(0.5)
        async with current_job().lend():
            await trio.sleep(1.0)
        back.append(trio.current_time())
        await trio.sleep(5.0)

    async with open_pool(crew(a=2, b=1)) as pool:
        a, b = pool.workers
        await pool.submit(sleeps, 9.0, worker=b)
        lender = await pool.submit(lends, worker=a)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter, pool)
            await trio.sleep(1.0)
            await pool.submit(sleeps, 2.0)  # in the lent place, since the other is set aside for the group
            await lender.wait()
    assert back == [3.0]


async def enter(pool: Any) -> None:
    async with pool.open_group(reserve=3):
        assert trio.current_time() == 9.0


@pytest.mark.parametrize("reserve", [1, 3, 5])
async def test_a_bounced_job_counts_on_workers_with_places_that_are_not_reserved(
    reserve: int, autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    async def fails_thrice(resource: str) -> str:
        seen.append(resource)
        if len(seen) < 4:
            raise ValueError
        return resource

    policy = RetryPolicy.immediate(placement="other", max_attempts=9)
    async with open_pool(crew(a=3, b=3), retry=policy) as pool:
        async with pool.open_group(reserve=reserve):
            with trio.fail_after(60):
                await pool.run(fails_thrice)
            full = [worker.name for worker in pool.workers if not worker_has_open_place(worker)]
            assert not set(seen) & set(full)
        if not full:
            assert all(one != other for one, other in pairwise(seen))


def worker_has_open_place(worker: Any) -> bool:
    """Whether not all its places are reserved."""
    return bool(sum(worker._kept.values()) < worker.max_running)


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
async def test_a_worker_that_gets_more_places_is_found_by_its_tags(pick: Any, autojump_clock: MockClock) -> None:
    resources = [Resource("a", tags=["x", "y"]), Resource("b", tags=["x"]), Resource("c", tags=["y"]), Resource("d")]
    async with open_pool(resources, pick=pick) as pool:
        for requires in ([], ["x"], ["y"], ["x", "y"]):
            await pool.run(works, requires=requires)
        pool.workers[0].max_running = 3
        pool.workers[1].max_running = 2
        for _ in range(2):
            await pool.submit(sleeps, 1.0, requires=["x", "y"])
        for _ in range(3):
            await pool.submit(sleeps, 1.0, requires=["x"])
        assert running(pool) == [3, 2, 0, 0]
        pool.workers[0].max_running = 1
        pool.workers[0].max_running = 4
        await pool.submit(sleeps, 1.0, requires=["x"])
        assert running(pool) == [4, 2, 0, 0]
