"""4.4: the timeout of an attempt, and that of a job's whole life."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import fails, is_stubborn, sleeps, sleeps_forever, sulks, works
from tests.patience import PATIENT
from trio_pool import (
    AttemptTimeoutError,
    DeadReason,
    Job,
    JobFailedError,
    JobState,
    JobTimeoutError,
    RetryAfter,
    RetryPolicy,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

PROMPT = RetryPolicy.immediate(max_attempts=3)


# attempt_timeout


async def test_an_attempt_is_cancelled_when_its_timeout_has_passed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(sleeps_forever, attempt_timeout=3)
    assert trio.current_time() == 3.0
    assert isinstance(caught.value.__cause__, AttemptTimeoutError)
    assert isinstance(caught.value.__cause__, trio.TooSlowError)


async def test_a_late_attempt_is_a_failure_that_counts_and_is_kept(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], attempt_timeout=3, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever)
    (attempt,) = job.attempts
    assert isinstance(attempt.error, AttemptTimeoutError)
    assert (attempt.started_at, attempt.ended_at) == (0.0, 3.0)
    assert job.attempt_count == 1
    assert (pool.statistics().attempts, pool.statistics().failures) == (1, 1)


async def test_the_retry_policy_decides_about_a_late_attempt(autojump_clock: MockClock) -> None:
    calls: list[float] = []

    async def is_late_once(resource: str) -> str:
        calls.append(trio.current_time())
        await trio.sleep(10 if len(calls) == 1 else 1)
        return "done"

    async with open_pool(["a"], attempt_timeout=3, retry=PATIENT) as pool:
        assert await pool.run(is_late_once) == "done"
    assert calls == [0.0, 8.0]


async def test_a_policy_can_refuse_late_attempts(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(retry_on=lambda error: not isinstance(error, AttemptTimeoutError))
    async with open_pool(["a"], attempt_timeout=3, retry=policy, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever)
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    assert job.attempt_count == 1


async def test_on_failure_is_asked_about_a_late_attempt(autojump_clock: MockClock) -> None:
    asked: list[type[Exception]] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append(type(error))

    async with open_pool(["a"], attempt_timeout=3, on_failure=on_failure, on_dead="keep") as pool:
        await pool.submit(sleeps_forever)
    assert asked == [AttemptTimeoutError]


async def test_each_attempt_has_the_whole_timeout(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], attempt_timeout=3, retry=PROMPT, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever)
    assert [attempt.ended_at for attempt in job.attempts] == [3.0, 6.0, 9.0]


async def test_waiting_in_the_queue_takes_nothing_from_an_attempts_timeout(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], attempt_timeout=3) as pool:
        for _ in range(3):
            await pool.submit(sleeps, 2.0)
    assert pool.statistics().succeeded == 3


async def test_the_timeout_of_a_job_goes_before_that_of_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], attempt_timeout=3) as pool:
        assert await pool.run(sleeps, 5.0, attempt_timeout=10) == 5.0
        assert await pool.run(sleeps, 5.0, attempt_timeout=math.inf) == 5.0


async def test_the_timeout_of_one_attempt_does_not_touch_the_next_job_on_the_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        await pool.submit(sleeps, 1.0, attempt_timeout=3)
        long = await pool.submit(sleeps, 10.0)
        await pool.submit(sleeps_forever, attempt_timeout=2)
        longer = await pool.submit(sleeps, 20.0)
    assert (long.state, longer.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)


async def test_a_timeout_of_zero_still_lets_a_function_run_to_its_first_checkpoint(autojump_clock: MockClock) -> None:
    reached: list[str] = []

    async def runs_on(resource: str) -> None:
        reached.append("before the checkpoint")
        await trio.lowlevel.checkpoint()
        reached.append("after it")

    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(runs_on, attempt_timeout=0)
    assert reached == ["before the checkpoint"]
    assert job.state is JobState.DEAD


# total_timeout


async def test_a_running_job_is_dead_when_its_total_timeout_has_passed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PROMPT) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(sleeps_forever, total_timeout=3)
    job = caught.value.job
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert isinstance(caught.value.__cause__, JobTimeoutError)
    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert job.finished_at == 3.0


async def test_an_attempt_ended_by_the_total_timeout_is_counted_and_kept(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PROMPT, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever, total_timeout=3)
    (attempt,) = job.attempts
    assert isinstance(attempt.error, JobTimeoutError)
    assert job.attempt_count == 1


async def test_a_queued_job_is_dead_at_once_when_its_total_timeout_has_passed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        await pool.submit(sleeps, 10.0)
        job = await pool.submit(works, total_timeout=3)
        with pytest.raises(JobFailedError) as caught:
            await job.wait()
        assert trio.current_time() == 3.0
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job.attempt_count == 0
    assert isinstance(caught.value.__cause__, JobTimeoutError)


async def test_a_job_queued_for_a_retry_is_dead_at_once_when_its_total_timeout_has_passed(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], retry=PATIENT, on_dead="keep") as pool:
        job = await pool.submit(fails, total_timeout=7)
        await pool.submit(sleeps, 20.0)
        await pool.join()
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job.finished_at == 7.0


async def test_waiting_for_a_place_counts_towards_the_total_timeout(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 2.0)
        job = await pool.submit(sleeps, 10.0, total_timeout=5)
        assert trio.current_time() == 2.0
        assert (job.submitted_at, job.deadline) == (0.0, 5.0)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job.finished_at == 5.0


async def test_a_job_whose_time_is_up_while_it_waits_for_a_place_is_returned_dead(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 10.0)
        job = await pool.submit(works, total_timeout=3)
        assert trio.current_time() == 3.0
        assert job.state is JobState.DEAD
        assert job.dead_reason is DeadReason.TIMED_OUT
        assert pool.statistics().submitters_waiting == 0
    assert pool.statistics().submitted == 2


async def test_the_total_timeout_covers_all_attempts_together(autojump_clock: MockClock) -> None:
    policy = RetryPolicy.immediate(max_attempts=None)

    async def fails_after_two(resource: str) -> None:
        await trio.sleep(2)
        raise ValueError

    async with open_pool(["a"], retry=policy, on_dead="keep") as pool:
        job = await pool.submit(fails_after_two, total_timeout=5)
    assert [attempt.ended_at for attempt in job.attempts] == [2.0, 4.0, 5.0]
    assert job.dead_reason is DeadReason.TIMED_OUT


async def test_a_retry_that_could_only_start_too_late_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails, total_timeout=4)
    job = caught.value.job
    assert job.finished_at == 0.0
    assert job.dead_reason is DeadReason.TIMED_OUT
    timeout = caught.value.__cause__
    assert isinstance(timeout, JobTimeoutError)
    assert isinstance(timeout.__cause__, ValueError)


async def test_a_retry_after_that_could_only_start_too_late_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def asks_for_time(resource: str) -> None:
        raise RetryAfter(100)

    async with open_pool(["a"], retry=PATIENT, on_dead="keep") as pool:
        job = await pool.submit(asks_for_time, total_timeout=4)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job.finished_at == 0.0


async def test_a_retry_that_would_start_at_the_very_end_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT, on_dead="keep") as pool:
        job = await pool.submit(fails, total_timeout=5)
    assert job.finished_at == 0.0
    assert job.dead_reason is DeadReason.TIMED_OUT


async def test_in_a_tie_with_the_attempts_timeout_the_total_timeout_wins(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PROMPT, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever, attempt_timeout=3, total_timeout=3)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job.attempt_count == 1


async def test_in_a_tie_with_a_free_worker_the_total_timeout_wins(autojump_clock: MockClock) -> None:
    began: list[str] = []

    async def begins(resource: str) -> None:
        began.append(resource)

    async with open_pool(["a"], on_dead="keep") as pool:
        await pool.submit(sleeps, 3.0)
        job = await pool.submit(begins, total_timeout=3)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert began == []


async def test_in_a_tie_with_a_free_place_the_total_timeout_wins(autojump_clock: MockClock) -> None:
    began: list[str] = []

    async def begins(resource: str) -> None:
        began.append(resource)

    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 3.0)
        job = await pool.submit(begins, total_timeout=3)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert began == []


async def test_a_total_timeout_of_zero_is_over_at_once(autojump_clock: MockClock) -> None:
    began: list[str] = []

    async def begins(resource: str) -> None:
        began.append(resource)

    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(begins, total_timeout=0)
        assert job.dead_reason is DeadReason.TIMED_OUT
    assert began == []


async def test_a_cancellation_after_the_time_is_up_leaves_the_job_dead(autojump_clock: MockClock) -> None:
    """The function takes its time to end; what ended it came first."""

    async def is_slow_to_end(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(is_slow_to_end, total_timeout=3)
        await trio.sleep(4)
        job.cancel()
    assert job.dead_reason is DeadReason.TIMED_OUT


async def test_a_job_evicted_from_its_worker_is_dead_if_its_time_is_up_before_it_has_ended(
    autojump_clock: MockClock,
) -> None:
    async def is_slow_to_end(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(is_slow_to_end, total_timeout=3)
        await trio.sleep(2)
        await pool.workers[0].remove(cancel=True)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job.finished_at == 4.0


# Both.


async def test_a_function_can_see_how_long_its_attempt_may_take(autojump_clock: MockClock) -> None:
    async def looks(resource: str) -> float:
        return trio.current_effective_deadline()

    async with open_pool(["a"]) as pool:
        await trio.sleep(1)
        assert await pool.run(looks, attempt_timeout=5) == 6.0
        assert await pool.run(looks, total_timeout=7) == 8.0
        assert await pool.run(looks, attempt_timeout=5, total_timeout=7) == 6.0
        assert await pool.run(looks, attempt_timeout=7, total_timeout=5) == 6.0
        assert await pool.run(looks) == math.inf


async def test_a_scope_around_the_block_shows_in_no_jobs_deadline(autojump_clock: MockClock) -> None:
    """The pool answers to it, and cancels its jobs itself then."""

    async def looks(resource: str) -> float:
        return trio.current_effective_deadline()

    with trio.fail_after(100):
        async with open_pool(["a"]) as pool:
            assert await pool.run(looks) == math.inf


@pytest.mark.parametrize("which", ["attempt_timeout", "total_timeout"])
async def test_a_value_returned_in_spite_of_a_late_cancellation_is_a_success(
    autojump_clock: MockClock, which: str
) -> None:
    async with open_pool(["a"]) as pool:
        if which == "attempt_timeout":
            job = await pool.submit(is_stubborn, 5.0, attempt_timeout=3)
        else:
            job = await pool.submit(is_stubborn, 5.0, total_timeout=3)
        assert await job.wait() == "done all the same"
    assert job.finished_at == 5.0


async def test_an_error_of_its_own_in_the_moment_of_the_attempts_timeout_is_the_failure(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], retry=PATIENT, on_dead="keep") as pool:
        job = await pool.submit(sulks, attempt_timeout=1)
    assert [type(attempt.error) for attempt in job.attempts] == [OSError] * 3
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_an_error_of_its_own_in_the_moment_of_the_total_timeout_is_the_failure(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(sulks, total_timeout=1)
    (attempt,) = job.attempts
    assert isinstance(attempt.error, OSError)
    assert job.state is JobState.DEAD


async def test_after_the_total_timeout_an_error_of_its_own_is_not_retried(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PROMPT, on_dead="keep") as pool:
        job = await pool.submit(sulks, total_timeout=1)
    assert job.attempt_count == 1
    assert job.dead_reason is DeadReason.TIMED_OUT


async def test_a_too_slow_error_of_the_functions_own_is_an_ordinary_failure(autojump_clock: MockClock) -> None:
    calls: list[float] = []

    async def is_impatient(resource: str) -> str:
        calls.append(trio.current_time())
        if len(calls) == 1:
            with trio.fail_after(2):
                await trio.sleep_forever()
        return "done"

    async with open_pool(["a"], attempt_timeout=100, retry=PATIENT) as pool:
        job = await pool.submit(is_impatient)
        assert await job.wait() == "done"
    assert calls == [0.0, 7.0]
    assert type(job.attempts[0].error) is trio.TooSlowError


async def test_the_functions_own_timeout_at_the_instant_of_the_pools_is_told_apart(autojump_clock: MockClock) -> None:
    """Both scopes fire at once; the pool's is the outer one, so the attempt timed out."""

    async def is_as_patient(resource: str) -> None:
        with trio.fail_after(3):
            await trio.sleep_forever()

    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(is_as_patient, attempt_timeout=3)
    (attempt,) = job.attempts
    assert isinstance(attempt.error, AttemptTimeoutError)


async def test_timeouts_of_waiting_jobs_cost_nothing_once_the_jobs_have_ended(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], total_timeout=1000) as pool:
        for _ in range(3):
            await pool.run(works)
        await pool.join()
    assert trio.current_time() == 0.0
