"""A job after one that does not succeed is discarded."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.pool.jobs.waited_for import fails_after_a_second, states
from trio_pool import Discard, JobCancelledError, JobFailedError, JobState, open_pool
from trio_pool.testing import Flaky, assert_settled

BLOCKED = JobState.BLOCKED
CANCELLED = JobState.CANCELLED
DISCARDED = JobState.DISCARDED
SUCCEEDED = JobState.SUCCEEDED


async def gives_it_up(resource: str) -> None:
    """Ends neither well nor badly."""
    await trio.sleep(1.0)
    raise Discard("not needed")


@pytest.mark.parametrize(
    ("fn", "end"), [(fails_after_a_second, "dead"), (gives_it_up, "discarded"), (sleeps_forever, "cancelled")]
)
async def test_what_waits_for_one_that_does_not_succeed_is_discarded_at_once(
    fn: Any, end: str, autojump_clock: MockClock
) -> None:
    async with open_pool(list("ab"), on_dead="keep") as pool:
        other = await pool.submit(sleeps, 5.0)
        first = await pool.submit(fn, name="the first")
        job = await pool.submit(works, after=[other, first])
        if fn is sleeps_forever:
            await trio.sleep(1.0)
            first.cancel()
        with pytest.raises(JobCancelledError, match=f"was discarded: it waited for the first, which is {end}"):
            await job.wait()
        assert trio.current_time() == 1.0
        assert job.reason == f"it waited for the first, which is {end}"
    assert first.state.value == end
    assert other.state is SUCCEEDED
    assert states(job) == [BLOCKED, DISCARDED]
    assert (job.attempts, job.finished_at) == ((), 1.0)


async def test_everything_behind_it_is_discarded_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        first = await pool.submit(fails_after_a_second, name="first")
        second = await pool.submit(works, after=[first], name="second")
        third = [await pool.submit(works, after=[second], name="third") for _ in range(3)]
        last = await pool.submit(works, after=[*third, first], name="last")
        await first.wait_started()
        await trio.sleep(1.0)
        await wait_all_tasks_blocked()
        assert [job.finished_at for job in (second, *third, last)] == [1.0] * 5
        assert {job.reason for job in third} == {"it waited for second, which is discarded"}
        assert last.reason == "it waited for first, which is dead"


async def test_jobs_beside_it_go_on(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), on_dead="keep") as pool:
        bad = await pool.submit(fails_after_a_second)
        good = await pool.submit(sleeps, 2.0)
        behind = [await pool.submit(works, after=[job]) for job in (bad, good)]
    assert [job.state for job in behind] == [DISCARDED, SUCCEEDED]


async def test_a_discarded_job_is_no_death(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"]) as pool:
            first = await pool.submit(fails_after_a_second)
            for _ in range(5):
                await pool.submit(works, after=[first])
    assert pool.statistics().discarded == 5
    assert len(pool.dead) == 1


@pytest.mark.parametrize(("fn", "end"), [(fails, "dead"), (gives_it_up, "discarded"), (sleeps_forever, "cancelled")])
async def test_after_one_that_has_ended_without_success_a_job_is_discarded_at_once(
    fn: Any, end: str, autojump_clock: MockClock
) -> None:
    async with open_pool(list("ab"), on_dead="keep") as pool:
        first = await pool.submit(fn, name="the first")
        await trio.sleep(2.0)
        first.cancel()
        await pool.join()
        running = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works, after=[running, first])
        assert job.state is DISCARDED
        assert job.reason == f"it waited for the first, which is {end}"
        assert pool.submit_nowait(works, after=[first]).state is DISCARDED
        with pytest.raises(JobCancelledError):
            await pool.run(works, after=[first])


async def test_requeueing_the_dead_one_brings_nothing_back(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(Flaky(1, result="done"))
        job = await pool.submit(works, after=[first])
        await pool.join()
        assert await pool.dead.requeue(first).wait() == "done"
        assert job.state is DISCARDED


async def test_with_on_dead_cancel_what_waits_is_discarded_or_cancelled(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool:
            first = await pool.submit(fails_after_a_second)
            behind = await pool.submit(works, after=[first])
            queued = await pool.submit(works)
            beyond = await pool.submit(works, after=[queued])
            await trio.sleep_forever()
    assert [job.state for job in (behind, queued, beyond)] == [DISCARDED, CANCELLED, CANCELLED]
    assert_settled(pool)
