"""What a job's function says of its progress, and who gets to know."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.actors import state_of
from trio_pool import (
    Attempt,
    Hedge,
    Instrument,
    Job,
    JobState,
    Progress,
    Resource,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)

A, B = Resource("a", name="A"), Resource("b", name="B")


async def counts(*amounts: float) -> None:
    """Reports the amounts, a second each."""
    for amount in amounts:
        current_job().report(amount)
        await trio.sleep(1)


class Listener(Instrument):
    """Notes the progress that it is told of."""

    def __init__(self) -> None:
        self.heard: list[Progress | None] = []

    def job_progress(self, job: Job[Any]) -> None:
        self.heard.append(job.progress)


async def test_a_job_shows_what_its_function_has_last_reported(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(counts, 1, 2.5)
        await job.wait_started()
        await trio.sleep(0.5)
        assert job.progress == Progress(1, None, "", 0)
        await trio.sleep(1)
        assert job.progress == Progress(2.5, None, "", 1)
    assert job.progress == Progress(2.5, None, "", 1)


async def test_a_report_may_name_the_total_and_what_is_being_done(autojump_clock: MockClock) -> None:
    async def work() -> None:
        current_job().report(3, 10, "reading")

    async with open_pool(1) as pool:
        job = await pool.submit(work)
    assert job.progress == Progress(done=3, total=10, note="reading", at=0.0)


async def test_a_job_that_reports_nothing_has_none() -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(trio.sleep, 0)
        assert job.progress is None
        repr(job)
        assert job.progress is None


def test_progress_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Progress(1, 2, "", 0.0).done = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def test_it_is_gone_when_another_attempt_starts_and_not_before(autojump_clock: MockClock) -> None:
    async def work() -> None:
        if current_job().attempt_count == 0:
            current_job().report(7)
            raise ValueError("once")
        await trio.sleep(1)

    async with open_pool(1, retry=RetryPolicy.fixed(5)) as pool:
        job = await pool.submit(work)
        await trio.sleep(4)
        assert state_of(job) is JobState.DELAYED
        assert job.progress == Progress(7, None, "", 0)
        await trio.sleep(1.5)
        assert state_of(job) is JobState.RUNNING
        assert job.progress is None


async def test_it_is_gone_when_a_job_starts_again_after_its_worker_was_removed(autojump_clock: MockClock) -> None:
    async def work(resource: str) -> None:
        if resource == "a":
            current_job().report(1)
        await trio.sleep(1)

    async with open_pool([A, B]) as pool:
        job = await pool.submit(work)
        await trio.sleep(0.5)
        assert job.progress == Progress(1, None, "", 0)
        first = job.worker
        assert first is not None
        await first.remove(cancel=True)
        assert state_of(job) is JobState.RUNNING
        assert job.progress is None


async def test_instruments_are_told_of_each_report(autojump_clock: MockClock) -> None:
    listener = Listener()
    async with open_pool(1, instruments=[listener]) as pool:
        await pool.run(counts, 1, 2)
    assert listener.heard == [Progress(1, None, "", 0), Progress(2, None, "", 1)]


async def test_they_are_told_between_the_start_and_the_end_of_the_attempt() -> None:
    told: list[str] = []

    class Listening(Instrument):
        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            told.append("started")

        def job_progress(self, job: Job[Any]) -> None:
            told.append("progress")

        def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
            told.append("ended")

    async def work() -> None:
        current_job().report(1)

    async with open_pool(1, instruments=[Listening()]) as pool:
        await pool.run(work)
    assert told == ["started", "progress", "ended"]


async def test_an_instrument_that_raises_at_a_report_harms_neither_the_job_nor_the_report(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Rude(Instrument):
        def job_progress(self, job: Job[Any]) -> None:
            raise ZeroDivisionError

    async def work() -> str:
        current_job().report(1)
        return "done"

    async with open_pool(1, instruments=[Rude()]) as pool:
        job = await pool.submit(work)
    assert job.result() == "done"
    assert job.progress is not None
    assert "raised in job_progress and was removed" in caplog.text


# Where it may be called


async def test_only_the_jobs_own_function_may_report(autojump_clock: MockClock) -> None:
    async def of_another(other: Job[Any]) -> None:
        with pytest.raises(RuntimeError, match=r"report\(\) must be called inside the job's function"):
            other.report(1)

    async with open_pool(2) as pool:
        job = await pool.submit(trio.sleep, 9)
        await job.wait_started()
        with pytest.raises(RuntimeError, match=r"report\(\) must be called inside the job's function"):
            job.report(1)
        await pool.run(of_another, job)
        await job.wait()
        with pytest.raises(RuntimeError, match=r"report\(\) must be called inside the job's function"):
            job.report(1)
    assert job.progress is None


async def test_a_thread_of_the_function_reports_through_trio() -> None:
    def blocking() -> None:
        job = current_job()
        with pytest.raises(RuntimeError, match="another Trio run or thread"):
            job.report(1)
        trio.from_thread.run_sync(job.report, 2)

    async with open_pool(1) as pool:
        job = await pool.submit(trio.to_thread.run_sync, blocking)
        await job.wait()
    assert job.progress is not None
    assert job.progress.done == 2


async def test_a_task_of_the_function_may_report(autojump_clock: MockClock) -> None:
    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(counts, 5)

    async with open_pool(1) as pool:
        job = await pool.submit(work)
    assert job.progress == Progress(5, None, "", 0)


async def test_the_block_of_a_lease_reports_through_the_job_of_the_lease(autojump_clock: MockClock) -> None:
    listener = Listener()
    async with open_pool([A], instruments=[listener]) as pool:
        lease = pool.acquire()
        async with lease:
            lease.job.report(1, 2)
            assert lease.job.progress == Progress(1, 2, "", 0)
        with pytest.raises(RuntimeError, match="inside the job's function"):
            lease.job.report(2)
    assert listener.heard == [Progress(1, 2, "", 0)]


async def test_a_lease_inside_a_job_and_the_job_report_each_for_itself() -> None:
    async def work(_: str) -> None:
        lease = pool.acquire()
        async with lease:
            lease.job.report(1)
            current_job().report(2)
            leased.append(lease.job)

    leased: list[Job[Any]] = []
    async with open_pool([A, B]) as pool:
        job = await pool.submit(work)
        await job.wait()
    assert [each.progress and each.progress.done for each in (leased[0], job)] == [1, 2]


async def test_a_job_may_report_while_it_lends_its_worker(autojump_clock: MockClock) -> None:
    async def work() -> None:
        async with current_job().lend():
            current_job().report(1)

    async with open_pool(1) as pool:
        job = await pool.submit(work)
    assert job.progress is not None


async def test_a_cancelled_job_may_report_while_it_cleans_up(autojump_clock: MockClock) -> None:
    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            current_job().report(1, note="cleaned up")

    async with open_pool(1) as pool:
        job = await pool.submit(work)
        await job.wait_started()
        await trio.sleep(1)
        job.cancel()
    assert job.state is JobState.CANCELLED
    assert job.progress == Progress(1, None, "cleaned up", 1)


# Several runs


async def counts_slowly(resource: str, seconds: dict[str, float]) -> str:
    """Reports 1 to 4, each after so many seconds."""
    for number in range(1, 5):
        await trio.sleep(seconds[resource])
        current_job().report(number, 4, resource)
    return resource


async def test_of_a_hedged_job_the_furthest_run_counts(autojump_clock: MockClock) -> None:
    listener = Listener()
    async with open_pool([A, B], instruments=[listener]) as pool:
        job = await pool.submit(counts_slowly, {"a": 2, "b": 0.75}, hedge=Hedge(after=3.5))
    assert job.result() == "b"
    heard = [(each.done, each.note, each.at) for each in listener.heard if each is not None]
    # B has done 1 at 4.25 and 2 at 5, which is no more than A then; A has done 3 at 6, which is no more than B then.
    assert heard == [(1, "a", 2), (2, "a", 4), (3, "b", 5.75), (4, "b", 6.5)]


async def test_when_the_furthest_run_has_ended_the_others_count_again(autojump_clock: MockClock) -> None:
    async def work(resource: str) -> str:
        if resource == "a":
            current_job().report(9)
            await trio.sleep(2)
            raise ValueError("not this one")
        current_job().report(1)
        await trio.sleep(3)
        current_job().report(2)
        return resource

    listener = Listener()
    async with open_pool([A, B], instruments=[listener]) as pool:
        job = await pool.submit(work, hedge=Hedge(after=1))
    assert job.result() == "b"
    assert [each and each.done for each in listener.heard] == [9, 2]


async def test_a_run_that_has_lost_reports_in_vain(autojump_clock: MockClock) -> None:
    async def work(resource: str) -> str:
        if resource == "b":
            current_job().report(1)
            return resource
        try:
            await trio.sleep(9)
        finally:
            current_job().report(2)
        return resource

    async with open_pool([A, B]) as pool:
        job = await pool.submit(work, hedge=Hedge(after=1))
    assert job.progress == Progress(1, None, "", 1)


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("much",), TypeError, "done must be a number, got 'much'"),
        ((True,), TypeError, "done must be a number, got True"),
        ((-1,), ValueError, "done must not be negative, got -1"),
        ((float("inf"),), ValueError, "done must be finite, got inf"),
        ((float("nan"),), ValueError, "done must not be NaN"),
        ((1, -1), ValueError, "total must not be negative, got -1"),
        ((1, "all"), TypeError, "total must be a number, got 'all'"),
        ((1, float("inf")), ValueError, "total must be finite, got inf"),
        ((1, 2, None), TypeError, "note must be a str, got None"),
    ],
)
async def test_wrong_arguments_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    async def work() -> None:
        with pytest.raises(error, match=message):
            current_job().report(*arguments)

    async with open_pool(1) as pool:
        job = await pool.submit(work)
        await job.wait()
    assert job.progress is None
