"""A block that waits for its place: timeouts, cancellations, and what else can come instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, sleeps, works
from tests.pool.leases.borrowers import no_place
from trio_pool import (
    DeadReason,
    Instrument,
    JobCancelledError,
    JobFailedError,
    JobState,
    JobTimeoutError,
    NoEligibleWorkerError,
    PoolClosedError,
    Resource,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool import Job, Worker


# Timeouts


async def test_past_the_timeout_there_is_an_error_and_the_job_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        blocker = await pool.submit(nap, 10)
        with pytest.raises(JobTimeoutError, match="within 3 s"):
            async with pool.acquire(timeout=3):
                no_place()
        assert trio.current_time() == 3
        assert pool.statistics().cancelled == 1
        assert not pool.dead
        await blocker.wait()


async def test_the_timeout_does_not_bound_the_block(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        async with pool.acquire(timeout=1):
            await trio.sleep(10)
        assert pool.statistics().succeeded == 1


async def test_a_place_that_comes_before_the_timeout_is_taken(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(nap, 2)
        async with pool.acquire(timeout=3):
            await trio.sleep(10)


async def test_a_place_that_comes_at_the_very_instant_of_the_timeout_is_too_late(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(nap, 3)
        with pytest.raises(JobTimeoutError):
            async with pool.acquire(timeout=3):
                no_place()
        assert await pool.run(nap, 1) == 4


async def test_without_time_a_place_that_is_free_is_taken(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.acquire(timeout=0) as resource:
            assert resource == "a"
            await trio.sleep(1)
            await pool.submit(sleeps, 1)
        with pytest.raises(JobTimeoutError, match="within 0 s"):
            async with pool.acquire(timeout=0):
                no_place()


async def test_the_timeout_counts_while_the_queue_is_full(autojump_clock: MockClock) -> None:
    async with open_pool(1, max_queue=1) as pool:
        for _ in range(2):
            await pool.submit(nap, 10)
        with pytest.raises(JobTimeoutError):
            async with pool.acquire(timeout=3):
                no_place()
        assert trio.current_time() == 3
        assert pool.statistics().cancelled == 1


async def test_the_timeout_of_one_block_leaves_the_others_alone(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def borrow(seconds: float) -> None:
        try:
            async with pool.acquire(timeout=seconds):
                outcomes.append(f"{seconds:g} at {trio.current_time():g}")
        except JobTimeoutError:
            outcomes.append(f"{seconds:g} not")

    async with open_pool(1) as pool, trio.open_nursery() as nursery:
        await pool.submit(nap, 5)
        for seconds in (4, 5, 6):
            nursery.start_soon(borrow, seconds)
    assert sorted(outcomes) == ["4 not", "5 not", "6 at 5"]


async def test_others_can_wait_for_its_job_meanwhile(autojump_clock: MockClock) -> None:
    async def borrow() -> None:
        async with pool.acquire():
            await trio.sleep(1)

    async with open_pool(1) as pool, trio.open_nursery() as nursery:
        await pool.submit(nap, 5)
        nursery.start_soon(borrow)
        await wait_all_tasks_blocked()
        await next(pool.jobs(JobState.QUEUED)).wait()
        assert trio.current_time() == 6


# Cancelled


async def test_a_cancelled_caller_gets_no_place(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(nap, 5)
        with trio.move_on_after(1):
            async with pool.acquire():
                no_place()
        assert (pool.statistics().cancelled, pool.statistics().queued) == (1, 0)
        assert await pool.run(nap, 1) == 6


async def test_a_caller_cancelled_at_the_start_has_no_job() -> None:
    async with open_pool(1) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with pool.acquire():
                no_place()
        assert pool.statistics().submitted == 0


async def test_a_caller_cancelled_in_line_has_no_job(autojump_clock: MockClock) -> None:
    async with open_pool(1, max_queue=1) as pool:
        for _ in range(2):
            await pool.submit(nap, 5)
        with trio.move_on_after(1):
            async with pool.acquire():
                no_place()
        assert pool.statistics().submitted == 2
        assert pool.statistics().submitters_waiting == 0


async def test_a_caller_cancelled_at_the_instant_of_its_place_gives_it_back(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        first = await pool.submit(nap, 5)
        with trio.CancelScope() as scope:

            async def cancel_then() -> None:
                await first.wait()
                scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_then)
                async with pool.acquire():
                    await trio.sleep_forever()
        assert pool.statistics().cancelled == 1
        assert await pool.run(nap, 1) == 6


@pytest.mark.parametrize("steps", range(12))
async def test_whenever_the_caller_is_cancelled_the_place_is_free_afterwards(steps: int) -> None:
    async with open_pool(["a"]) as pool:
        async with trio.open_nursery() as nursery:

            async def borrow() -> None:
                async with pool.acquire():
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(borrow)
            nursery.start_soon(borrow)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert pool.workers[0].jobs == ()
        assert await pool.run(works) == "done"
        stats = pool.statistics()
        assert stats.submitted == stats.succeeded + stats.cancelled


async def test_a_job_that_is_cancelled_in_the_queue_says_so(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool, trio.open_nursery() as nursery:
        await pool.submit(nap, 5)

        async def borrow() -> None:
            with pytest.raises(JobCancelledError):
                async with pool.acquire():
                    no_place()
            assert trio.current_time() == 1

        nursery.start_soon(borrow)
        await trio.sleep(1)
        next(pool.jobs(JobState.QUEUED)).cancel()


# The pool ends


async def test_a_closed_pool_has_no_places() -> None:
    async with open_pool(["a"]) as pool:
        pool.close()
        with pytest.raises(PoolClosedError):
            async with pool.acquire():
                no_place()


async def test_a_closed_group_has_no_places() -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        group.close()
        with pytest.raises(PoolClosedError):
            async with group.acquire():
                no_place()


async def test_those_in_line_are_turned_away_when_the_pool_closes(autojump_clock: MockClock) -> None:
    async with open_pool(1, max_queue=1) as pool, trio.open_nursery() as nursery:
        for _ in range(2):
            await pool.submit(nap, 5)

        async def borrow() -> None:
            with pytest.raises(PoolClosedError):
                async with pool.acquire():
                    no_place()

        nursery.start_soon(borrow)
        await wait_all_tasks_blocked()
        pool.close()


async def test_those_in_the_queue_still_get_their_places_from_a_closed_pool(autojump_clock: MockClock) -> None:
    ends: list[float] = []

    async def borrow() -> None:
        async with pool.acquire():
            await trio.sleep(1)
            ends.append(trio.current_time())

    async with trio.open_nursery() as nursery, open_pool(1) as pool:
        await pool.submit(nap, 5)
        nursery.start_soon(borrow)
        await wait_all_tasks_blocked()
    assert ends == [6]


async def test_jobs_of_a_closed_pool_still_borrow(autojump_clock: MockClock) -> None:
    async def borrower(resource: str) -> str:
        await trio.sleep(1)
        async with pool.acquire() as other:
            return other

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(borrower)
    assert job.result() == "b"


async def test_blocks_of_a_closed_pool_still_borrow_and_submit(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.acquire():
        pool.close()
        async with pool.acquire() as other:
            assert other == "b"
        assert await pool.run(works) == "done"


async def test_a_cancelled_pool_cancels_those_that_wait(autojump_clock: MockClock) -> None:
    async def borrow() -> None:
        with pytest.raises(JobCancelledError):
            async with pool.acquire():
                no_place()

    async with trio.open_nursery() as nursery, open_pool(1) as pool:
        await pool.submit(nap, 5)
        nursery.start_soon(borrow)
        await wait_all_tasks_blocked()
        pool.cancel()


# Nobody may take it


async def test_without_a_worker_that_may_take_it_there_is_an_error() -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(NoEligibleWorkerError):
            async with pool.acquire(requires=["gpu"]):
                no_place()
        assert pool.statistics().submitted == 0


async def test_buried_at_once_it_is_dead_and_dealt_with() -> None:
    async with open_pool(["a"], no_worker="bury") as pool:
        with pytest.raises(JobFailedError) as caught:
            async with pool.acquire(requires=["gpu"]):
                no_place()
        assert caught.value.job.dead_reason is DeadReason.NO_WORKER
        assert not pool.dead
        assert pool.statistics().dead == 1


async def test_it_waits_for_a_worker_that_may_come(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait") as pool, trio.open_nursery() as nursery:

        async def add() -> None:
            await trio.sleep(3)
            await pool.add(Resource("b", tags=["gpu"]))

        nursery.start_soon(add)
        async with pool.acquire(requires=["gpu"]) as resource:
            assert resource == "b"
            assert trio.current_time() == 3


async def test_when_the_last_worker_that_may_take_it_leaves_it_is_dead_and_dealt_with(
    autojump_clock: MockClock,
) -> None:
    async with open_pool([Resource("a", tags=["gpu"]), "b"]) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5, requires=["gpu"])

        async def borrow() -> None:
            with pytest.raises(JobFailedError) as caught:
                async with pool.acquire(requires=["gpu"]):
                    no_place()
            assert caught.value.job.dead_reason is DeadReason.NO_WORKER

        nursery.start_soon(borrow)
        await trio.sleep(1)
        await pool.workers[0].remove()
        assert not pool.dead


class AtTheStart(Instrument):
    """Calls a function when an attempt starts."""

    def __init__(self, call: Callable[[Worker], object]) -> None:
        self.call = call

    def attempt_started(self, job: Job[object], worker: Worker) -> None:
        self.call(worker)


@pytest.mark.parametrize("repetition", range(20))  # Trio runs what is due at one instant in any order
async def test_a_worker_removed_before_the_block_begins_costs_only_another_wait(repetition: int) -> None:
    removed: list[Worker] = []

    async def remove(worker: Worker) -> None:
        await worker.remove(cancel=True)

    def remove_the_first(worker: Worker) -> None:
        if not removed:
            removed.append(worker)
            nursery.start_soon(remove, worker)

    instruments = [AtTheStart(remove_the_first)]
    async with open_pool(["a", "b"], instruments=instruments) as pool, trio.open_nursery() as nursery:
        begun = False
        try:
            async with pool.acquire() as resource:
                begun = resource == "a"
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                assert resource == "b"
        except JobCancelledError:
            assert begun


async def test_a_group_that_stops_discards_those_that_wait(autojump_clock: MockClock) -> None:
    async def fails_later(resource: object) -> None:
        await trio.sleep(1)
        raise ValueError

    async def borrow() -> None:
        with pytest.raises(JobCancelledError, match="discarded"):
            async with group.acquire():
                no_place()

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fails_later)
                nursery.start_soon(borrow)
                await trio.sleep(2)
