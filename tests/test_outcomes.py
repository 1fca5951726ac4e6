"""How an attempt ended is said alike by all who say it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps_forever, works
from tests.watchers import Watchers
from trio_pool import Job, JobCancelledError, JobState, Pool, Resource, RetryPolicy, open_pool

A = [Resource("a", name="A"), Resource("b", name="B")]
TWICE = RetryPolicy.fixed(1, max_attempts=2)


async def waits_for(resource: object, other: Job[Any]) -> None:
    await other.wait()


async def cancelled_job(pool: Pool[Any]) -> Job[Any]:
    """A job that was cancelled while it waited in the queue, so that none of its attempts is told of."""
    last = pool.workers[-1]
    last.pause()
    job: Job[Any] = await pool.submit(works, worker=last, name="other")
    job.cancel()
    return job


def outcomes(watchers: Watchers, pool: Pool[Any], name: str) -> dict[str, object]:
    """How the attempts of the job of this name have ended, as each watcher says."""
    kinds = ("succeeded", "failed", "cut_short")
    records = [(kind, record) for kind in kinds for record in watchers.records(f"attempt_{kind}")]
    of_job = [record for record in records if vars(record[1])["job_name"] == name]
    spans = [span.attributes or {} for span in watchers.spans(f"attempt {name}")]
    return {
        "log": [kind for kind, _ in sorted(of_job, key=lambda each: int(vars(each[1])["attempt_number"]))],
        "timeline": [each.args["outcome"] for each in watchers.attempts() if each.args["name"].startswith(name)],
        "spans": [attributes["trio_pool.attempt.outcome"] for attributes in spans],
        "live": sum(f" {name}" in line for line in watchers.live(pool)),
        "statistics": pool.statistics().failures,
    }


async def test_another_jobs_cancellation_is_a_failure_like_any_other(autojump_clock: MockClock) -> None:
    watchers = Watchers()
    async with open_pool(A, instruments=watchers.instruments, retry=TWICE, on_dead="keep") as pool:
        watchers.watch(pool)
        other = await cancelled_job(pool)
        job = await pool.submit(waits_for, other)
        await pool.join()
        assert outcomes(watchers, pool, "waits_for") == {
            "log": ["failed", "failed"],
            "timeline": ["failed", "dead"],
            "spans": ["failed", "failed"],
            "live": 2,
            "statistics": 2,
        }
        pool.dead.pop(job)


async def test_a_cancellation_of_its_own_is_none(autojump_clock: MockClock) -> None:
    watchers = Watchers()
    async with open_pool(A, instruments=watchers.instruments) as pool:
        watchers.watch(pool)
        job = await pool.submit(sleeps_forever)
        await job.wait_started()
        job.cancel()
        await pool.join()
        assert outcomes(watchers, pool, "sleeps_forever") == {
            "log": ["cut_short"],
            "timeline": ["cut short"],
            "spans": ["cut_short"],
            "live": 0,
            "statistics": 0,
        }


async def test_an_attempt_that_its_worker_was_taken_from_is_cut_short(autojump_clock: MockClock) -> None:
    watchers = Watchers()

    async def sleeps_at_first(resource: str) -> None:
        await trio.sleep(9 if resource == "a" else 0)

    async with open_pool(A, instruments=watchers.instruments) as pool:
        watchers.watch(pool)
        await pool.submit(sleeps_at_first, name="sleeps")
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
        await pool.join()
    assert sorted(each.args["outcome"] for each in watchers.attempts()) == ["cut short", "succeeded"]
    assert len(watchers.records("attempt_cut_short")) == 1


@pytest.mark.parametrize("option", ["attempt_timeout", "total_timeout"])
async def test_a_timeout_is_a_failure(option: str, autojump_clock: MockClock) -> None:
    watchers = Watchers()
    options: dict[str, Any] = {option: 1}
    async with open_pool(A, instruments=watchers.instruments, on_dead="keep") as pool:
        watchers.watch(pool)
        job = await pool.submit(sleeps_forever, **options)
        await pool.join()
        assert outcomes(watchers, pool, "sleeps_forever") == {
            "log": ["failed"],
            "timeline": ["dead"],
            "spans": ["failed"],
            "live": 1,
            "statistics": 1,
        }
        pool.dead.pop(job)


async def test_a_job_that_raises_its_own_former_cancellation_has_failed(autojump_clock: MockClock) -> None:
    """Of a job that had ended: what it says is not how an attempt ended."""
    watchers = Watchers()
    errors: list[JobCancelledError] = []

    async def raises(resource: object) -> None:
        raise errors[0]

    async with open_pool(A, instruments=watchers.instruments, on_dead="keep") as pool:
        watchers.watch(pool)
        first = await cancelled_job(pool)
        with pytest.raises(JobCancelledError) as caught:
            await first.wait()
        errors.append(caught.value)
        job = await pool.submit(raises)
        await pool.join()
        assert job.state is JobState.DEAD
        assert len(watchers.records("attempt_failed")) == 1
        pool.dead.pop(job)


async def test_what_made_a_job_dead_is_marked_whatever_it_was(autojump_clock: MockClock) -> None:
    watchers = Watchers()
    async with open_pool(A, instruments=watchers.instruments, on_dead="keep") as pool:
        watchers.watch(pool)
        other = await cancelled_job(pool)
        await pool.submit(waits_for, other)
        await pool.submit(fails)
        await pool.join()
        [first, second] = [line for line in watchers.live(pool) if "dead: " in line]
        pool.dead.pop_all()
    assert "ValueError: failed" in first
    assert "JobCancelledError: job 1 (other) was cancelled" in second
