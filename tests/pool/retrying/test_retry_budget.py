"""3.7: a budget of retries: how many there may be, and what becomes of jobs past it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import fails, is_stubborn, sleeps_forever, works
from tests.openers import OpenPool, both
from trio_pool import (
    DeadReason,
    GiveUp,
    Job,
    JobFailedError,
    JobState,
    RateLimit,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from trio.testing import MockClock

NONE_AT_ALL = RetryBudget(ratio=0.0, minimum=0)
TWO_FREE = RetryBudget(ratio=0.0, minimum=2, window=60.0)
OFTEN = RetryPolicy.fixed(1.0, max_attempts=10)


async def fail(*args: Any) -> None:
    raise ValueError(current_job().attempt_count)


@both
async def test_past_the_budget_a_failed_job_is_dead_with_its_last_error(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened(1, retry=OFTEN, retry_budget=TWO_FREE) as pool:
        with pytest.raises(JobFailedError, match="retried too much") as caught:
            await pool.run(fail)
    job = caught.value.job
    assert (job.dead_reason, job.attempt_count) == (DeadReason.BUDGET_EXHAUSTED, 3)
    assert caught.value.__cause__ is job.attempts[-1].error
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.args == (2,)


async def test_a_job_past_the_budget_is_among_the_dead_letters_and_can_be_queued_anew(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], retry=OFTEN, retry_budget=NONE_AT_ALL) as pool:
        job = await pool.submit(Flaky(1, result="done"))
        await pool.join()
        assert list(pool.dead) == [job]
        assert await pool.dead.requeue(job).wait() == "done"


async def test_the_budget_is_that_of_the_whole_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry=OFTEN, retry_budget=TWO_FREE, on_dead="keep") as pool:
        jobs = [await pool.submit(fails) for _ in range(4)]
    assert sorted(job.attempt_count for job in jobs) == [1, 1, 2, 2]
    assert {job.dead_reason for job in jobs} == {DeadReason.BUDGET_EXHAUSTED}
    assert pool.statistics().retries == 2


async def test_each_pool_has_a_budget_of_its_own_even_if_it_was_given_the_same(autojump_clock: MockClock) -> None:
    for _ in range(2):
        async with open_pool(["a"], retry=OFTEN, retry_budget=TWO_FREE, on_dead="keep") as pool:
            job = await pool.submit(fails)
        assert job.attempt_count == 3


@pytest.mark.parametrize(("good", "attempts"), [(0, 1), (8, 1), (9, 2), (17, 2), (18, 3)])
async def test_retries_may_be_a_share_of_the_attempts(good: int, attempts: int, autojump_clock: MockClock) -> None:
    """With those of the job that is retried among them."""
    budget = RetryBudget(ratio=0.1, minimum=0)
    async with open_pool(["a"], retry=OFTEN, retry_budget=budget, on_dead="keep") as pool:
        for _ in range(good):
            await pool.run(works)
        job = await pool.submit(fails)
    assert job.attempt_count == attempts


async def test_the_free_ones_are_no_addition_to_the_share(autojump_clock: MockClock) -> None:
    budget = RetryBudget(ratio=0.5, minimum=2)
    async with open_pool(["a"], retry=OFTEN, retry_budget=budget, on_dead="keep") as pool:
        job = await pool.submit(fails)
    # After the third attempt a third retry would be more than half of the attempts.
    assert job.attempt_count == 3


async def test_a_share_of_one_allows_every_retry(autojump_clock: MockClock) -> None:
    budget = RetryBudget(ratio=1.0, minimum=0)
    async with open_pool(["a"], retry=OFTEN, retry_budget=budget, on_dead="keep") as pool:
        job = await pool.submit(fails)
    assert (job.dead_reason, job.attempt_count) == (DeadReason.ATTEMPTS_EXHAUSTED, 10)


async def test_retries_count_for_as_long_as_the_window(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=OFTEN, retry_budget=TWO_FREE, on_dead="keep") as pool:
        jobs: list[Job[None]] = []
        for pause in (0.0, 50.0, 15.0):
            await trio.sleep(pause)
            jobs.append(await pool.submit(fails))
            await pool.join()
    assert [job.attempt_count for job in jobs] == [3, 1, 3]


async def test_attempts_count_for_as_long_as_the_window(autojump_clock: MockClock) -> None:
    budget = RetryBudget(ratio=0.5, minimum=0, window=60.0)
    async with open_pool(["a"], retry=OFTEN, retry_budget=budget, on_dead="keep") as pool:
        for _ in range(10):
            await pool.run(works)
        await trio.sleep(70)
        job = await pool.submit(fails)
    assert job.attempt_count == 1


@pytest.mark.parametrize("policy", [RetryPolicy.immediate(), RetryPolicy.fixed(1.0, placement="other")])
async def test_it_holds_for_every_policy(policy: RetryPolicy, autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry_budget=NONE_AT_ALL, on_dead="keep") as pool:
        job = await pool.submit(fails, retry=policy)
    assert (job.dead_reason, job.attempt_count) == (DeadReason.BUDGET_EXHAUSTED, 1)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("rest", [True, False])
async def test_a_function_that_asks_to_be_retried_is_held_to_it_too(
    rest: bool, counts: bool, autojump_clock: MockClock
) -> None:
    error = RetryAfter(1.0, rest=rest, counts=counts)

    async def asks(resource: str) -> None:
        raise error

    async with open_pool(["a"], retry=OFTEN, retry_budget=TWO_FREE, on_dead="keep") as pool:
        job = await pool.submit(asks)
    assert (job.dead_reason, job.attempt_count) == (DeadReason.BUDGET_EXHAUSTED, 3)


async def test_attempt_timeouts_are_retried_within_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=OFTEN, retry_budget=TWO_FREE, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever, attempt_timeout=1.0)
    assert (job.dead_reason, job.attempt_count) == (DeadReason.BUDGET_EXHAUSTED, 3)


async def test_an_attempt_repeated_because_its_worker_left_is_no_retry(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry_budget=NONE_AT_ALL) as pool:
        job = await pool.submit(is_stubborn, 5.0)
        evicted = await pool.submit(sleeps_forever)
        await trio.sleep(1)
        await pool.workers[1].remove(cancel=True)
        await trio.sleep(5)
        assert (job.state, evicted.state) == (JobState.SUCCEEDED, JobState.RUNNING)
        evicted.cancel()


async def gives_up(resource: str) -> None:
    raise GiveUp


@pytest.mark.parametrize(
    ("fn", "options", "reason"),
    [
        (fails, {"retry": RetryPolicy.never()}, DeadReason.ATTEMPTS_EXHAUSTED),
        (fails, {"retry": RetryPolicy(retry_on=OSError)}, DeadReason.NOT_RETRYABLE),
        (fails, {"total_timeout": 0.5}, DeadReason.TIMED_OUT),
        (gives_up, {}, DeadReason.GAVE_UP),
    ],
)
async def test_a_job_that_would_not_be_retried_anyway_is_dead_of_that_and_costs_nothing(
    fn: Any, options: dict[str, Any], reason: DeadReason, autojump_clock: MockClock
) -> None:
    budget = RetryBudget(ratio=0.0, minimum=1)
    async with open_pool(["a"], retry=OFTEN, retry_budget=budget, on_dead="keep") as pool:
        job: Job[Any] = await pool.submit(fn, **options)
        await pool.join()
        assert job.dead_reason is reason
        assert await pool.run(Flaky(1, result="done")) == "done"


async def test_a_retry_that_a_limit_holds_up_is_paid_for_when_it_is_granted(autojump_clock: MockClock) -> None:
    """A job that is cancelled before its retry has started gives nothing back."""
    budget = RetryBudget(ratio=0.0, minimum=1, window=60.0)
    limit = RateLimit(1, per=10.0)
    async with open_pool(["a"], retry=OFTEN, retry_budget=budget, rate_limit=limit, on_dead="keep") as pool:
        first = await pool.submit(fails)
        await trio.sleep(5)
        first.cancel()
        second = await pool.submit(fails)
    assert (first.state, second.dead_reason, second.finished_at) == (
        JobState.CANCELLED,
        DeadReason.BUDGET_EXHAUSTED,
        10.0,
    )
