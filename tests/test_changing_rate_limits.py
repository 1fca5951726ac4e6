"""3.7: rate limits in pools that change: no fresh burst, nothing lost, nobody woken in vain."""

# A block that is cancelled has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, state_of, works
from tests.effort import part_of
from trio_pool import (
    DeadReason,
    Instrument,
    Job,
    JobState,
    Pool,
    RateLimit,
    Resource,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)
from trio_pool.testing import Flaky

# One attempt every ten seconds.
SLOW = RateLimit(1, per=10.0)
PROMPT = RetryPolicy.immediate(max_attempts=3)


async def gets(resource: str) -> tuple[str, float]:
    """Returns what it is given, and when."""
    return resource, trio.current_time()


def limited_pool(limit: RateLimit = SLOW, **options: Any) -> AbstractAsyncContextManager[Pool[str]]:
    """A pool of one worker that has a limit as a whole."""
    return open_pool(["a"], rate_limit=limit, **options)


def limited_worker(limit: RateLimit = SLOW, **options: Any) -> AbstractAsyncContextManager[Pool[str]]:
    """A pool of one worker that has a limit of its own."""
    return open_pool([Resource("a", rate_limit=limit)], **options)


LimitedPool = Callable[..., AbstractAsyncContextManager[Pool[str]]]
either = pytest.mark.parametrize("limited", [limited_pool, limited_worker])


# No fresh burst.


async def pauses(pool: Pool[str], worker: Worker) -> None:
    worker.pause()
    worker.resume()


async def rests(pool: Pool[str], worker: Worker) -> None:
    worker.rest(1.0)


async def adds(pool: Pool[str], worker: Worker) -> None:
    await pool.add("b")


async def replaces(pool: Pool[str], worker: Worker) -> None:
    await pool.add("b")
    await worker.remove()


async def sets_the_same_limit(pool: Pool[str], worker: Worker) -> None:
    pool.rate_limit = pool.rate_limit


async def sets_a_larger_burst(pool: Pool[str], worker: Worker) -> None:
    pool.rate_limit = RateLimit(1, per=10.0, burst=10)


async def lifts_the_limit_and_sets_it_again(pool: Pool[str], worker: Worker) -> None:
    limit, pool.rate_limit = pool.rate_limit, None
    pool.rate_limit = limit


@pytest.mark.parametrize(
    "change",
    [pauses, rests, adds, replaces, sets_the_same_limit, sets_a_larger_burst, lifts_the_limit_and_sets_it_again],
)
async def test_nothing_that_changes_meanwhile_hands_out_a_fresh_burst_of_the_pools_limit(
    change: Callable[[Pool[str], Worker], Any], autojump_clock: MockClock
) -> None:
    async with open_pool(["a"], rate_limit=RateLimit(1, per=10.0, burst=2)) as pool:
        for _ in range(2):
            await pool.run(works)
        for _ in range(3):
            await change(pool, pool.workers[0])
        jobs = [await pool.submit(gets) for _ in range(2)]
    assert [job.result()[1] for job in jobs] == [10.0, 20.0]


@pytest.mark.parametrize("change", [pauses, rests, adds])
async def test_nothing_that_changes_meanwhile_hands_out_a_fresh_burst_of_a_workers_limit(
    change: Callable[[Pool[str], Worker], Any], autojump_clock: MockClock
) -> None:
    async with limited_worker(RateLimit(1, per=10.0, burst=2)) as pool:
        (worker,) = pool.workers
        for _ in range(2):
            await pool.run(works)
        for _ in range(3):
            await change(pool, worker)
        jobs = [await pool.submit(gets, worker=worker) for _ in range(2)]
    assert [job.result() for job in jobs] == [("a", 10.0), ("a", 20.0)]


async def test_what_has_been_regained_of_a_limit_is_kept_when_it_changes(autojump_clock: MockClock) -> None:
    """Half of the way to the next start is gone at the old rate, the other half goes at the new one."""
    async with limited_pool() as pool:
        await pool.run(works)
        waiting = await pool.submit(gets)
        await trio.sleep(5)
        pool.rate_limit = RateLimit(1, per=4.0)
        behind = await pool.submit(gets)
    assert (waiting.result()[1], behind.result()[1]) == (7.0, 11.0)


