"""The handle of a job: waiting for it, its result, cancelling it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.openers import OpenPool, both
from tests.pool.jobs.outcomes import discard, echo, fail, nap
from trio_pool import Job, JobCancelledError, JobFailedError, JobNotFinishedError, JobState, RetryPolicy, current_job

# wait


@both
async def test_wait_gives_the_result(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        job = await pool.submit(nap, 3)
        assert await job.wait() == 3
        assert trio.current_time() == 3


@both
async def test_wait_gives_the_result_again_and_again(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x")
        assert [await job.wait(), await job.wait()] == ["x", "x"]
    assert await job.wait() == "x"


@both
async def test_wait_raises_the_failure_of_a_dead_job(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(fail)
        with pytest.raises(JobFailedError, match="no luck") as caught:
            await job.wait()
    assert caught.value.job is job
    assert isinstance(caught.value.__cause__, ValueError)


@both
async def test_wait_raises_that_the_job_was_cancelled(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(nap, 1)
        job.cancel()
        with pytest.raises(JobCancelledError) as caught:
            await job.wait()
    assert caught.value.job is job


@both
async def test_wait_raises_that_the_job_was_discarded(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(discard)
        with pytest.raises(JobCancelledError, match="discarded: nobody wants it"):
            await job.wait()


@both
async def test_being_cancelled_while_waiting_leaves_the_job_alone(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        job = await pool.submit(nap, 3)
        with trio.move_on_after(1) as scope:
            await job.wait()
        assert scope.cancelled_caught
        assert job.state is JobState.RUNNING
        assert await job.wait() == 3


@both
async def test_many_may_wait_for_one_job(opened: OpenPool, autojump_clock: MockClock) -> None:
    got: list[Any] = []

    async def collect(job: Job[Any]) -> None:
        got.append(await job.wait())

    async with opened() as pool:
        job = await pool.submit(nap, 3)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(collect, job)
    assert got == [3, 3, 3, 3]


@both
async def test_each_who_waits_gets_an_error_of_his_own(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(fail)
        with pytest.raises(JobFailedError) as first:
            await job.wait()
        with pytest.raises(JobFailedError) as second:
            await job.wait()
    assert first.value is not second.value


# wait_started


@both
async def test_wait_started_returns_when_the_first_attempt_starts(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.submit(nap, 4)
        job = await pool.submit(nap, 3)
        await job.wait_started()
        assert trio.current_time() == 4
        assert job.state is JobState.RUNNING


@both
async def test_wait_started_returns_for_a_job_that_has_started_before(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        job = await pool.submit(fail, retry=RetryPolicy.fixed(9, max_attempts=2))
        await wait_all_tasks_blocked()
        assert job.state is JobState.DELAYED
        await job.wait_started()
        assert trio.current_time() == 0
        job.cancel()


@both
async def test_wait_started_returns_if_the_job_ended_before_it_ever_started(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        await pool.submit(nap, 4)
        job = await pool.submit(nap, 3, total_timeout=1)
        await job.wait_started()
        assert trio.current_time() == 1
        assert job.state is JobState.DEAD
        pool.dead.pop(job)


@both
async def test_being_cancelled_in_wait_started_leaves_the_job_alone(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        await pool.submit(nap, 4)
        job = await pool.submit(nap, 3)
        with trio.move_on_after(1):
            await job.wait_started()
        assert job.state is JobState.QUEUED
        assert await job.wait() == 3


# result


@both
async def test_result_is_the_result_at_once(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x")
    assert job.result() == "x"


@both
async def test_result_before_the_end_is_an_error(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        running = await pool.submit(nap, 3, name="the first")
        queued = await pool.submit(nap, 3, name="the second")
        with pytest.raises(JobNotFinishedError, match=r"the first.* has not ended yet"):
            running.result()
        with pytest.raises(JobNotFinishedError, match=r"the second.* has not ended yet"):
            queued.result()


@both
async def test_result_raises_the_failure_of_a_dead_job(opened: OpenPool) -> None:
    async with opened(on_dead="keep") as pool:
        job = await pool.submit(fail)
    with pytest.raises(JobFailedError, match="no luck") as caught:
        job.result()
    assert isinstance(caught.value.__cause__, ValueError)


@both
async def test_result_raises_that_the_job_was_cancelled_or_discarded(opened: OpenPool) -> None:
    async with opened() as pool:
        discarded = await pool.submit(discard)
        cancelled = await pool.submit(nap, 3)
        cancelled.cancel()
    with pytest.raises(JobCancelledError, match="was cancelled"):
        cancelled.result()
    with pytest.raises(JobCancelledError, match="was discarded"):
        discarded.result()


# cancel


@both
async def test_a_running_job_can_be_cancelled(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        job = await pool.submit(nap, 3)
        await trio.sleep(1)
        job.cancel()
        await pool.join()
        assert job.state is JobState.CANCELLED
        assert trio.current_time() == 1


@both
async def test_a_queued_job_that_is_cancelled_has_ended_at_once(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.submit(nap, 3)
        job = await pool.submit(nap, 3)
        job.cancel()
        assert job.state is JobState.CANCELLED
    assert trio.current_time() == 3


@both
async def test_cancelling_an_ended_job_changes_nothing(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x")
        await pool.join()
        job.cancel()
        assert job.state is JobState.SUCCEEDED
    job.cancel()
    assert job.result() == "x"


# current_job


@both
async def test_a_job_can_look_at_itself(opened: OpenPool) -> None:
    async def look(*args: Any) -> tuple[int, JobState, Any]:
        job = current_job()
        return job.id, job.state, job.metadata["tenant"]

    async with opened() as pool:
        assert await pool.run(look, metadata={"tenant": 7}) == (1, JobState.RUNNING, 7)


@both
async def test_a_job_knows_itself_in_the_tasks_that_it_starts(opened: OpenPool) -> None:
    async def look(*args: Any) -> list[Job[Any]]:
        seen: list[Job[Any]] = []

        async def look_too() -> None:
            seen.append(current_job())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look_too)
        return seen

    async with opened() as pool:
        job = await pool.submit(look)
        assert await job.wait() == [job]
