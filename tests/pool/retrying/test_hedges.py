"""3.7: hedges: when a slow attempt is started on further workers, and whose value counts."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import (
    Doors,
    Mint,
    after,
    cancelled,
    counts,
    script,
    shielded,
    sleeps,
    slow_on,
    state_of,
    works,
)
from trio_pool import (
    Attempt,
    AttemptTimeoutError,
    CircuitBreaker,
    DeadReason,
    Discard,
    Elastic,
    GiveUp,
    Hedge,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Pool,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import one_at_a_time

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

# With resources or slots, as they come.
open_anything: Any = open_pool


class Attempts(Instrument):
    """Notes the attempts of all jobs."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[Attempt] = []

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        self.started.append(worker.name)

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        self.ended.append(attempt)


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


# It is one attempt.


async def test_all_together_are_one_attempt(autojump_clock: MockClock) -> None:
    attempts = Attempts()
    work = script(a=after(10), b=after(10), c=after(1))
    resources = [Resource(name, name=f"worker {name}") for name in "abc"]
    async with open_pool(resources, instruments=[attempts]) as pool:
        await trio.sleep(5)
        job = await pool.submit(work, hedge=Hedge(2, extra=2))
    together = Attempt(1, 1, "worker a", 5.0, 10.0, None, ((2, "worker b"), (3, "worker c")))
    assert job.attempts == (together,)
    assert job.attempt_count == 1
    assert (attempts.started, attempts.ended) == (["worker a"], [together])
    seen = pool.statistics()
    assert (seen.attempts, seen.failures, seen.succeeded) == (1, 0, 1)


async def test_it_runs_as_one_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(sleeps, 5.0, hedge=Hedge(1))
        await trio.sleep(2)
        assert pool.statistics().running == 1
        assert list(pool.jobs(JobState.RUNNING)) == [job]
        assert [worker.job for worker in pool.workers] == [job, job]
        assert [worker.state for worker in pool.workers] == [WorkerState.BUSY] * 2
        assert pool.idle_workers == ()
    assert [each.state for each in job.history] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]


async def test_its_worker_is_the_first_and_then_another_that_still_runs_it(autojump_clock: MockClock) -> None:
    work = script(a=after(4, ValueError()), b=after(6), c=after(1, ValueError()))
    async with open_pool(["a", "b", "c"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1, extra=2))
        seen: list[str | None] = []
        for _ in range(7):
            await trio.sleep(1.001)
            seen.append(job.worker.name if job.worker is not None else None)
    assert seen == ["worker-1"] * 3 + ["worker-2"] * 3 + [None]


async def test_workers_count_what_each_of_them_has_done(autojump_clock: MockClock) -> None:
    """One that was cancelled since another was first has ended no attempt."""
    work = script(a=after(10), b=after(4, ValueError()), c=after(6))
    async with open_pool(["a", "b", "c"]) as pool:
        await pool.run(work, hedge=Hedge(1, extra=2))
        assert counts(pool) == [(0, 0), (1, 1), (1, 0)]
        assert [worker.busy_seconds for worker in pool.statistics().workers] == [8.0, 4.0, 6.0]


async def test_the_attempt_timeout_counts_from_the_first_start(autojump_clock: MockClock) -> None:
    deadlines: list[float] = []

    async def work(resource: str) -> None:
        deadlines.append(trio.current_effective_deadline())
        await trio.sleep_forever()

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(work, hedge=Hedge(2), attempt_timeout=5.0)
        await pool.join()
        assert counts(pool) == [(1, 1), (1, 1)]
    assert deadlines == [5.0, 5.0]
    (attempt,) = job.attempts
    assert (attempt.started_at, attempt.ended_at) == (0.0, 5.0)
    assert isinstance(attempt.error, AttemptTimeoutError)


