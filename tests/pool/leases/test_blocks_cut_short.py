"""Blocks that are cancelled: with their caller, with their job, or with the whole pool."""

from __future__ import annotations

import sys
from typing import Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import works
from tests.pool.leases.borrowers import Opened, fail, fail_when_cancelled, linger, stay
from trio_pool import JobCancelledError, JobState, Lease, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

NO = ValueError("no")


async def is_told_that_the_job_was_cancelled(lease: Lease[str]) -> None:
    """Stays in the block until its job is cancelled."""
    with pytest.raises(JobCancelledError):
        await stay(lease)


# The caller


async def test_a_cancelled_caller_ends_its_block(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with trio.move_on_after(3) as scope:
            await stay(lease)
        assert scope.cancelled_caught
        assert lease.job.state is JobState.CANCELLED
        assert lease.job.attempts == ()
        assert await pool.run(works) == "done"


async def test_a_block_that_ends_all_the_same_has_succeeded() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with trio.CancelScope() as scope:
            async with lease:
                scope.cancel()
        assert lease.job.state is JobState.SUCCEEDED


async def test_errors_beside_the_cancellation_of_the_caller_make_the_job_dead() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(ExceptionGroup), trio.CancelScope() as scope:
            await fail_when_cancelled(lease, scope.cancel)
        assert lease.job.state is JobState.DEAD


# The job


async def test_a_cancelled_job_ends_its_block() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(JobCancelledError) as caught:
            await stay(lease, lambda: lease.job.cancel())
        assert caught.value.job is lease.job
        assert lease.job.state is JobState.CANCELLED


async def test_a_cancelled_job_whose_block_ends_has_succeeded() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with lease:
            lease.job.cancel()
        assert lease.job.state is JobState.SUCCEEDED


async def test_a_cancelled_job_whose_block_raises_is_dead_and_the_error_comes_out() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(ValueError, match="no"):
            await fail(lease, NO, lambda: lease.job.cancel())
        assert lease.job.state is JobState.DEAD


async def test_only_the_error_comes_out_beside_the_cancellation_of_the_job() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.RaisesGroup(ValueError):
            await fail_when_cancelled(lease, lambda: lease.job.cancel())
        assert lease.job.state is JobState.DEAD


async def test_if_the_caller_is_cancelled_as_well_that_comes_out() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with trio.CancelScope() as scope:
            await stay(lease, lambda: lease.job.cancel(), scope.cancel)
        assert scope.cancelled_caught
        assert lease.job.state is JobState.CANCELLED


# The pool


async def test_the_whole_pool_is_cancelled(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pool(["a", "b"]) as pool:
            nursery.start_soon(is_told_that_the_job_was_cancelled, pool.acquire())
            await trio.sleep(1)
            await stay(pool.acquire(), pool.cancel)
        assert pool.statistics().cancelled == 2


async def test_an_error_of_the_pools_body_ends_blocks_elsewhere() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="no"):  # noqa: PT012
            async with open_pool(["a"]) as pool:
                nursery.start_soon(is_told_that_the_job_was_cancelled, pool.acquire())
                await wait_all_tasks_blocked()
                raise NO


async def test_a_cancelled_group_ends_its_blocks() -> None:
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery, pool.open_group() as group:
        nursery.start_soon(is_told_that_the_job_was_cancelled, group.acquire())
        await wait_all_tasks_blocked()
        group.cancel()


async def test_the_pool_waits_for_the_end_of_a_block(autojump_clock: MockClock) -> None:
    opened = Opened()

    async def borrow() -> None:
        async with pool.acquire():
            await trio.sleep(3)
            assert opened.closed == 0

    async with trio.open_nursery() as nursery:
        async with open_pool(["a"], lifespan=opened.lifespan) as pool:
            nursery.start_soon(borrow)
            await wait_all_tasks_blocked()
        assert trio.current_time() == 3
        assert opened.closed == 1


async def test_a_cancelled_pool_waits_for_a_block_that_takes_its_time(autojump_clock: MockClock) -> None:
    opened = Opened()

    async def borrow() -> None:
        with pytest.raises(JobCancelledError):
            await linger(pool.acquire())
        assert trio.current_time() == 3

    async with trio.open_nursery() as nursery:
        async with open_pool(["a"], lifespan=opened.lifespan) as pool:
            nursery.start_soon(borrow)
            await wait_all_tasks_blocked()
            pool.cancel()
        assert trio.current_time() == 3
        assert opened.closed == 1


# A resource in the middle of something


async def reopened_after(how: str, on_cut: Literal["keep", "reopen"]) -> bool:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan, on_cut=on_cut) as pool:
        lease = pool.acquire()
        with trio.CancelScope() as scope:
            try:
                async with lease:
                    if "caller" in how:
                        scope.cancel()
                    if "job" in how:
                        lease.job.cancel()
                    if "interrupted" in how:
                        raise KeyboardInterrupt
                    if "failed" in how:
                        raise ValueError
                    await trio.lowlevel.checkpoint()
            except (JobCancelledError, ValueError, KeyboardInterrupt):
                pass
        async with pool.acquire() as resource:
            return bool(resource == "a2")
    raise AssertionError


@pytest.mark.parametrize(
    ("how", "is_cut"),
    [
        ("ended", False),
        ("failed", False),
        ("caller", True),
        ("job", True),
        ("caller, failed", True),
        ("job, failed", True),
        ("interrupted", True),
    ],
)
async def test_a_block_that_is_cut_short_has_its_resource_reopened_on_demand(how: str, is_cut: bool) -> None:
    assert await reopened_after(how, "reopen") is is_cut
    assert not await reopened_after(how, "keep")
