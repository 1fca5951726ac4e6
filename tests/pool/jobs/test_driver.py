"""An attempt: what is called, what is awaited, and in which cancel scope."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pool import (
    DeadReason,
    Discard,
    Instrument,
    Job,
    JobState,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)
from trio_pool._runtime.job_runner import KEPT_FRAMES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator


class Foreign:
    """Awaits like a part of some other event loop: Trio doesn't know what it yields."""

    def __await__(self) -> Generator[object, None, None]:
        yield "for another event loop"


async def await_foreign() -> None:
    await Foreign()


async def test_what_trio_throws_in_reaches_the_function(autojump_clock: MockClock) -> None:
    async with open_pool(1, on_dead="keep") as pool:
        job = await pool.submit(await_foreign)
    assert isinstance(job.attempts[0].error, TypeError)
    assert "for another event loop" in str(job.attempts[0].error)


async def test_a_type_error_out_of_a_plain_function_is_an_ordinary_failure(autojump_clock: MockClock) -> None:
    calls = 0

    def prepare() -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise TypeError("not yet")
        return trio.lowlevel.checkpoint()  # noqa: ASYNC105, the pool awaits it

    async with open_pool(1, retry=RetryPolicy.fixed(1)) as pool:
        job = await pool.submit(prepare)
    assert (job.state, job.attempt_count) == (JobState.SUCCEEDED, 2)


async def test_the_traceback_of_an_error_raised_again_and_again_stays_bounded(autojump_clock: MockClock) -> None:
    kept = ValueError("the same each time")

    async def fail() -> None:
        raise kept

    attempts = KEPT_FRAMES + 10
    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=attempts), on_dead="keep") as pool:
        job = await pool.submit(fail)
    frames, traceback = 0, kept.__traceback__
    while traceback is not None:
        frames, traceback = frames + 1, traceback.tb_next
    assert job.attempt_count == attempts
    assert frames <= KEPT_FRAMES + 1


async def test_a_deadline_that_passes_while_the_worker_is_idle_harms_no_later_job(autojump_clock: MockClock) -> None:
    async with open_pool(1, attempt_timeout=1) as pool:
        await pool.run(trio.sleep, 0.5)
        await trio.sleep(5)
        job = await pool.submit(trio.sleep, 0.5)
    assert (job.state, job.attempt_count) == (JobState.SUCCEEDED, 1)


