"""What a job tells: of itself, its states, and why it has no result."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.openers import OpenPool, both
from tests.pool.jobs.outcomes import discard, echo, fail, nap
from trio_pool import (
    DeadReason,
    GiveUp,
    Job,
    JobState,
    NoEligibleWorkerError,
    RetryPolicy,
    current_job,
    open_pool,
)

# What a job tells


@both
async def test_jobs_are_numbered_from_1(opened: OpenPool) -> None:
    async with opened() as pool:
        jobs = [await pool.submit(echo, "x") for _ in range(3)]
    assert [job.id for job in jobs] == [1, 2, 3]


@both
async def test_a_job_tells_its_function_and_arguments(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x", "y")
    assert job.fn is echo
    assert job.args == ("x", "y")


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        pytest.param(echo, "echo", id="function"),
        pytest.param(partial(echo, "x"), "echo", id="partial"),
        pytest.param(partial(partial(echo, "x"), "y"), "echo", id="partial of partial"),
    ],
)
async def test_a_job_is_called_like_its_function(fn: Any, name: str) -> None:
    async with open_pool(1) as pool:
        job: Job[Any] = await pool.submit(fn, "z")
    assert job.name == name


async def test_a_job_of_a_callable_object_is_called_like_its_class() -> None:
    class Fetcher:
        async def __call__(self) -> str:
            return "x"

    async with open_pool(1) as pool:
        job = await pool.submit(Fetcher())
    assert job.name.endswith("Fetcher")
    assert job.result() == "x"


async def test_a_job_of_a_method_is_called_like_the_method() -> None:
    class Api:
        async def fetch(self) -> str:
            return "x"

    async with open_pool([Api()]) as pool:
        job = await pool.submit(Api.fetch)
    assert job.name.endswith("Api.fetch")


@both
async def test_a_job_tells_the_worker_that_runs_it_now(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        running = await pool.submit(nap, 3)
        queued = await pool.submit(echo, "x")
        assert running.worker is worker
        assert queued.worker is None
        await running.wait()
        assert running.worker is None


@both
async def test_a_job_tells_when_it_was_submitted_and_when_it_ended(opened: OpenPool, autojump_clock: MockClock) -> None:
    await trio.sleep(2)
    async with opened() as pool:
        job = await pool.submit(nap, 3)
        assert (job.submitted_at, job.finished_at) == (2, None)
    assert (job.submitted_at, job.finished_at) == (2, 5)


@both
async def test_a_job_was_submitted_when_submit_was_called(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(max_queue=0) as pool:
        await pool.submit(nap, 3)
        job = await pool.submit(nap, 3)
        assert trio.current_time() == 3
        assert job.submitted_at == 0


@both
async def test_the_deadline_is_absolute(opened: OpenPool, autojump_clock: MockClock) -> None:
    await trio.sleep(2)
    async with opened() as pool:
        job = await pool.submit(nap, 3, total_timeout=10)
    assert job.deadline == 12


@both
async def test_a_job_without_a_timeout_has_an_infinite_deadline(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x", total_timeout=None)
    assert job.deadline == float("inf")


READ_ONLY = [
    "id",
    "name",
    "fn",
    "args",
    "state",
    "attempts",
    "attempt_count",
    "worker",
    "metadata",
    "progress",
    "group",
    "priority",
    "submitted_at",
    "deadline",
    "finished_at",
    "history",
    "dead_reason",
    "reason",
]


@pytest.mark.parametrize("attribute", READ_ONLY)
async def test_what_a_job_tells_is_read_only(attribute: str) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(echo, "x")
    with pytest.raises(AttributeError):
        setattr(job, attribute, getattr(job, attribute))


async def test_the_metadata_of_a_job_is_a_copy_that_its_function_may_change() -> None:
    given = {"tenant": 7}

    async def work() -> None:
        current_job().metadata["seen"] = True

    async with open_pool(1) as pool:
        job = await pool.submit(work, metadata=given)
        given["tenant"] = 8
        await job.wait()
    assert job.metadata == {"tenant": 7, "seen": True}
    assert given == {"tenant": 8}


async def test_each_job_has_metadata_of_its_own() -> None:
    async def work(number: int) -> None:
        current_job().metadata["number"] = number

    async with open_pool(1) as pool:
        async with pool.as_completed(work, [1, 2], metadata={"kind": "page"}) as stream:
            jobs = [job async for job in stream]
        without = [await pool.submit(work, number) for number in (3, 4)]
        await pool.join()
    assert [job.metadata for job in jobs] == [{"kind": "page", "number": 1}, {"kind": "page", "number": 2}]
    assert [job.metadata for job in without] == [{"number": 3}, {"number": 4}]


async def test_a_requeued_job_begins_with_the_metadata_that_the_dead_one_was_left_with() -> None:
    async def work() -> None:
        job = current_job()
        job.metadata["tries"] = job.metadata.get("tries", 0) + 1
        raise ValueError("no luck")

    async with open_pool(1, on_dead="keep") as pool:
        dead = await pool.submit(work)
        await pool.join()
        again = pool.dead.requeue(dead)
        await pool.join()
        fresh = pool.dead.requeue(again, metadata={})
    assert [job.metadata for job in (dead, again, fresh)] == [{"tries": 1}, {"tries": 2}, {"tries": 1}]


async def test_a_job_shows_what_a_reader_needs(autojump_clock: MockClock) -> None:
    async with open_pool(1, on_dead="keep") as pool:
        running = await pool.submit(nap, 3)
        assert repr(running) == "<trio_pool.Job 1 nap(3), running on worker-1, 0 attempts>"
        dead = await pool.submit(fail)
    assert repr(running) == "<trio_pool.Job 1 nap(3), succeeded, 1 attempt>"
    assert repr(dead) == "<trio_pool.Job 2 fail, dead, 1 attempt: no attempts left; last error: ValueError: no luck>"


# States


@both
async def test_a_job_that_succeeds_was_queued_and_running(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.submit(nap, 3)
        job = await pool.submit(nap, 3)
        seen = [job.state]
        await job.wait_started()
        seen.append(job.state)
        await job.wait()
        seen.append(job.state)
    assert seen == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]


@both
async def test_a_job_that_backs_off_is_delayed(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(on_dead="keep") as pool:
        job = await pool.submit(fail, retry=RetryPolicy.fixed(5, max_attempts=2))
        await trio.sleep(1)
        assert job.state is JobState.DELAYED
    assert [entry.state for entry in job.history] == [
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.DELAYED,
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.DEAD,
    ]


@both
async def test_a_job_that_is_retried_at_once_is_queued_again(opened: OpenPool) -> None:
    async with opened(on_dead="keep") as pool:
        job = await pool.submit(fail, retry=RetryPolicy.immediate(max_attempts=2))
    assert [entry.state for entry in job.history] == [
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.DEAD,
    ]


def test_the_last_four_states_are_final() -> None:
    assert [state.name for state in JobState] == [
        "BLOCKED",
        "QUEUED",
        "RUNNING",
        "DELAYED",
        "SUCCEEDED",
        "DEAD",
        "CANCELLED",
        "DISCARDED",
    ]
    assert [state for state in JobState if state.is_final] == list(JobState)[-4:]


# Why a job has no result


@both
async def test_a_job_that_used_up_its_attempts_says_so(opened: OpenPool) -> None:
    async with opened(on_dead="keep", retry=RetryPolicy.immediate(max_attempts=2)) as pool:
        job = await pool.submit(fail)
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED
    assert job.reason == "no attempts left"


@both
async def test_a_job_whose_error_is_not_retried_says_so(opened: OpenPool) -> None:
    async with opened(on_dead="keep", retry=RetryPolicy(retry_on=OSError)) as pool:
        job = await pool.submit(fail)
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    assert job.reason == "not retryable: ValueError: no luck"


@both
async def test_a_job_that_gave_up_says_why(opened: OpenPool) -> None:
    async def give_up(*args: Any) -> None:
        raise GiveUp("the account is closed")

    async with opened(on_dead="keep") as pool:
        job = await pool.submit(give_up)
    assert job.dead_reason is DeadReason.GAVE_UP
    assert "the account is closed" in job.reason


@both
async def test_a_job_whose_time_was_up_says_so(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(on_dead="keep") as pool:
        job = await pool.submit(nap, 3, total_timeout=1)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job.reason == "its total timeout passed"


@both
async def test_a_job_that_nobody_may_take_says_so(opened: OpenPool) -> None:
    async with opened(on_dead="keep", no_worker="bury") as pool:
        job = await pool.submit(echo, "x", requires=["gpu"])
    assert job.dead_reason is DeadReason.NO_WORKER
    assert job.reason == "no worker of the pool can run it"


@both
async def test_a_discarded_job_says_why_and_has_no_dead_reason(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(discard)
    assert job.dead_reason is None
    assert job.reason == "nobody wants it"


@both
async def test_a_job_that_succeeded_has_no_reason(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x")
    assert (job.dead_reason, job.reason) == (None, "")


@both
async def test_a_job_that_is_turned_away_never_was_in_the_pool(opened: OpenPool) -> None:
    async with opened() as pool:
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(echo, "x", requires=["gpu"])
    assert pool.statistics().submitted == 0
