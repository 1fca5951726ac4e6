"""A worker is taken from a job only by ``lend()``; a lender that could never have it back goes on without it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, state_of
from tests.lenders import Parted, lends_forever, nothing
from trio_pool import (
    Hedge,
    JobDeadlockError,
    JobState,
    RetryPolicy,
    SlotPool,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Who is on a worker stays there until it ends or lends it.


async def test_a_borrower_that_waits_for_what_it_has_cancelled_keeps_the_worker(autojump_clock: MockClock) -> None:
    async def is_slow_to_leave(_: list[str]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async def borrows(log: list[str]) -> None:
        log.append("begin")
        with trio.move_on_after(1):
            await pool.run(is_slow_to_leave, worker=pool.workers[1])
        log.append("commit")

    async def lends(log: list[str]) -> float:
        async with current_job().lend():
            borrower = await pool.submit(borrows, worker=pool.workers[0])
            await borrower.wait_started()
            await trio.sleep(2)
        log.append("the lender writes")
        return trio.current_time()

    log: list[str] = []
    with trio.fail_after(60):
        async with open_pool([log, []]) as pool:
            assert await pool.run(lends, worker=pool.workers[0]) == 6
    assert log == ["begin", "commit", "the lender writes"]


async def leaves_map(pool: SlotPool, lender: Callable[..., Awaitable[object]]) -> None:
    """Leaves the block of a stream whose job has lent the worker on which this runs."""
    async with pool.map(lender, [1]), current_job().lend():
        await trio.sleep(1)


async def leaves_as_completed(pool: SlotPool, lender: Callable[..., Awaitable[object]]) -> None:
    async with pool.as_completed(lender, [1]), current_job().lend():
        await trio.sleep(1)


async def leaves_a_group_by_an_error(pool: SlotPool, lender: Callable[..., Awaitable[object]]) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with pool.open_group() as group:
            await group.submit(lender, 1)
            async with current_job().lend():
                await trio.sleep(1)
            raise KeyError


async def cancels_a_group(pool: SlotPool, lender: Callable[..., Awaitable[object]]) -> None:
    async with pool.open_group() as group:
        await group.submit(lender, 1)
        async with current_job().lend():
            await trio.sleep(1)
        group.cancel()


async def leaves_run_by_a_timeout(pool: SlotPool, lender: Callable[..., Awaitable[object]]) -> None:
    async def runs() -> None:
        # What waits is found to wait forever when the worker comes back; to be cancelled then goes before it.
        with trio.CancelScope(deadline=1):
            await pool.run(lender, 1)

    async with trio.open_nursery() as nursery, current_job().lend():
        nursery.start_soon(runs)
        await trio.sleep(1)


async def runs_in_vain(pool: SlotPool, lender: Callable[..., Awaitable[object]]) -> None:
    async def runs() -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(lender, 1)

    async with trio.open_nursery() as nursery, current_job().lend():
        nursery.start_soon(runs)
        await trio.sleep(1)


LEAVERS = [
    leaves_map,
    leaves_as_completed,
    leaves_a_group_by_an_error,
    cancels_a_group,
    leaves_run_by_a_timeout,
    runs_in_vain,
]


@pytest.mark.parametrize("leaves", LEAVERS)
async def test_who_waits_for_the_end_of_a_lender_on_its_worker_keeps_that(
    autojump_clock: MockClock, leaves: Callable[..., Awaitable[None]]
) -> None:
    on_the_worker: list[object] = []

    async def lends(_: int) -> None:
        try:
            async with current_job().lend():
                await trio.sleep_forever()
        finally:
            on_the_worker.append(pool.workers[0].job)

    async def parent() -> object:
        await leaves(pool, lends)
        on_the_worker.append(pool.workers[0].job)
        return current_job()

    with trio.fail_after(60):
        async with open_pool(1) as pool:
            me = await pool.run(parent)
    assert on_the_worker == [me, me]
    assert trio.current_time() == 1
    assert pool.statistics().cancelled == 1


@pytest.mark.parametrize("leaves", LEAVERS)
async def test_nobody_else_gets_the_worker_of_who_waits_for_the_end_of_its_lender(
    autojump_clock: MockClock, leaves: Callable[..., Awaitable[None]]
) -> None:
    async def is_slow_to_end(_: int) -> None:
        try:
            await lends_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async def parent() -> None:
        await leaves(pool, is_slow_to_end)
        assert state_of(waiting) is JobState.QUEUED
        await trio.sleep(1)

    with trio.fail_after(60):
        async with open_pool(1) as pool:
            await pool.submit(parent)
            await trio.sleep(2)
            waiting = await pool.submit(nap, 1)
            assert await waiting.wait() == 6


async def test_a_lender_gets_its_worker_back_where_its_borrower_only_waits_for_others(
    autojump_clock: MockClock,
) -> None:
    async def ends_slowly(_: int) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async def borrows() -> None:
        async with pool.map(ends_slowly, [1, 2], worker=pool.workers[1]):
            await trio.sleep(2)

    async def lends() -> tuple[object, float]:
        async with current_job().lend():
            await pool.submit(borrows, worker=pool.workers[0])
            await trio.sleep(1)
        return pool.workers[0].job is current_job(), trio.current_time()

    with trio.fail_after(60):
        async with open_pool(2) as pool:
            assert await pool.run(lends, worker=pool.workers[0]) == (True, 7)


# Of a circle, who can be told is told; the lender only if nobody else can be.


async def by_wait(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    await (await pool.submit(lender)).wait()


async def by_run(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    await pool.run(lender)


async def by_map(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    async with pool.map(lambda _: lender(), [1]) as results:
        await anext(results)


async def by_as_completed(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    async with pool.as_completed(lambda _: lender(), [1]) as jobs:
        await anext(jobs)


async def by_leaving_a_group(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    async with pool.open_group() as group:
        await group.submit(lender)


async def by_joining_a_group(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    async with pool.open_group() as group:
        await group.submit(lender)
        await group.join()


async def by_a_thread(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    await trio.to_thread.run_sync(pool.run_from_thread, lender)


async def by_the_future_of_a_thread(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    await trio.to_thread.run_sync(lambda: pool.submit_from_thread(lender).result())


async def behind_a_shield(pool: SlotPool, lender: Callable[[], Awaitable[object]]) -> None:
    with trio.CancelScope(shield=True):
        await by_wait(pool, lender)


WAYS = [
    by_wait,
    by_run,
    by_map,
    by_as_completed,
    by_leaving_a_group,
    by_joining_a_group,
    by_a_thread,
    by_the_future_of_a_thread,
    behind_a_shield,
]


@pytest.mark.parametrize("way", WAYS)
async def test_a_borrower_that_waits_for_its_lender_is_told_and_the_lender_is_not(
    way: Callable[..., Awaitable[None]],
) -> None:
    told: list[JobDeadlockError] = []
    started, may_end = trio.Event(), trio.Event()

    async def lends() -> None:
        async with current_job().lend():
            started.set()
            with trio.CancelScope(shield=True):
                await may_end.wait()

    async def waits() -> None:
        try:
            await way(pool, lends)
        except JobDeadlockError as error:
            told.append(error)

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            async with current_job().lend():
                nursery.start_soon(waits)
                await started.wait()
            await wait_all_tasks_blocked()
            may_end.set()

    async with open_pool(1, retry=RetryPolicy.never()) as pool:
        await pool.run(parent)
    assert len(told) == 1
    assert pool.statistics().dead == 0


async def test_a_circle_of_two_who_lend_to_each_other_s_parents_ends(autojump_clock: MockClock) -> None:
    await circle_of_two()


async def test_so_it_does_where_one_of_them_is_hedged(autojump_clock: MockClock) -> None:
    await circle_of_two(hedge=Hedge(after=1))


async def circle_of_two(**options: Any) -> None:
    """Two jobs leave streams at once, each on the worker that the other one's child has lent."""
    runs: list[str] = []

    async def second() -> str:
        runs.append("")
        if options and len(runs) == 1:
            await trio.sleep_forever()  # so that it goes on where it is hedged
        async with pool.map(lends_forever, [1], worker=pool.workers[0]):
            await trio.sleep(3)
        return "second"

    async def first() -> str:
        async with pool.map(lends_forever, [1], worker=pool.workers[1]):
            async with current_job().lend():
                await trio.sleep(5)
            await trio.sleep(2)
        return "first"

    with trio.fail_after(60):
        async with open_pool(3) as pool:
            job = await pool.submit(first, worker=pool.workers[0])
            await trio.sleep(1)
            if options:
                pool.workers[0].pause()
                pool.workers[1].pause()
                other = await pool.submit(second, **options)
                await trio.sleep(1)
                pool.workers[1].resume()
                await trio.sleep(1)
                pool.workers[0].resume()
            else:
                await trio.sleep(2)
                other = await pool.submit(second, worker=pool.workers[1])
            assert (await job.wait(), await other.wait()) == ("first", "second")


