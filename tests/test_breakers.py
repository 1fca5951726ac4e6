"""3.7: circuit breakers: when a worker is quarantined, and how it gets out again."""

# A block that is cancelled has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, is_stubborn, sleeps_forever, state_of, works
from tests.openers import OpenPool, both
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Discard,
    GiveUp,
    Instrument,
    Job,
    JobFailedError,
    JobState,
    Pool,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)
from trio_pool.testing import Flaky

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

# Opens with the first failure, for ten seconds.
TOUCHY = CircuitBreaker(failures=1, reset_after=10.0)
THRICE = CircuitBreaker(failures=3, reset_after=10.0)
DOUBLING = CircuitBreaker(failures=1, reset_after=10.0, max_reset_after=50.0)


async def gets(resource: str) -> tuple[str, float]:
    """Returns what it is given, and when."""
    return resource, trio.current_time()


async def nap(resource: str, seconds: float) -> float:
    """Sleeps; returns when it began."""
    now = trio.current_time()
    await trio.sleep(seconds)
    return now


def raises(error: Exception) -> Callable[[object], Awaitable[None]]:
    """A function that fails with this."""

    async def raises_it(resource: object) -> None:
        raise error

    return raises_it


class Quarantines(Instrument):
    """Notes when workers are quarantined, and until when."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, float]] = []

    def worker_quarantined(self, worker: Worker, until: float) -> None:
        assert worker.statistics().available_at == until
        self.told.append((worker.name, trio.current_time(), until))


async def quarantine(pool: Pool[str], worker: Worker | None = None) -> None:
    """Let a worker with a touchy breaker fail."""
    with pytest.raises(JobFailedError):
        await pool.run(fails, worker=worker or pool.workers[0])


# Opening.


async def test_a_worker_is_quarantined_after_so_many_failures_in_a_row(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=THRICE, on_dead="keep") as pool:
        (worker,) = pool.workers
        for state in (WorkerState.IDLE, WorkerState.IDLE, WorkerState.QUARANTINED):
            await quarantine(pool)
            assert state_of(worker) is state
        assert pool.idle_workers == ()
        assert worker.statistics().available_at == 10.0


async def test_a_success_in_between_starts_the_row_anew(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=THRICE, on_dead="keep") as pool:
        for fn in (fails, fails, works, fails, fails):
            await pool.submit(fn)
        await pool.join()
        assert pool.workers[0].state is WorkerState.IDLE


@pytest.mark.parametrize("error", [RetryAfter(0.0), GiveUp(), Discard()])
async def test_an_attempt_that_ends_as_neither_does_not_break_the_row(
    error: Exception, autojump_clock: MockClock
) -> None:
    async with open_pool(["a"], breaker=THRICE, on_dead="keep") as pool:
        for fn in (fails, fails, raises(error), fails):
            await pool.submit(fn)
        await wait_all_tasks_blocked()
        assert pool.workers[0].state is WorkerState.QUARANTINED


async def test_retries_count_like_first_attempts(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=THRICE, retry=RetryPolicy.fixed(1.0, max_attempts=4)) as pool:
        job = await pool.submit(Flaky(3, result="done"))
    assert [attempt.started_at for attempt in job.attempts] == [0.0, 1.0, 2.0, 12.0]


async def test_attempt_timeouts_are_failures(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await pool.submit(sleeps_forever, attempt_timeout=3.0)
        await trio.sleep(4)
        assert pool.workers[0].statistics().available_at == 13.0


@pytest.mark.parametrize("counts", [OSError, (KeyError, OSError), ()])
async def test_attempt_timeouts_are_failures_whatever_types_count(counts: Any, autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=10.0, counts=counts)
    async with open_pool(["a"], breaker=breaker, on_dead="keep") as pool:
        await pool.submit(sleeps_forever, attempt_timeout=3.0)
        await trio.sleep(4)
        assert pool.workers[0].state is WorkerState.QUARANTINED


async def test_a_function_of_what_counts_is_asked_about_attempt_timeouts(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=10.0, counts=is_os_error)
    async with open_pool(["a"], breaker=breaker, on_dead="keep") as pool:
        await pool.submit(sleeps_forever, attempt_timeout=3.0)
        await trio.sleep(4)
        assert pool.workers[0].state is WorkerState.IDLE


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (None, WorkerState.QUARANTINED),
        (ResourceBroken(), WorkerState.QUARANTINED),
        (RetryAfter(100.0), WorkerState.IDLE),
        (GiveUp(), WorkerState.IDLE),
        (Discard(), WorkerState.IDLE),
    ],
)
async def test_what_on_failure_returns_is_as_if_the_function_had_raised_it(
    answer: Any, state: WorkerState, autojump_clock: MockClock
) -> None:
    def answers(job: Job[Any], error: Exception) -> Any:
        return answer

    async with open_pool(["a"], breaker=TOUCHY, on_failure=answers, on_dead="keep") as pool:
        await pool.submit(fails)
        await wait_all_tasks_blocked()
        assert pool.workers[0].state is state


@pytest.mark.parametrize("broken", [ResourceBroken(), ExceptionGroup("two", [ResourceBroken(), KeyError()])])
async def test_broken_resources_are_failures_whatever_else_counts(broken: Exception, autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=10.0, counts=KeyError)
    async with open_pool(["a"], breaker=breaker, on_dead="keep") as pool:
        await pool.submit(raises(broken))
        await pool.join()
        assert pool.workers[0].state is WorkerState.QUARANTINED


@pytest.mark.parametrize("error", [RetryAfter(0.0), RetryAfter(0.0, rest=True), GiveUp(), Discard()])
async def test_the_other_control_exceptions_are_no_failures(error: Exception, autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await pool.submit(raises(error))
        await pool.join()
        assert pool.workers[0].state is WorkerState.IDLE


async def test_cancelled_jobs_and_total_timeouts_are_no_failures(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await pool.submit(sleeps_forever, total_timeout=1.0)
        with trio.move_on_after(2):
            await pool.run(sleeps_forever)
        assert pool.workers[0].state is WorkerState.IDLE


async def test_a_function_that_is_not_async_is_no_failure_of_its_worker(autojump_clock: MockClock) -> None:
    not_async: Any = str
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await pool.submit(not_async)
        await pool.join()
        assert pool.workers[0].state is WorkerState.IDLE


def is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)


@pytest.mark.parametrize("counts", [OSError, (KeyError, OSError), is_os_error])
@pytest.mark.parametrize(
    ("error", "state"),
    [
        (OSError(), WorkerState.QUARANTINED),
        (ConnectionError(), WorkerState.QUARANTINED),
        (ValueError(), WorkerState.IDLE),
    ],
)
async def test_only_errors_that_count_open_it(
    counts: Any, error: Exception, state: WorkerState, autojump_clock: MockClock
) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=10.0, counts=counts)
    async with open_pool(["a"], breaker=breaker, on_dead="keep") as pool:
        await pool.submit(raises(error))
        await pool.join()
        assert pool.workers[0].state is state


@pytest.mark.parametrize(("other", "state"), [(OSError(), WorkerState.QUARANTINED), (ValueError(), WorkerState.IDLE)])
async def test_of_a_group_every_leaf_must_count(
    other: Exception, state: WorkerState, autojump_clock: MockClock
) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=10.0, counts=OSError)
    async with open_pool(["a"], breaker=breaker, on_dead="keep") as pool:
        await pool.submit(raises(ExceptionGroup("two", [OSError(), other])))
        await pool.join()
        assert pool.workers[0].state is state


@pytest.mark.parametrize("answer", ["raises", None])
async def test_a_rule_of_what_counts_that_fails_makes_the_job_dead_with_its_error(
    answer: str | None, autojump_clock: MockClock
) -> None:
    def rule(error: Exception) -> Any:
        if answer is not None:
            raise ZeroDivisionError
        return answer

    breaker = CircuitBreaker(failures=1, counts=rule)
    async with open_pool(["a"], breaker=breaker, retry=RetryPolicy()) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails)
        assert caught.value.job.dead_reason is DeadReason.NOT_RETRYABLE
        assert type(caught.value.__cause__) is (TypeError if answer is None else ZeroDivisionError)
        assert pool.workers[0].state is WorkerState.IDLE
        assert await pool.run(works) == "done"


# The probe.


@both
async def test_after_the_quarantine_one_job_is_let_through_and_its_success_closes_the_breaker(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    starts: list[float] = []

    async def fails_at_first(*args: Any) -> None:
        starts.append(trio.current_time())
        await trio.sleep(2)
        if len(starts) == 1:
            raise ValueError

    async with opened(1, breaker=TOUCHY, on_dead="keep") as pool:
        for _ in range(4):
            await pool.submit(fails_at_first)
    assert starts == [0.0, 12.0, 14.0, 16.0]


async def test_a_probe_that_fails_opens_the_breaker_again_and_the_next_job_waits(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        jobs = [await pool.submit(fails) for _ in range(3)]
        last = await pool.submit(gets)
    assert [job.finished_at for job in jobs] == [0.0, 10.0, 20.0]
    assert last.result() == ("a", 30.0)


async def test_a_single_failure_of_a_probe_is_enough_and_after_its_success_all_are_needed_again(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], breaker=THRICE, on_dead="keep") as pool:
        jobs = [await pool.submit(fn) for fn in (fails, fails, fails, fails, works, fails, fails, fails, works)]
    assert [job.finished_at for job in jobs] == [0.0, 0.0, 0.0, 10.0, 20.0, 20.0, 20.0, 20.0, 30.0]


async def test_each_probe_that_fails_doubles_the_time_up_to_the_longest(autojump_clock: MockClock) -> None:
    quarantines = Quarantines()
    async with open_pool(["a"], breaker=DOUBLING, on_dead="keep", instruments=[quarantines]) as pool:
        for fn in (fails, fails, fails, fails, fails, works, fails):
            await pool.submit(fn)
    assert quarantines.told == [
        ("worker-1", 0.0, 10.0),
        ("worker-1", 10.0, 30.0),
        ("worker-1", 30.0, 70.0),
        ("worker-1", 70.0, 120.0),
        ("worker-1", 120.0, 170.0),
        ("worker-1", 170.0, 180.0),
    ]


async def test_without_a_longest_time_it_is_always_the_same(autojump_clock: MockClock) -> None:
    quarantines = Quarantines()
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep", instruments=[quarantines]) as pool:
        for _ in range(3):
            await pool.submit(fails)
    assert [until - since for _, since, until in quarantines.told] == [10.0] * 3


async def test_the_time_counts_from_the_end_of_the_probe(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=DOUBLING, on_dead="keep") as pool:
        await pool.submit(fails)
        await pool.submit(sleeps_forever, attempt_timeout=5.0)
        job = await pool.submit(gets)
    assert job.result() == ("a", 35.0)


@pytest.mark.parametrize("error", [RetryAfter(100.0), GiveUp(), Discard()])
async def test_a_probe_that_says_nothing_of_its_worker_gives_its_place_to_the_next_job(
    error: Exception, autojump_clock: MockClock
) -> None:
    async with open_pool(["a"], breaker=DOUBLING, on_dead="keep") as pool:
        await quarantine(pool)
        for fn in (raises(error), fails, works):
            await pool.submit(fn)
        await trio.sleep(11)
        assert pool.workers[0].statistics().available_at == 30.0


async def test_a_probe_that_is_cancelled_gives_its_place_to_the_next_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=DOUBLING, on_dead="keep") as pool:
        await quarantine(pool)
        probe = await pool.submit(sleeps_forever)
        second, third = [await pool.submit(fails) for _ in range(2)]
        await trio.sleep(12)
        probe.cancel()
    assert (second.finished_at, third.finished_at) == (12.0, 32.0)


async def test_a_probe_that_its_total_timeout_ends_gives_its_place_to_the_next_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=DOUBLING, on_dead="keep") as pool:
        await quarantine(pool)
        await pool.submit(sleeps_forever, total_timeout=12.0)
        second, third = [await pool.submit(fails) for _ in range(2)]
    assert (second.finished_at, third.finished_at) == (12.0, 32.0)


async def test_a_probe_whose_worker_is_removed_is_tried_on_another(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        (worker,) = pool.workers
        await quarantine(pool)
        probe = await pool.submit(nap, 5.0)
        await trio.sleep(11)
        await pool.add("b")
        await worker.remove(cancel=True)
    assert probe.result() == 11.0


async def test_a_probe_that_returns_though_it_was_cancelled_closes_the_breaker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=DOUBLING, on_dead="keep") as pool:
        await quarantine(pool)
        probe = await pool.submit(is_stubborn, 5.0)
        await trio.sleep(11)
        probe.cancel()
        await quarantine(pool)
        assert pool.workers[0].statistics().available_at == 25.0


async def test_a_worker_that_waits_for_its_probe_is_idle(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        (worker,) = pool.workers
        await quarantine(pool)
        await trio.sleep(10.5)
        assert state_of(worker) is WorkerState.IDLE
        assert pool.idle_workers == (worker,)
        assert worker.statistics().available_at is None
        assert pool.submit_nowait(works, idle_only=True).state is JobState.RUNNING


async def test_idle_only_finds_no_quarantined_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        await quarantine(pool)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, idle_only=True)
