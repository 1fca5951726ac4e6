"""How pools like this fail elsewhere: each of these was seen in a published one."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import gc
import math
import weakref
from collections import Counter
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, is_stubborn, sleeps, sleeps_forever, works
from trio_pool import (
    AttemptTimeoutError,
    DeadReason,
    Discard,
    GiveUp,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    JobTimeoutError,
    PoolClosedError,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)
from trio_pool.testing import Flaky, assert_settled

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


async def gives_up(resource: str) -> None:
    raise GiveUp


async def discards(resource: str) -> None:
    raise Discard


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


# Ending.


async def test_closing_waits_for_what_runs_and_drops_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        jobs = [await pool.submit(sleeps, 1.0) for _ in range(3)]
        pool.close()
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 3
    assert trio.current_time() == 3.0


async def test_closing_leaks_no_paused_worker(autojump_clock: MockClock) -> None:
    doors = Doors()
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        for worker in pool.workers:
            worker.pause()
        pool.close()
    assert pool.workers == ()
    assert sorted(doors.left) == ["a", "b"]
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_no_hook_runs_twice(autojump_clock: MockClock) -> None:
    told: Counter[str] = Counter()

    class Counts(Instrument):
        def pool_opened(self, pool: Any) -> None:
            told["opened"] += 1

        def pool_closed(self, pool: Any) -> None:
            told["closed"] += 1

        def worker_started(self, worker: Worker) -> None:
            told[f"{worker.name} started"] += 1

        def worker_stopped(self, worker: Worker) -> None:
            told[f"{worker.name} stopped"] += 1

        def job_finished(self, job: Job[Any]) -> None:
            told[f"job {job.id}"] += 1

    doors = Doors()
    async with open_pool(["a", "b"], lifespan=doors.lifespan, instruments=[Counts()]) as pool:
        (await pool.submit(sleeps, 1.0)).cancel()
        await pool.submit(works)
        await pool.workers[0].remove()
        pool.close()
        pool.cancel()
        pool.close()
    assert set(told.values()) == {1}
    assert len(told) == 8
    assert sorted(doors.left) == ["a", "b"]


async def test_submitting_after_closing_does_not_count(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(works)
        pool.close()
        for _ in range(3):
            with pytest.raises(PoolClosedError):
                pool.submit_nowait(works)
            with pytest.raises(PoolClosedError):
                await pool.submit(works)
        await pool.join()
    assert pool.statistics().submitted == 1
    assert_settled(pool)


async def test_a_job_whose_worker_is_removed_is_never_both_dead_and_succeeded(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        worker = pool.workers[0]
        job = await pool.submit(is_stubborn, 1000.0)
        await wait_all_tasks_blocked()
        await worker.remove(cancel=True)
        assert trio.current_time() == 1000.0
    assert [each.state for each in job.history] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]


class Faulty(RetryPolicy):
    """A curve that can't be computed."""

    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        raise ZeroDivisionError


def faulty_hook(job: Job[Any], error: Exception) -> None:
    raise ZeroDivisionError


def faulty_rule(error: Exception) -> bool:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "options",
    [{"on_failure": faulty_hook}, {"retry": RetryPolicy(retry_on=faulty_rule)}, {"retry": Faulty()}],
)
async def test_an_error_in_a_callback_does_not_kill_the_worker(
    autojump_clock: MockClock, options: dict[str, Any]
) -> None:
    async with open_pool(["a"], **options) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails)
        assert caught.value.job.dead_reason is DeadReason.NOT_RETRYABLE
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert pool.workers[0].state is WorkerState.IDLE
        assert await pool.run(works) == "done"


async def test_an_error_in_an_instrument_does_not_kill_the_worker(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Faults(Instrument):
        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            raise ZeroDivisionError

    async with open_pool(["a"], instruments=[Faults()]) as pool:
        assert await pool.run(works) == "done"
        assert pool.workers[0].state is WorkerState.IDLE
    assert "ZeroDivisionError" in caplog.text


async def test_cancelling_from_outside_leaves_no_worker_running_and_accepts_no_more_work(
    autojump_clock: MockClock,
) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(1) as scope:
        async with open_pool(["a", "b"]) as pool:
            for _ in range(4):
                await pool.submit(sleeps_forever)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert pool.workers == ()
    assert trio.lowlevel.current_statistics().tasks_living == before
    with pytest.raises(PoolClosedError):
        pool.submit_nowait(works)
    assert_settled(pool)


# Counting.


async def test_the_size_of_the_queue_has_no_running_jobs_in_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        for _ in range(5):
            await pool.submit(sleeps, 1.0)
        seen = pool.statistics()
        assert (seen.queued, seen.running) == (3, 2)


async def test_no_more_dead_jobs_are_kept_than_allowed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_dead=3, on_dead="keep") as pool:
        jobs = [await pool.submit(fails) for _ in range(10)]
        await pool.join()
        assert list(pool.dead) == jobs[-3:]
        assert pool.dead.dropped == 7
    assert pool.statistics().dead == 10


async def test_no_dropped_job_takes_its_place_with_it(autojump_clock: MockClock) -> None:
    """However the jobs end, the bound lets as many in afterwards as before."""

    async def asks_again(resource: str) -> None:
        raise RetryAfter(1.0)

    async with open_pool(["a"], max_queue=5, max_dead=1, on_dead="keep") as pool:
        for _ in range(20):
            pool.submit_nowait(sleeps, 1.0)
            for fn in (fails, discards, gives_up, asks_again):
                pool.submit_nowait(fn)
            pool.submit_nowait(works).cancel()
            pool.submit_nowait(works, total_timeout=0.5)
            await pool.join()
        jobs = [pool.submit_nowait(works) for _ in range(6)]
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 6
    assert_settled(pool)


class Burden:
    """Something big that a function holds in a local variable."""


async def test_kept_errors_do_not_keep_local_variables_alive(autojump_clock: MockClock) -> None:
    burdens: list[weakref.ref[Burden]] = []

    async def inner(burden: Burden) -> None:
        held = burden
        await trio.lowlevel.checkpoint()
        raise ValueError(repr(type(held)))

    async def carries(resource: str) -> None:
        burden = Burden()
        burdens.append(weakref.ref(burden))
        try:
            await inner(burden)
        except ValueError as error:
            raise OSError from error

    async with open_pool(["a"], retry=RetryPolicy.fixed(0.0), on_dead="keep") as pool:
        job = await pool.submit(carries)
    gc.collect()
    assert len(job.attempts) == len(burdens) == 3
    assert [burden() for burden in burdens] == [None] * 3


async def test_clearing_kept_errors_leaves_coroutines_that_go_on_alone(autojump_clock: MockClock) -> None:
    """The cancellation in the error's context is raised while the body's own error is handled."""

    async def sulks_bare() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise RuntimeError("cancelled, so failed") from None

    error = ValueError("of the body")
    with pytest.raises(ValueError, match="of the body") as caught:  # noqa: PT012
        async with open_pool(1, on_dead="keep") as pool:
            job = await pool.submit(sulks_bare)
            await wait_all_tasks_blocked()
            raise error
    assert caught.value is error
    assert job.state is JobState.DEAD
