"""Faults for one pool by a seed: ``trio_pool.testing.chaos``."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.extras.testing.jobs import AGAIN, QUIET, at_once, works
from tests.openers import OpenPool, both
from trio_pool import (
    Instrument,
    Job,
    JobFailedError,
    JobState,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    open_pool,
)
from trio_pool.testing import Faults, InjectedError, chaos


class Errors(Instrument):
    """Notes how the attempts of each job have ended."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {}
        self.reopened: list[str] = []

    def attempt_ended(self, job: Job[Any], attempt: Any) -> None:
        self.of.setdefault(job.name, []).append(type(attempt.error).__name__)

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.reopened.append(type(error).__name__)


# Failures


@both
async def test_attempts_fail_and_are_tried_again(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(3, retry=AGAIN) as pool:
        with chaos(pool, seed=1, failures=0.5, delays=0) as faults:
            async with pool.map(works, range(20)) as results:
                assert [result async for result in results] == list(range(20))
    statistics = pool.statistics()
    assert faults.failed == statistics.failures > 5
    assert (faults.delayed, faults.broken, faults.lost) == (0, 0, 0)


async def test_a_failing_attempt_has_not_called_its_function(autojump_clock: MockClock) -> None:
    calls = 0

    async def counts() -> None:
        nonlocal calls
        calls += 1

    async with open_pool(1, retry=AGAIN) as pool:
        with chaos(pool, seed=1, failures=1, delays=0):
            await pool.run(counts)
    assert calls == 1
    assert pool.statistics().failures == 3


async def test_a_job_without_retries_does_not_fail(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        with chaos(pool, seed=1, failures=1) as faults:
            await pool.run(works, 1)
    assert faults.failed == 0


async def test_a_job_fails_ten_times_at_most(autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=RetryPolicy.endless()) as pool:
        with chaos(pool, seed=1, failures=1) as faults:
            await pool.run(works, 1)
        assert faults.failed == 10
        with chaos(pool, seed=1, failures=0, breaking=1) as faults:
            await pool.run(works, 1)
        assert faults.broken == 10


async def test_with_fatal_faults_there_is_no_such_bound(autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=RetryPolicy(max_attempts=15), on_dead="keep") as pool:
        with chaos(pool, seed=1, failures=0, breaking=1, fatal=True) as faults:
            await pool.submit(works, 1)
            await pool.join()
        assert faults.broken == 15
        assert pool.statistics().dead == 1


async def test_errors_that_the_policy_does_not_name_are_not_raised(autojump_clock: MockClock) -> None:
    def refuses(error: Exception) -> bool:
        raise LookupError

    async with open_pool(2) as pool:
        with chaos(pool, seed=1, failures=1, delays=0) as faults:
            await pool.run(works, 1, retry=RetryPolicy(retry_on=OSError))
            await pool.run(works, 2, retry=RetryPolicy(retry_on=refuses))
    assert faults.failed == 0


@pytest.mark.parametrize("error", [OSError, OSError("no answer")])
async def test_attempts_fail_with_the_error_given(error: Any, autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=RetryPolicy(max_attempts=2, retry_on=OSError)) as pool:
        with chaos(pool, seed=1, failures=1, error=error):
            job = await pool.submit(works, 1)
            await job.wait()
    assert isinstance(job.attempts[0].error, OSError)


async def test_fatal_faults_also_ends_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        with chaos(pool, seed=1, failures=1, fatal=True), pytest.raises(JobFailedError) as caught:
            await pool.run(works, 1)
    assert isinstance(caught.value.__cause__, InjectedError)


async def test_a_failing_attempt_is_a_checkpoint(autojump_clock: MockClock) -> None:
    turns = 0

    async def counts() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=11)) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(counts)
        with chaos(pool, seed=1, failures=1, delays=0):
            await pool.run(at_once)
        nursery.cancel_scope.cancel()
    assert turns >= 11


# Delays


async def test_attempts_start_later_but_none_longer_than_told(autojump_clock: MockClock) -> None:
    began: list[float] = []

    async def notes(_: int) -> None:
        began.append(trio.current_time())

    async with open_pool(60) as pool:
        with chaos(pool, seed=1, failures=0, delays=5) as faults:
            start = trio.current_time()
            async with pool.as_completed(notes, range(60)) as jobs:
                assert [job.state async for job in jobs] == [JobState.SUCCEEDED] * 60
    late = [at - start for at in began if at > start]
    assert 10 < len(late) < 30  # one in three
    assert 4 < max(late) <= 5
    assert len(late) < faults.delayed < 60