async def test_what_is_told_does_not_keep_other_tasks_from_running(autojump_clock: MockClock) -> None:
    over = False

    async def stubborn() -> None:
        while not over:
            with suppress(JobDeadlockError):
                await pool.run(nap, 1)
            with suppress(JobDeadlockError):
                async with pool.open_group(reserve=1):
                    pass

    with trio.fail_after(60):
        async with open_pool(1) as pool:
            job = await pool.submit(stubborn)
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            over = True
            await job.wait()


async def test_a_borrower_that_waits_for_a_cancelled_lender_is_told(autojump_clock: MockClock) -> None:
    async def waits() -> None:
        lender.cancel()
        with pytest.raises(JobDeadlockError):
            await lender.wait()

    with trio.fail_after(60):
        async with open_pool(1) as pool:
            lender = await pool.submit(lends_forever)
            await lender.wait_started()
            await pool.run(waits)
    assert lender.state is JobState.CANCELLED


async def test_another_s_wait_for_a_lender_that_will_be_told_is_no_wait_for_ever(autojump_clock: MockClock) -> None:
    async def outsider() -> object:
        await trio.sleep(2)
        return await parted.child.wait()

    parted = Parted(nothing)
    with trio.fail_after(60):
        async with open_pool(2) as pool:
            job = await pool.submit(outsider, worker=pool.workers[1])
            pool.workers[1].pause()
            await parted.run(pool)
            assert await job.wait() == "done"
