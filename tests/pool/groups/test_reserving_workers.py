"""How a group that is entered gets workers for itself, and which."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, sleeps_forever, state_of, works
from tests.pool.groups.own_workers import named, own
from trio_pool import JobState, Pool, PoolClosedError, RetryPolicy, open_pool
from trio_pool.testing import Flaky

QUEUED = JobState.QUEUED
SUCCEEDED = JobState.SUCCEEDED


async def test_idle_workers_are_reserved_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b", "c")) as pool:
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 0.0
            assert own(group) == ["a", "b"]
        assert group.statistics().workers == ()


async def test_entering_waits_until_attempts_under_way_have_ended(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 3.0)
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 3.0
            assert own(group) == ["a", "b"]


async def test_workers_are_set_aside_one_by_one(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool:
        jobs = [await pool.submit(sleeps, 1.0), await pool.submit(sleeps, 3.0)]
        jobs += [await pool.submit(sleeps, 1.0) for _ in range(2)]
        async with pool.open_group(reserve=2):
            assert trio.current_time() == 3.0
            assert [state_of(job) for job in jobs] == [SUCCEEDED, SUCCEEDED, QUEUED, QUEUED]


async def test_retries_do_not_keep_a_worker_from_being_set_aside(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.immediate(max_attempts=None)) as pool:
        job = await pool.submit(Flaky(1_000_000))
        async with pool.open_group(reserve=1) as group:
            assert await group.run(works) == "done"
        job.cancel()


async def test_groups_get_their_workers_first_come_first_served(autojump_clock: MockClock) -> None:
    entered: list[tuple[str, float]] = []

    async def opens(pool: Pool[str], name: str, reserve: int) -> None:
        async with pool.open_group(reserve=reserve):
            entered.append((name, trio.current_time()))
            await trio.sleep(10.0)

    async with open_pool(list("abc")) as pool, trio.open_nursery() as nursery:
        for seconds in (1.0, 2.0, 3.0):
            await pool.submit(sleeps, seconds)
        for name, reserve in (("big", 2), ("small", 1), ("late", 1)):
            nursery.start_soon(opens, pool, name, reserve)
            await wait_all_tasks_blocked()
    assert entered == [("big", 2.0), ("small", 3.0), ("late", 12.0)]


async def test_a_group_without_workers_of_its_own_need_not_wait(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5.0)

        async def reserves() -> None:
            async with pool.open_group(reserve=1):
                pass

        nursery.start_soon(reserves)
        await wait_all_tasks_blocked()
        async with pool.open_group():
            assert trio.current_time() == 0.0


async def test_cancelled_while_entering_it_gives_back_what_it_has(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 9.0)
        entered = False
        with trio.move_on_after(2.0) as scope:
            async with pool.open_group(reserve=2):
                entered = True
        assert scope.cancelled_caught
        assert not entered
        assert await pool.run(works) == "done"
        assert trio.current_time() == 2.0


async def test_what_waits_for_a_worker_goes_on_when_entering_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 9.0)
        queued = await pool.submit(works)
        with trio.move_on_after(2.0):
            async with pool.open_group(reserve=2):
                pass
        assert await queued.wait() == "done"
        assert trio.current_time() == 2.0


async def test_the_next_group_goes_on_when_entering_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 9.0)

        async def gives_up() -> None:
            with trio.move_on_after(2.0):
                async with pool.open_group(reserve=2):
                    pass

        nursery.start_soon(gives_up)
        await wait_all_tasks_blocked()
        async with pool.open_group(reserve=1) as group:
            assert trio.current_time() == 2.0
            assert await group.run(works) == "done"


async def test_a_paused_worker_is_not_set_aside_until_it_is_resumed(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool, trio.open_nursery() as nursery:
        worker = pool.workers[0]
        worker.pause()

        async def resumes() -> None:
            await trio.sleep(4.0)
            worker.resume()

        nursery.start_soon(resumes)
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 4.0
            assert own(group) == ["a", "b"]


async def test_a_worker_that_is_added_is_set_aside(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps_forever)

        async def adds() -> None:
            await trio.sleep(4.0)
            await pool.add("c", name="c")

        nursery.start_soon(adds)
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 4.0
            assert own(group) == ["b", "c"]
        for job in pool.jobs():
            job.cancel()


async def test_more_than_the_pool_can_have_is_an_error_at_once() -> None:
    message = r"^reserve must be at most 2, all the places that the pool can have, got 3$"
    async with open_pool(list("ab")) as pool, open_pool(2) as slots:
        with pytest.raises(ValueError, match=message):
            pool.open_group(reserve=3)
        with pytest.raises(ValueError, match=message):
            slots.open_group(reserve=3)


async def test_workers_that_have_been_added_can_be_reserved_and_those_removed_can_not(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(list("ab")) as pool:
        added = await pool.add("c")
        async with pool.open_group(reserve=3):
            pass
        await pool.submit(sleeps, 1.0, worker=added)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(added.remove)
            await wait_all_tasks_blocked()
            with pytest.raises(ValueError, match="reserve must be at most 2"):
                pool.open_group(reserve=3)


async def test_a_pool_without_workers_has_none_to_reserve() -> None:
    nobody: list[str] = []
    async with open_pool(nobody, no_worker="wait") as pool:
        with pytest.raises(ValueError, match="reserve must be at most 0"):
            pool.open_group(reserve=1)
        async with pool.open_group():
            pass


async def test_the_pool_ends_before_a_group_has_its_workers(autojump_clock: MockClock) -> None:
    async def opens(pool: Pool[str]) -> None:
        await trio.sleep(1.0)
        with pytest.raises(PoolClosedError, match=r"^the pool ended before the group had its workers$"):
            async with pool.open_group(reserve=2):
                pass

    async with trio.open_nursery() as nursery:
        async with open_pool(list("ab")) as pool:
            nursery.start_soon(opens, pool)
            await pool.submit(sleeps_forever)
            await trio.sleep(2.0)
            pool.cancel()
        assert trio.current_time() == 2.0


async def test_the_pool_does_not_wait_for_a_worker_that_a_group_wants_but_no_job(autojump_clock: MockClock) -> None:
    async def opens(pool: Pool[str]) -> None:
        with pytest.raises(PoolClosedError, match=r"^the pool ended before the group had its workers$"):
            async with pool.open_group(reserve=2):
                pass

    async with trio.open_nursery() as nursery, open_pool(["a", "b"]) as pool:
        pool.workers[0].rest(100.0)
        nursery.start_soon(opens, pool)
        await wait_all_tasks_blocked()
    assert trio.current_time() == 0.0


async def test_a_group_of_the_body_that_waits_for_workers_ends_with_the_pool(autojump_clock: MockClock) -> None:
    entered = False
    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:

        async def cancels() -> None:
            await trio.sleep(1.0)
            pool.cancel()

        await pool.submit(sleeps_forever)
        nursery.start_soon(cancels)
        async with pool.open_group(reserve=2):
            entered = True
    assert not entered
    assert trio.current_time() == 1.0


async def test_a_job_may_open_a_group_with_workers_beside_its_own(autojump_clock: MockClock) -> None:
    async def divides(resource: str) -> list[str]:
        async with pool.open_group(reserve=2) as group:
            names = own(group)
            for _ in range(4):
                await group.submit(sleeps, 1.0)
        return names

    async with open_pool(named("a", "b", "c")) as pool:
        assert await pool.run(divides) == ["b", "c"]
        assert trio.current_time() == 2.0
