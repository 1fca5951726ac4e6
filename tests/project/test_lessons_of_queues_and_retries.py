"""How queues and retries of published pools have failed, and this one does not."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.project.giving_up import discards, gives_up
from trio_pool import (
    AttemptTimeoutError,
    DeadReason,
    Instrument,
    JobCancelledError,
    JobFailedError,
    JobState,
    JobTimeoutError,
    RateLimit,
    Resource,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import Flaky

# Queues and wake-ups.


async def test_a_backoff_does_not_hold_up_the_good_jobs_behind_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(0.05)) as pool:
        flaky = [await pool.submit(Flaky(1, result="done")) for _ in range(100)]
        good = [await pool.submit(works) for _ in range(100)]
        for job in good:
            await job.wait()
        assert trio.current_time() == 0.0
        for job in flaky:
            await job.wait()
        assert trio.current_time() == 0.05


async def test_the_load_is_not_dealt_out_in_advance(autojump_clock: MockClock) -> None:
    """A worker that is held up by a long job leaves the short ones to the others."""
    used: Counter[str] = Counter()

    async def takes(resource: str, seconds: float) -> None:
        used[resource] += 1
        await trio.sleep(seconds)

    async with open_pool(["a", "b"]) as pool:
        await pool.submit(takes, 100.0)
        for _ in range(9):
            await pool.submit(takes, 1.0)
        await trio.sleep(9.5)
        assert used == {"a": 1, "b": 9}


async def test_pausing_or_removing_the_last_worker_does_not_kill_its_queue(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait") as pool:
        (worker,) = pool.workers
        worker.pause()
        jobs = [await pool.submit(works) for _ in range(3)]
        await worker.remove()
        assert [job.state for job in jobs] == [JobState.QUEUED] * 3
        await pool.add("b")
        await pool.join()
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 3


async def test_no_wake_up_is_lost_on_the_way_of_a_retry(autojump_clock: MockClock) -> None:
    """Delays that end at the very instants at which workers run dry."""
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(1.0, max_attempts=4)) as pool:
        for _ in range(20):
            for failures in range(3):
                await pool.submit(Flaky(failures, result="done"))
            await pool.submit(sleeps, 1.0)
            await trio.sleep(1.0)
            assert not (pool.idle_workers and pool.statistics().queued)
        await pool.join()
        assert trio.current_time() <= 23.0
    assert pool.statistics().succeeded == 80


async def test_a_priority_put_into_an_empty_queue_does_not_lose_the_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        for priority in (5, -5, 0, math.inf, -math.inf):
            assert await pool.run(works, priority=priority) == "done"


async def test_retries_at_the_front_keep_the_pool_going(autojump_clock: MockClock) -> None:
    policy = RetryPolicy.fixed(0.0, front=True)
    async with open_pool(["a"], retry=policy, max_queue=math.inf) as pool:
        for _ in range(1000):
            await pool.submit(Flaky(2, result="done"))
    assert pool.statistics().succeeded == 1000
    assert pool.statistics().attempts == 3000


@pytest.mark.parametrize("of_pool", [True, False])
async def test_no_fresh_burst_is_handed_out_by_pausing_adding_and_removing(
    autojump_clock: MockClock, of_pool: bool
) -> None:
    limit = RateLimit(1, per=10.0, burst=2)
    resources = ["a"] if of_pool else [Resource("a", rate_limit=limit)]
    async with open_pool(resources, rate_limit=limit if of_pool else None) as pool:
        (worker,) = pool.workers
        jobs = [await pool.submit(works, worker=worker) for _ in range(4)]
        await wait_all_tasks_blocked()
        for _ in range(3):
            worker.pause()
            other = await pool.add("b")
            worker.resume()
            await other.remove()
    assert [job.finished_at for job in jobs] == [0.0, 0.0, 10.0, 20.0]


@pytest.mark.parametrize("of_pool", [True, False])
async def test_a_rate_limit_is_not_for_first_attempts_only(autojump_clock: MockClock, of_pool: bool) -> None:
    limit = RateLimit(1, per=10.0)
    resources = ["a"] if of_pool else [Resource("a", rate_limit=limit)]
    async with open_pool(resources, rate_limit=limit if of_pool else None, retry=RetryPolicy.fixed(0.0)) as pool:
        job = await pool.submit(Flaky(2, result="done"))
    assert [attempt.started_at for attempt in job.attempts] == [0.0, 10.0, 20.0]


async def test_a_concurrency_limit_holds_until_the_work_is_done(autojump_clock: MockClock) -> None:
    running = most = 0

    async def works_a_while(resource: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    async with open_pool(["a", "b", "c", "d"], max_running=2) as pool:
        for _ in range(8):
            await pool.submit(works_a_while)
    assert most == 2
    assert trio.current_time() == 4.0


async def test_a_concurrency_limit_of_zero_is_an_error_and_does_not_hang(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="max_running must be at least 1, got 0"):
        open_pool(["a"], max_running=0)
    async with open_pool(["a"]) as pool:
        with pytest.raises(ValueError, match="max_running must be at least 1, got 0"):
            pool.max_running = 0
        assert await pool.run(works) == "done"


async def test_a_job_that_cannot_start_at_the_head_of_the_queue_blocks_nothing_behind_it(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a", "b"]) as pool:
        first = pool.workers[0]
        first.rest(10.0)
        held_back = await pool.submit(works, worker=first, priority=-1)
        assert await pool.run(works) == "done"
        assert trio.current_time() == 0.0
        assert held_back.state is JobState.QUEUED


async def test_a_job_that_one_resources_limit_holds_back_blocks_nothing_behind_it(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=1000.0)), Resource("b")]) as pool:
        first, _ = pool.workers
        await pool.run(works, worker=first)
        held_back = await pool.submit(works, worker=first, priority=-1)
        for _ in range(5):
            assert await pool.run(works) == "done"
        assert trio.current_time() == 0.0
        assert held_back.state is JobState.QUEUED


async def test_cancelled_jobs_and_submitters_leak_no_start_of_a_rate_limit(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=1, rate_limit=RateLimit(1, per=10.0)) as pool:
        await pool.run(works)
        for _ in range(5):
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    for _ in range(6):
                        nursery.start_soon(pool.run, works)
        assert pool.statistics().submitters_waiting == 0
        await pool.run(works)
        assert trio.current_time() == 10.0


async def test_cancelled_jobs_and_submitters_leak_no_slot(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=1, max_running=2) as pool:
        for _ in range(50):
            with trio.move_on_after(0.1):
                async with trio.open_nursery() as nursery:
                    for _ in range(6):
                        nursery.start_soon(pool.run, sleeps_forever)
        assert pool.statistics().submitters_waiting == 0
        assert len(pool.idle_workers) == 2
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(pool.run, sleeps, 1.0)
        assert trio.current_time() == before + 1.0


# Retries and time.


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", "none", 1.0])
def test_no_delay_overflows_however_many_attempts_have_failed(jitter: Any) -> None:
    policy = RetryPolicy(max_attempts=None, max_delay=20.0, jitter=jitter)
    for failed in (1000, 1023, 1024, 1025, 5000, 10**6):
        assert 0.0 <= policy.delay(failed, ValueError(), 20.0, Random(0)) <= 21.0


def test_no_delay_overflows_without_a_longest_one() -> None:
    policy = RetryPolicy(max_attempts=None, max_delay=math.inf, jitter="none")
    assert math.isfinite(policy.delay(5000, ValueError(), 0.0, Random(0)))


def test_the_first_delay_is_the_base_and_not_twice_that() -> None:
    policy = RetryPolicy(base_delay=0.5, jitter="none")
    delays = [policy.delay(failed, ValueError(), 0.0, Random(0)) for failed in (1, 2, 3)]
    assert delays == [0.5, 1.0, 2.0]


def test_the_longest_delay_is_not_ignored() -> None:
    policy = RetryPolicy(base_delay=1.0, max_delay=3.0, jitter="none")
    assert [policy.delay(failed, ValueError(), 0.0, Random(0)) for failed in (1, 2, 3, 9)] == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", 1.0])
def test_jitter_is_not_a_constant(jitter: Any) -> None:
    policy = RetryPolicy(base_delay=1.0, jitter=jitter)
    rng = Random(0)
    assert len({policy.delay(2, ValueError(), 1.0, rng) for _ in range(20)}) == 20


def test_a_jitter_of_zero_is_none() -> None:
    policy = RetryPolicy(base_delay=1.0, jitter=0.0)
    assert policy.delay(1, ValueError(), 0.0, Random(0)) == 1.0


async def test_the_total_timeout_does_not_count_running_time_only(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(4.0, max_attempts=None), on_dead="keep") as pool:
        job = await pool.submit(fails, total_timeout=10.0)
    assert [attempt.started_at for attempt in job.attempts] == [0.0, 4.0, 8.0]
    assert job.dead_reason is DeadReason.TIMED_OUT


async def test_the_total_timeout_does_not_kill_a_retry_that_has_time_left(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(4.0)) as pool:
        assert await pool.run(Flaky(1, result="done"), total_timeout=5.0) == "done"


async def test_no_backoff_sleeps_past_the_total_deadline(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(100.0)) as pool:
        with pytest.raises(JobFailedError):
            await pool.run(fails, total_timeout=10.0)
        assert trio.current_time() < 10.0


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_attempts_are_not_multiplied(autojump_clock: MockClock, attempts: int) -> None:
    flaky = Flaky(100, result="done")
    policy = RetryPolicy.fixed(1.0, max_attempts=attempts)
    async with open_pool(["a", "b"], retry=policy, on_dead="keep") as pool:
        job = await pool.submit(flaky, retry=policy)
    assert len(flaky.calls) == job.attempt_count == attempts


def test_zero_attempts_are_an_error_and_no_success() -> None:
    with pytest.raises(ValueError, match="max_attempts must be at least 1, got 0"):
        RetryPolicy(max_attempts=0)


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("instruments", [(), (Instrument(),)])
async def test_the_bounce_remembers_whatever_else_is_switched_on(
    autojump_clock: MockClock, history: bool, instruments: tuple[Instrument, ...]
) -> None:
    used: list[str] = []

    async def notes_and_fails(resource: str) -> None:
        used.append(resource)
        raise ValueError

    policy = RetryPolicy.fixed(0.0, max_attempts=3, placement="other")
    async with open_pool(
        ["a", "b", "c"], retry=policy, history=history, instruments=instruments, on_dead="keep"
    ) as pool:
        await pool.submit(notes_and_fails)
    assert sorted(used) == ["a", "b", "c"]


async def test_a_timeout_of_the_users_own_is_not_taken_for_the_pools(autojump_clock: MockClock) -> None:
    async def is_impatient(resource: str) -> None:
        with trio.fail_after(1):
            await trio.sleep_forever()

    async with open_pool(["a"], attempt_timeout=5, total_timeout=9, on_dead="keep") as pool:
        job = await pool.submit(is_impatient)
    assert type(job.attempts[0].error) is trio.TooSlowError
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_a_timeout_of_the_pools_is_not_taken_for_the_users_own(autojump_clock: MockClock) -> None:
    caught_it: list[str] = []

    async def is_patient(resource: str) -> None:
        try:
            with trio.fail_after(100):
                await trio.sleep_forever()
        except trio.TooSlowError:
            caught_it.append(resource)

    async with open_pool(["a"], on_dead="keep") as pool:
        late = await pool.submit(is_patient, attempt_timeout=5)
        too_late = await pool.submit(is_patient, total_timeout=10)
    assert caught_it == []
    assert type(late.attempts[0].error) is AttemptTimeoutError
    assert type(too_late.attempts[0].error) is JobTimeoutError


@pytest.mark.parametrize(
    ("fn", "options"),
    [
        (fails, {}),
        (gives_up, {}),
        (discards, {}),
        (sleeps_forever, {"attempt_timeout": 1}),
        (sleeps_forever, {"total_timeout": 1}),
        (works, {"total_timeout": 0}),
        (works, {"requires": ["what nobody has"]}),
    ],
)
async def test_whoever_waits_for_the_answer_of_a_dead_job_gets_an_error(
    autojump_clock: MockClock, fn: Any, options: dict[str, Any]
) -> None:
    async with open_pool(["a"], no_worker="bury") as pool:
        with pytest.raises((JobFailedError, JobCancelledError)):
            await pool.run(fn, **options)
