"""3.7: quarantined workers: what waits for them, what does not, and what else may hold them back."""

# A block that is cancelled has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import Doors, fails, state_of, works
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Job,
    JobFailedError,
    JobState,
    Pool,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

if sys.version_info < (3, 11):
    pass

# Opens with the first failure, for ten seconds.
TOUCHY = CircuitBreaker(failures=1, reset_after=10.0)
THRICE = CircuitBreaker(failures=3, reset_after=10.0)
DOUBLING = CircuitBreaker(failures=1, reset_after=10.0, max_reset_after=50.0)


async def gets(resource: str) -> tuple[str, float]:
    """Returns what it is given, and when."""
    return resource, trio.current_time()


async def fails_on(resource: str, bad: set[str]) -> str:
    """Works with other resources only."""
    if resource in bad:
        raise OSError(resource)
    return resource


def raises(error: Exception) -> Callable[[object], Awaitable[None]]:
    """A function that fails with this."""

    async def raises_it(resource: object) -> None:
        raise error

    return raises_it


async def quarantine(pool: Pool[str], worker: Worker | None = None) -> None:
    """Let a worker with a touchy breaker fail."""
    with pytest.raises(JobFailedError):
        await pool.run(fails, worker=worker or pool.workers[0])


# Each worker has its own.


async def test_each_worker_has_a_breaker_of_its_own(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], breaker=THRICE, on_dead="keep") as pool:
        first, second = pool.workers
        for worker in (first, second, first, second, first):
            await quarantine(pool, worker)
        assert (first.state, second.state) == (WorkerState.QUARANTINED, WorkerState.IDLE)


async def test_a_resource_may_bring_another_breaker_than_the_pools(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", breaker=TOUCHY), Resource("b")], breaker=THRICE, on_dead="keep") as pool:
        first, second = pool.workers
        third = await pool.add("c", breaker=CircuitBreaker(failures=1, reset_after=7.0))
        for worker in pool.workers:
            await quarantine(pool, worker)
        assert [worker.statistics().available_at for worker in (first, second, third)] == [10.0, None, 7.0]


async def test_a_quarantined_worker_holds_back_no_job_that_another_may_take(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], breaker=TOUCHY, retry=RetryPolicy.immediate(placement="any")) as pool:
        jobs = [await pool.submit(fails_on, {"a"}) for _ in range(5)]
        await pool.join()
        assert trio.current_time() == 0.0
    assert [job.result() for job in jobs] == ["b"] * 5


async def test_a_bounced_job_goes_back_at_once_if_the_worker_it_should_go_to_is_quarantined(
    autojump_clock: MockClock,
) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=10.0, counts=ValueError)
    bounce = RetryPolicy.fixed(1.0, placement="other")
    async with open_pool(["a", "b"], breaker=breaker, on_dead="keep") as pool:
        await quarantine(pool)
        job = await pool.submit(Flaky(1, result="done", error=OSError), retry=bounce)
        await job.wait()
    assert [(attempt.worker_id, attempt.started_at) for attempt in job.attempts] == [(2, 0.0), (2, 1.0)]


@pytest.mark.parametrize("options", [{"requires": ["red"]}, {"worker": 0}])
async def test_a_job_that_only_a_quarantined_worker_may_take_is_let_in_and_waits(
    options: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with open_pool(
        [Resource("a", tags=["red"]), Resource("b")], breaker=TOUCHY, no_worker="reject", on_dead="keep"
    ) as pool:
        if "worker" in options:
            options = {"worker": pool.workers[0]}
        await quarantine(pool)
        held_up = await pool.submit(gets, priority=-1, **options)
        assert await pool.run(gets) == ("b", 0.0)
    assert held_up.result() == ("a", 10.0)


# With all else that may hold a worker back.


async def test_a_job_held_up_by_a_quarantine_dies_at_its_total_timeout(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await quarantine(pool)
        early = await pool.submit(works, total_timeout=4.0)
        in_a_tie = await pool.submit(works, total_timeout=10.0)
    assert (early.dead_reason, early.finished_at) == (DeadReason.TIMED_OUT, 4.0)
    assert (in_a_tie.dead_reason, in_a_tie.attempts) == (DeadReason.TIMED_OUT, ())


async def test_resuming_does_not_end_a_quarantine_nor_does_its_end_resume(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        (worker,) = pool.workers
        await quarantine(pool)
        worker.pause()
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
        assert state_of(worker) is WorkerState.QUARANTINED
        worker.pause()
        await trio.sleep(11)
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
        assert await pool.run(gets) == ("a", 11.0)


@pytest.mark.parametrize(("seconds", "until"), [(4.0, 10.0), (14.0, 14.0)])
async def test_of_a_quarantine_and_a_rest_the_later_end_holds(
    seconds: float, until: float, autojump_clock: MockClock
) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        (worker,) = pool.workers
        await quarantine(pool)
        worker.rest(seconds)
        assert worker.state is WorkerState.QUARANTINED
        assert worker.statistics().available_at == until
        assert await pool.run(gets) == ("a", until)


async def test_a_resource_that_breaks_is_opened_anew_during_the_quarantine(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=2.0)
    async with open_pool(["a"], lifespan=doors.lifespan, breaker=TOUCHY, on_dead="keep") as pool:
        await pool.submit(raises(ResourceBroken()))
        await trio.sleep(3)
        assert doors.entered == ["a", "a"]
        assert pool.workers[0].state is WorkerState.QUARANTINED
        assert await pool.run(gets) == ("a", 12.0)


async def test_a_quarantined_worker_can_be_removed_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await quarantine(pool)
        job = await pool.submit(works)
        await pool.workers[0].remove()
        assert job.dead_reason is DeadReason.NO_WORKER
    assert trio.current_time() == 0.0


async def test_max_running_leaves_a_quarantined_workers_part_to_others(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], breaker=TOUCHY, max_running=1, on_dead="keep") as pool:
        await quarantine(pool)
        assert await pool.run(gets) == ("b", 0.0)


# Leaving the block.


async def test_leaving_the_block_waits_for_a_quarantine_and_runs_what_is_queued(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await quarantine(pool)
        jobs: list[Job[Any]] = [await pool.submit(fn) for fn in (fails, gets)]
    assert jobs[1].result() == ("a", 20.0)


async def test_leaving_the_block_does_not_wait_for_a_quarantine_that_no_job_waits_for(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await quarantine(pool)
    assert trio.current_time() == 0.0


async def test_cancelling_the_pool_does_not_wait_for_a_quarantine(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await quarantine(pool)
        job = await pool.submit(works)
        pool.cancel()
    assert job.state is JobState.CANCELLED
    assert trio.current_time() == 0.0
