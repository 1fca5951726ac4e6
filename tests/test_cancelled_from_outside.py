"""A pool and a group notice by themselves that they are cancelled from outside, as a nursery does."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import Doors, fails, is_stubborn, nap, sleeps, sleeps_forever
from tests.lenders import lends
from trio_pool import (
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    PoolClosedError,
    RetryPolicy,
    SlotPool,
    current_job,
    open_pool,
)
from trio_pool.testing import assert_settled

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# The body is behind a shield.


async def tells_its_end(ends: list[float]) -> None:
    try:
        await trio.sleep_forever()
    finally:
        ends.append(trio.current_time())


async def test_jobs_are_cancelled_at_once_though_the_body_is_behind_a_shield(autojump_clock: MockClock) -> None:
    ends: list[float] = []
    with trio.move_on_after(1) as scope:
        async with open_pool(1) as pool:
            jobs = [await pool.submit(tells_its_end, ends) for _ in range(2)]
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
                assert [job.state for job in jobs] == [JobState.CANCELLED] * 2
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert (ends, trio.current_time()) == ([1], 5)


async def test_so_they_are_where_the_body_ends_with_the_shield(autojump_clock: MockClock) -> None:
    ends: list[float] = []
    with trio.move_on_after(1) as scope:
        async with open_pool(1) as pool:
            await pool.submit(tells_its_end, ends)
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
    assert scope.cancelled_caught
    assert (ends, trio.current_time()) == ([1], 5)


async def test_so_they_are_in_a_group(autojump_clock: MockClock) -> None:
    ends: list[float] = []
    async with open_pool(2) as pool:
        other = await pool.submit(nap, 10)
        with trio.move_on_after(1) as scope:
            async with pool.open_group() as group:
                await group.submit(tells_its_end, ends)
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
        assert scope.cancelled_caught
        assert (ends, trio.current_time()) == ([1], 5)
        assert await other.wait() == 10


async def test_so_they_are_in_a_pool_and_in_a_group_inside_a_job(autojump_clock: MockClock) -> None:
    ends: list[float] = []

    async def parent() -> None:
        async with open_pool(1) as inner, pool.open_group() as group:
            await inner.submit(tells_its_end, ends)
            await group.submit(tells_its_end, ends)
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with open_pool(2) as pool:
        job = await pool.submit(parent)
        await trio.sleep(1)
        job.cancel()
    assert job.state is JobState.CANCELLED
    assert (ends, trio.current_time()) == ([1, 1], 5)


async def test_a_pool_that_is_cancelled_itself_is_left_by_a_cancellation_from_outside_if_there_is_one(
    autojump_clock: MockClock,
) -> None:
    after = False
    with trio.move_on_after(1) as scope:
        async with open_pool(["a"]) as pool:
            await pool.submit(is_stubborn, 5)
            await trio.sleep(0.5)
            pool.cancel()
        after = True
    assert scope.cancelled_caught
    assert not after


async def test_a_group_likewise(autojump_clock: MockClock) -> None:
    after = False
    async with open_pool(["a"]) as pool:
        with trio.move_on_after(1) as scope:
            async with pool.open_group() as group:
                await group.submit(is_stubborn, 5)
                await trio.sleep(0.5)
                group.cancel()
            after = True
    assert scope.cancelled_caught
    assert not after


async def test_an_error_of_a_body_behind_a_shield_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    error = KeyError()
    with pytest.raises(KeyError) as caught, trio.move_on_after(1):  # noqa: PT012
        async with open_pool(1) as pool:
            with trio.CancelScope(shield=True):
                job = await pool.submit(trio.sleep, 10)
                await trio.sleep(5)
                raise error
    assert caught.value is error
    assert (job.state, job.finished_at) == (JobState.CANCELLED, 1)


async def test_who_submits_behind_the_shield_is_told_that_the_pool_is_closed(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with open_pool(1) as pool:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
                with pytest.raises(PoolClosedError):
                    await pool.submit(trio.sleep, 1)
    assert scope.cancelled_caught
    assert_settled(pool)


# The body waits behind a shield for what only the cancellation ends.


async def lends_to_one_that_hangs() -> None:
    async with current_job().lend():
        await trio.sleep(1)


async def in_run(pool: SlotPool) -> None:
    await pool.run(lends_to_one_that_hangs)


async def in_map(pool: SlotPool) -> None:
    async with pool.map(lambda _: lends_to_one_that_hangs(), [1]) as results:
        async for _ in results:
            pass


async def in_as_completed(pool: SlotPool) -> None:
    async with pool.as_completed(lambda _: lends_to_one_that_hangs(), [1]) as jobs:
        async for _ in jobs:
            pass


async def in_a_group(pool: SlotPool) -> None:
    async with pool.open_group() as group:
        await group.submit(lends_to_one_that_hangs)


async def in_join_of_a_group(pool: SlotPool) -> None:
    async with pool.open_group() as group:
        await group.submit(lends_to_one_that_hangs)
        await group.join()


async def in_wait(pool: SlotPool) -> None:
    await (await pool.submit(lends_to_one_that_hangs)).wait()


async def in_wait_behind_a_shield(pool: SlotPool) -> None:
    job = await pool.submit(trio.sleep_forever)
    with trio.CancelScope(shield=True), pytest.raises(JobCancelledError):
        await job.wait()


async def in_join_behind_a_shield(pool: SlotPool) -> None:
    with trio.CancelScope(shield=True):
        await pool.submit(trio.sleep_forever)
        await pool.join()


WAITS = [
    in_run,
    in_map,
    in_as_completed,
    in_a_group,
    in_join_of_a_group,
    in_wait,
    in_wait_behind_a_shield,
    in_join_behind_a_shield,
]


@pytest.mark.parametrize("waits", WAITS)
async def test_a_deadline_around_the_pool_holds_however_its_body_waits(
    autojump_clock: MockClock, waits: Callable[[SlotPool], Awaitable[None]]
) -> None:
    async def hangs(pool: SlotPool) -> None:
        await trio.sleep(0.5)
        await pool.submit(trio.sleep_forever)

    with trio.move_on_after(10) as scope:
        async with open_pool(1) as pool, trio.open_nursery() as nursery:
            nursery.start_soon(hangs, pool)
            await waits(pool)
    assert scope.cancelled_caught
    assert trio.current_time() == 10
    assert_settled(pool)


@pytest.mark.parametrize("waits", [in_run, in_map, in_as_completed])
async def test_so_does_one_around_a_group(autojump_clock: MockClock, waits: Callable[[Any], Awaitable[None]]) -> None:
    async with open_pool(1) as pool:
        with trio.move_on_after(10) as scope:
            async with pool.open_group() as group, trio.open_nursery() as nursery:
                nursery.start_soon(waits, group)
                await trio.sleep(0.5)
                await group.submit(trio.sleep_forever)
        assert scope.cancelled_caught
        assert trio.current_time() == 10
    assert_settled(pool)


class Slow:
    """A lifespan that takes very long to enter, or to leave, unless it is cancelled."""

    def __init__(self, *, entering: bool = False, leaving: bool = False) -> None:
        self._entering = entering
        self._leaving = leaving

    @asynccontextmanager
    async def lifespan(self, resource: str) -> AsyncGenerator[str]:
        """Pass it to ``open_pool``."""
        if self._entering and resource == "slow":
            await trio.sleep_forever()
        yield resource
        if self._leaving:
            await trio.sleep_forever()


async def test_a_body_that_waits_behind_a_shield_for_a_worker_to_be_added_goes_on(autojump_clock: MockClock) -> None:
    with trio.move_on_after(10) as scope:
        async with open_pool(["a"], lifespan=Slow(entering=True).lifespan) as pool:
            with trio.CancelScope(shield=True), pytest.raises(PoolClosedError):
                await pool.add("slow")
    assert scope.cancelled_caught
    assert trio.current_time() == 10


async def test_a_job_that_waits_behind_a_shield_for_a_worker_to_be_added_ends(autojump_clock: MockClock) -> None:
    async def adds(_: str) -> None:
        with trio.CancelScope(shield=True), pytest.raises(PoolClosedError):
            await pool.add("slow")

    with trio.move_on_after(10) as scope:
        async with open_pool(["a"], lifespan=Slow(entering=True).lifespan, on_dead="keep") as pool:
            await pool.run(adds)
    assert scope.cancelled_caught
    assert trio.current_time() == 10


async def remove_an_idle_one(pool: Any) -> None:
    await pool.workers[0].remove()


async def remove_a_busy_one(pool: Any) -> None:
    await pool.submit(sleeps_forever)
    await pool.workers[0].remove()


@pytest.mark.parametrize("remove", [remove_an_idle_one, remove_a_busy_one])
@pytest.mark.parametrize("inside", [False, True])
async def test_who_waits_behind_a_shield_for_a_worker_to_be_removed_goes_on(
    autojump_clock: MockClock, inside: bool, remove: Callable[[Any], Awaitable[None]]
) -> None:
    async def removes(_: str) -> None:
        with trio.CancelScope(shield=True):
            await remove(pool)

    with trio.move_on_after(10) as scope:
        async with open_pool(["a", "b"], lifespan=Slow(leaving=True).lifespan) as pool:
            if inside:
                await pool.run(removes, worker=pool.workers[1])
            else:
                await removes("")
    assert scope.cancelled_caught
    assert trio.current_time() == 10
    assert_settled(pool)


async def test_a_body_that_waits_behind_a_shield_for_items_goes_on(autojump_clock: MockClock) -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        await trio.sleep(80_000)
        yield 2

    with trio.move_on_after(10) as scope:
        async with open_pool(["a"]) as pool:
            with trio.CancelScope(shield=True):
                async with pool.map(sleeps, items()) as results:
                    assert await anext(results) == 1
                    with pytest.raises(PoolClosedError):
                        await anext(results)
    assert scope.cancelled_caught
    assert trio.current_time() == 10


async def test_a_body_of_a_group_likewise(autojump_clock: MockClock) -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        await trio.sleep(80_000)
        yield 2

    async with open_pool(["a", "b"]) as pool:
        with trio.move_on_after(10) as scope:
            async with pool.open_group() as group, pool.map(sleeps, [11]) as others:
                with trio.CancelScope(shield=True):
                    async with group.map(sleeps, items()) as results:
                        assert await anext(results) == 1
                        with pytest.raises(PoolClosedError, match="the group ended before the items did"):
                            await anext(results)
                    assert await anext(others) == 11
    assert scope.cancelled_caught


# The block is entered or left.


async def test_while_a_first_worker_is_opened_behind_a_shield_the_block_waits_for_that(
    autojump_clock: MockClock,
) -> None:
    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        left.append("entered")
        yield resource
        left.append("left")

    left: list[str] = []
    with trio.move_on_after(1) as scope:
        async with open_pool(["a"], lifespan=lifespan):
            raise AssertionError
    assert scope.cancelled_caught
    assert (left[0], trio.current_time()) == ("entered", 5)


async def test_while_it_drains_all_ends(autojump_clock: MockClock) -> None:
    with trio.move_on_after(3) as scope:
        async with open_pool(1) as pool:
            jobs: list[Job[Any]] = [await pool.submit(lends, 1), await pool.submit(trio.sleep_forever)]
    assert scope.cancelled_caught
    assert trio.current_time() == 3
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 2


async def test_while_workers_leave_their_lifespans_they_do_so_at_once(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=1e6)
    with trio.move_on_after(3) as scope:
        async with open_pool(["a", "b"], lifespan=doors.lifespan):
            pass
    assert scope.cancelled_caught
    assert (doors.left, trio.current_time()) == (["b", "a"], 3)


class At(trio.abc.Instrument):
    """Cancels a scope before so many steps of tasks have been done."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.left = step
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this."""
        self.left -= 1
        if not self.left:
            self._scope.cancel()


def test_in_whatever_moment_it_is_cancelled_a_death_is_raised_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main(scope: trio.CancelScope) -> None:
        with scope:
            async with open_pool([""], retry=RetryPolicy.never()) as pool:
                job = await pool.submit(fails)
                await pool.join()
                steps.append(job)

    steps: list[object] = []
    outcomes: list[tuple[bool, bool]] = []
    instrument = None
    while instrument is None or instrument.left <= 0:
        scope = trio.CancelScope()
        instrument = At(scope, len(outcomes) + 1)
        raised = False
        caplog.clear()
        steps.clear()
        try:
            trio.run(main, scope, instruments=[instrument])
        except BaseExceptionGroup as error:
            raised = error.subgroup(JobFailedError) is not None
        outcomes.append((raised, bool(caplog.records)))
        if steps:
            assert raised is not bool(caplog.records), len(outcomes)
    assert outcomes[-1] == (True, False)
    assert (False, True) in outcomes


# Ctrl-C


async def test_ctrl_c_while_the_pool_ends_on_account_of_a_cancellation_does_not_keep_it_from_ending(
    autojump_clock: MockClock,
) -> None:
    async def presses() -> None:
        await trio.sleep(2)
        signal.raise_signal(signal.SIGINT)

    with pytest.RaisesGroup(KeyboardInterrupt, allow_unwrapped=True, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(presses)
            with trio.move_on_after(1):
                async with open_pool(["a"]) as pool:
                    await pool.submit(is_stubborn, 5)
                    await trio.sleep_forever()
    assert_settled(pool)
