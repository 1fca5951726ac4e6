"""Hedged attempts of which several things come due at the same instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import after, counts, script, sleeps_forever, slow_on
from tests.harness import repeatable_schedule
from trio_pool import DeadReason, Hedge, JobCancelledError, JobState, ResourceBroken, RetryAfter, RetryPolicy, open_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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
