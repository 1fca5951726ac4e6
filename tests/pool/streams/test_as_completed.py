"""``as_completed``: the finished jobs of a stream of items, in the order in which they end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.openers import OpenPool, both
from tests.pool.streams.mapped import double, nap
from trio_pool import (
    Discard,
    Job,
    JobState,
    NoEligibleWorkerError,
    RetryPolicy,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

# The last argument is the job's own; a resource may come before it.


async def fail(*args: Any) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("no luck")


async def take_all(jobs: AsyncIterator[Job[Any]], found: list[Any]) -> None:
    """Add the results of what comes to those found; they are there also if it ends with an error."""
    async for job in jobs:
        found.append(job.result())  # noqa: PERF401


async def collect(jobs: AsyncIterator[Job[Any]]) -> list[Any]:
    return [job.result() async for job in jobs]


@both
async def test_the_jobs_come_in_the_order_in_which_they_end(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(5) as pool, pool.as_completed(nap, [5, 1, 4, 2, 3]) as jobs:
        assert await collect(jobs) == [1, 2, 3, 4, 5]


@both
async def test_each_job_comes_as_soon_as_it_has_ended(opened: OpenPool, autojump_clock: MockClock) -> None:
    came_at: list[float] = []
    async with opened(3) as pool, pool.as_completed(nap, [2, 1, 3]) as jobs:
        async for job in jobs:
            assert job.state.is_final
            came_at.append(trio.current_time())
    assert came_at == [1, 2, 3]


@both
async def test_the_job_tells_which_item_it_was(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.as_completed(double, range(10)) as jobs:
        assert {job.args[-1]: job.result() async for job in jobs} == {number: 2 * number for number in range(10)}


@both
async def test_jobs_of_whatever_outcome_are_yielded(opened: OpenPool, autojump_clock: MockClock) -> None:
    async def work(*args: Any) -> str:
        await trio.sleep(1)
        if args[-1] == "discarded":
            raise Discard
        if args[-1] == "dead":
            raise ValueError("no luck")
        await trio.sleep(1)
        return "done"

    async with opened(4) as pool, pool.as_completed(work, ["discarded", "dead", "succeeded", "cancelled"]) as jobs:
        await trio.sleep(1.5)
        for job in pool.jobs():
            if job.args[-1] == "cancelled":
                job.cancel()
        ended = {job.args[-1]: job.state async for job in jobs}
    assert ended == {
        "discarded": JobState.DISCARDED,
        "dead": JobState.DEAD,
        "succeeded": JobState.SUCCEEDED,
        "cancelled": JobState.CANCELLED,
    }


@both
async def test_a_job_that_ends_before_it_ever_starts_is_yielded(opened: OpenPool) -> None:
    async with opened(2, no_worker="bury") as pool, pool.as_completed(double, [1], requires=["gpu"]) as jobs:
        assert [job.state async for job in jobs] == [JobState.DEAD]


@both
async def test_a_dead_job_that_was_yielded_counts_as_dealt_with(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.as_completed(fail, range(3)) as jobs:
        assert [job.state async for job in jobs] == [JobState.DEAD] * 3
    assert len(pool.dead) == 3  # nothing came out of the block of the pool


@both
async def test_no_items_give_no_jobs(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.as_completed(double, []) as jobs:
        assert await collect(jobs) == []


@both
async def test_many_more_items_than_workers_are_all_run(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.as_completed(double, range(500)) as jobs:
        assert sorted(await collect(jobs)) == [2 * number for number in range(500)]


@both
async def test_the_items_may_be_an_async_iterable(opened: OpenPool, autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[float]:
        for number in (3, 2, 1):
            yield number
            await trio.sleep(0.5)

    async with opened(3) as pool, pool.as_completed(nap, items()) as jobs:
        assert await collect(jobs) == [1, 2, 3]


@both
async def test_the_items_may_be_endless(opened: OpenPool) -> None:
    found: list[int] = []
    async with opened(2) as pool, pool.as_completed(double, itertools.count()) as jobs:
        async for job in jobs:
            found.append(job.result())
            if len(found) == 50:
                break
    assert len(set(found)) == 50


@both
async def test_the_items_may_be_an_endless_async_iterable(opened: OpenPool) -> None:
    async def numbers() -> AsyncGenerator[int]:
        for number in itertools.count():
            await trio.lowlevel.checkpoint()
            yield number

    found: list[int] = []
    async with opened(2) as pool, pool.as_completed(double, numbers()) as jobs:
        async for job in jobs:
            found.append(job.result())
            if len(found) == 50:
                break
    assert len(set(found)) == 50


class Counted:
    """Endless items, and how many of them have been taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.taken += 1
        return self.taken


