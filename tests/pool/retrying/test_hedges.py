"""When a slow attempt is started on further workers, and on which."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import after, script, shielded, sleeps, slow_on, works
from trio_pool import (
    CircuitBreaker,
    Hedge,
    JobFailedError,
    Pool,
    RateLimit,
    Resource,
    RetryPolicy,
    WorkerState,
    open_pool,
)
from trio_pool.testing import one_at_a_time


async def later(seconds: float, call: Callable[[], object]) -> None:
    """Call something after a while."""
    await trio.sleep(seconds)
    call()


# When it is started on which worker.


async def test_a_slow_attempt_is_started_on_an_idle_worker_too(autojump_clock: MockClock) -> None:
    work = script(a=after(10), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(work, hedge=Hedge(2)) == "b"
        assert trio.current_time() == 3.0
    assert work.began == [("a", 0.0), ("b", 2.0)]
    assert work.ended == [("b", 3.0), ("a", 3.0)]


@pytest.mark.parametrize("error", [None, ValueError()])
async def test_an_attempt_that_ends_in_time_is_not(error: Exception | None, autojump_clock: MockClock) -> None:
    work = script(a=after(1.9, error))
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(work, hedge=Hedge(2))
        await trio.sleep(10)
    assert work.began == [("a", 0.0)]
    assert job.attempts[0].hedges == ()


@pytest.mark.parametrize(
    ("hedge", "began"),
    [
        (Hedge(2, extra=2), [("a", 0.0), ("b", 2.0), ("c", 4.0)]),
        (Hedge(0, extra=2), [("a", 0.0), ("b", 0.0), ("c", 0.0)]),
        (Hedge(2, extra=9), [("a", 0.0), ("b", 2.0), ("c", 4.0), ("d", 6.0)]),
        (Hedge(101, extra=9), [("a", 0.0)]),
    ],
)
async def test_after_the_same_time_again_it_is_started_on_one_more_up_to_so_many(
    hedge: Hedge, began: list[tuple[str, float]], autojump_clock: MockClock
) -> None:
    """And never twice on the same."""
    work = slow_on("a", "b", "c", "d")
    async with open_pool(["a", "b", "c", "d"]) as pool:
        await pool.run(work, hedge=hedge)
    assert work.began == began
    assert trio.current_time() == 100.0


async def test_a_job_without_a_hedge_runs_once(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, hedge=None)
    assert work.began == [("a", 0.0)]


# Each keeps the worker b, if it is there, from being started on before the fifth second.


async def busy(pool: Pool[str], nursery: trio.Nursery) -> None:
    await pool.submit(sleeps, 5.0, worker=pool.workers[1])


async def paused(pool: Pool[str], nursery: trio.Nursery) -> None:
    pool.workers[1].pause()
    nursery.start_soon(later, 5.0, pool.workers[1].resume)


async def resting(pool: Pool[str], nursery: trio.Nursery) -> None:
    pool.workers[1].rest(5.0)


async def quarantined(pool: Pool[str], nursery: trio.Nursery) -> None:
    job = await pool.submit(after(0, ValueError()), worker=pool.workers[1])
    with pytest.raises(JobFailedError):
        await job.wait()
    assert pool.workers[1].state is WorkerState.QUARANTINED


async def held_back_by_its_rate(pool: Pool[str], nursery: trio.Nursery) -> None:
    await pool.run(works, worker=pool.workers[1])
    assert pool.workers[1].state is WorkerState.IDLE


async def held_back_by_the_pool(pool: Pool[str], nursery: trio.Nursery) -> None:
    def widen() -> None:
        pool.max_running = None

    pool.max_running = 1
    nursery.start_soon(later, 5.0, widen)


async def held_back_by_the_rate_of_the_pool(pool: Pool[str], nursery: trio.Nursery) -> None:
    pool.rate_limit = RateLimit(1, per=5.0)


Hold = Callable[[Pool[str], trio.Nursery], Awaitable[None]]


@pytest.mark.parametrize(
    "hold",
    [
        busy,
        paused,
        resting,
        quarantined,
        held_back_by_its_rate,
        held_back_by_the_pool,
        held_back_by_the_rate_of_the_pool,
    ],
)
async def test_where_no_worker_is_idle_it_waits_for_the_first_that_is(hold: Hold, autojump_clock: MockClock) -> None:
    touchy = CircuitBreaker(failures=1, reset_after=5.0)
    second = Resource("b", breaker=touchy, rate_limit=RateLimit(1, per=5.0) if hold is held_back_by_its_rate else None)
    work = slow_on("a", "b")
    async with open_pool([Resource("a"), second]) as pool, trio.open_nursery() as nursery:
        await hold(pool, nursery)
        await pool.run(work, hedge=Hedge(1, extra=3))
    assert work.began == [("a", 0.0), ("b", 5.0)]


async def test_it_waits_for_a_worker_that_is_added(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=after(1))
    async with open_pool(["a"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(5)
        await pool.add("b")
        assert await job.wait() == "b"
    assert trio.current_time() == 6.0


async def test_from_then_on_the_time_for_the_next_is_counted(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b", "c")
    async with open_pool(["a", "b", "c"]) as pool:
        for worker in pool.workers[1:]:
            worker.rest(5.0)
        await pool.run(work, hedge=Hedge(2, extra=2))
    assert work.began == [("a", 0.0), ("b", 5.0), ("c", 7.0)]


async def test_of_two_that_wait_for_an_idle_worker_the_first_gets_it(autojump_clock: MockClock) -> None:
    first, second = slow_on("a", "b"), script(b=after(20), c=after(20))
    async with open_pool(["a", "b", "c"]) as pool:
        pool.workers[2].rest(5.0)
        await pool.submit(first, hedge=Hedge(2))
        await pool.submit(second, hedge=Hedge(1))
    assert second.began == [("b", 0.0), ("c", 5.0)]
    assert first.began == [("a", 0.0), ("b", 20.0)]


@pytest.mark.parametrize("max_queue", [0, 1000])
async def test_what_waits_for_the_worker_goes_first(max_queue: int, autojump_clock: MockClock) -> None:
    """A job in the queue, however little it matters, or one that waits for a place there."""
    work, other = slow_on("a", "b"), script(b=after(3))
    async with open_pool(["a", "b"], max_queue=max_queue) as pool, trio.open_nursery() as nursery:
        await pool.submit(work, hedge=Hedge(1))
        await pool.submit(sleeps, 2.0)
        nursery.start_soon(partial(pool.submit, other, priority=99))
    assert work.began == [("a", 0.0), ("b", 5.0)]


@pytest.mark.parametrize("pinned", [False, True])
async def test_a_job_that_can_t_use_the_worker_does_not_hold_it_up(pinned: bool, autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    async with open_pool([Resource("a", tags=["tag"]), Resource("b")]) as pool:
        await pool.submit(work, hedge=Hedge(1))
        await pool.submit(works, worker=pool.workers[0] if pinned else None, requires=[] if pinned else ["tag"])
    assert work.began == [("a", 0.0), ("b", 1.0)]


async def test_only_a_worker_that_may_take_the_job_is_one_for_it(autojump_clock: MockClock) -> None:
    work = slow_on("a", "c")
    async with open_pool([Resource("a", tags=["x"]), Resource("b"), Resource("c", tags=["x", "y"])]) as pool:
        await pool.run(work, hedge=Hedge(1, extra=2), requires=["x"])
    assert work.began == [("a", 0.0), ("c", 1.0)]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
async def test_which_of_several_idle_workers_it_is_the_pool_decides_as_ever(
    pick: Any, autojump_clock: MockClock
) -> None:
    work = slow_on("a", "b", "c")
    async with open_pool(["a", "b", "c"], pick=pick) as pool:
        for worker in pool.workers:
            await pool.run(works, worker=worker)
        await pool.run(work, hedge=Hedge(1))
    where = [resource for resource, _ in work.began]
    if pick == "random":
        assert len(set(where)) == 2
    else:
        assert where == (["a", "b"] if pick == "longest_idle" else ["c", "b"])


async def test_a_job_for_one_worker_alone_is_never_started_on_another(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, hedge=Hedge(1), worker=pool.workers[1])
    assert work.began == [("b", 0.0)]


async def test_nor_is_an_attempt_that_has_to_be_on_the_same_worker(autojump_clock: MockClock) -> None:
    work = script(a=after(0.5, ValueError()))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1), retry=RetryPolicy.fixed(1.0, placement="same"))
        await trio.sleep(1)
        work.acts["a"] = after(100)
        assert await job.wait() == "a"
    assert work.began == [("a", 0.0), ("a", 1.5)]


async def test_the_bounce_holds_for_further_workers_too(autojump_clock: MockClock) -> None:
    work = script(a=after(0.5, ValueError()), b=after(100), c=after(100))
    async with open_pool(["a", "b", "c"]) as pool:
        await pool.run(work, hedge=Hedge(1, extra=2), retry=RetryPolicy.fixed(0.5, placement="other"))
    assert work.began == [("a", 0.0), ("b", 1.0), ("c", 2.0)]


async def test_each_attempt_is_hedged_anew(autojump_clock: MockClock) -> None:
    work = script(a=after(3, ValueError()), b=after(3, ValueError()))
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(work, hedge=Hedge(1), retry=RetryPolicy.fixed(1.0, max_attempts=2))
    assert work.began == [("a", 0.0), ("b", 1.0), ("a", 5.0), ("b", 6.0)]
    assert [attempt.hedges for attempt in job.attempts] == [((2, "worker-2"),)] * 2


async def test_an_attempt_that_has_ended_waits_for_no_further_worker(autojump_clock: MockClock) -> None:
    work = script(a=after(3))
    async with open_pool(["a", "b"]) as pool:
        pool.workers[1].rest(5.0)
        await pool.run(work, hedge=Hedge(1))
        await trio.sleep(10)
    assert work.began == [("a", 0.0)]


@pytest.mark.parametrize("cancelled_at", [1.0, 3.0])
async def test_nothing_is_started_after_a_cancellation(cancelled_at: float, autojump_clock: MockClock) -> None:
    """Neither before its time has come nor while it waits for a worker."""
    work = script(a=shielded(10))
    async with open_pool(["a", "b"]) as pool:
        pool.workers[1].rest(5.0)
        job = await pool.submit(work, hedge=Hedge(2))
        await trio.sleep(cancelled_at)
        job.cancel()
        assert await job.wait() == "a"
    assert work.began == [("a", 0.0)]


@pytest.mark.parametrize(
    "options", [{kind: limit} for kind in ("attempt_timeout", "total_timeout") for limit in (2.0, 4.0)]
)
async def test_nothing_is_started_after_a_timeout(options: Any, autojump_clock: MockClock) -> None:
    """Nor at the same instant, nor while it waits for a worker."""
    work = script(a=shielded(10))
    async with open_pool(["a", "b"]) as pool:
        pool.workers[1].rest(5.0)
        job = await pool.submit(work, hedge=Hedge(2), **options)
        assert await job.wait() == "a"
    assert work.began == [("a", 0.0)]


async def test_in_a_pool_forced_to_run_one_at_a_time_nothing_is_started_twice(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    with one_at_a_time():
        async with open_pool(["a", "b"]) as pool:
            await pool.run(work, hedge=Hedge(1))
    assert work.began == [("a", 0.0)]