async def test_delays_leave_an_attempt_most_of_its_time(autojump_clock: MockClock) -> None:
    async with open_pool(20, attempt_timeout=1) as pool:
        with chaos(pool, seed=1, delays=100) as faults:
            async with pool.as_completed(trio.sleep, [0.89] * 20) as jobs:
                assert [job.state async for job in jobs] == [JobState.SUCCEEDED] * 20
    assert faults.delayed > 0


async def test_an_attempt_that_is_cancelled_while_it_is_delayed_ends_at_once(autojump_clock: MockClock) -> None:
    called: list[int] = []

    async def notes(number: int) -> None:
        called.append(number)

    async with open_pool(20) as pool:
        start = trio.current_time()
        with chaos(pool, seed=1, failures=0, delays=100):
            jobs = [pool.submit_nowait(notes, number) for number in range(20)]
            await trio.sleep(0.01)
            for job in jobs:
                job.cancel()
            await pool.join()
        assert trio.current_time() == start + 0.01
    cancelled = [job for job in jobs if job.state is JobState.CANCELLED]
    assert cancelled
    assert len(cancelled) + len(called) == 20


async def test_a_pool_that_is_cancelled_while_attempts_are_delayed_ends_at_once(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with open_pool(20) as pool:
        with chaos(pool, seed=1, delays=100):
            for number in range(20):
                pool.submit_nowait(works, number)
            await trio.sleep(0.01)
            pool.cancel()
            await trio.lowlevel.checkpoint()
    assert trio.current_time() == start + 0.01
    assert pool.statistics().cancelled == 20


# Broken resources


async def test_resources_break_and_are_reopened_and_no_job_loses_an_attempt(autojump_clock: MockClock) -> None:
    opened: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def connect(name: str) -> AsyncGenerator[str]:
        opened[name] += 1
        yield name

    errors = Errors()
    async with open_pool(["a", "b"], lifespan=connect, retry=RetryPolicy(max_attempts=1), instruments=[errors]) as pool:
        with chaos(pool, seed=1, failures=0, breaking=0.5) as faults:
            async with pool.map(works, range(10)) as results:
                assert [result async for result in results] == list(range(10))
    assert faults.broken > 2
    assert sum(opened.values()) == 2 + faults.broken
    assert errors.reopened == ["ResourceBroken"] * faults.broken


async def test_a_policy_that_refuses_broken_resources_is_spared(autojump_clock: MockClock) -> None:
    def only_mine(error: Exception) -> bool:
        return not isinstance(error, ResourceBroken)

    async with open_pool(["a"], retry=RetryPolicy(retry_on=only_mine)) as pool:
        with chaos(pool, seed=1, failures=0, breaking=1) as faults:
            await pool.run(works, 1)
        assert faults.broken == 0


# Lost workers


async def test_workers_are_lost_in_the_middle_of_attempts_which_start_again_elsewhere(
    autojump_clock: MockClock,
) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def steps(_: object, number: int) -> None:
        begun.append(number)
        for _ in range(20):
            await trio.sleep(0.1)
        ended.append(number)

    async with open_pool(list("abcdef")) as pool:
        with chaos(pool, seed=1, losing_workers=0.4, **QUIET) as faults:
            async with pool.as_completed(steps, range(20)) as jobs:
                assert [job.state async for job in jobs] == [JobState.SUCCEEDED] * 20
        assert len(pool.workers) == 6 - faults.lost
    assert faults.lost > 2
    assert sorted(ended) == list(range(20))
    assert len(begun) > 20


async def test_the_last_worker_is_not_lost(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool:
        with chaos(pool, seed=1, losing_workers=1, **QUIET) as faults:
            for number in range(10):
                await pool.run(works, number)
        assert len(pool.workers) == 1
    assert faults.lost == 2


async def test_the_last_worker_with_a_tag_is_not_lost(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["gpu"]), Resource("b"), Resource("c")]) as pool:
        with chaos(pool, seed=1, losing_workers=1, **QUIET):
            for number in range(10):
                await pool.run(works, number)
            assert await pool.run(works, 1, requires=["gpu"]) == 1
        assert [worker.resource for worker in pool.workers] == ["a"]


