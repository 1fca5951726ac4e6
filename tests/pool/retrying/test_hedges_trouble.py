"""3.7: hedges where attempts fail, jobs are cancelled, workers go, or all of it comes at once."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import (
    Doors,
    after,
    cancelled,
    counts,
    script,
    shielded,
    sleeps,
    sleeps_forever,
    slow_on,
    state_of,
)
from tests.harness import repeatable_schedule
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Discard,
    GiveUp,
    Hedge,
    Job,
    JobCancelledError,
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
    from collections.abc import AsyncGenerator, Awaitable, Callable

if sys.version_info < (3, 11):
    pass

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


# Workers come and go.


@pytest.mark.parametrize(("removed", "stays"), [(0, "b"), (1, "a")])
async def test_a_worker_that_is_removed_is_dropped_and_the_others_go_on(
    removed: int, stays: str, autojump_clock: MockClock
) -> None:
    work = script(a=after(10), b=after(10))
    async with open_pool(["a", "b", "c"]) as pool:
        first, second, _ = pool.workers
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        await pool.workers[removed].remove(cancel=True)
        assert trio.current_time() == 2.0
        assert job.worker is (second if removed == 0 else first)
        assert await job.wait() == stays
    assert len(work.began) == 2
    (attempt,) = job.attempts
    assert (attempt.worker_id, attempt.hedges) == (1, ((2, "worker-2"),))


async def test_where_all_are_removed_the_job_is_queued_again_in_front(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b", "c")
    async with open_pool(["a", "b", "c"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await pool.submit(sleeps, 5.0, worker=pool.workers[2])
        await trio.sleep(2)
        other = await pool.submit(after(1))
        async with trio.open_nursery() as nursery:
            for worker in pool.workers[:2]:
                nursery.start_soon(partial(worker.remove, cancel=True))
        assert (state_of(job), job.worker) == (JobState.QUEUED, None)
        assert await job.wait() == "c"
        assert state_of(other) is not JobState.SUCCEEDED
    assert work.began == [("a", 0.0), ("b", 1.0), ("c", 5.0)]
    assert [(attempt.number, attempt.worker_id, attempt.hedges) for attempt in job.attempts] == [(1, 3, ())]


async def test_a_worker_removed_before_it_has_begun_is_dropped(autojump_clock: MockClock) -> None:
    work = script(a=after(10))
    async with open_pool(["a", "b"]) as pool:
        second = pool.workers[1]
        second.pause()
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        second.resume()  # from which on it has the job, but the worker has had no time to begin it
        assert second.job is job
        await second.remove(cancel=True)
        assert await job.wait() == "a"
    assert work.began == [("a", 0.0)]


async def test_what_is_done_to_a_worker_meanwhile_holds_afterwards(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=after(100), c=after(2), d=after(100))
    async with open_pool(["a", "b", "c", "d"]) as pool:
        first, second, third, fourth = pool.workers
        job = await pool.submit(work, hedge=Hedge(1, extra=3))
        await trio.sleep(3.5)
        first.pause()
        second.rest(50.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fourth.remove)
            await wait_all_tasks_blocked()
            assert {worker.state for worker in pool.workers} == {WorkerState.BUSY}
        assert await job.wait() == "c"
        assert trio.current_time() == 4.0
        assert (first.state, second.state, third.state) == (
            WorkerState.PAUSED,
            WorkerState.RESTING,
            WorkerState.IDLE,
        )
        assert fourth not in pool.workers


@attrs.define(eq=False)
class Fragile:
    """A lifespan that can be made to break."""

    scopes: dict[str, trio.CancelScope] = attrs.Factory(dict[str, trio.CancelScope])
    entered: list[str] = attrs.Factory(list[str])

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        self.entered.append(name)
        with trio.CancelScope() as scope:
            self.scopes[name] = scope
            yield name


@pytest.mark.parametrize(("broken", "stays"), [("a", "b"), ("b", "a")])
async def test_a_worker_whose_lifespan_breaks_has_failed_and_the_others_go_on(
    broken: str, stays: str, autojump_clock: MockClock
) -> None:
    fragile = Fragile()
    work = script(a=after(10), b=after(10))
    async with open_pool(["a", "b"], lifespan=fragile.lifespan) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        fragile.scopes[broken].cancel()
        assert await job.wait() == stays
        assert counts(pool) == ([(1, 1), (1, 0)] if broken == "a" else [(1, 0), (1, 1)])
    assert fragile.entered == ["a", "b", broken]
    assert job.attempts[0].error is None


async def test_a_loser_whose_lifespan_breaks_opens_it_anew_and_changes_nothing(autojump_clock: MockClock) -> None:
    fragile = Fragile()
    asked: list[Exception] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append(error)

    async def break_down(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            fragile.scopes[resource].cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            await trio.lowlevel.checkpoint()

    work = script(a=break_down, b=after(1))
    async with open_pool(["a", "b"], lifespan=fragile.lifespan, on_failure=on_failure) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        assert await job.wait() == "b"
        await trio.sleep(1)
        assert fragile.entered == ["a", "b", "a"]
        assert {worker.state for worker in pool.workers} == {WorkerState.IDLE}
        assert counts(pool)[1] == (1, 0)
    assert (asked, job.attempts[0].error) == ([], None)


async def test_at_the_end_of_the_block_it_goes_on_as_before(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        pool.workers[1].pause()  # until the end of the block
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(5)
    assert job.result() == "b"
    assert trio.current_time() == 6.0


# What comes at the same instant.


def in_any_order(main: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run it with its tasks in one order or another; returns what it returned each time."""

    async def run() -> Any:
        return await main()

    found: list[Any] = []
    for seed in range(10):
        with repeatable_schedule(seed):
            found.append(trio.run(run, clock=MockClock(autojump_threshold=0)))
    return found


