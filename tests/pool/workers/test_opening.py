"""Opening a pool: what may be a resource, and what the options of the pool do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.openers import OpenPool, both
from trio_pool import (
    AttemptTimeoutError,
    DeadReason,
    Job,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    Pool,
    Resource,
    RetryPolicy,
    SlotPool,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock


async def whoami(resource: str) -> str:
    return resource


async def fail(resource: object) -> None:
    raise ValueError("it always fails")


async def nap(resource: object, seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


# What may be a resource


async def test_each_resource_gets_a_worker_of_its_own() -> None:
    async with open_pool(["a", "b"]) as pool:
        assert isinstance(pool, Pool)
        assert [worker.resource for worker in pool.workers] == ["a", "b"]


async def test_the_resource_is_the_first_argument_of_a_job() -> None:
    async def greet(resource: str, greeting: str, sign: str) -> str:
        return f"{greeting}, {resource}{sign}"

    async with open_pool(["you"]) as pool:
        assert await pool.run(greet, "Hello", "!") == "Hello, you!"


async def test_a_class_that_holds_its_resource_works_as_it_is() -> None:
    class Api:
        def __init__(self, token: str) -> None:
            self.token = token

        async def fetch(self, url: str) -> str:
            return f"{self.token}: {url}"

    async with open_pool([Api("a")]) as pool:
        assert await pool.run(Api.fetch, "/index") == "a: /index"


async def test_resources_may_be_any_iterable() -> None:
    async with open_pool(name for name in "ab") as pool:
        assert [worker.resource for worker in pool.workers] == ["a", "b"]


async def test_equal_resources_are_resources_of_their_own() -> None:
    async with open_pool(["a", "a"]) as pool:
        assert len(pool.workers) == 2


async def test_objects_and_descriptions_may_be_mixed() -> None:
    async with open_pool(["plain", Resource("described", name="second", tags={"gpu"})]) as pool:
        plain, described = pool.workers
        assert (plain.resource, plain.tags) == ("plain", frozenset())
        assert (described.resource, described.name, described.tags) == ("described", "second", frozenset(["gpu"]))


async def test_a_job_gets_the_value_of_a_described_resource() -> None:
    async with open_pool([Resource("value", name="name")]) as pool:
        assert await pool.run(whoami) == "value"


async def test_a_worker_without_a_name_gets_one_from_its_number() -> None:
    async with open_pool(["a", Resource("b", name="bee"), "c"]) as pool:
        assert [worker.name for worker in pool.workers] == ["worker-1", "bee", "worker-3"]


async def test_none_can_be_a_resource() -> None:
    async def describe(resource: None) -> str:
        return f"got {resource}"

    async with open_pool([None]) as pool:
        assert await pool.run(describe) == "got None"


async def test_a_number_opens_so_many_slots() -> None:
    async with open_pool(3) as pool:
        assert isinstance(pool, SlotPool)
        assert len(pool.workers) == 3


async def test_a_function_gets_no_resource_from_a_slot_only_its_arguments() -> None:
    async def collect(*args: str) -> tuple[str, ...]:
        return args

    async with open_pool(1) as pool:
        assert await pool.run(collect, "x", "y") == ("x", "y")
        assert await pool.run(collect) == ()


async def test_a_pool_may_be_opened_empty_and_get_its_workers_later() -> None:
    nobody: list[str] = []
    async with open_pool(nobody) as pool:
        assert pool.workers == ()
        await pool.add("late")
        assert await pool.run(whoami) == "late"


async def test_an_empty_pool_may_be_left_at_once() -> None:
    nobody: list[str] = []
    async with open_pool(nobody) as pool:
        pass
    assert pool.statistics().submitted == 0


async def test_jobs_get_what_the_lifespan_yields_and_the_worker_shows_the_resource() -> None:
    @asynccontextmanager
    async def connect(token: str) -> AsyncGenerator[list[str]]:
        yield ["connection", token]

    async def parts(connection: list[str]) -> list[str]:
        return connection

    async with open_pool(["a"], lifespan=connect) as pool:
        assert await pool.run(parts) == ["connection", "a"]
        assert pool.workers[0].resource == "a"


# Options of the pool


async def fail_with(*args: object) -> None:
    raise ValueError("it always fails")


async def sleep_for(*args: Any) -> None:
    await trio.sleep(args[-1])


@both
async def test_without_a_retry_policy_a_job_has_one_attempt(opened: OpenPool) -> None:
    async with opened() as pool:
        job: Job[None] = await pool.submit(fail_with)
        with pytest.raises(JobFailedError):
            await job.wait()
    assert job.attempt_count == 1
    assert pool.retry == RetryPolicy.never()


@both
async def test_retry_is_the_policy_of_jobs_that_bring_none(opened: OpenPool) -> None:
    async with opened(retry=RetryPolicy.immediate(max_attempts=3), on_dead="keep") as pool:
        job = await pool.submit(fail_with)
        own = await pool.submit(fail_with, retry=RetryPolicy.immediate(max_attempts=2))
    assert job.attempt_count == 3
    assert own.attempt_count == 2


@both
async def test_attempt_timeout_holds_for_jobs_that_bring_none(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(attempt_timeout=1, on_dead="keep") as pool:
        job = await pool.submit(sleep_for, 2)
        own = await pool.submit(sleep_for, 2, attempt_timeout=3)
    assert isinstance(job.attempts[-1].error, AttemptTimeoutError)
    assert own.state is JobState.SUCCEEDED


@both
async def test_total_timeout_holds_for_jobs_that_bring_none(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(total_timeout=1, on_dead="keep") as pool:
        own = await pool.submit(sleep_for, 2, total_timeout=3)
        job = await pool.submit(sleep_for, 0)
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert own.state is JobState.SUCCEEDED


@pytest.mark.parametrize("unbounded", ["attempt_timeout", "total_timeout", "max_queue", "max_running", "max_dead"])
@both
async def test_infinity_means_no_limit_as_none_does(opened: OpenPool, unbounded: str) -> None:
    for limit in (None, float("inf")):
        async with opened(**{unbounded: limit}, on_dead="keep") as pool:
            for _ in range(3):
                pool.submit_nowait(fail_with)
        assert len(pool.dead) == 3


@both
async def test_a_thousand_jobs_may_wait_to_start_by_default(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        for _ in range(1001):  # one of them runs
            pool.submit_nowait(sleep_for, 0)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(sleep_for, 0)


async def test_max_running_bounds_the_attempts_under_way_in_the_whole_pool(autojump_clock: MockClock) -> None:
    running = peak = 0

    async def work() -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await trio.sleep(1)
        running -= 1

    async with open_pool(5, max_running=2) as pool:
        for _ in range(10):
            await pool.submit(work)
    assert peak == 2
    assert trio.current_time() == 5


async def test_max_running_1_makes_the_pool_sequential(autojump_clock: MockClock) -> None:
    order: list[str] = []

    async def work(resource: str, number: int) -> None:
        order.append(f"begin {number}")
        await trio.sleep(3 - number)
        order.append(f"end {number}")

    async with open_pool(["a", "b", "c"], max_running=1) as pool:
        for number in range(3):
            await pool.submit(work, number)
    assert order == ["begin 0", "end 0", "begin 1", "end 1", "begin 2", "end 2"]


async def test_max_running_bounds_retries_too(autojump_clock: MockClock) -> None:
    running = peak = 0

    async def work(resource: object) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        try:
            await trio.sleep(1)
            raise ValueError("again")
        finally:
            running -= 1

    retry = RetryPolicy.fixed(0.5, max_attempts=3)
    async with open_pool(["a", "b", "c"], max_running=2, retry=retry, on_dead="keep") as pool:
        for _ in range(4):
            await pool.submit(work)
    assert peak == 2
    assert pool.statistics().attempts == 12


async def test_on_failure_is_asked_with_the_job_and_the_error() -> None:
    seen: list[tuple[Job[Any], Exception]] = []

    def ask(job: Job[Any], error: Exception) -> None:
        seen.append((job, error))

    async with open_pool(["a"], on_failure=ask, on_dead="keep") as pool:
        job = await pool.submit(fail)
    [(asked_job, error)] = seen
    assert asked_job is job
    assert str(error) == "it always fails"


async def test_no_history_is_kept_on_demand() -> None:
    async with open_pool(["a"], history=False) as pool:
        job = await pool.submit(whoami)
    assert job.history == ()
    assert job.state is JobState.SUCCEEDED


async def test_history_is_kept_by_default() -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(whoami)
    assert [entry.state for entry in job.history] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]


async def test_the_name_is_kept_and_shown() -> None:
    async with open_pool(["a"], name="tokens") as pool:
        assert pool.name == "tokens"
        assert pool.statistics().name == "tokens"
        assert "tokens" in repr(pool)


async def test_a_pool_needs_no_name() -> None:
    async with open_pool(["a"]) as pool:
        assert pool.name is None


async def delays_drawn(rng: Random | None) -> list[float]:
    """When the attempts of one job start, with full jitter in between."""
    starts: list[float] = []

    async def work() -> None:
        starts.append(trio.current_time())
        raise ValueError("again")

    begin = trio.current_time()
    async with open_pool(1, retry=RetryPolicy(max_attempts=8), rng=rng, on_dead="keep") as pool:
        await pool.submit(work)
    return [start - begin for start in starts]


async def test_jitter_comes_from_the_rng_so_it_can_be_repeated(autojump_clock: MockClock) -> None:
    first = await delays_drawn(Random(7))
    again = await delays_drawn(Random(7))
    other = await delays_drawn(Random(8))
    assert first == pytest.approx(again)
    assert first != pytest.approx(other)


async def test_the_pick_at_random_comes_from_the_rng_so_it_can_be_repeated() -> None:
    async def picked(seed: int) -> list[str]:
        async with open_pool(list("abcdefgh"), pick="random", rng=Random(seed)) as pool:
            return [await pool.run(whoami) for _ in range(20)]

    assert await picked(1) == await picked(1)
    assert await picked(1) != await picked(2)


async def test_without_an_rng_the_pool_has_one_of_its_own(autojump_clock: MockClock) -> None:
    first = await delays_drawn(None)
    other = await delays_drawn(None)
    assert first != pytest.approx(other)


# Changing the pool while it runs


async def test_assigning_retry_changes_the_policy_while_the_pool_runs() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        pool.retry = RetryPolicy.immediate(max_attempts=4)
        job = await pool.submit(fail)
        assert pool.retry.max_attempts == 4
    assert job.attempt_count == 4


async def test_assigning_retry_holds_for_jobs_that_are_in_the_pool_already(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(1, max_attempts=None), on_dead="keep") as pool:
        job = await pool.submit(fail)
        await trio.sleep(2.5)
        pool.retry = RetryPolicy.never()
    assert job.attempt_count == 4


async def test_assigning_on_failure_changes_who_is_asked() -> None:
    asked: list[str] = []
    async with open_pool(["a"], on_failure=lambda job, error: asked.append("first"), on_dead="keep") as pool:
        await (await pool.submit(whoami)).wait()
        pool.on_failure = lambda job, error: asked.append("second")
        await pool.submit(fail)
        await pool.join()
        pool.on_failure = None
        await pool.submit(fail)
        await pool.join()
        assert pool.on_failure is None
    assert asked == ["second"]


async def test_raising_max_running_starts_what_waits(autojump_clock: MockClock) -> None:
    async with open_pool(3, max_running=1) as pool:
        for _ in range(3):
            await pool.submit(trio.sleep, 10)
        assert pool.statistics().running == 1
        pool.max_running = 2
        assert pool.statistics().running == 2
        pool.max_running = None
        assert pool.statistics().running == 3
        assert pool.max_running is None


async def test_lowering_max_running_lets_what_runs_finish(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool:
        jobs = [await pool.submit(trio.sleep, 10) for _ in range(6)]
        pool.max_running = 1
        assert pool.statistics().running == 3
        await trio.sleep(15)
        assert pool.statistics().running == 1
    assert trio.current_time() == 40
    assert all(job.state is JobState.SUCCEEDED for job in jobs)


# Workers of later


async def test_add_returns_the_worker_once_its_lifespan_has_been_entered(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def slow(resource: str) -> AsyncGenerator[str]:
        await trio.sleep(5)
        yield resource.upper()

    nobody: list[str] = []
    async with open_pool(nobody, lifespan=slow) as pool:
        worker = await pool.add("late", name="latecomer", tags=["gpu"])
        assert trio.current_time() == 5
        assert (worker.resource, worker.name, worker.tags) == ("late", "latecomer", frozenset(["gpu"]))
        assert pool.workers == (worker,)
        assert await pool.run(whoami, requires=["gpu"]) == "LATE"


async def test_add_takes_a_description() -> None:
    async with open_pool(["a"]) as pool:
        worker = await pool.add(Resource("b", name="bee", tags=["gpu"]))
        assert (worker.resource, worker.name, worker.tags) == ("b", "bee", frozenset(["gpu"]))


async def test_a_slot_can_be_added() -> None:
    async def nothing() -> str:
        return "done"

    async with open_pool(1) as pool:
        worker = await pool.add(name="extra", tags=["big"])
        assert len(pool.workers) == 2
        assert await pool.run(nothing, worker=worker) == "done"


async def test_an_added_worker_takes_what_waits(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(nap, 10)
        waiting = await pool.submit(whoami)
        await pool.add("b")
        assert await waiting.wait() == "b"
        assert trio.current_time() == 0


async def test_an_empty_pool_turns_jobs_away() -> None:
    nobody: list[str] = []
    async with open_pool(nobody) as pool:
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(whoami)
