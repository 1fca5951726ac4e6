"""To the retry policy a deadlock is an error like any other: it may be gone when the job is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.actors import sleeps
from trio_pool import JobDeadlockError, JobFailedError, RetryPolicy, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_pool import Pool


async def parent(resource: str, pool: Pool[str]) -> float:
    return await pool.run(sleeps, 1)


async def test_a_job_that_is_tried_again_when_the_others_have_ended_succeeds(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(5)) as pool:
        parents = [pool.submit_nowait(parent, pool) for _ in range(2)]
    assert [job.result() for job in parents] == [1, 1]
    assert sorted(job.attempt_count for job in parents) == [1, 2]


async def test_one_that_waits_in_vain_each_time_is_dead_when_it_has_no_attempts_left(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(5)) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(parent, pool)
    assert isinstance(caught.value.__cause__, JobDeadlockError)
    assert caught.value.job.attempt_count == 3


async def test_a_policy_can_refuse_it(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(retry_on=lambda error: not isinstance(error, JobDeadlockError))
    async with open_pool(["a"], retry=policy) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(parent, pool)
    assert caught.value.job.attempt_count == 1