def test_of_two_values_one_is_the_result() -> None:
    async def main() -> tuple[str, int, int]:
        work = script(a=after(3), b=after(2))
        async with open_pool(["a", "b"]) as pool:
            job = await pool.submit(work, hedge=Hedge(1))
            return await job.wait(), job.attempt_count, pool.statistics().succeeded

    found = in_any_order(main)
    assert set(found) == {("a", 1, 1), ("b", 1, 1)}


@pytest.mark.parametrize("error", [ValueError(), RetryAfter(1.0), ResourceBroken()])
def test_of_a_value_and_an_error_it_is_the_value(error: Exception) -> None:
    async def main() -> tuple[str, int, float]:
        work = script(a=after(3, error), b=after(2))
        async with open_pool(["a", "b"]) as pool:
            job = await pool.submit(work, hedge=Hedge(1))
            return await job.wait(), job.attempt_count, trio.current_time()

    assert set(in_any_order(main)) == {("b", 1, 3.0)}


def test_of_two_errors_one_decides() -> None:
    async def main() -> tuple[int, int, int, list[tuple[int, int]]]:
        work = script(a=after(3, ValueError()), b=after(2, OSError()))
        async with open_pool(["a", "b"], on_dead="keep", retry=RetryPolicy.fixed(1.0, max_attempts=2)) as pool:
            job = await pool.submit(work, hedge=Hedge(1))
            await pool.join()
            seen = pool.statistics()
            return job.attempt_count, seen.failures, seen.retries, counts(pool)

    assert all(found == (2, 2, 1, [(2, 2), (2, 2)]) for found in in_any_order(main))


def test_a_total_timeout_goes_before_an_attempt_timeout_on_every_worker() -> None:
    async def main() -> tuple[DeadReason | None, int]:
        async with open_pool(["a", "b"], on_dead="keep", retry=RetryPolicy()) as pool:
            job = await pool.submit(sleeps_forever, hedge=Hedge(1), attempt_timeout=3.0, total_timeout=3.0)
        return job.dead_reason, job.attempt_count

    assert set(in_any_order(main)) == {(DeadReason.TIMED_OUT, 1)}