@pytest.mark.parametrize("buffer", [1, 2, 7])
@both
async def test_at_most_buffer_items_are_taken_ahead(opened: OpenPool, buffer: int, autojump_clock: MockClock) -> None:
    items = Counted()
    async with opened(2) as pool, pool.as_completed(double, items, buffer=buffer) as jobs:
        await trio.sleep(1)
        assert items.taken == buffer
        for handed_out in range(1, 10):
            await anext(jobs)
            await trio.sleep(1)
            assert items.taken == handed_out + buffer


@both
async def test_by_default_twice_the_workers_are_taken_ahead(opened: OpenPool, autojump_clock: MockClock) -> None:
    items = Counted()
    async with opened(3) as pool, pool.as_completed(double, items):
        await trio.sleep(1)
        assert items.taken == 6


@both
async def test_a_slow_job_holds_up_no_other(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool, pool.as_completed(nap, [100, *[1] * 9], buffer=2) as jobs:
        found = [(await anext(jobs)).result() for _ in range(9)]
        assert found == [1] * 9
        assert trio.current_time() == 9


@both
async def test_what_the_items_raise_is_raised_after_the_jobs_of_those_before(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    def items() -> Iterator[float]:
        yield 2
        yield 1
        raise OSError("the file is broken")

    found: list[float] = []
    async with opened(2) as pool, pool.as_completed(nap, items()) as jobs:
        with pytest.raises(OSError, match="the file is broken"):
            await take_all(jobs, found)
    assert found == [1, 2]


@both
async def test_what_async_items_raise_is_raised_after_the_jobs_of_those_before(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async def items() -> AsyncGenerator[float]:
        yield 3
        await trio.sleep(1)
        raise OSError("the line is broken")

    found: list[float] = []
    async with opened(2) as pool, pool.as_completed(nap, items()) as jobs:
        with pytest.raises(OSError, match="the line is broken"):
            await take_all(jobs, found)
    assert found == [3]


@both
async def test_a_job_that_is_turned_away_raises(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.as_completed(double, [1], requires=["gpu"]) as jobs:
        with pytest.raises(NoEligibleWorkerError):
            await anext(jobs)


@both
async def test_a_retried_job_comes_when_it_has_ended(opened: OpenPool, autojump_clock: MockClock) -> None:
    failed: list[int] = []

    async def once(*args: Any) -> int:
        number: int = args[-1]
        if number == 0 and not failed:
            failed.append(number)
            raise ValueError("once")
        return number

    async with opened(1, retry=RetryPolicy.fixed(1)) as pool, pool.as_completed(once, range(3)) as jobs:
        found = await collect(jobs)
    assert found == [1, 2, 0]


@both
async def test_leaving_the_block_cancels_what_is_left_and_waits_for_it(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    ended_at: list[float] = []

    async def tidy_up_slowly(*args: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            ended_at.append(trio.current_time())

    async with opened(2) as pool:
        async with pool.as_completed(tidy_up_slowly, itertools.count()):
            await trio.sleep(1)
        assert ended_at == [4, 4]
        assert list(pool.jobs()) == []


@both
async def test_deaths_that_were_never_yielded_count_as_dealt_with_after_the_block(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened(2) as pool:
        async with pool.as_completed(fail, range(4)):
            await trio.sleep(1)
        assert pool.statistics().dead == 4
    assert len(pool.dead) == 4


@both
async def test_a_death_in_the_moment_of_leaving_counts_as_dealt_with(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async def die_of_cancellation(*args: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    async with opened(2) as pool:
        async with pool.as_completed(die_of_cancellation, range(2)):
            await wait_all_tasks_blocked()
        assert pool.statistics().dead == 2
    assert len(pool.dead) == 2


@both
async def test_after_the_block_there_are_no_jobs_to_be_had(opened: OpenPool) -> None:
    async with opened(2) as pool:
        async with pool.as_completed(double, [1, 2]) as jobs:
            await anext(jobs)
        with pytest.raises(trio.ClosedResourceError):
            await anext(jobs)


@both
async def test_a_cancelled_wait_for_a_job_loses_none(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(3) as pool, pool.as_completed(nap, [7, 5, 6]) as jobs:
        found: list[float] = []
        while len(found) < 3:
            with trio.move_on_after(0.75):
                found.append((await anext(jobs)).result())
    assert found == [5, 6, 7]


@both
async def test_several_tasks_may_share_the_iteration(opened: OpenPool, autojump_clock: MockClock) -> None:
    found: list[float] = []

    async with opened(3) as pool, pool.as_completed(nap, range(10)) as jobs, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take_all, jobs, found)
    assert sorted(found) == list(range(10))
