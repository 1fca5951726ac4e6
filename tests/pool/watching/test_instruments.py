"""What instruments are told, and when."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.pool.watching.recorder import EVENTS, A, Recorder, echo, fail, nap
from trio_pool import (
    Attempt,
    DeadReason,
    Instrument,
    Job,
    JobCancelledError,
    JobState,
    Pool,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    SlotPool,
    Worker,
    WorkerState,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock


def test_the_base_class_does_nothing() -> None:
    instrument = Instrument()
    arguments = {
        "worker_resting": 2,
        "worker_quarantined": 2,
        "worker_reopening": 2,
        "job_delayed": 2,
        "pool_resting": 2,
    }
    arguments |= {"attempt_started": 2, "attempt_ended": 2}
    answers = [getattr(instrument, event)(*[None] * arguments.get(event, 1)) for event in EVENTS]
    assert answers == [None] * len(EVENTS)


# What they are told


async def test_pauses_and_rests_of_the_whole_pool_are_told_as_they_change(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    nothing: list[str] = []
    async with open_pool(nothing, instruments=[recorder], name="P") as pool:
        pool.pause()
        pool.pause()
        pool.resume()
        pool.resume()
        pool.rest(3)
        pool.rest(2)
        pool.rest(5)
        await trio.sleep(9)
        pool.pause()
    assert recorder.log[1:-1] == [
        "pool paused P",
        "pool resumed P",
        "pool resting P 3.0",
        "pool resting P 5.0",
        "pool paused P",
        "pool resumed P",
    ]


async def test_an_instrument_that_is_told_of_a_pause_may_undo_it() -> None:
    class Undoes(Instrument):
        def pool_paused(self, pool: Any) -> None:
            assert pool.paused
            pool.resume()

        def pool_resumed(self, pool: Any) -> None:
            assert not pool.paused
            pool.rest(0)

    async with open_pool(A, instruments=[Undoes()]) as pool:
        pool.pause()
        assert not pool.paused
        await pool.run(echo)


async def test_the_life_of_a_pool_with_one_job_in_the_order_of_the_changes() -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder], name="P") as pool:
        await pool.run(echo)
    assert recorder.log == [
        "A started",
        "pool opened P",
        "submitted echo",
        "started echo on A",
        "ended echo 1 well",
        "finished echo SUCCEEDED",
        "A stopped",
        "pool closed P",
    ]


async def test_pool_closed_comes_when_all_is_over(autojump_clock: MockClock) -> None:
    seen: list[tuple[float, int, int]] = []

    class Closing(Instrument):
        def pool_closed(self, pool: Any) -> None:
            seen.append((trio.current_time(), len(pool.workers), len(list(pool.jobs()))))

    async with open_pool(A, instruments=[Closing()]) as pool:
        await pool.submit(nap, 5)
        pool.close()
    assert seen == [(5, 0, 0)]


async def test_a_pool_whose_body_raises_is_told_to_be_closed_once() -> None:
    recorder = Recorder()
    with pytest.raises(KeyError):
        async with open_pool(A, instruments=[recorder], name="P"):
            raise KeyError
    assert recorder.log.count("pool closed P") == 1


async def test_a_pool_that_could_not_be_opened_is_told_neither_way() -> None:
    @asynccontextmanager
    async def broken(resource: str) -> AsyncGenerator[str]:
        if resource == "a":
            raise OSError("no answer")
        yield resource

    recorder = Recorder()
    with pytest.raises(OSError, match="no answer"):
        async with open_pool(A, lifespan=broken, instruments=[recorder], name="P"):
            pass
    assert recorder.log == []


async def test_a_job_that_waits_is_submitted_first_and_started_later(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        await pool.submit(nap, 1, name="one")
        await pool.submit(nap, 1, name="two")
    assert recorder.of_jobs() == [
        "submitted one",
        "started one on A",
        "submitted two",
        "ended one 1 well",
        "finished one SUCCEEDED",
        "started two on A",
        "ended two 1 well",
        "finished two SUCCEEDED",
    ]


async def test_a_failed_job_is_delayed_and_started_again(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    retry = RetryPolicy.fixed(5, max_attempts=2)
    async with open_pool(A, instruments=[recorder], retry=retry, on_dead="keep") as pool:
        await pool.submit(fail)
    assert recorder.of_jobs() == [
        "submitted fail",
        "started fail on A",
        "ended fail 1 ValueError",
        "delayed fail 5.0",
        "started fail on A",
        "ended fail 2 ValueError",
        "finished fail DEAD",
    ]


async def test_a_job_that_is_tried_again_at_once_is_not_delayed() -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder], retry=RetryPolicy.immediate(), on_dead="keep") as pool:
        await pool.submit(fail)
    assert [line for line in recorder.log if line.startswith("delayed")] == []
    assert len([line for line in recorder.log if line.startswith("started")]) == 3


async def test_an_attempt_cut_short_by_cancel_has_ended_with_job_cancelled_error(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        job = await pool.submit(nap, 9)
        await trio.sleep(1)
        job.cancel()
    assert recorder.of_jobs() == [
        "submitted nap",
        "started nap on A",
        "ended nap 1 JobCancelledError",
        "finished nap CANCELLED",
    ]


async def test_an_attempt_cut_short_by_removing_its_worker_has_ended_with_job_cancelled_error(
    autojump_clock: MockClock,
) -> None:
    recorder = Recorder()
    async with open_pool([*A, Resource("b", name="B")], instruments=[recorder]) as pool:
        await pool.submit(nap, 9)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
    assert recorder.of_jobs() == [
        "submitted nap",
        "started nap on A",
        "ended nap 1 JobCancelledError",
        "started nap on B",
        "ended nap 1 well",
        "finished nap SUCCEEDED",
    ]


async def test_every_start_of_an_attempt_is_followed_by_one_end(autojump_clock: MockClock) -> None:
    open_attempts: set[tuple[Job[Any], str]] = set()
    ended: list[Exception | None] = []

    class Pairs(Instrument):
        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            assert (job, worker.name) not in open_attempts
            open_attempts.add((job, worker.name))

        def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
            open_attempts.remove((job, attempt.worker_name))
            ended.append(attempt.error)

    pairs = Pairs()
    retry = RetryPolicy.fixed(0.3, max_attempts=3)
    async with open_pool(["a", "b", "c"], instruments=[pairs], retry=retry, on_dead="keep") as pool:
        for number in range(10):
            await pool.submit(nap, number)
            await pool.submit(fail)
            await pool.submit(nap, 9, attempt_timeout=number)
            await pool.submit(nap, 9, total_timeout=number)
        await trio.sleep(3.5)
        for job in list(pool.jobs(JobState.RUNNING))[:2]:
            job.cancel()
        await pool.workers[0].remove(cancel=True)
        await trio.sleep(3.5)
        pool.cancel()
    assert open_attempts == set()
    assert len(ended) > 10
    pool.add_instrument(pairs)  # it was not removed for an error of its own
    assert any(isinstance(error, JobCancelledError) for error in ended)


async def test_a_job_cancelled_in_the_queue_finishes_without_an_attempt(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        await pool.submit(nap, 1, name="first")
        (await pool.submit(nap, 1, name="second")).cancel()
    assert [line for line in recorder.log if "second" in line] == ["submitted second", "finished second CANCELLED"]


async def test_a_job_that_is_buried_at_once_was_submitted_and_is_finished() -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder], no_worker="bury", on_dead="keep") as pool:
        await pool.submit(echo, requires=["gpu"])
    assert recorder.of_jobs() == ["submitted echo", "finished echo DEAD"]


async def test_a_job_that_is_turned_away_is_not_mentioned(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder], max_queue=0) as pool:
        await pool.submit(nap, 1, name="running")
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(echo)
        with trio.move_on_after(0.5):
            await pool.submit(echo)
    assert [line for line in recorder.log if "echo" in line] == []


async def test_what_happens_to_workers_is_told(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        [worker] = pool.workers
        worker.pause()
        worker.resume()
        worker.rest(5)
        await pool.add("b", name="B")
        await worker.remove()
    assert recorder.of_workers() == [
        "A started",
        "A paused",
        "A resumed",
        "A resting 5.0",
        "B started",
        "A stopped",
        "B stopped",
    ]


async def test_what_changes_nothing_is_not_told(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        [worker] = pool.workers
        worker.resume()
        worker.pause()
        worker.pause()
        worker.resume()
        worker.resume()
        worker.rest(5)
        worker.rest(3)
        worker.rest(0)
    assert recorder.of_workers() == ["A started", "A paused", "A resumed", "A resting 5.0", "A stopped"]


async def test_a_worker_that_rests_by_retry_after_is_told_to_rest(autojump_clock: MockClock) -> None:
    async def busy(resource: str) -> None:
        if trio.current_time() == 0:
            raise RetryAfter(7, rest=True, counts=False)

    recorder = Recorder()
    async with open_pool(A, instruments=[recorder]) as pool:
        await pool.submit(busy)
    assert "A resting 7.0" in recorder.log


async def test_a_broken_resource_is_told_to_be_opened_anew_and_then_its_worker_to_have_started() -> None:
    broken: list[str] = []

    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        yield resource

    async def work(resource: str) -> None:
        if not broken:
            broken.append(resource)
            raise ResourceBroken("no answer")

    recorder = Recorder()
    async with open_pool(A, lifespan=connect, instruments=[recorder], retry=RetryPolicy.immediate()) as pool:
        await pool.run(work)
    assert recorder.of_workers() == ["A started", "A reopening ResourceBroken", "A started", "A stopped"]


async def test_slots_are_watched_like_all_workers() -> None:
    recorder = Recorder()
    async with open_pool(1, instruments=[recorder], name="P") as pool:
        assert isinstance(pool, SlotPool)
        await pool.run(trio.sleep, 0)
    assert recorder.log == [
        "worker-1 started",
        "pool opened P",
        "submitted sleep",
        "started sleep on worker-1",
        "ended sleep 1 well",
        "finished sleep SUCCEEDED",
        "worker-1 stopped",
        "pool closed P",
    ]


# When they are told


class Checks(Instrument):
    """Checks at each call that the change is complete."""

    def __init__(self) -> None:
        self.pool: Pool[str] | None = None
        self.told: list[str] = []

    def pool_opened(self, pool: Any) -> None:
        self.pool = pool
        assert [worker.state for worker in pool.workers] == [WorkerState.IDLE] * 2
        self.told.append("pool_opened")

    def job_submitted(self, job: Job[Any]) -> None:
        assert self.pool is not None
        assert job in list(self.pool.jobs())
        self.told.append("job_submitted")

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        assert job.state is JobState.RUNNING
        assert job.worker is worker
        assert worker.job is job
        assert worker.state is WorkerState.BUSY
        self.told.append("attempt_started")

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        assert job.attempts[-1] == attempt
        assert job.attempt_count == attempt.number
        assert job.state is not JobState.RUNNING
        self.told.append("attempt_ended")

    def job_delayed(self, job: Job[Any], until: float) -> None:
        assert job.state is JobState.DELAYED
        assert until == trio.current_time() + 1
        self.told.append("job_delayed")

    def job_finished(self, job: Job[Any]) -> None:
        assert self.pool is not None
        assert job.state.is_final
        assert job.finished_at == trio.current_time()
        assert job not in list(self.pool.jobs())
        if job.state is JobState.DEAD:
            assert job in self.pool.dead
            assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED
        else:
            assert job.result() == "a"
        self.told.append("job_finished")

    def worker_paused(self, worker: Worker) -> None:
        assert worker.state is WorkerState.PAUSED
        self.told.append("worker_paused")

    def worker_resumed(self, worker: Worker) -> None:
        assert worker.state is WorkerState.IDLE
        self.told.append("worker_resumed")

    def worker_resting(self, worker: Worker, until: float) -> None:
        assert worker.state is WorkerState.RESTING
        assert worker.statistics().available_at == until
        self.told.append("worker_resting")

    def worker_stopped(self, worker: Worker) -> None:
        assert self.pool is not None
        assert worker.state is WorkerState.STOPPED
        assert worker not in self.pool.workers
        self.told.append("worker_stopped")


async def test_each_call_comes_when_the_change_is_complete(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    checks = Checks()
    retry = RetryPolicy.fixed(1, max_attempts=2)
    async with open_pool(["a", "b"], instruments=[checks], retry=retry, on_dead="keep") as pool:
        first, second = pool.workers
        await pool.run(echo, worker=first)
        pool.submit_nowait(fail, worker=first)
        second.pause()
        second.resume()
        second.rest(1)
    assert [record for record in caplog.records if record.message.startswith("instrument ")] == []
    assert checks.told == [
        "pool_opened",
        "job_submitted",
        "attempt_started",
        "attempt_ended",
        "job_finished",
        "job_submitted",
        "attempt_started",
        "worker_paused",
        "worker_resumed",
        "worker_resting",
        "attempt_ended",
        "job_delayed",
        "attempt_started",
        "attempt_ended",
        "job_finished",
        "worker_stopped",
        "worker_stopped",
    ]
