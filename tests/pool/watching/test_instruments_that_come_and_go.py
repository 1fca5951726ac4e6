"""Instruments that are added and removed, and such that raise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.pool.watching.recorder import EVENTS, A, Recorder, echo, fail, nap, report
from trio_pool import Instrument, Job, JobState, RetryPolicy, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


# Coming and going


async def test_an_instrument_added_later_is_told_from_then_on() -> None:
    recorder = Recorder()
    async with open_pool(A, name="P") as pool:
        await pool.run(echo)
        pool.add_instrument(recorder)
        await pool.run(echo, name="second")
    assert recorder.log[0] == "submitted second"
    assert recorder.log[-1] == "pool closed P"


async def test_adding_an_instrument_twice_has_no_effect() -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        pool.add_instrument(recorder)
        await pool.run(echo)
    assert recorder.of_jobs().count("submitted echo") == 1


async def test_a_removed_instrument_is_told_nothing_more() -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        pool.remove_instrument(recorder)
        await pool.run(echo)
    assert recorder.of_jobs() == []


async def test_removing_an_instrument_that_is_not_there_is_a_key_error() -> None:
    async with open_pool(A) as pool:
        with pytest.raises(KeyError):
            pool.remove_instrument(Recorder())


async def test_all_instruments_are_told_in_the_order_in_which_they_came() -> None:
    told: list[str] = []

    class Named(Instrument):
        def __init__(self, name: str) -> None:
            self.name = name

        def job_finished(self, job: Job[Any]) -> None:
            told.append(self.name)

    async with open_pool(A, instruments=[Named("first"), Named("second")]) as pool:
        pool.add_instrument(Named("third"))
        await pool.run(echo)
    assert told == ["first", "second", "third"]


# One that raises


class Faulty(Instrument):
    def __init__(self, event: str, error: BaseException) -> None:
        self.error = error
        self.calls = 0
        setattr(self, event, self.raise_it)

    def raise_it(self, *args: Any) -> None:
        self.calls += 1
        raise self.error


@pytest.mark.parametrize(
    "event", [event for event in EVENTS if event not in {"worker_quarantined", "worker_reopening"}]
)
async def test_one_that_raises_is_logged_and_removed_and_the_pool_goes_on(
    event: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = Faulty(event, ZeroDivisionError("in the instrument"))
    recorder = Recorder()
    retry = RetryPolicy.fixed(1, max_attempts=2)
    async with open_pool(A, instruments=[faulty, recorder], retry=retry, on_dead="keep", name="P") as pool:
        [worker] = pool.workers
        for each in worker, pool:
            each.pause()
            each.resume()
            each.rest(1)
        for _ in range(2):
            await pool.submit(fail)
        async with pool.open_group():
            await pool.submit(report)
        await pool.submit(nap, 1)
    assert faulty.calls == 1
    [record] = [record for record in caplog.records if record.message.startswith("instrument ")]
    assert (record.name, record.levelno) == ("trio_pool", logging.ERROR)
    assert event in record.message
    assert record.exc_info is not None
    assert record.exc_info[1] is faulty.error
    assert record.exc_info[2] is not None
    assert recorder.log[-1] == "pool closed P"
    assert pool.statistics().dead == 2
    assert pool.statistics().succeeded == 2


async def test_one_that_removes_itself_and_then_raises_is_logged_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Leaving(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            pool.remove_instrument(self)
            raise ZeroDivisionError("on the way out")

    async with open_pool(A, instruments=[Leaving()]) as pool:
        assert await pool.run(echo) == "a"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_one_that_another_has_removed_is_told_nothing_more() -> None:
    recorder = Recorder()

    class Remover(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            pool.remove_instrument(recorder)

    async with open_pool(A, instruments=[Remover(), recorder]) as pool:
        await pool.run(echo)
    assert recorder.of_jobs() == []


async def test_a_job_goes_through_all_its_states_though_every_call_raises(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = [Faulty(event, ZeroDivisionError(event)) for event in EVENTS]
    async with open_pool(A, instruments=faulty, retry=RetryPolicy.fixed(1, max_attempts=2), on_dead="keep") as pool:
        job = await pool.submit(fail)
    assert [entry.state for entry in job.history][-4:] == [
        JobState.DELAYED,
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.DEAD,
    ]
    told = [record.message for record in caplog.records if record.message.startswith("instrument <")]
    assert len(told) == len([each for each in faulty if each.calls])
    assert any(" in job_delayed " in message for message in told)
