"""The pool's block is cancelled, from outside or by ``pool.cancel()``."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, is_stubborn, sleeps, sleeps_forever, works
from tests.pool.ending.logged_errors import errors_logged
from trio_pool import JobState, Pool, PoolClosedError, open_pool

# Cancelled from outside.


async def test_cancelled_while_opening_it_leaves_what_was_open(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=2.0)
    reached = False
    with trio.move_on_after(3) as scope:
        async with open_pool(["a", "b"], lifespan=doors.lifespan, max_opening=1):
            reached = True
    assert scope.cancelled_caught
    assert not reached
    assert doors.entered == doors.left == ["a"]


async def test_cancelled_before_opening_it_opens_nothing(autojump_clock: MockClock) -> None:
    doors = Doors()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_pool(["a"], lifespan=doors.lifespan):
            raise AssertionError("unreachable")
    assert scope.cancelled_caught
    assert doors.entered == []


async def test_cancelled_in_the_body_it_cancels_all_jobs(autojump_clock: MockClock) -> None:
    doors = Doors()
    with trio.move_on_after(3) as scope:
        async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
            jobs = [await pool.submit(sleeps_forever) for _ in range(3)]
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 3
    assert doors.left == ["b", "a"]


async def test_cancelled_while_draining_it_cancels_all_jobs(autojump_clock: MockClock) -> None:
    doors = Doors()
    with trio.move_on_after(3) as scope:
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            jobs = [await pool.submit(sleeps, 2.0) for _ in range(3)]
    assert scope.cancelled_caught
    assert [job.state for job in jobs] == [JobState.SUCCEEDED, JobState.CANCELLED, JobState.CANCELLED]
    assert doors.left == ["a"]
    assert trio.current_time() == 3.0


async def test_cancelled_while_stopping_it_leaves_every_lifespan_all_the_same(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=2.0)
    with trio.move_on_after(3) as scope:
        async with open_pool(["a", "b", "c"], lifespan=doors.lifespan, max_opening=1) as pool:
            await pool.submit(works)
    assert scope.cancelled_caught
    assert doors.left == ["c", "b", "a"]
    assert trio.current_time() == 3.0


async def test_cancelled_while_stopping_it_logs_the_deaths(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.move_on_after(1):
        async with open_pool(["a"], lifespan=Doors(seconds_out=2.0).lifespan) as pool:
            await pool.submit(fails)
    assert len(errors_logged(caplog)) == 1


async def test_cancelled_from_outside_it_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with open_pool(["a"]) as pool:
            job = await pool.submit(is_stubborn, 4.0)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 4.0
    assert job.state is JobState.SUCCEEDED


# pool.cancel()


async def test_pool_cancel_cancels_the_body_too_and_nothing_comes_out(autojump_clock: MockClock) -> None:
    doors = Doors()
    after = False
    async with open_pool(["a"], lifespan=doors.lifespan) as pool:
        jobs = [await pool.submit(sleeps_forever) for _ in range(2)]
        pool.cancel()
        await trio.sleep(1)
        after = True
    assert not after
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 2
    assert doors.left == ["a"]


async def test_pool_cancel_in_a_job_ends_the_block(autojump_clock: MockClock) -> None:
    async def cancels(resource: str, pool: Pool[str]) -> None:
        pool.cancel()
        await trio.sleep(1)

    async with open_pool(["a"]) as pool:
        job = await pool.submit(cancels, pool)
        await trio.sleep(math.inf)
    assert job.state is JobState.CANCELLED


async def test_pool_cancel_while_draining_cancels_what_is_left(autojump_clock: MockClock) -> None:
    async def cancels_later(pool: Pool[str]) -> None:
        await trio.sleep(3)
        pool.cancel()

    async with trio.open_nursery() as nursery, open_pool(["a"]) as pool:
        nursery.start_soon(cancels_later, pool)
        jobs = [await pool.submit(sleeps, 2.0) for _ in range(2)]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED, JobState.CANCELLED]
    assert trio.current_time() == 3.0


async def test_pool_cancel_while_stopping_cuts_short_the_leaving_of_lifespans(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=10.0)

    async def cancels_later(pool: Pool[str]) -> None:
        await trio.sleep(3)
        pool.cancel()

    async with trio.open_nursery() as nursery, open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        nursery.start_soon(cancels_later, pool)
    assert doors.left == ["b", "a"]
    assert trio.current_time() == 3.0


async def test_pool_cancel_logs_the_deaths(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(fails)
        await pool.join()
        pool.cancel()
    assert len(errors_logged(caplog)) == 1


async def test_pool_cancel_takes_no_more_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.cancel()
        with pytest.raises(PoolClosedError):
            pool.submit_nowait(works)


async def test_a_body_that_submits_after_pool_cancel_sees_its_own_cancellation(autojump_clock: MockClock) -> None:
    seen: list[type[BaseException]] = []
    async with open_pool(["a"]) as pool:
        pool.cancel()
        try:
            await pool.submit(works)
        except BaseException as error:
            seen.append(type(error))
            raise
    assert seen == [trio.Cancelled]


async def test_pool_cancel_after_the_block_does_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(works)
    pool.cancel()
    assert job.state is JobState.SUCCEEDED


async def test_an_exception_that_the_body_raises_after_pool_cancel_comes_out(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError, match="of the body"):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            pool.cancel()
            raise KeyError("of the body")


# Two at once.


async def test_pool_cancel_twice_is_the_same_as_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(is_stubborn, 3.0)
        await wait_all_tasks_blocked()
        pool.cancel()
        pool.cancel()
    assert job.state is JobState.SUCCEEDED


async def test_a_block_cancelled_from_outside_and_by_its_own_method_ends_as_cancelled(
    autojump_clock: MockClock,
) -> None:
    with trio.CancelScope() as scope:
        async with open_pool(["a"]) as pool:
            await pool.submit(is_stubborn, 3.0)
            await wait_all_tasks_blocked()
            pool.cancel()
            scope.cancel()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert pool.workers == ()