@pytest.mark.parametrize("end", [Job[Any].cancel, None])
async def test_an_attempt_cut_short_everywhere_is_neither_counted_nor_kept(
    end: Callable[[Job[Any]], None] | None, autojump_clock: MockClock
) -> None:
    attempts = Attempts()
    async with open_pool(["a", "b", "c"], instruments=[attempts]) as pool:
        pool.workers[2].rest(5.0)
        job = await pool.submit(sleeps, 50.0, hedge=Hedge(1))
        await trio.sleep(2)
        if end is not None:
            end(job)
        else:
            async with trio.open_nursery() as nursery:
                for worker in pool.workers[:2]:
                    nursery.start_soon(partial(worker.remove, cancel=True))
        await wait_all_tasks_blocked()
        (attempt,) = attempts.ended
        assert isinstance(attempt.error, JobCancelledError)
        assert (attempt.number, attempt.hedges) == (1, ((2, "worker-2"),))
        assert (job.attempts, job.attempt_count, pool.statistics().attempts) == ((), 0, 0)
    assert job.state is (JobState.SUCCEEDED if end is None else JobState.CANCELLED)


async def test_it_is_no_attempt_nor_a_retry_for_the_budget(autojump_clock: MockClock) -> None:
    work = script(a=after(3, ValueError()), b=after(3, ValueError()))
    budget = RetryBudget(ratio=0.5, minimum=0)
    async with open_pool(["a", "b"], retry_budget=budget, on_dead="keep") as pool:
        job = await pool.submit(work, hedge=Hedge(1), retry=RetryPolicy())
    assert (job.dead_reason, job.attempt_count) == (DeadReason.BUDGET_EXHAUSTED, 1)


# What it counts for all the same.