def test_two_that_are_due_share_two_idle_workers() -> None:
    async def main() -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        one, other = slow_on("a", "c"), slow_on("b", "d")
        async with open_pool(["a", "b", "c", "d"]) as pool:
            for work in (one, other):
                await pool.submit(work, hedge=Hedge(1))
        return tuple(one.began), tuple(other.began)

    assert set(in_any_order(main)) == {((("a", 0.0), ("c", 1.0)), (("b", 0.0), ("d", 1.0)))}


def test_a_retry_whose_pause_is_over_goes_before_what_is_due() -> None:
    async def main() -> list[tuple[str, float]]:
        work = slow_on("a", "b")
        flaky = script(b=after(1, ValueError()))
        async with open_pool(["a", "b"], on_dead="keep") as pool:
            await pool.submit(work, hedge=Hedge(4))
            await pool.submit(flaky, retry=RetryPolicy.fixed(3.0, max_attempts=2))
        return work.began

    assert all(began == [("a", 0.0), ("b", 5.0)] for began in in_any_order(main))


def test_a_worker_whose_rest_is_over_is_idle_for_what_is_due() -> None:
    async def main() -> list[tuple[str, float]]:
        work = slow_on("a", "b")
        async with open_pool(["a", "b"]) as pool:
            pool.workers[1].rest(4.0)
            await pool.submit(work, hedge=Hedge(4))
        return work.began

    assert all(began == [("a", 0.0), ("b", 4.0)] for began in in_any_order(main))


def test_what_is_cancelled_when_it_is_due_ends_everywhere() -> None:
    async def main() -> tuple[JobState, int, float]:
        work = slow_on("a", "b")
        async with open_pool(["a", "b"]) as pool:
            job = await pool.submit(work, hedge=Hedge(1))
            await trio.sleep(1)
            job.cancel()
            with pytest.raises(JobCancelledError):
                await job.wait()
            return job.state, len(work.began) - len(work.ended), trio.current_time()

    assert set(in_any_order(main)) == {(JobState.CANCELLED, 0, 1.0)}


async def test_what_comes_due_during_a_long_step_is_dealt_with_at_once_after_it(autojump_clock: MockClock) -> None:
    """And the time for the next is counted from there."""
    work = slow_on("a", "b", "c")
    async with open_pool(["a", "b", "c"]) as pool:
        await pool.submit(work, hedge=Hedge(1, extra=2))
        await wait_all_tasks_blocked()
        autojump_clock.jump(10)
    assert work.began == [("a", 0.0), ("b", 10.0), ("c", 11.0)]


# The rest fails: each of these shows a bug.


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


def test_what_returns_at_the_very_time_is_started_nowhere_else() -> None:
    async def main() -> tuple[tuple[int, str], ...]:
        async with open_pool(["a", "b"]) as pool:
            job = await pool.submit(script(a=after(1), b=after(1)), hedge=Hedge(1))
            await job.wait()
        return job.attempts[0].hedges

    assert set(in_any_order(main)) == {()}


def test_what_returns_at_the_very_time_for_the_next_is_started_nowhere_else() -> None:
    async def main() -> tuple[tuple[int, str], ...]:
        async with open_pool(["a", "b", "c"]) as pool:
            job = await pool.submit(script(a=after(2), b=after(9), c=after(9)), hedge=Hedge(1, extra=2))
            await job.wait()
        return job.attempts[0].hedges

    assert set(in_any_order(main)) == {((2, "worker-2"),)}


def test_a_total_timeout_counts_alike_for_every_worker() -> None:
    async def main() -> list[tuple[int, int]]:
        async with open_pool(["a", "b"], on_dead="keep") as pool:
            await pool.submit(sleeps_forever, hedge=Hedge(1), total_timeout=3.0)
            await pool.join()
            return counts(pool)

    found = in_any_order(main)
    assert all(each == found[0] for each in found)
