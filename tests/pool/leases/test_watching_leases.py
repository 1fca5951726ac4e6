"""Whoever watches the pool sees the job of a block as any other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from tests.actors import works
from tests.pool.leases.borrowers import no_place, stay
from trio_pool import Attempt, Instrument, Job, JobCancelledError, Logged, Worker, open_pool
from trio_pool.testing import assert_settled, one_at_a_time
from trio_pool.timeline import Timeline

if TYPE_CHECKING:
    from pathlib import Path


class Told(Instrument):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def job_submitted(self, job: Job[object]) -> None:
        self.events.append(f"submitted {job.name}")

    def attempt_started(self, job: Job[object], worker: Worker) -> None:
        self.events.append(f"started {job.name} on {worker.name}")

    def attempt_ended(self, job: Job[object], attempt: Attempt) -> None:
        self.events.append(f"ended {job.name}: {type(attempt.error).__name__}")

    def job_finished(self, job: Job[object]) -> None:
        self.events.append(f"finished {job.name}: {job.state.name}")


async def test_instruments_hear_of_it() -> None:
    told = Told()
    async with open_pool(["a"], instruments=[told]) as pool:
        async with pool.acquire():
            pass
        with pytest.raises(ValueError, match="no"):
            async with pool.acquire(name="mine"):
                raise ValueError("no")
    assert told.events == [
        "submitted acquire",
        "started acquire on worker-1",
        "ended acquire: NoneType",
        "finished acquire: SUCCEEDED",
        "submitted mine",
        "started mine on worker-1",
        "ended mine: ValueError",
        "finished mine: DEAD",
    ]


async def test_one_that_is_cut_short_is_told_as_such() -> None:
    told = Told()
    async with open_pool(["a"], instruments=[told]) as pool:
        lease = pool.acquire()
        with pytest.raises(JobCancelledError):
            await stay(lease, lambda: lease.job.cancel())
    assert told.events[-2:] == ["ended acquire: JobCancelledError", "finished acquire: CANCELLED"]


class Rude(Instrument):
    """Raises whenever it can."""

    def attempt_started(self, job: Job[object], worker: Worker) -> None:
        raise ValueError

    def job_finished(self, job: Job[object]) -> None:
        raise ValueError


@pytest.mark.parametrize("busy", [False, True])
async def test_an_instrument_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture, busy: bool) -> None:
    async with open_pool(["a"], instruments=[Rude()]) as pool:
        if busy:
            await pool.submit(works)
        async with pool.acquire() as resource:
            assert resource == "a"
        assert await pool.run(works) == "done"
    assert "raised in attempt_started" in caplog.text


class CancelsAtTheStart(Instrument):
    """Cancels each job when it starts."""

    def attempt_started(self, job: Job[object], worker: Worker) -> None:
        job.cancel()


@pytest.mark.parametrize("busy", [False, True])
async def test_an_instrument_that_cancels_at_the_start_prevents_the_block(busy: bool) -> None:
    async with open_pool(["a"], instruments=[CancelsAtTheStart()]) as pool:
        if busy:
            await pool.submit(works)
        with pytest.raises(JobCancelledError):
            async with pool.acquire():
                no_place()


async def test_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_pool")
    async with open_pool(["a"], instruments=[Logged()]) as pool, pool.acquire(name="mine"):
        pass
    assert "mine" in caplog.text


async def test_the_timeline_has_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    timeline = Timeline()
    async with open_pool(["a"], instruments=[timeline]) as pool, pool.acquire(name="mine"):
        await trio.sleep(3)
    path = tmp_path / "timeline.html"
    timeline.write_html(path)
    assert "mine" in path.read_text(encoding="utf-8")


async def test_testing_aids_know_it(autojump_clock: MockClock) -> None:
    with one_at_a_time():
        async with open_pool(2) as pool:
            async with pool.acquire():
                job = await pool.submit(trio.sleep, 0)
                await trio.sleep(1)
                assert len(list(pool.jobs())) == 2
                with pytest.raises(AssertionError, match="acquire"):
                    assert_settled(pool)
            await job.wait()
            assert_settled(pool)