async def test_each_counts_in_max_running(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b", "c")
    async with open_pool(["a", "b", "c"], max_running=2) as pool:
        await pool.submit(work, hedge=Hedge(1, extra=2))
        await trio.sleep(2)
        assert await pool.submit(works) in pool.jobs(JobState.QUEUED)
    assert work.began == [("a", 0.0), ("b", 1.0)]


async def test_room_that_one_leaves_in_max_running_is_for_others(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=after(1, ValueError()))
    async with open_pool(["a", "b", "c"], max_running=2) as pool:
        await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(1.5)
        await pool.run(works)
        assert trio.current_time() == 2.0


async def test_each_start_counts_in_the_rate_of_the_pool(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b", "c")
    async with open_pool(["a", "b", "c"], rate_limit=RateLimit(1, per=10.0)) as pool:
        await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(15)
        await pool.run(works)
        assert trio.current_time() == 20.0
    assert work.began == [("a", 0.0), ("b", 10.0)]


async def test_each_start_counts_in_the_rate_of_its_worker(autojump_clock: MockClock) -> None:
    work = script(a=after(10), b=after(1))
    async with open_pool([Resource("a"), Resource("b", rate_limit=RateLimit(1, per=10.0))]) as pool:
        await pool.run(work, hedge=Hedge(3))
        await pool.run(works, worker=pool.workers[1])
        assert trio.current_time() == 13.0


@pytest.mark.parametrize("seconds", [1.0, 50.0])
async def test_each_counts_in_the_max_jobs_of_its_worker(seconds: float, autojump_clock: MockClock) -> None:
    """Also if another one is first."""
    doors = Doors()
    work = script(a=after(5), b=after(seconds))
    async with open_pool([Resource("a"), Resource("b", max_jobs=1)], lifespan=doors.lifespan) as pool:
        await pool.run(work, hedge=Hedge(1))
        await wait_all_tasks_blocked()
        assert doors.entered == ["a", "b", "b"]


async def test_the_probe_of_a_breaker_may_be_one_of_them(autojump_clock: MockClock) -> None:
    """If it is cut short, since another was first, the next job is the probe."""
    work = script(a=after(25), b=after(100))
    touchy = CircuitBreaker(failures=1, reset_after=10.0)
    async with open_pool([Resource("a"), Resource("b", breaker=touchy)], on_dead="keep") as pool:
        second = pool.workers[1]
        await pool.submit(after(0, ValueError()), worker=second)
        await pool.run(work, hedge=Hedge(1))
        assert work.began == [("a", 0.0), ("b", 10.0)]
        await pool.submit(after(0, ValueError()), worker=second)
        await wait_all_tasks_blocked()
        assert second.state is WorkerState.QUARANTINED


async def test_in_an_elastic_pool_no_worker_is_opened_for_it(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3, idle_timeout=math.inf)) as pool:
        job = await pool.submit(sleeps, 10.0, hedge=Hedge(1, extra=2))
        await trio.sleep(5)
        assert len(mint.opened) == 1
        await pool.run(works)  # which opens another, idle from then on
        await job.wait()
    assert len(mint.opened) == 2
    assert job.attempts[0].hedges == ((2, "worker-2"),)


# The first value wins.


@pytest.mark.parametrize("first", ["a", "b", "c"])
async def test_the_first_value_is_the_result_and_the_others_are_cancelled(
    first: str, autojump_clock: MockClock
) -> None:
    work = slow_on("a", "b", "c")
    work.acts[first] = after(4)
    async with open_pool(["a", "b", "c"]) as pool:
        assert await pool.run(work, hedge=Hedge(1, extra=2)) == first
        assert [at for _, at in work.ended] == [work.began["abc".index(first)][1] + 4] * 3
        assert len(pool.idle_workers) == 3


async def test_the_result_is_handed_out_when_the_others_have_ended(autojump_clock: MockClock) -> None:
    work = script(a=shielded(8), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(2))
        await trio.sleep(4)
        assert job.state is JobState.RUNNING
        assert job.worker is pool.workers[0]
        assert await job.wait() == "b"
        assert trio.current_time() == 8.0
        assert len(pool.idle_workers) == 2
    assert job.attempts[0].ended_at == 8.0


async def test_the_winner_s_worker_goes_on_at_once(autojump_clock: MockClock) -> None:
    work = script(a=shielded(8), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(2))
        await trio.sleep(2.5)
        assert await pool.run(after(1)) == "b"
        assert trio.current_time() == 4.0
        assert state_of(job) is JobState.RUNNING


async def test_what_a_loser_returns_in_spite_of_its_cancellation_changes_nothing(autojump_clock: MockClock) -> None:
    work = script(a=shielded(8), b=shielded(6), c=after(1))
    async with open_pool(["a", "b", "c"]) as pool:
        assert await pool.run(work, hedge=Hedge(1, extra=2)) == "c"
        assert counts(pool) == [(1, 0)] * 3
        assert pool.statistics().succeeded == 1


async def test_what_a_loser_raises_is_no_failure(autojump_clock: MockClock) -> None:
    asked: list[Exception] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append(error)

    work = script(a=cancelled(OSError()), b=after(1))
    touchy = CircuitBreaker(failures=1)
    async with open_pool(["a", "b"], on_failure=on_failure, breaker=touchy) as pool:
        job = await pool.submit(work, hedge=Hedge(2))
        assert await job.wait() == "b"
        assert pool.workers[0].state is WorkerState.IDLE
    assert asked == []
    assert (job.attempts[0].error, pool.statistics().failures) == (None, 0)


@pytest.mark.parametrize(
    "error", [GiveUp(), Discard(), RetryAfter(1.0), ResourceBroken(), ExceptionGroup("both", [GiveUp(), ValueError()])]
)
async def test_whatever_a_loser_raises_the_value_counts(error: Exception, autojump_clock: MockClock) -> None:
    work = script(a=cancelled(error), b=after(1))
    async with open_pool(["a", "b"], retry=RetryPolicy()) as pool:
        assert await pool.run(work, hedge=Hedge(2)) == "b"
        assert trio.current_time() == 3.0
    assert work.began == [("a", 0.0), ("b", 2.0)]


@pytest.mark.parametrize("error", [ValueError(), GiveUp(), Discard(), RetryAfter(1.0), ResourceBroken()])
async def test_a_value_counts_whatever_was_raised_before(error: Exception, autojump_clock: MockClock) -> None:
    work = script(a=after(3, error), b=shielded(5))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        assert await job.wait() == "b"
    (attempt,) = job.attempts
    assert (attempt.worker_name, attempt.error, attempt.ended_at) == ("worker-1", None, 6.0)


def by_cancel(pool: Pool[str], job: Job[Any]) -> None:
    job.cancel()


def by_pool_cancel(pool: Pool[str], job: Job[Any]) -> None:
    pool.cancel()


def not_at_all(pool: Pool[str], job: Job[Any]) -> None:
    """The timeout will do it."""


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (by_cancel, {}),
        (by_pool_cancel, {}),
        (not_at_all, {"attempt_timeout": 3.0}),
        (not_at_all, {"total_timeout": 3.0}),
    ],
)
async def test_a_value_counts_though_it_was_too_late(
    end: Callable[[Pool[str], Job[Any]], None], options: dict[str, Any], autojump_clock: MockClock
) -> None:
    work = script(a=after(100), b=shielded(5))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1), **options)
        await trio.sleep(3)
        end(pool, job)
        await trio.sleep(10)
    assert job.result() == "b"
    assert work.ended == [("a", 3.0), ("b", 6.0)]
    assert (job.state, job.attempt_count) == (JobState.SUCCEEDED, 1)


