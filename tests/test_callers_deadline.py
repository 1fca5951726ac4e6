"""3.2 and 4.4: ``run`` reads its caller's deadline once, and waits for no retry that could start only past it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps, sleeps_forever
from tests.harness import repeatable_schedule
from tests.threads import in_plain_thread, in_trios_thread
from trio_pool import (
    DeadReason,
    Hedge,
    Job,
    JobFailedError,
    JobState,
    JobTimeoutError,
    Pool,
    RetryAfter,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

TEN = RetryPolicy.fixed(10.0, max_attempts=5)


async def deadline_of(_: object) -> float:
    return current_job().deadline


# What it reads


async def test_the_deadline_of_a_job_is_that_of_its_caller(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.fail_after(7):
            assert await pool.run(deadline_of) == 7


async def test_without_any_deadline_it_is_inf(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert await pool.run(deadline_of) == math.inf


@pytest.mark.parametrize(("total", "caller", "deadline"), [(5, 7, 5), (7, 5, 5), (6, 6, 6), (math.inf, 4, 4)])
async def test_of_both_timeouts_the_sooner_is_shown(
    total: float, caller: float, deadline: float, autojump_clock: MockClock
) -> None:
    async with open_pool(["a"]) as pool:
        with trio.fail_after(caller):
            assert await pool.run(deadline_of, total_timeout=total) == deadline


async def test_it_is_the_effective_deadline(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.fail_after(7), trio.fail_after(9):
            assert await pool.run(deadline_of) == 7
            with trio.CancelScope(shield=True):
                assert await pool.run(deadline_of) == math.inf


async def test_it_is_read_once(autojump_clock: MockClock) -> None:
    seen: list[float] = []

    async def looks(_: object) -> None:
        for _ in range(2):
            seen.append(current_job().deadline)
            await trio.sleep(2)

    async def moves(scope: trio.CancelScope) -> None:
        await trio.sleep(1)
        scope.deadline += 100

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        with trio.fail_after(7) as scope:
            nursery.start_soon(moves, scope)
            await pool.run(looks)
    assert seen == [7, 7]


async def test_submit_reads_no_deadline(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.fail_after(7):
            job = await pool.submit(deadline_of)
            assert await job.wait() == math.inf


async def test_a_job_that_runs_another_passes_its_own_deadline_on(autojump_clock: MockClock) -> None:
    async def asks(_: object, pool: Pool[str]) -> float:
        return await pool.run(deadline_of)

    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(asks, pool, total_timeout=9) == 9


async def test_a_group_reads_it_too(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        with trio.fail_after(7):
            assert await group.run(deadline_of) == 7


async def test_a_thread_of_trio_has_the_deadline_of_the_task_that_waits_for_it(mock_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.fail_after(70):
            assert await in_trios_thread(pool.run_from_thread, deadline_of) == 70
            assert await in_plain_thread(pool.run_from_thread, deadline_of) == math.inf


async def test_a_cancelled_caller_makes_no_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.move_on_after(0):
            await pool.run(deadline_of)
        assert pool.statistics().submitted == 0


# What it decides


async def test_a_retry_that_could_start_only_past_it_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with trio.fail_after(25):
            with pytest.raises(JobFailedError) as caught:
                await pool.run(fails)
            assert trio.current_time() == 20
    job = caught.value.job
    assert (job.attempt_count, job.dead_reason) == (3, DeadReason.TIMED_OUT)
    assert job.reason == "its caller has no time left to try again"
    assert str(caught.value.__cause__) == "failed"
    assert caught.value.__cause__ is job.attempts[-1].error


async def test_one_that_could_start_just_before_it_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with trio.fail_after(10.5):
            assert await pool.run(Flaky(1, result="done")) == "done"


async def test_one_that_could_start_only_at_it_is_not(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with trio.fail_after(10), pytest.raises(JobFailedError):
            await pool.run(Flaky(1))
        assert trio.current_time() == 0


async def test_the_pause_that_a_function_asks_for_is_held_against_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with trio.fail_after(25), pytest.raises(JobFailedError) as caught:
            await pool.run(Flaky(1, error=RetryAfter(30, counts=False)))
    assert caught.value.job.dead_reason is DeadReason.TIMED_OUT
    assert isinstance(caught.value.__cause__, RetryAfter)


async def test_a_hedged_attempt_is_held_against_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry=TEN) as pool:
        with trio.fail_after(8), pytest.raises(JobFailedError) as caught:
            await pool.run(Flaky(2), hedge=Hedge(0))
    assert caught.value.job.dead_reason is DeadReason.TIMED_OUT


async def test_the_total_timeout_decides_if_it_is_sooner(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with trio.fail_after(9), pytest.raises(JobFailedError) as caught:
            await pool.run(fails, total_timeout=5)
    assert caught.value.job.dead_reason is DeadReason.TIMED_OUT
    assert caught.value.job.reason == "no time left to try again"
    assert isinstance(caught.value.__cause__, JobTimeoutError)
    assert str(caught.value.__cause__.__cause__) == "failed"


async def test_in_a_tie_the_total_timeout_decides(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with trio.fail_after(5), pytest.raises(JobFailedError) as caught:
            await pool.run(fails, total_timeout=5)
    assert isinstance(caught.value.__cause__, JobTimeoutError)


# What it does not


async def test_it_ends_no_attempt_but_the_cancellation_does(autojump_clock: MockClock) -> None:
    async def ignores_it(_: object) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(9)
        return "done all the same"

    async with open_pool(["a"]) as pool:
        with trio.move_on_after(3):
            assert await pool.run(ignores_it) == "done all the same"
        with pytest.raises(trio.TooSlowError), trio.fail_after(3):
            await pool.run(sleeps_forever)
    seen = pool.statistics()
    assert (seen.succeeded, seen.cancelled, seen.dead) == (1, 1, 0)


async def test_a_function_is_told_nothing_of_it_by_trio(autojump_clock: MockClock) -> None:
    async def asks(_: object) -> float:
        return trio.current_effective_deadline()

    async with open_pool(["a"]) as pool:
        with trio.fail_after(7):
            assert await pool.run(asks) == math.inf
            assert await pool.run(asks, total_timeout=9) == 9


async def test_a_job_that_waits_in_the_queue_is_ended_by_the_cancellation(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(sleeps, 100)
        with pytest.raises(trio.TooSlowError), trio.fail_after(7):
            await pool.run(sleeps, 1)
        assert trio.current_time() == 7
    assert pool.statistics().cancelled == 1


async def test_a_job_whose_worker_rests_past_it_is_ended_by_the_cancellation(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with pytest.raises(trio.TooSlowError), trio.fail_after(7):
            await pool.run(Flaky(1, error=RetryAfter(20, rest=True)))
        assert trio.current_time() == 7


async def test_it_does_not_outlive_the_job_that_was_requeued(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=TEN) as pool:
        with trio.fail_after(5), pytest.raises(JobFailedError) as caught:
            await pool.run(Flaky(1, result="done"))
        assert pool.dead.requeue(caught.value.job).deadline == math.inf


# Ties

SEEDS = range(20)


def run_with_seed(main: Callable[[], Awaitable[None]], seed: int) -> None:
    """Run it with another order of what comes due at the same instant."""
    with repeatable_schedule(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0))


async def run_until(
    scope: trio.CancelScope, pool: Pool[str], fn: Any, ended: list[JobFailedError], **options: Any
) -> None:
    """Run a job in a scope, as ``move_on_after`` and the like do."""
    with scope:
        try:
            await pool.run(fn, **options)
        except JobFailedError as error:
            ended.append(error)


async def cancel_at(scope: trio.CancelScope, seconds: float) -> None:
    await trio.sleep(seconds)
    scope.cancel()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("by_deadline", [True, False])
@pytest.mark.parametrize("where", ["running", "queued", "in line"])
def test_a_total_timeout_goes_before_a_cancellation_at_the_same_moment_and_is_dealt_with(
    where: str, by_deadline: bool, seed: int
) -> None:
    ended: list[JobFailedError] = []

    async def main() -> None:
        async with open_pool(["a"], max_queue=1 if where == "in line" else 1000) as pool:
            holders: list[Job[Any]] = []
            if where in ("queued", "in line"):
                holders = [await pool.submit(sleeps_forever) for _ in range(1 + (where == "in line"))]
            scope = trio.CancelScope(deadline=5 if by_deadline else math.inf)
            async with trio.open_nursery() as nursery:
                if not by_deadline:
                    nursery.start_soon(cancel_at, scope, 5)
                nursery.start_soon(partial(run_until, scope, pool, sleeps_forever, ended, total_timeout=5))
            assert trio.current_time() == 5
            for job in holders:
                job.cancel()

    run_with_seed(main, seed)  # the pool's block has nothing to raise
    [error] = ended
    assert (error.job.state, error.job.dead_reason) == (JobState.DEAD, DeadReason.TIMED_OUT)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_job_that_fails_at_the_moment_at_which_its_caller_is_cancelled_counts_as_dealt_with(seed: int) -> None:
    ended: list[JobFailedError] = []
    seen: list[Any] = []

    async def fails_at_5(_: object) -> None:
        await trio.sleep(5)
        raise ValueError("failed")

    async def main() -> None:
        async with open_pool(["a"]) as pool:
            await run_until(trio.CancelScope(deadline=5), pool, fails_at_5, ended)
            seen.append(pool.statistics())

    run_with_seed(main, seed)  # the pool's block has nothing to raise
    assert seen[0].dead == len(ended)
    assert seen[0].dead + seen[0].cancelled == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_submitter_in_line_that_is_cancelled_when_its_time_is_up_has_its_dead_job(seed: int) -> None:
    jobs: list[Job[Any]] = []

    async def main() -> None:
        async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
            holder = await pool.submit(sleeps_forever)
            with trio.move_on_at(5):
                jobs.append(await pool.submit(sleeps_forever, total_timeout=5))
            holder.cancel()
            assert pool.statistics().submitted == 1 + len(jobs)

    run_with_seed(main, seed)
    assert [job.dead_reason for job in jobs] == [DeadReason.TIMED_OUT]