async def test_nor_does_one_that_passes_between_handing_over_the_job_and_starting_it(mock_clock: MockClock) -> None:
    async def add(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number + 1

    async with open_pool(1, attempt_timeout=1) as pool:
        await pool.run(add, 1)
        mock_clock.jump(0.75)
        await wait_all_tasks_blocked()
        job = pool.submit_nowait(add, 2)
        mock_clock.jump(0.5)  # past the first deadline, but not the second
        assert await job.wait() == 3
    assert job.attempt_count == 1


async def test_an_evicted_attempt_that_outlasts_the_total_timeout_is_not_queued_again(
    autojump_clock: MockClock,
) -> None:
    async def cling(_: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        await trio.sleep_forever()

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(cling, total_timeout=5)
        await wait_all_tasks_blocked()
        assert job.worker is not None
        await job.worker.remove(cancel=True)
        assert (job.state, job.dead_reason) == (JobState.DEAD, DeadReason.TIMED_OUT)
        assert job.attempt_count == 0


async def test_what_is_no_exception_raised_by_on_failure_ends_the_pool_and_cancels_the_job(
    autojump_clock: MockClock,
) -> None:
    async def fail() -> None:
        raise ValueError

    def interrupt(*_: object) -> None:
        raise SystemExit(3)

    job = None
    with pytest.RaisesGroup(SystemExit):
        async with open_pool(1, on_failure=interrupt) as pool:
            job = await pool.submit(fail)
            await trio.sleep_forever()
    assert job is not None
    assert job.state is JobState.CANCELLED


async def test_a_worker_removed_while_it_starts_is_told_to_whoever_adds_it(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def slow(resource: str) -> AsyncGenerator[str]:
        await trio.sleep(5)
        yield resource

    async with open_pool([], lifespan=slow) as pool, trio.open_nursery() as nursery:

        async def add() -> None:
            with pytest.raises(RuntimeError, match="removed before it had started"):
                await pool.add("a")

        nursery.start_soon(add)
        await wait_all_tasks_blocked()
        (worker,) = pool.workers
        await worker.remove()
        assert pool.workers == ()


async def test_a_function_that_fails_at_once_lets_others_run(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        raise ValueError

    others_ran = 0
    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=None), on_dead="keep") as pool:
        job = await pool.submit(fail)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
            others_ran += 1
        job.cancel()
    assert others_ran == 10
    assert job.attempt_count >= 5


class CancelsWhatFollows(Instrument):
    """Cancels a job as soon as a worker has got it."""

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        if job.name == "second":
            job.cancel()


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_job_handed_over_and_cancelled_is_not_lost_when_its_worker_is_removed(
    cancel: bool, autojump_clock: MockClock
) -> None:
    instruments = [CancelsWhatFollows()]
    async with open_pool(1, max_running=1, no_worker="wait", instruments=instruments) as pool:
        first = await pool.submit(trio.sleep, 1, name="first")
        second = await pool.submit(trio.sleep, 1, name="second")
        await first.wait()
        await pool.workers[0].remove(cancel=cancel)
    assert second.state is JobState.CANCELLED


class Reopenings(Instrument):
    """Notes what it is told of reopening."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.errors.append(str(error))


async def test_removing_a_worker_that_reopens_is_no_further_failure(autojump_clock: MockClock) -> None:
    entries = 0

    @asynccontextmanager
    async def slow_again(resource: str) -> AsyncGenerator[str]:
        nonlocal entries
        entries += 1
        if entries == 2:
            await trio.sleep(10)
        yield resource

    async def break_it(_: str) -> None:
        raise ResourceBroken("the cable is out")

    told = Reopenings()
    async with open_pool(["a"], lifespan=slow_again, instruments=[told], on_dead="keep") as pool:
        (worker,) = pool.workers
        await pool.submit(break_it)
        await trio.sleep(1)
        await worker.remove()
    assert (entries, told.errors) == (2, ["the cable is out"])
    assert str(worker.statistics().last_error) == "the cable is out"


async def test_while_a_worker_rests_its_job_goes_to_others_under_the_placement_same(autojump_clock: MockClock) -> None:
    async def wear_out(resource: str) -> str:
        if resource == "a":
            raise RetryAfter(5, rest=True)
        return resource

    async with open_pool(["a", "b"], retry=RetryPolicy.immediate()) as pool:
        assert await pool.run(wear_out) == "b"
        assert trio.current_time() == 0


async def test_on_failure_is_a_part_of_the_job_also_when_the_body_has_ended(autojump_clock: MockClock) -> None:
    submitted: list[Job[None]] = []

    async def fail() -> None:
        await trio.sleep(1)
        raise ValueError

    def follow_up(job: Job[Any], _: Exception) -> Discard:
        assert current_job() is job
        submitted.append(pool.submit_nowait(trio.sleep, 1))
        return Discard("tried another way")

    async with open_pool(1, on_failure=follow_up) as pool:
        failing = await pool.submit(fail)
    assert failing.state is JobState.DISCARDED
    assert [job.state for job in submitted] == [JobState.SUCCEEDED]


async def test_the_group_that_comes_out_does_not_show_the_body_s_exception_twice(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def fails_to_close(resource: str) -> AsyncGenerator[str]:
        yield resource
        raise OSError("won't close")

    with pytest.raises(Exception, match="ended with errors") as caught:
        async with open_pool(["a"], lifespan=fails_to_close):
            raise KeyError("of the body")
    assert pytest.RaisesGroup(KeyError, OSError).matches(caught.value)
    assert caught.value.__suppress_context__


async def test_items_that_fail_after_their_reader_has_gone_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def items() -> AsyncGenerator[int]:
        yield 1
        raise OSError("no more")

    async with open_pool(1) as pool, pool.map(trio.sleep, items()) as results:
        async for _ in results:
            break
    assert "failed unnoticed" in caplog.text