# Everything that submits takes it.


async def by_run(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.run(fn, *args, **options)


async def by_submit(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await (await pool.submit(fn, *args, **options)).wait()


async def by_submit_nowait(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.submit_nowait(fn, *args, idle_only=True, **options).wait()


async def by_map(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    async with pool.map(fn, args, **options) as results:
        (result,) = [result async for result in results]
        return result


async def by_as_completed(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    async with pool.as_completed(fn, args, **options) as jobs:
        (result,) = [job.result() async for job in jobs]
        return result


async def by_requeue(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.dead.requeue(await dead_job(pool, fn, *args), **options).wait()


async def by_requeue_of_one_that_has_it(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.dead.requeue(await dead_job(pool, fn, *args, **options)).wait()


async def dead_job(pool: Any, fn: Any, *args: Any, **options: Any) -> Job[Any]:
    """A job that has timed out before it could start."""
    for worker in pool.workers:
        worker.pause()
    job: Job[Any] = await pool.submit(fn, *args, total_timeout=1.0, **options)
    await pool.join()
    for worker in pool.workers:
        worker.resume()
    return job


@attrs.define
class FirstIsSlow:
    """Takes long when it is called first."""

    calls: int = 0

    async def __call__(self, *_: object) -> str:
        self.calls += 1
        if self.calls == 1:
            await trio.sleep(100)
        return f"call {self.calls}"


@pytest.mark.parametrize(
    "call",
    [by_run, by_submit, by_submit_nowait, by_map, by_as_completed, by_requeue, by_requeue_of_one_that_has_it],
)
@pytest.mark.parametrize("resources", [["a", "b"], 2])
async def test_everything_that_submits_a_job_takes_a_hedge(
    resources: Any, call: Callable[..., Awaitable[Any]], autojump_clock: MockClock
) -> None:
    async with open_anything(resources, on_dead="keep") as pool:
        assert await call(pool, FirstIsSlow(), "item", hedge=Hedge(0.5)) == "call 2"


async def test_a_dead_job_can_be_queued_again_without_it(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        dead = await dead_job(pool, work, hedge=Hedge(1))
        await pool.dead.requeue(dead, hedge=None, total_timeout=None).wait()
    assert work.began == [("a", 1.0)]


request_id: ContextVar[str] = ContextVar("request_id")


async def test_on_each_worker_it_runs_in_a_fresh_copy_of_its_submitter_s_context(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def work(resource: str) -> None:
        seen.append(request_id.get())
        request_id.set(f"set by {resource}")
        await trio.sleep(2)
        seen.append(request_id.get())

    request_id.set("of the submitter")
    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, hedge=Hedge(1))
    assert seen == ["of the submitter", "of the submitter", "set by a"]
    assert request_id.get() == "of the submitter"


async def test_on_each_worker_it_is_the_same_job(autojump_clock: MockClock) -> None:
    seen: list[Job[Any]] = []

    async def work(resource: str) -> None:
        seen.append(current_job())
        await trio.sleep(2)

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
    assert seen == [job, job]


async def test_a_job_can_t_remove_any_worker_that_it_runs_on(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def work(resource: str) -> None:
        await trio.sleep(2)
        for worker in pool.workers:
            with pytest.raises(RuntimeError, match="can't be removed by the job that runs on it"):
                await worker.remove()
            told.append(worker.name)

    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, hedge=Hedge(1))
    assert told == ["worker-1", "worker-2"]