async def test_a_worker_that_a_job_insists_on_is_not_lost(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        first = pool.workers[0]
        with chaos(pool, seed=1, losing_workers=1, **QUIET) as faults:
            for _ in range(5):
                await pool.run(works, 1, worker=first)
        assert faults.lost == 0


async def test_the_end_of_the_block_spares_the_attempts_under_way(autojump_clock: MockClock) -> None:
    async def long(_: int) -> None:
        for _ in range(50):
            await trio.sleep(1)

    async with open_pool(8) as pool:
        with chaos(pool, seed=1, losing_workers=1, **QUIET) as faults:
            for number in range(8):
                await pool.submit(long, number)
            await trio.sleep(0.5)
            lost = faults.lost
        await pool.join()
        assert faults.lost == lost < 7


# What depends on the seed


async def lived(seed: int, **options: Any) -> tuple[dict[str, list[str]], Faults]:
    """What happens to twenty jobs that are all submitted at once."""
    errors = Errors()
    async with open_pool(3, retry=AGAIN, instruments=[errors]) as pool:
        with chaos(pool, seed=seed, **options) as faults:
            for number in range(20):
                pool.submit_nowait(works, number, name=str(number))
            await pool.join()
    return errors.of, faults


async def test_the_same_seed_fails_the_same_attempts(autojump_clock: MockClock) -> None:
    first, second = await lived(7, failures=0.3), await lived(7, failures=0.3)
    assert first[0] == second[0]
    assert first[1].failed == second[1].failed > 0


async def test_another_seed_fails_other_attempts(autojump_clock: MockClock) -> None:
    assert (await lived(7, failures=0.3))[0] != (await lived(8, failures=0.3))[0]


async def test_which_attempts_fail_does_not_depend_on_other_faults(autojump_clock: MockClock) -> None:
    assert (await lived(7, failures=0.3, delays=0))[0] == (await lived(7, failures=0.3, delays=3))[0]


async def test_the_last_incidents_are_told_in_words(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=AGAIN) as pool:
        with chaos(pool, seed=1, failures=1, delays=0) as faults:
            await pool.run(works, 1)
            assert faults.incidents[0].endswith(": an attempt of works(1) on worker-1 failed")
            for _ in range(20):
                await pool.run(works, 1)
    assert faults.failed == 63
    assert len(faults.incidents) == 20


# Wrong use


async def test_a_pool_has_faults_once_at_a_time() -> None:
    async with open_pool(1) as pool:
        with chaos(pool, seed=1), pytest.raises(RuntimeError, match="has faults already"), chaos(pool, seed=2):
            pass


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"seed": 1.0}, TypeError, "seed must be an int, got 1.0"),
        ({"seed": True}, TypeError, "seed must be an int, got True"),
        ({"failures": 1.5}, ValueError, "failures must be at most 1, got 1.5"),
        ({"failures": -1}, ValueError, "failures must not be negative, got -1"),
        ({"breaking": 2}, ValueError, "breaking must be at most 1, got 2"),
        ({"losing_workers": "often"}, TypeError, "losing_workers must be a number, got 'often'"),
        ({"delays": float("inf")}, ValueError, "delays must be finite, got inf"),
        ({"error": 5}, TypeError, "error must be an exception or a type of one, got 5"),
        ({"error": JobFailedError}, TypeError, "error must be an exception if its type takes arguments"),
        ({"fatal": 1}, TypeError, "fatal must be a bool, got 1"),
    ],
)
async def test_wrong_arguments_are_told(options: dict[str, Any], error: type[Exception], words: str) -> None:
    given: dict[str, Any] = {"seed": 1, **options}
    async with open_pool(1) as pool:
        with pytest.raises(error, match=words), chaos(pool, **given):
            pass


async def test_what_is_no_pool_is_told() -> None:
    not_one: Any = object()
    with pytest.raises(TypeError, match="pool must be a Pool or a SlotPool"), chaos(not_one, seed=1):
        pass


async def test_a_pool_of_another_thread_is_told() -> None:
    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="lives in another Trio run or thread"), chaos(pool, seed=1):
            pass

    async with open_pool(1) as pool:
        await trio.to_thread.run_sync(partial(elsewhere))
