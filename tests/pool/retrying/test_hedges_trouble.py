"""Hedged attempts that fail or are cancelled."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import Doors, after, cancelled, counts, script, shielded, slow_on, state_of
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Discard,
    GiveUp,
    Hedge,
    Job,
    JobFailedError,
    JobState,
    JobTimeoutError,
    Pool,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    open_pool,
)
from trio_pool.testing import assert_settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


# Failing.


async def test_a_worker_where_it_has_failed_is_free_while_the_others_go_on(autojump_clock: MockClock) -> None:
    work = script(a=after(2, ValueError()), b=after(10))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(1.5)
        assert await pool.run(after(0)) == "a"
        assert trio.current_time() == 2.0
        assert await job.wait() == "b"
        assert counts(pool) == [(2, 1), (1, 0)]
    assert pool.statistics().failures == 0


async def test_one_that_goes_on_alone_is_still_hedged(autojump_clock: MockClock) -> None:
    work = script(a=after(1.5, ValueError()), b=after(100), c=after(1))
    async with open_pool(["a", "b", "c"]) as pool:
        assert await pool.run(work, hedge=Hedge(1, extra=2)) == "c"
    assert work.began == [("a", 0.0), ("b", 1.0), ("c", 2.0)]


@pytest.mark.parametrize(("last", "reason"), [("a", DeadReason.NOT_RETRYABLE), ("b", DeadReason.ATTEMPTS_EXHAUSTED)])
async def test_where_it_fails_on_all_the_last_failure_decides(
    last: str, reason: DeadReason, autojump_clock: MockClock
) -> None:
    errors = {"a": ValueError(), "b": OSError()}
    work = script(a=after(3, errors["a"]), b=after(1, errors["b"]))
    if last == "b":
        work.acts["b"] = after(4, errors["b"])
    retry = RetryPolicy(max_attempts=1, retry_on=OSError)
    async with open_pool(["a", "b"], retry=retry, on_dead="keep") as pool:
        job = await pool.submit(work, hedge=Hedge(1))
    assert job.dead_reason is reason
    (attempt,) = job.attempts
    assert attempt.error is errors[last]
    assert attempt.ended_at == work.ended[-1][1]
    seen = pool.statistics()
    assert (seen.attempts, seen.failures) == (1, 1)


async def test_that_is_one_of_the_attempts_it_is_allowed(autojump_clock: MockClock) -> None:
    work = script(a=after(3, ValueError()), b=after(3, ValueError()))
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(work, hedge=Hedge(1), retry=RetryPolicy.fixed(1.0, max_attempts=3))
    assert (job.attempt_count, pool.statistics().retries, len(work.began)) == (3, 2, 6)


async def test_the_pause_before_the_next_attempt_begins_with_the_last_failure(autojump_clock: MockClock) -> None:
    work = script(a=after(2, RetryAfter(50.0)), b=after(2, RetryAfter(10.0)))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1), retry=RetryPolicy())
        await trio.sleep(4)
        assert state_of(job) is JobState.DELAYED
        work.acts = {"a": after(0), "b": after(0)}
        await job.wait()
    assert trio.current_time() == 13.0


async def test_the_next_attempt_bounces_off_all_that_it_failed_on(autojump_clock: MockClock) -> None:
    work = script(a=after(2, ValueError()), b=after(2, ValueError()), c=after(1))
    async with open_pool(["a", "b", "c"]) as pool:
        pool.workers[2].rest(5.0)
        await pool.run(work, hedge=Hedge(1), retry=RetryPolicy.fixed(5.0, placement="other"))
    assert [resource for resource, _ in work.began] == ["a", "b", "c"]


async def test_on_failure_and_the_breakers_are_asked_for_each_worker(autojump_clock: MockClock) -> None:
    asked: list[tuple[float, Exception]] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append((trio.current_time(), error))

    errors = [ValueError(), OSError()]
    work = script(a=after(2, errors[0]), b=after(2, errors[1]))
    touchy = CircuitBreaker(failures=1)
    async with open_pool(["a", "b"], on_failure=on_failure, breaker=touchy, on_dead="keep") as pool:
        await pool.submit(work, hedge=Hedge(1))
        await pool.join()
        assert [worker.state for worker in pool.workers] == [WorkerState.QUARANTINED] * 2
        assert [worker.last_error for worker in pool.statistics().workers] == errors
    assert asked == [(2.0, errors[0]), (3.0, errors[1])]


@pytest.mark.parametrize("returned", [False, True])
@pytest.mark.parametrize(
    ("control", "state"), [(GiveUp("enough"), JobState.DEAD), (Discard("enough"), JobState.DISCARDED)]
)
async def test_giving_up_and_discarding_end_all_of_it_at_once(
    control: Any, state: JobState, returned: bool, autojump_clock: MockClock
) -> None:
    error = ValueError() if returned else control
    work = script(a=after(2, error), b=after(100))
    async with open_pool(["a", "b"], on_failure=lambda _, __: control, on_dead="keep", retry=RetryPolicy()) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
    assert (job.state, job.finished_at) == (state, 2.0)
    assert work.ended == [("a", 2.0), ("b", 2.0)]
    assert "enough" in job.reason
    assert job.attempts[0].error is error


async def test_after_giving_up_nothing_else_that_is_raised_counts(autojump_clock: MockClock) -> None:
    work = script(a=after(2, GiveUp("enough")), b=cancelled(Discard("never mind")), c=shielded(7, RetryAfter(1.0)))
    async with open_pool(["a", "b", "c"], on_dead="keep", retry=RetryPolicy()) as pool:
        job = await pool.submit(work, hedge=Hedge(0.5, extra=2))
    assert (job.dead_reason, job.reason, job.finished_at) == (DeadReason.GAVE_UP, "given up: enough", 8.0)


async def test_the_total_timeout_ends_all_of_it_at_once(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    async with open_pool(["a", "b"], on_dead="keep", retry=RetryPolicy()) as pool:
        job = await pool.submit(work, hedge=Hedge(1), total_timeout=3.0)
    assert {at for _, at in work.ended} == {3.0}
    assert (job.dead_reason, job.finished_at) == (DeadReason.TIMED_OUT, 3.0)
    (attempt,) = job.attempts
    assert isinstance(attempt.error, JobTimeoutError)


async def test_a_worker_where_it_asks_for_that_rests_while_the_others_go_on(autojump_clock: MockClock) -> None:
    work = script(a=after(2, RetryAfter(20.0, rest=True)), b=after(4))
    async with open_pool(["a", "b"], retry=RetryPolicy()) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(3)
        assert [worker.state for worker in pool.workers] == [WorkerState.RESTING, WorkerState.BUSY]
        assert await job.wait() == "b"


async def test_a_worker_whose_resource_is_broken_opens_it_anew_while_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    doors = Doors()
    work = script(a=after(2, ResourceBroken()), b=after(4))
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(3)
        assert (doors.entered, doors.left) == (["a", "b", "a"], ["a"])
        assert await job.wait() == "b"


@pytest.mark.parametrize("fatal", [KeyboardInterrupt(), SystemExit(3)])
async def test_what_is_no_ordinary_error_stops_the_pool(fatal: BaseException, autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=shielded(2, fatal))
    with pytest.RaisesGroup(type(fatal)):
        async with open_pool(["a", "b"]) as pool:
            job = await pool.submit(work, hedge=Hedge(1))
    assert job.state is JobState.CANCELLED
    assert work.ended == [("b", 3.0), ("a", 3.0)]


# Cancelling.


async def leave_by_cancel(pool: Pool[str], job: Job[Any]) -> None:
    job.cancel()


async def leave_by_pool_cancel(pool: Pool[str], job: Job[Any]) -> None:
    pool.cancel()


async def leave_by_error(pool: Pool[str], job: Job[Any]) -> None:
    raise KeyError


@pytest.mark.parametrize("leave", [leave_by_cancel, leave_by_pool_cancel, leave_by_error])
async def test_to_cancel_the_job_or_the_pool_cancels_all_of_it(
    leave: Callable[[Pool[str], Job[Any]], Awaitable[None]], autojump_clock: MockClock
) -> None:
    work = slow_on("a", "b")
    try:
        async with open_pool(["a", "b"]) as pool:
            job = await pool.submit(work, hedge=Hedge(1))
            await trio.sleep(2)
            await leave(pool, job)
    except KeyError:
        assert leave is leave_by_error
    assert job.state is JobState.CANCELLED
    assert {at for _, at in work.ended} == {2.0}
    assert len(work.ended) == 2
    assert_settled(pool)


async def test_an_error_of_its_own_on_one_worker_makes_a_cancelled_job_dead(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=cancelled(OSError()))
    async with open_pool(["a", "b"], on_dead="keep", retry=RetryPolicy()) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        job.cancel()
    assert (job.dead_reason, job.attempt_count) == (DeadReason.NOT_RETRYABLE, 1)


async def test_a_cancelled_run_returns_only_when_its_function_runs_nowhere(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=shielded(8, OSError()))
    async with open_pool(["a", "b"]) as pool:
        with trio.move_on_after(3), pytest.raises(JobFailedError):
            await pool.run(work, hedge=Hedge(1))
        assert trio.current_time() == 9.0
        assert work.ended == [("a", 3.0), ("b", 9.0)]


@pytest.mark.parametrize("call", ["map", "as_completed"])
async def test_to_leave_a_stream_cancels_all_of_it(call: str, autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    async with open_pool(["a", "b"]) as pool:
        async with getattr(pool, call)(work, [1], hedge=Hedge(1)):
            await trio.sleep(2)
        assert work.ended == [("a", 2.0), ("b", 2.0)] or work.ended == [("b", 2.0), ("a", 2.0)]


# What is no failure.


@pytest.mark.parametrize("leave", [leave_by_cancel, leave_by_pool_cancel])
async def test_a_failure_before_the_cancellation_does_not_make_the_job_dead(
    leave: Callable[[Pool[str], Job[Any]], Awaitable[None]], autojump_clock: MockClock
) -> None:
    work = script(a=after(2, ValueError()), b=after(100))
    async with open_pool(["a", "b"], on_dead="keep", retry=RetryPolicy()) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(3)
        await leave(pool, job)
    assert job.state is JobState.CANCELLED


async def test_an_evicted_loser_s_error_is_no_failure_either(autojump_clock: MockClock) -> None:
    asked: list[Exception] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append(error)

    work = script(a=shielded(5, OSError()), b=after(2))
    async with open_pool(["a", "b"], on_failure=on_failure) as pool, trio.open_nursery() as nursery:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        nursery.start_soon(partial(pool.workers[0].remove, cancel=True))
        assert await job.wait() == "b"
    assert asked == []


async def test_the_policy_is_not_asked_about_what_a_loser_raises(autojump_clock: MockClock) -> None:
    asked: list[Exception] = []

    def retry_on(error: Exception) -> bool:
        asked.append(error)
        return True

    work = script(a=cancelled(OSError()), b=after(1))
    async with open_pool(["a", "b"], retry=RetryPolicy(retry_on=retry_on)) as pool:
        assert await pool.run(work, hedge=Hedge(2)) == "b"
    assert asked == []


async def test_what_a_loser_raises_is_no_failure_of_its_worker(autojump_clock: MockClock) -> None:
    work = script(a=cancelled(OSError()), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(work, hedge=Hedge(2)) == "b"
        seen = pool.workers[0].statistics()
        assert (seen.failed, seen.last_error) == (0, None)


async def test_an_attempt_whose_same_worker_has_left_is_hedged_as_often_as_any(autojump_clock: MockClock) -> None:
    work = script(a=after(0.5, ValueError()), b=after(1.5, ValueError()), c=after(100), d=after(1))
    async with open_pool(["a", "b", "c", "d"]) as pool:
        retry = RetryPolicy.fixed(2.0, placement="same")
        job = await pool.submit(work, hedge=Hedge(1, extra=2), retry=retry)
        await trio.sleep(1)
        await pool.workers[0].remove()
        assert await job.wait() == "d"
    assert work.began == [("a", 0.0), ("b", 2.5), ("c", 3.5), ("d", 4.5)]
