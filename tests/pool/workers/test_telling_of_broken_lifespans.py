"""Who is told that a lifespan has ended by itself, and of its error: instruments, attempts, the log."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import nap
from trio_pool import (
    Attempt,
    Instrument,
    Job,
    JobState,
    Pool,
    ResourceBroken,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)
from trio_pool._basics.exceptions import leaves

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from trio.testing import MockClock

AGAIN = RetryPolicy(base_delay=0)


class Sessions:
    """A lifespan whose first session ends after a second, with this error or without one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.opened = 0
        self.error = error

    @asynccontextmanager
    async def __call__(self, resource: object = None) -> AsyncGenerator[int]:
        self.opened += 1
        async with trio.open_nursery() as nursery:
            if self.opened == 1:
                nursery.start_soon(self._end, nursery)
            yield self.opened
            nursery.cancel_scope.cancel()

    async def _end(self, nursery: trio.Nursery) -> None:
        await trio.sleep(1)
        if self.error is not None:
            raise self.error
        nursery.cancel_scope.cancel()


class Reopenings(Instrument):
    """Keeps what it is told of reopenings, as it stands then."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, BaseException | None]] = []

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        assert error is not None
        self.seen.append((str(error), error.__cause__))


async def idle(pool: Pool[int]) -> None:
    await trio.sleep(2)


async def with_a_job(pool: Pool[int]) -> None:
    job = await pool.submit(nap, 5, retry=AGAIN)
    await job.wait()


async def lends_for_a_while(session: int) -> None:
    async with current_job().lend():
        await trio.sleep(5)


async def with_a_lender(pool: Pool[int]) -> None:
    job = await pool.submit(lends_for_a_while, retry=AGAIN)
    await job.wait()


@pytest.mark.parametrize("use", [idle, with_a_job, with_a_lender])
async def test_instruments_are_told_of_a_lifespan_that_broke_with_its_error(
    autojump_clock: MockClock, use: Callable[[Any], Awaitable[None]]
) -> None:
    told = Reopenings()
    error = ConnectionError("heartbeat lost")
    async with open_pool([0], lifespan=Sessions(error), instruments=[told]) as pool:
        await use(pool)
    [(words, cause)] = told.seen
    assert words == "the lifespan of worker-1 broke: ConnectionError: heartbeat lost"
    assert cause is not None
    assert leaves(cause) == [error]


async def test_the_event_of_a_broken_lifespan_comes_before_the_end_of_its_attempt(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    class Order(Instrument):
        def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
            seen.append("worker_reopening")

        def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
            seen.append("attempt_ended")

    async with open_pool([0], lifespan=Sessions(OSError()), instruments=[Order()]) as pool:
        await pool.run(nap, 5, retry=AGAIN)
    assert seen == ["worker_reopening", "attempt_ended", "attempt_ended"]


async def test_a_lifespan_that_breaks_while_nothing_runs_on_it_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool([0], lifespan=Sessions(ConnectionError("heartbeat lost"))):
        await trio.sleep(2)
    [record] = caplog.records
    assert (record.levelname, record.name, record.getMessage()) == (
        "WARNING",
        "trio_pool",
        "the lifespan of worker-1 broke",
    )
    assert "heartbeat lost" in caplog.text


async def test_so_is_one_whose_attempt_is_cancelled_meanwhile(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lingering(resource: object) -> AsyncGenerator[int]:
        async with Sessions(ConnectionError("heartbeat lost"))() as number:
            try:
                yield number
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)

    async with open_pool([0], lifespan=lingering) as pool:
        job = await pool.submit(nap, 5)
        await trio.sleep(1.5)
        job.cancel()
    assert job.state is JobState.CANCELLED
    assert "the lifespan of worker-1 broke" in caplog.text


@pytest.mark.parametrize("use", [with_a_job, idle])
async def test_what_an_attempt_has_failed_with_or_what_is_no_error_is_not_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, use: Callable[[Any], Awaitable[None]]
) -> None:
    error = None if use is idle else OSError()
    async with open_pool([0], lifespan=Sessions(error)) as pool:
        await use(pool)
    assert not caplog.records


async def test_the_first_of_several_failures_to_reopen_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    opened = 0

    @asynccontextmanager
    async def three_times_gone(resource: object) -> AsyncGenerator[int]:
        nonlocal opened
        opened += 1
        if opened in (2, 3, 4):
            raise OSError("nobody there")
        yield opened

    async def breaks(session: int) -> None:
        if session == 1:
            raise ResourceBroken

    async with open_pool([0], lifespan=three_times_gone) as pool:
        await pool.run(breaks, retry=AGAIN)
    [record] = caplog.records
    assert record.getMessage() == "worker-1 can't be opened, and is tried again"


async def test_one_that_breaks_when_a_job_has_said_so_already_is_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def says_so(session: int) -> None:
        raise ResourceBroken("jammed")

    told = Reopenings()
    lifespan = Sessions(ConnectionError("heartbeat lost"))
    async with open_pool([0], lifespan=lifespan, instruments=[told], on_dead="keep") as pool:
        await pool.submit(lends_for_a_while)
        await trio.sleep(0.5)
        await pool.submit(says_so)
        await trio.sleep(0.1)
        assert told.seen == [("jammed", None)]
    assert told.seen == [("jammed", None)]
    assert "heartbeat lost" in caplog.text
