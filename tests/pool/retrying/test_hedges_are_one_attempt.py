"""A hedged attempt is one attempt on several workers, and which limits each of them counts in."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, Mint, after, counts, script, sleeps, slow_on, works
from trio_pool import (
    Attempt,
    AttemptTimeoutError,
    CircuitBreaker,
    DeadReason,
    Elastic,
    Hedge,
    Instrument,
    Job,
    JobCancelledError,
    JobState,
    RateLimit,
    Resource,
    RetryBudget,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)


class Attempts(Instrument):
    """Notes the attempts of all jobs."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[Attempt] = []

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        self.started.append(worker.name)

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        self.ended.append(attempt)


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
