"""Jobs and runs that are cancelled."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, is_stubborn, sleeps, sleeps_forever, state_of, sulks, works
from tests.patience import PATIENT
from trio_pool import (
    DeadReason,
    Discard,
    GiveUp,
    JobCancelledError,
    JobFailedError,
    JobState,
    RetryAfter,
    RetryPolicy,
    current_job,
    open_pool,
)

# job.cancel()


async def test_a_queued_job_ends_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        busy = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works)
        job.cancel()
        assert job.state is JobState.CANCELLED
        with pytest.raises(JobCancelledError):
            job.result()
    assert busy.state is JobState.SUCCEEDED


async def test_a_job_that_backs_off_ends_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT) as pool:
        job = await pool.submit(fails)
        await trio.sleep(1)
        assert state_of(job) is JobState.DELAYED
        job.cancel()
        assert state_of(job) is JobState.CANCELLED
    assert trio.current_time() == 1.0


async def test_a_running_job_is_cancelled_at_its_next_checkpoint(autojump_clock: MockClock) -> None:
    reached: list[str] = []

    async def cancels_itself(resource: str) -> None:
        current_job().cancel()
        reached.append("before the checkpoint")
        await trio.lowlevel.checkpoint()
        reached.append("after it")

    async with open_pool(["a"]) as pool:
        job = await pool.submit(cancels_itself)
    assert reached == ["before the checkpoint"]
    assert job.state is JobState.CANCELLED


async def test_a_running_job_is_still_running_until_its_function_has_ended(autojump_clock: MockClock) -> None:
    async def cleans_up(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    async with open_pool(["a"]) as pool:
        job = await pool.submit(cleans_up)
        await job.wait_started()
        await wait_all_tasks_blocked()
        job.cancel()
        assert state_of(job) is JobState.RUNNING
        with pytest.raises(JobCancelledError):
            await job.wait()
        assert trio.current_time() == 2.0
    assert job.state is JobState.CANCELLED


async def test_a_job_that_returns_a_value_anyway_has_succeeded(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(is_stubborn, 2.0)
        await wait_all_tasks_blocked()
        job.cancel()
        assert await job.wait() == "done all the same"
    assert job.state is JobState.SUCCEEDED


async def test_a_job_that_catches_its_cancellation_and_returns_has_succeeded(autojump_clock: MockClock) -> None:
    async def gives_what_it_has(resource: str) -> str:
        with trio.CancelScope() as scope:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                scope.cancel()
                raise
        return "half of it"

    async with open_pool(["a"]) as pool:
        job = await pool.submit(gives_what_it_has)
        await wait_all_tasks_blocked()
        job.cancel()
        with pytest.raises(JobCancelledError):
            await job.wait()  # its own scope has not caught the pool's cancellation
    assert job.state is JobState.CANCELLED


async def test_a_job_that_raises_an_error_of_its_own_is_dead(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT) as pool:
        job = await pool.submit(sulks)
        await wait_all_tasks_blocked()
        job.cancel()
        with pytest.raises(JobFailedError) as caught:
            await job.wait()
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    assert isinstance(caught.value.__cause__, OSError)
    assert job.attempt_count == 1


@pytest.mark.parametrize("control", [RetryAfter(1.0), RetryAfter(1.0, counts=False), RetryAfter(1.0, rest=True)])
async def test_a_job_that_wants_to_be_tried_again_after_its_cancellation_is_dead(
    autojump_clock: MockClock, control: RetryAfter
) -> None:
    async def asks_for_more(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise control

    async with open_pool(["a"], retry=PATIENT, on_dead="keep") as pool:
        job = await pool.submit(asks_for_more)
        await wait_all_tasks_blocked()
        job.cancel()
    assert job.state is JobState.DEAD
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    assert job.attempt_count == 1


async def test_a_job_that_asks_to_be_discarded_after_its_cancellation_is(autojump_clock: MockClock) -> None:
    async def is_modest(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Discard("not needed")

    async with open_pool(["a"]) as pool:
        job = await pool.submit(is_modest)
        await wait_all_tasks_blocked()
        job.cancel()
    assert job.state is JobState.DISCARDED


async def test_a_job_that_gives_up_after_its_cancellation_has_given_up(autojump_clock: MockClock) -> None:
    async def gives_up(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise GiveUp("enough")

    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(gives_up)
        await wait_all_tasks_blocked()
        job.cancel()
    assert job.state is JobState.DEAD


async def test_after_cancel_no_further_attempt_starts(autojump_clock: MockClock) -> None:
    calls: list[float] = []

    async def is_cancelled_and_fails(resource: str) -> None:
        calls.append(trio.current_time())
        current_job().cancel()
        raise ValueError

    immediately = RetryPolicy.immediate(max_attempts=None)
    async with open_pool(["a"], retry=immediately, on_dead="keep") as pool:
        job = await pool.submit(is_cancelled_and_fails)
    assert calls == [0.0]
    assert job.dead_reason is DeadReason.NOT_RETRYABLE


async def test_a_worker_goes_on_after_a_cancelled_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        job.cancel()
        assert await pool.run(works) == "done"


async def test_the_cancellation_of_one_job_does_not_touch_the_next_on_its_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        stubborn = await pool.submit(is_stubborn, 1.0)
        following = await pool.submit(sleeps, 3.0)
        await wait_all_tasks_blocked()
        stubborn.cancel()
    assert stubborn.state is JobState.SUCCEEDED
    assert following.state is JobState.SUCCEEDED
    assert following.finished_at == 4.0


# A cancelled run.


async def test_a_cancelled_run_returns_only_when_its_function_no_longer_runs(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def cleans_up(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(4)
            ended.append(trio.current_time())

    async with open_pool(["a"]) as pool:
        with trio.move_on_after(1) as scope:
            await pool.run(cleans_up)
        assert ended == [trio.current_time()] == [5.0]
    assert scope.cancelled_caught


async def test_a_cancelled_run_whose_job_died_raises_its_error(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.move_on_after(1) as scope, pytest.raises(JobFailedError) as caught:
            await pool.run(sulks)
    assert isinstance(caught.value.__cause__, OSError)
    assert not scope.cancelled_caught


async def test_a_cancelled_run_whose_job_succeeded_all_the_same_returns_its_result(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.move_on_after(1) as scope:
            result = await pool.run(is_stubborn, 2.0)
    assert result == "done all the same"
    assert not scope.cancelled_caught


async def test_a_run_that_is_cancelled_before_it_has_a_place_leaves_no_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        busy = await pool.submit(sleeps, 3.0)
        with trio.move_on_after(1) as scope:
            await pool.run(works)
        assert list(pool.jobs()) == [busy]
    assert scope.cancelled_caught
