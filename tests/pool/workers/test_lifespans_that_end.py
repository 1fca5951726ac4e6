"""A lifespan that ends by itself breaks its resource: every attempt on it fails with that, whatever it is in."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, state_of
from tests.exceptions import nested
from trio_pool import (
    AttemptTimeoutError,
    Elastic,
    Hedge,
    Job,
    JobFailedError,
    JobState,
    Pool,
    ResourceBroken,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool._basics.exceptions import leaves

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

AGAIN = RetryPolicy(base_delay=0)

the_pool: Pool[int]


class Sessions:
    """A lifespan whose first session ends after a second; jobs get the number of their session."""

    def __init__(self, error: Exception | None = None) -> None:
        self.opened = 0
        self.closed = 0
        self.error = error

    @asynccontextmanager
    async def __call__(self, resource: object = None) -> AsyncGenerator[int]:
        self.opened += 1
        number = self.opened
        try:
            async with trio.open_nursery() as nursery:
                if number == 1:
                    nursery.start_soon(self._end, nursery)
                yield number
                nursery.cancel_scope.cancel()
        finally:
            self.closed += 1

    async def _end(self, nursery: trio.Nursery) -> None:
        await trio.sleep(1)
        if self.error is not None:
            raise self.error
        nursery.cancel_scope.cancel()


async def plainly() -> None:
    await trio.sleep(5)


async def in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 5)
        nursery.start_soon(trio.sleep, 6)


async def in_nurseries() -> None:
    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        outer.start_soon(in_a_nursery)
        inner.start_soon(in_a_nursery)
        await trio.sleep(5)


async def in_a_deep_group() -> None:
    try:
        await trio.sleep(5)
    except trio.Cancelled as error:
        raise nested(error) from None


async def with_clean_up_behind_a_shield() -> None:
    try:
        await trio.sleep(5)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)


async def while_lending() -> None:
    async with current_job().lend():
        await trio.sleep(5)


async def in_a_group() -> None:
    async with the_pool.open_group() as group:
        await group.submit(nap, 5, worker=the_pool.workers[1])
        await trio.sleep(5)


async def in_a_group_that_must_succeed() -> None:
    async with the_pool.open_group(must_succeed=True) as group:
        await group.submit(nap, 5, worker=the_pool.workers[1])


async def while_reading_results() -> None:
    async with the_pool.map(nap, [5], worker=the_pool.workers[1]) as results:
        async for _ in results:
            pass


async def waiting_for_a_job() -> None:
    await the_pool.run(nap, 5, worker=the_pool.workers[1])


PLACES: list[Callable[[], Awaitable[None]]] = [
    plainly,
    in_a_nursery,
    in_nurseries,
    in_a_deep_group,
    with_clean_up_behind_a_shield,
    while_lending,
    in_a_group,
    in_a_group_that_must_succeed,
    while_reading_results,
    waiting_for_a_job,
]


@asynccontextmanager
async def the_lifespan(resource: Any) -> AsyncGenerator[int]:
    """Of ``"sessions"`` and whatever else."""
    if isinstance(resource, Sessions):
        async with resource() as number:
            yield number
    else:
        yield 0


@pytest.mark.parametrize("error", [None, OSError("connection lost")])
@pytest.mark.parametrize("place", PLACES)
async def test_the_job_is_tried_again_on_the_reopened_one(
    place: Callable[[], Awaitable[None]], error: Exception | None, autojump_clock: MockClock
) -> None:
    global the_pool
    sessions = Sessions(error)
    seen: list[int] = []

    async def job(session: int) -> int:
        seen.append(session)
        await place()
        return session

    async with open_pool([sessions, "other"], lifespan=the_lifespan, retry=AGAIN) as the_pool:
        handle = await the_pool.submit(job, worker=the_pool.workers[0])
        assert await handle.wait() == 2
    assert seen == [1, 2]
    (failed, _) = handle.attempts
    assert isinstance(failed.error, ResourceBroken)
    assert sessions.opened == sessions.closed == 2


@pytest.mark.parametrize("place", [plainly, in_a_nursery, in_nurseries, in_a_deep_group])
async def test_the_attempt_has_the_error_of_the_lifespan_as_its_cause(
    place: Callable[[], Awaitable[None]], autojump_clock: MockClock
) -> None:
    lost = OSError("connection lost")

    async def job(session: int) -> None:
        await place()

    async with open_pool([Sessions(lost)], lifespan=the_lifespan) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job)
        broken = raised.value.__cause__
        assert isinstance(broken, ResourceBroken)
        assert broken.__cause__ is not None
        assert leaves(broken.__cause__) == [lost]


async def test_an_error_of_the_function_stands_and_the_resource_is_reopened(autojump_clock: MockClock) -> None:
    sessions = Sessions()
    mine = ValueError("mine")

    async def job(session: int) -> int:
        if session == 1:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 100)
                try:
                    await trio.sleep(100)
                finally:
                    raise mine
        return session

    async with open_pool([sessions], lifespan=the_lifespan, retry=AGAIN) as pool:
        handle = await pool.submit(job)
        assert await handle.wait() == 2
    error = handle.attempts[0].error
    assert error is not None
    assert leaves(error) == [mine]


async def test_a_value_returned_meanwhile_stands_and_the_next_job_gets_the_reopened_one(
    autojump_clock: MockClock,
) -> None:
    async def stubborn(session: int) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return session

    async def job(session: int) -> int:
        await trio.lowlevel.checkpoint()
        return session

    async with open_pool([Sessions()], lifespan=the_lifespan) as pool:
        first = await pool.submit(stubborn)
        second = await pool.submit(job)
        assert await first.wait() == 1
        assert await second.wait() == 2
        assert second.attempt_count == 1


async def test_elastic_workers_too(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Sessions(), min=1, max=1), retry=AGAIN) as pool:

        async def job(session: int) -> int:
            await in_a_nursery()
            return session

        assert await pool.run(job) == 2


async def test_a_hedged_attempt_goes_on_elsewhere(autojump_clock: MockClock) -> None:
    async def job(session: int) -> int:
        await in_a_nursery()
        return session

    async with open_pool([Sessions(), "other"], lifespan=the_lifespan) as pool:
        assert await pool.run(job, hedge=Hedge(0.5)) == 0


async def test_an_attempt_timeout_at_the_same_instant_counts_as_one(autojump_clock: MockClock) -> None:
    async def job(session: int) -> int:
        await in_a_nursery()
        return session

    async with open_pool([Sessions()], lifespan=the_lifespan, retry=AGAIN, attempt_timeout=1) as pool:
        handle = await pool.submit(job)
        with pytest.raises(JobFailedError):
            await handle.wait()
    assert [type(attempt.error) for attempt in handle.attempts] == [AttemptTimeoutError] * 3


async def test_cancelling_the_job_at_the_same_instant_cancels_it(autojump_clock: MockClock) -> None:
    async def job(session: int) -> None:
        await in_a_nursery()

    async def next_job(session: int) -> int:
        await trio.lowlevel.checkpoint()
        return session

    async with open_pool([Sessions()], lifespan=the_lifespan) as pool:
        handle = await pool.submit(job)
        await trio.sleep(1)
        handle.cancel()
        assert await pool.run(next_job) == 2
        assert handle.state is JobState.CANCELLED


async def test_an_interrupt_of_a_function_ends_the_pool_though(autojump_clock: MockClock) -> None:
    async def job(session: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 100)
            try:
                await trio.sleep(100)
            finally:
                raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup) as raised:  # noqa: PT012
        async with open_pool([Sessions()], lifespan=the_lifespan) as pool:
            await pool.submit(job)
            await wait_all_tasks_blocked()
            await trio.sleep(100)
    assert raised.value.split(KeyboardInterrupt)[1] is None


# A lifespan that takes its time to be left. Why it has ended is known only after that.


@asynccontextmanager
async def slow_to_close(resource: str) -> AsyncGenerator[str]:
    """Ends after a second, if it is that of ``"slow"``; then it takes a hundred."""
    if resource == "slow":
        try:
            with trio.move_on_after(1):
                yield resource
        finally:
            await trio.sleep(100)
    else:
        yield resource


@pytest.mark.parametrize("end", ["cancel", "raise"])
async def test_the_end_of_the_pool_cuts_the_closing_short(end: str, autojump_clock: MockClock) -> None:
    job: Job[None] | None = None
    with suppress(OSError):
        async with open_pool(["slow"], lifespan=slow_to_close) as pool:
            job = await pool.submit(nap, 5)
            await trio.sleep(2)
            if end == "raise":
                raise OSError
            pool.cancel()
    assert trio.current_time() == 2
    assert job is not None
    assert job.state is JobState.CANCELLED


async def test_a_job_can_be_cancelled_while_the_lifespan_is_left(autojump_clock: MockClock) -> None:
    async with open_pool(["slow"], lifespan=slow_to_close) as pool:
        job = await pool.submit(nap, 5)
        await trio.sleep(2)
        job.cancel()
        assert state_of(job) is JobState.CANCELLED
        pool.cancel()


async def test_its_worker_can_be_removed_meanwhile(autojump_clock: MockClock) -> None:
    async with open_pool(["slow", "other"], lifespan=slow_to_close) as pool:
        job = await pool.submit(nap, 5)
        await trio.sleep(2)
        worker = job.worker
        assert worker is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(worker.remove, cancel=True))
            assert await job.wait() == 7
            assert job.attempt_count == 1
            nursery.cancel_scope.cancel()
        pool.cancel()


async def test_a_hedge_that_succeeds_elsewhere_ends_it(autojump_clock: MockClock) -> None:
    async with open_pool(["slow", "other"], lifespan=slow_to_close) as pool:
        assert await pool.run(nap, 5, hedge=Hedge(0.5)) == 5.5
        pool.cancel()


async def test_otherwise_the_job_is_tried_again_when_it_has_been_left(autojump_clock: MockClock) -> None:
    async with open_pool(["slow", "other"], lifespan=slow_to_close, retry=AGAIN) as pool:
        assert await pool.run(nap, 5) == 106
        pool.cancel()


@pytest.mark.parametrize("cancels", [False, True])
async def test_a_job_that_comes_as_the_lifespan_ends_is_for_others(cancels: bool, autojump_clock: MockClock) -> None:
    """At the same instant, so that the worker has been handed the job and has not called its function."""
    async with open_pool(["slow"], lifespan=slow_to_close) as pool:
        if not cancels:
            await pool.add("other")
        await trio.sleep_until(1)
        job = await pool.submit(nap, 1)
        if not cancels:
            assert await job.wait() == 2
        else:
            await trio.sleep(1)
        pool.cancel()
    assert trio.current_time() == 2
    assert job.attempt_count == (0 if cancels else 1)
