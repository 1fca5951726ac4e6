"""Groups opened in jobs or blocks, which wait for places that their own job keeps from them; and worn workers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, works
from tests.pool.workers.places import crew
from trio_pool import CircuitBreaker, JobDeadlockError, Lease, Pool, Resource, ResourceBroken, current_job, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


@asynccontextmanager
async def lifespan(resource: str) -> AsyncGenerator[str]:
    yield resource


async def reserves(pool: Pool[str], number: int = 1) -> float:
    """Enter a group with places of its own, and return when it had them."""
    async with pool.open_group(reserve=number):
        return trio.current_time()


async def reserves_in_loan(pool: Pool[str], lease: Lease[str]) -> None:
    """The same while a block has lent its place."""
    async with lease.job.lend():
        await reserves(pool)


def reopen(pool: Pool[str]) -> None:
    pool.workers[0].reopen()


def shrink(pool: Pool[str]) -> None:
    pool.workers[0].max_running = 1


# Worn resources


@pytest.mark.parametrize("paused", [False, True])
async def test_a_job_that_waits_for_one_that_can_not_start_on_a_worn_worker_is_told_when_the_loan_ends(
    paused: bool, autojump_clock: MockClock
) -> None:
    async def lends() -> None:
        lease = pool.acquire()
        async with lease, lease.job.lend():
            await trio.sleep(2.0)

    async def borrows() -> None:
        async with pool.acquire():
            await trio.sleep(5.0)

    async def pauses() -> None:
        await trio.sleep(3.0)
        pool.workers[0].pause()
        await trio.sleep(5.0)
        pool.workers[0].resume()

    async with open_pool([Resource("a", max_running=2, max_jobs=2)]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(lends)
        await wait_all_tasks_blocked()
        nursery.start_soon(borrows)
        await wait_all_tasks_blocked()
        if paused:
            nursery.start_soon(pauses)
        with trio.fail_after(60):
            async with pool.acquire():
                with pytest.raises(JobDeadlockError):
                    await pool.run(works)
                assert trio.current_time() == 5.0


# Lent places


async def test_a_job_that_lends_may_reserve_another_place_of_its_worker(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool:
        lease = pool.acquire()
        with trio.fail_after(60):
            async with lease, lease.job.lend():
                assert await reserves(pool) == 0.0


async def test_other_places_of_a_lent_worker_are_reserved_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()
        async with lease, lease.job.lend():
            nursery.start_soon(reserves_at, pool, 1, 0.0)
            await trio.sleep(5.0)


async def test_a_place_that_is_lent_is_reserved_only_after_the_loan(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()
        async with lease:
            async with lease.job.lend():
                nursery.start_soon(reserves_at, pool, 2, 7.0)
                await trio.sleep(5.0)
            await trio.sleep(2.0)


async def test_a_lender_of_a_group_returns_to_its_groups_place_beside_another_group(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool, pool.open_group(reserve=1) as group:
        lease = group.acquire()
        with trio.fail_after(60):
            async with lease:
                async with lease.job.lend():
                    assert await reserves(pool) == 0.0
                assert trio.current_time() == 0.0


async def reserves_at(pool: Pool[str], number: int, time: float) -> None:
    assert await reserves(pool, number) == time


async def test_a_group_that_lent_places_keep_from_its_places_for_ever_is_told(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await pool.run(opens, worker=pool.workers[0])

    async def opens(resource: str) -> None:
        try:
            await reserves(pool, 2)
        except JobDeadlockError:
            told.append("opener")

    async with open_pool(crew(a=3)) as pool:
        with trio.fail_after(60):
            await pool.run(lends)
    assert told == ["opener"]


# Workers that must be empty first


@pytest.mark.parametrize("change", [reopen, shrink])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("lent", [False, True])
async def test_a_block_is_told_that_its_group_can_not_have_a_place_beside_it(
    lent: bool, later: bool, change: Callable[[Pool[str]], None], autojump_clock: MockClock
) -> None:
    async with open_pool(crew(a=2), lifespan=lifespan) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()

        async def changes() -> None:
            await trio.sleep(1.0)
            change(pool)

        with trio.fail_after(60):
            try:
                async with lease:
                    if later:
                        await pool.submit(sleeps, 2.0)
                        nursery.start_soon(changes)
                    else:
                        change(pool)
                    reserving = reserves_in_loan(pool, lease) if lent else reserves(pool)
                    with pytest.raises(JobDeadlockError):
                        await reserving
                    back = 2.0 if lent and change is shrink else 1.0  # with the other job in the only place
                    assert trio.current_time() == (back if later else 0.0)
            except ResourceBroken:
                assert lent


async def test_a_job_is_told_when_its_worker_is_to_leave_and_no_other_place_is_left(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> None:
        await pool.submit(sleeps, 5.0)
        with pytest.raises(JobDeadlockError):
            await reserves(pool)
        assert trio.current_time() == 1.0

    async with open_pool(crew(a=2)) as pool, trio.open_nursery() as nursery:
        with trio.fail_after(60):
            job = await pool.submit(opens)
            await trio.sleep(1.0)
            nursery.start_soon(pool.workers[0].remove)
            await job.wait()


async def test_a_block_is_told_when_a_job_beside_it_breaks_the_resource(autojump_clock: MockClock) -> None:
    async def breaks_later(resource: str) -> None:
        await trio.sleep(1.0)
        raise ResourceBroken("unplugged")

    async with open_pool(crew(a=2), lifespan=lifespan, on_dead="keep") as pool, pool.acquire():
        await pool.submit(breaks_later)
        with trio.fail_after(60), pytest.raises(JobDeadlockError):
            await reserves(pool)
        assert trio.current_time() == 1.0


async def fails(resource: str) -> None:
    raise ValueError


async def test_the_probe_of_a_breaker_is_told_that_its_group_can_not_have_a_place_beside_it(
    autojump_clock: MockClock,
) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=5.0)
    async with open_pool(crew(a=2), breaker=breaker, on_dead="keep") as pool:
        await pool.submit(fails)
        await trio.sleep(1.0)
        with trio.fail_after(60):
            async with pool.acquire():
                assert trio.current_time() == 5.0
                with pytest.raises(JobDeadlockError):
                    await reserves(pool)


async def test_a_job_beside_a_probe_that_waits_for_it_is_no_reason_to_wait_for_ever(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=5.0)

    async def waits(resource: str) -> str:
        try:
            return await pool.run(works)
        except JobDeadlockError:
            return "told"

    async with open_pool(crew(a=3), breaker=breaker, on_dead="keep") as pool:
        await pool.submit(sleeps, 9.0)
        await pool.submit(fails)
        await trio.sleep(6.0)
        with trio.fail_after(60):
            assert await pool.run(waits) == "told"
            assert trio.current_time() == 6.0


# Groups that wait behind others


@pytest.mark.parametrize("kind", ["block", "job"])
async def test_a_group_goes_before_one_that_waits_for_its_opener(kind: str, autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> None:
        await trio.sleep(1.0)
        assert await reserves(pool) == 1.0

    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:
        with trio.fail_after(60):
            if kind == "block":
                async with pool.acquire():
                    nursery.start_soon(reserves_at, pool, 2, 1.0)
                    await opens("a")
            else:
                job = await pool.submit(opens)
                nursery.start_soon(reserves_at, pool, 2, 1.0)
                await job.wait()


async def test_it_does_not_while_something_else_goes_on(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"]) as pool, trio.open_nursery() as nursery, pool.acquire():
        await pool.submit(sleeps, 3.0)
        nursery.start_soon(reserves_at, pool, 3, 3.0)
        await wait_all_tasks_blocked()
        with trio.fail_after(60):
            assert await reserves(pool) == 3.0


async def test_of_two_groups_behind_it_the_one_that_can_have_all_goes_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"]) as pool, trio.open_nursery() as nursery, pool.acquire():
        nursery.start_soon(reserves, pool, 3)
        await wait_all_tasks_blocked()
        with trio.fail_after(60):
            assert await reserves(pool, 2) == 0.0


async def test_a_group_of_a_lender_goes_before_one_that_waits_for_the_lent_place(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=1)) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire(worker=pool.workers[0])
        async with lease, lease.job.lend():
            nursery.start_soon(reserves_at, pool, 3, 1.0)
            await wait_all_tasks_blocked()
            with trio.fail_after(60):
                assert await reserves(pool, 2) == 0.0
            await trio.sleep(1.0)