async def test_a_slower_limit_holds_for_jobs_that_wait_already(autojump_clock: MockClock) -> None:
    async with limited_pool() as pool:
        await pool.run(works)
        waiting = await pool.submit(gets)
        pool.rate_limit = RateLimit(1, per=30.0)
        assert pool.rate_limit == RateLimit(1, per=30.0)
    assert waiting.result()[1] == 30.0


async def test_without_the_limit_what_waits_starts_at_once(autojump_clock: MockClock) -> None:
    async with limited_pool(RateLimit(1, per=1e6)) as pool:
        jobs = [await pool.submit(gets) for _ in range(3)]
        await trio.sleep(5)
        pool.rate_limit = None
        assert pool.rate_limit is None
    assert [job.result()[1] for job in jobs] == [0.0, 5.0, 5.0]


async def test_a_pool_that_had_no_limit_can_get_one(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert pool.rate_limit is None
        await pool.run(works)
        pool.rate_limit = RateLimit(1, per=10.0, burst=2)
        jobs = [await pool.submit(gets) for _ in range(3)]
    assert [job.result()[1] for job in jobs] == [0.0, 0.0, 10.0]


# Workers come and go.


async def test_a_job_goes_on_at_once_with_a_worker_that_is_added_while_it_waits_for_anothers_limit(
    autojump_clock: MockClock,
) -> None:
    async with limited_worker() as pool:
        await pool.run(works)
        job = await pool.submit(gets)
        await trio.sleep(3)
        await pool.add("b")
    assert job.result() == ("b", 3.0)


@either
async def test_a_worker_paused_when_its_limit_would_let_it_start_starts_when_it_is_resumed(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        (worker,) = pool.workers
        await pool.run(works)
        job = await pool.submit(gets)
        worker.pause()
        await trio.sleep(15)
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
    assert job.result()[1] == 15.0


@either
async def test_a_worker_that_a_limit_holds_back_can_be_removed_at_once(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(on_dead="keep") as pool:
        await pool.run(works)
        job = await pool.submit(works)
        await pool.workers[0].remove()
        assert job.dead_reason is DeadReason.NO_WORKER
    assert trio.current_time() == 0.0


# Leaving the block.


@either
async def test_leaving_the_block_waits_for_the_limit_and_runs_what_is_queued(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(RateLimit(1, per=1e6)) as pool:
        jobs = [await pool.submit(gets) for _ in range(3)]
    assert [job.result()[1] for job in jobs] == [0.0, 1e6, 2e6]


@either
async def test_leaving_the_block_does_not_wait_for_a_limit_that_no_job_waits_for(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        await pool.run(works)
    assert trio.current_time() == 0.0


@either
async def test_cancelling_the_pool_does_not_wait_for_the_limit(limited: LimitedPool, autojump_clock: MockClock) -> None:
    async with limited() as pool:
        await pool.run(works)
        job = await pool.submit(works)
        pool.cancel()
    assert job.state is JobState.CANCELLED
    assert trio.current_time() == 0.0


@either
async def test_a_block_that_is_cancelled_does_not_wait_for_the_limit(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(3) as scope:
        async with limited() as pool:
            for _ in range(3):
                await pool.submit(works)
    assert scope.cancelled_caught
    assert trio.current_time() == 3.0


async def test_a_job_that_nobody_may_take_any_more_does_not_wait_for_the_pools_limit(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery, limited_pool(no_worker="wait", on_dead="keep") as pool:
        (worker,) = pool.workers
        await pool.run(works)
        job = await pool.submit(works)

        @nursery.start_soon
        async def remove_it() -> None:
            await trio.sleep(1)
            await worker.remove()

    assert (job.dead_reason, job.finished_at) == (DeadReason.NO_WORKER, 1.0)


async def test_a_job_that_nobody_may_take_does_not_wait_for_the_pools_limit_when_the_last_other_job_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery, limited_pool(no_worker="wait", on_dead="keep") as pool:
        await pool.run(works)
        orphan = await pool.submit(works, requires=["red"])
        waiting = await pool.submit(works)

        @nursery.start_soon
        async def cancel_it() -> None:
            await trio.sleep(1)
            waiting.cancel()

    assert (orphan.dead_reason, orphan.finished_at) == (DeadReason.NO_WORKER, 1.0)


# Nothing is woken before its time.


class Scheduled(trio.abc.Instrument):
    """Notes which tasks were scheduled, by the time."""

    def __init__(self) -> None:
        self.tasks: dict[float, set[trio.lowlevel.Task]] = {}

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.tasks.setdefault(trio.current_time(), set()).add(task)


async def check_who_is_woken_until_all_has_ended(pool: Pool[str]) -> None:
    """Once for each start the timer and a worker, and whoever waits for the end."""
    await wait_all_tasks_blocked()
    scheduled = Scheduled()
    trio.lowlevel.add_instrument(scheduled)
    await pool.join()
    trio.lowlevel.remove_instrument(scheduled)
    assert {at: len(tasks) for at, tasks in scheduled.tasks.items()} == {10.0: 2, 20.0: 2, 30.0: 3}


@either
async def test_nothing_is_woken_before_the_limit_lets_something_start(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        for _ in range(4):
            await pool.submit(works)
        await check_who_is_woken_until_all_has_ended(pool)


async def test_of_many_idle_workers_only_the_one_that_gets_the_job_is_woken(autojump_clock: MockClock) -> None:
    async with open_pool(["a"] * 50, rate_limit=SLOW) as pool:
        for _ in range(4):
            await pool.submit(works)
        await check_who_is_woken_until_all_has_ended(pool)


# However it goes.


RATES = st.builds(RateLimit, st.integers(1, 4), per=st.sampled_from([1.0, 4.0, 10.0]), burst=st.integers(1, 3))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "fail", "long", "pause", "resume", "rest", "evict", "add", "change"]),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.0, 0.25, 1.0, 7.5]),
    ),
    max_size=25,
)


def check_no_window_holds_too_many(starts: list[float], limit: RateLimit) -> None:
    """No ``per`` seconds that begin with a start may hold more than ``count + burst``."""
    for first in starts:
        inside = [at for at in starts if first <= at < first + limit.per]
        assert len(inside) <= limit.count + limit.burst


class Starts(Instrument):
    """Notes when attempts start, by worker."""

    def __init__(self) -> None:
        self.log: list[tuple[Worker, float]] = []

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        self.log.append((worker, trio.current_time()))


NONE_OR_FEW = st.sampled_from([None, 1, 2])


@settings(max_examples=part_of(150))
@given(STEPS, RATES, RATES, NONE_OR_FEW, NONE_OR_FEW)
def test_no_window_holds_more_starts_than_count_and_burst_whatever_is_done_to_pool_and_workers(
    steps: list[tuple[str, int, float]],
    of_pool: RateLimit,
    of_worker: RateLimit,
    max_running: int | None,
    max_jobs: int | None,
) -> None:
    starts = Starts()

    async def main() -> None:
        jobs: list[Job[Any]] = []
        resources = [Resource(name, rate_limit=of_worker, max_jobs=max_jobs) for name in "abc"]
        options: dict[str, Any] = {"rate_limit": of_pool, "max_running": max_running}
        # In far less than that all have ended, or they never will.
        with trio.fail_after(1e6):
            await use(resources, options, jobs)
        assert [job.state for job in jobs] == [JobState.SUCCEEDED] * len(jobs)

    async def use(resources: list[Resource[str]], options: dict[str, Any], jobs: list[Job[Any]]) -> None:
        async with open_pool(resources, **options, retry=PROMPT, instruments=[starts]) as pool:
            for step, number, seconds in steps:
                worker = pool.workers[number % len(pool.workers)]
                if step == "submit":
                    jobs += [await pool.submit(works) for _ in range(number)]
                elif step == "fail":
                    jobs.append(await pool.submit(Flaky(2, result="done")))
                elif step == "long":
                    jobs.append(await pool.submit(sleeps, 3.0))
                elif step == "pause":
                    worker.pause()
                elif step == "resume":
                    worker.resume()
                elif step == "rest":
                    worker.rest(2.0)
                elif step == "evict":
                    await pool.add("d", rate_limit=of_worker)
                    await worker.remove(cancel=True)
                elif step == "add":
                    await pool.add("d", rate_limit=of_worker)
                else:
                    pool.rate_limit = of_pool
                await trio.sleep(seconds)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    check_no_window_holds_too_many([at for _, at in starts.log], of_pool)
    for worker in {worker for worker, _ in starts.log}:
        check_no_window_holds_too_many([at for each, at in starts.log if each is worker], of_worker)
