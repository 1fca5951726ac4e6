"""The aids for testing programs that use a pool: ``trio_pool.testing``."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints

import trio_pool.testing
from tests.openers import OpenPool, both
from trio_pool import JobFailedError, JobState, RetryPolicy, open_pool
from trio_pool.testing import Flaky, assert_settled, one_at_a_time

# Flaky


async def test_flaky_fails_so_many_times_and_then_returns_its_result_for_ever() -> None:
    flaky = Flaky(2, result="done")
    outcomes: list[str] = []
    for _ in range(5):
        try:
            outcomes.append(await flaky())
        except RuntimeError:
            outcomes.append("failed")
    assert outcomes == ["failed", "failed", "done", "done", "done"]


async def test_flaky_takes_the_place_of_a_real_function() -> None:
    flaky = Flaky(2, result="done")
    async with open_pool(["a"], retry=RetryPolicy.immediate(max_attempts=3)) as pool:
        assert await pool.run(flaky, 1, 2) == "done"
    assert flaky.calls == [("a", 1, 2)] * 3


async def test_flaky_that_never_fails_returns_at_once() -> None:
    assert await Flaky(0, result=5)() == 5


async def test_flaky_without_a_result_returns_none() -> None:
    flaky: Flaky[Any] = Flaky(0)
    assert await flaky() is None


async def test_flaky_raises_the_type_given() -> None:
    flaky: Flaky[None] = Flaky(1, error=ConnectionError)
    with pytest.raises(ConnectionError):
        await flaky()


async def test_flaky_raises_the_exception_given() -> None:
    flaky: Flaky[None] = Flaky(1, error=ConnectionError("no answer"))
    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError, match="ConnectionError: no answer"):
            await pool.run(flaky)


async def test_the_traceback_of_the_exception_given_does_not_grow_with_each_call() -> None:
    error = ConnectionError("no answer")
    flaky: Flaky[None] = Flaky(50, error=error)
    for _ in range(50):
        with pytest.raises(ConnectionError):
            await flaky()
    length = 0
    traceback = error.__traceback__
    while traceback is not None:
        length += 1
        traceback = traceback.tb_next
    assert length < 5


@pytest.mark.parametrize("times", [0, 2, 5])
async def test_flaky_fails_exactly_so_many_of_the_calls_that_are_under_way_at_once(times: int) -> None:
    flaky: Flaky[str] = Flaky(times, result="done")
    outcomes: dict[int, str] = {}

    async def call(number: int) -> None:
        try:
            outcomes[number] = await flaky(number)
        except RuntimeError:
            outcomes[number] = "failed"

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(call, number)
    # In the order of the calls, whichever ended first.
    in_order = [outcomes[number] for (number,) in flaky.calls]
    assert in_order == ["failed"] * times + ["done"] * (5 - times)


@both
async def test_flaky_fails_exactly_so_many_jobs_of_a_stream(opened: OpenPool) -> None:
    async with opened(3) as pool, pool.as_completed(Flaky(2), range(3)) as jobs:
        states = [job.state async for job in jobs]
    assert sorted(state.name for state in states) == ["DEAD", "DEAD", "SUCCEEDED"]


async def test_a_call_of_flaky_that_is_cancelled_has_not_failed() -> None:
    flaky: Flaky[str] = Flaky(1, result="done")
    with trio.CancelScope() as scope:
        scope.cancel()
        await flaky()
    with pytest.raises(RuntimeError):
        await flaky()
    assert await flaky() == "done"


async def test_flaky_fails_once_more_for_each_call_that_is_cancelled_in_the_middle() -> None:
    flaky: Flaky[str] = Flaky(3, result="done")
    failures = 0

    async def call(*, cancelled: bool) -> None:
        nonlocal failures
        with trio.CancelScope() as scope:
            if cancelled:
                scope.cancel()
            try:
                await flaky()
            except RuntimeError:
                failures += 1

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(partial(call, cancelled=number % 3 == 0))
    for _ in range(5):
        await call(cancelled=False)
    assert failures == 3


@pytest.mark.parametrize("times", [0, 1])
async def test_flaky_is_a_checkpoint_either_way(times: int) -> None:
    flaky: Flaky[None] = Flaky(times)
    failures = 0
    with assert_checkpoints():
        try:
            await flaky()
        except RuntimeError:
            failures += 1
    assert failures == times


# one_at_a_time


class Meter:
    """Notes how many of its calls are under way at most."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    async def __call__(self, *args: Any) -> None:
        self.now += 1
        self.peak = max(self.peak, self.now)
        await trio.sleep(1)
        self.now -= 1


