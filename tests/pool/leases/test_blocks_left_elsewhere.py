"""Blocks of ``acquire`` that are left in another task, or after the blocks around them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from tests.actors import sleeps_forever, state_of, works
from trio_pool import JobState, Lease, open_pool

AFTER_ITS_POOL = r"must be left before the block of open_pool\(\)"


async def leave_open(stack: AsyncExitStack) -> Lease[None]:
    """Leave a pool before two blocks, one of which has lent its place; return that one."""
    pool = open_pool(2)
    slots = await pool.__aenter__()
    lease = slots.acquire()
    await stack.enter_async_context(slots.acquire())
    await stack.enter_async_context(lease)
    await lease.job.lend().__aenter__()
    with pytest.raises(RuntimeError, match=AFTER_ITS_POOL):
        await pool.__aexit__(None, None, None)
    assert slots.statistics().dead == 2
    return lease


async def test_a_block_that_is_open_where_the_pool_ends_is_ended_and_said() -> None:
    lease = await leave_open(AsyncExitStack())
    assert lease.job.state is JobState.DEAD
    with pytest.raises(RuntimeError, match=AFTER_ITS_POOL):
        await lease.__aexit__(None, None, None)


async def test_the_error_goes_on_through_the_exit_of_the_block() -> None:
    with pytest.raises(RuntimeError, match=AFTER_ITS_POOL):
        async with AsyncExitStack() as stack, open_pool(1) as pool:
            await stack.enter_async_context(pool.acquire())


async def test_an_error_of_the_body_comes_out_instead() -> None:
    async def fail() -> None:
        async with AsyncExitStack() as stack, open_pool(1) as pool:
            await stack.enter_async_context(pool.acquire())
            raise ValueError("of the body")

    with pytest.raises(ValueError, match=r"^of the body$"):
        await fail()


async def test_a_cancelled_body_leaves_no_block_behind(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with AsyncExitStack() as stack, open_pool(1) as pool:
            await stack.enter_async_context(pool.acquire())
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_block_of_a_group_must_be_left_before_the_group() -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(RuntimeError, match=r"must be left before the block of open_group\(\)"):
            async with AsyncExitStack() as stack, pool.open_group() as group:
                await stack.enter_async_context(group.acquire())
        await pool.run(works)


async def test_a_block_around_a_group_stays_open() -> None:
    async with open_pool(1) as pool, pool.acquire():
        async with pool.open_group():
            pass
        assert pool.statistics().running == 1


async def test_the_end_of_the_pool_waits_for_blocks_of_other_tasks(autojump_clock: MockClock) -> None:
    async def borrow(lease: Lease[None]) -> None:
        async with lease:
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        async with open_pool(1) as pool:
            lease = pool.acquire()
            nursery.start_soon(borrow, lease)
            await trio.sleep(1)
        assert (trio.current_time(), lease.job.state) == (3, JobState.SUCCEEDED)


async def test_a_refused_exit_changes_nothing() -> None:
    async def leave() -> None:
        with pytest.raises(RuntimeError, match="in the task that has entered it"):
            await lease.__aexit__(None, None, None)

    async with open_pool(1) as pool:
        lease = pool.acquire()
        async with lease:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave)
            assert state_of(lease.job) is JobState.RUNNING
        assert lease.job.state is JobState.SUCCEEDED


async def test_after_a_wait_that_was_given_up_the_lease_has_its_cancelled_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(sleeps_forever)
        late, cut = pool.acquire(timeout=2), pool.acquire()
        with pytest.raises(trio.TooSlowError, match=r"^acquire\(\) got no place within 2 s$"):
            await late.__aenter__()
        with trio.move_on_after(1):
            await cut.__aenter__()
        for lease in (late, cut):
            assert lease.job.state is JobState.CANCELLED
        assert late.job.reason == "it got no place in time"
        with pytest.raises(RuntimeError, match="once its block has begun"):
            _ = pool.acquire().job
        pool.cancel()


async def test_in_another_thread_acquire_says_at_once_what_to_do() -> None:
    async with open_pool(1) as pool:
        with pytest.raises(RuntimeError, match=r"no block of acquire\(\) can be entered"):
            await trio.to_thread.run_sync(pool.acquire)
