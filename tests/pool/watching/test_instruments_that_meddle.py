"""What instruments may do to the pool when they are told something."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.pool.watching.recorder import EVENTS, A, echo, fail, nap, report
from trio_pool import (
    Attempt,
    Instrument,
    Job,
    JobState,
    Pool,
    PoolClosedError,
    ResourceBroken,
    RetryPolicy,
    Worker,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock


class Meddler(Instrument):
    """Does at one event everything that doesn't wait, once."""

    def __init__(self, event: str) -> None:
        self.done = False
        self.pool: Any = None
        self.submitted: list[Job[Any]] = []
        self.errors: list[Exception] = []
        setattr(self, event, self.meddle)

    def meddle(self, *args: Any) -> None:
        if self.done or self.pool is None:
            return
        self.done = True
        pool = self.pool
        pool.statistics()
        list(pool.jobs())
        try:
            self.submitted.append(pool.submit_nowait(echo, name="meddled"))
            cancelled = pool.submit_nowait(echo, name="meddled and cancelled")
            cancelled.cancel()
            self.submitted.append(cancelled)
        except PoolClosedError as error:
            self.errors.append(error)
        for argument in args:
            if isinstance(argument, Worker):
                argument.pause()
                argument.resume()
                argument.rest(1)
        for worker in pool.workers:
            worker.pause()
            worker.resume()
        pool.pause()
        pool.resume()
        pool.rest(1)
        pool.max_running = 1
        pool.max_running = None
        pool.retry = RetryPolicy.fixed(1, max_attempts=2)
        pool.dead.pop_all()
        other = Instrument()
        pool.add_instrument(other)
        pool.remove_instrument(other)


@pytest.mark.parametrize("event", [event for event in EVENTS if event not in {"pool_opened", "worker_quarantined"}])
async def test_an_instrument_may_call_whatever_does_not_wait(
    event: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        yield resource

    async def work(resource: str) -> None:
        raise ResourceBroken("no answer")

    meddler = Meddler(event)
    retry = RetryPolicy.fixed(1, max_attempts=2)
    async with open_pool(["a", "b"], lifespan=connect, instruments=[meddler], retry=retry, on_dead="keep") as pool:
        meddler.pool = pool
        await pool.submit(work)
        await pool.submit(fail)
        await pool.submit(nap, 1)
        await pool.submit(report)
        async with pool.open_group():
            await trio.sleep(0.5)
        pool.workers[0].pause()
        pool.workers[0].resume()
        pool.workers[1].rest(1)
        pool.pause()
        pool.resume()
        pool.rest(0.1)
        await pool.add("c")
        await trio.sleep(9)
    assert meddler.done
    assert [record.message for record in caplog.records if record.message.startswith("instrument ")] == []
    assert bool(meddler.errors) == (event in {"pool_closed", "worker_stopped"})
    assert [job.state for job in meddler.submitted] == (
        [] if meddler.errors else [JobState.SUCCEEDED, JobState.CANCELLED]
    )
    statistics = pool.statistics()
    assert statistics.submitted == statistics.succeeded + statistics.dead + statistics.cancelled


async def test_an_instrument_may_cancel_the_job_that_it_is_told_of(autojump_clock: MockClock) -> None:
    class Veto(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            job.cancel()

    async with open_pool(A, instruments=[Veto()]) as pool:
        job = await pool.submit(nap, 9)
        await pool.join()
        assert job.state is JobState.CANCELLED
        assert trio.current_time() == 0


async def test_an_instrument_may_cancel_a_job_as_its_attempt_starts(autojump_clock: MockClock) -> None:
    ran: list[str] = []

    async def work(resource: str) -> None:
        ran.append("begun")
        await trio.sleep(9)

    class Veto(Instrument):
        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            job.cancel()

    async with open_pool(A, instruments=[Veto()]) as pool:
        first = await pool.submit(work)
        second = await pool.submit(work)
    assert (first.state, second.state) == (JobState.CANCELLED, JobState.CANCELLED)
    assert trio.current_time() == 0


async def test_an_instrument_may_close_the_pool() -> None:
    class Closer(Instrument):
        def __init__(self) -> None:
            self.pool: Pool[str] | None = None

        def pool_opened(self, pool: Any) -> None:
            self.pool = pool

        def job_finished(self, job: Job[Any]) -> None:
            assert self.pool is not None
            self.pool.close()

    async with open_pool(A, instruments=[Closer()]) as pool:
        await pool.run(echo)
        with pytest.raises(PoolClosedError):
            await pool.submit(echo)


async def test_an_instrument_may_cancel_the_pool(autojump_clock: MockClock) -> None:
    class Fuse(Instrument):
        def __init__(self) -> None:
            self.pool: Pool[str] | None = None

        def pool_opened(self, pool: Any) -> None:
            self.pool = pool

        def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
            assert self.pool is not None
            if attempt.error is not None:
                self.pool.cancel()

    async with open_pool(["a", "b"], instruments=[Fuse()], retry=RetryPolicy()) as pool:
        other = await pool.submit(nap, 9)
        await pool.submit(fail)
        await trio.sleep(100)
    assert other.state is JobState.CANCELLED
    assert trio.current_time() == 0