async def program(meter: Meter, **options: Any) -> None:
    """The code under test, which opens a pool of its own."""
    async with open_pool(4, **options) as pool:
        for _ in range(8):
            await pool.submit(meter)


async def test_one_at_a_time_makes_the_pools_opened_in_its_block_sequential(autojump_clock: MockClock) -> None:
    meter = Meter()
    with one_at_a_time():
        await program(meter)
    assert meter.peak == 1
    assert trio.current_time() == 8


async def test_one_at_a_time_goes_before_what_the_pool_was_opened_with(autojump_clock: MockClock) -> None:
    meter = Meter()
    with one_at_a_time():
        await program(meter, max_running=3)
    assert meter.peak == 1


async def test_one_at_a_time_holds_for_tasks_started_in_its_block(autojump_clock: MockClock) -> None:
    meter = Meter()
    with one_at_a_time():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program, meter)
    assert meter.peak == 1


def test_an_exception_that_refuses_assignment_passes_through_its_block_unchanged() -> None:
    class FrozenError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    caught: Exception | None = None
    try:
        with one_at_a_time():
            raise FrozenError
    except Exception as error:
        caught = error
    assert type(caught) is FrozenError


def test_one_at_a_time_decorates_a_plain_function_too() -> None:
    meter = Meter()

    @one_at_a_time()
    def test() -> None:
        trio.run(program, meter, clock=MockClock(autojump_threshold=0))

    test()
    assert meter.peak == 1


async def test_after_its_block_pools_are_as_ever(autojump_clock: MockClock) -> None:
    meter = Meter()
    with one_at_a_time():
        pass
    await program(meter)
    assert meter.peak == 4


async def test_a_pool_opened_before_its_block_is_as_ever(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(4) as pool:
        with one_at_a_time():
            for _ in range(8):
                await pool.submit(meter)
    assert meter.peak == 4


# assert_settled


async def test_a_pool_that_has_been_left_is_settled(autojump_clock: MockClock) -> None:
    async with open_pool(2, on_dead="keep") as pool:
        await pool.submit(trio.sleep, 1)
        await pool.submit(Flaky(1))
        (await pool.submit(trio.sleep, 1)).cancel()
    assert_settled(pool)
    assert pool.statistics().submitted == 3


async def test_a_pool_is_settled_after_join(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        await pool.submit(trio.sleep, 1)
        await pool.join()
        assert_settled(pool)
        assert pool.statistics().succeeded == 1


async def test_of_many_jobs_that_have_not_ended_some_are_named(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        for _ in range(12):
            await pool.submit(trio.sleep, 1)
        with pytest.raises(AssertionError) as caught:
            assert_settled(pool)
    assert str(caught.value).startswith("jobs that have not ended: [<trio_pool.Job 1 sleep(1), running")
    assert str(caught.value).endswith("<trio_pool.Job 10 sleep(1), queued, 0 attempts>] and 2 more")


async def test_a_pool_with_jobs_under_way_is_not_settled(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(trio.sleep, 1, name="the running one")
        await pool.submit(trio.sleep, 1, name="the queued one")
        with pytest.raises(AssertionError, match=r"jobs that have not ended: .*the running one.*the queued one"):
            assert_settled(pool)
        assert job.state is JobState.RUNNING


# The module


def test_it_offers_these_names() -> None:
    assert trio_pool.testing.__all__ == [
        "Faults",
        "Flaky",
        "InjectedError",
        "assert_settled",
        "chaos",
        "explore",
        "one_at_a_time",
    ]
