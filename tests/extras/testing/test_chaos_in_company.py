"""``trio_pool.testing.chaos`` together with the rest of the library."""

from __future__ import annotations

import itertools
import types
from collections import Counter
from collections.abc import Generator

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints

from tests.extras.testing.jobs import AGAIN, QUIET, at_once, works
from trio_pool import Hedge, Job, JobCancelledError, JobState, RateLimit, open_pool
from trio_pool.testing import chaos


async def test_blocks_of_acquire_are_delayed_but_do_not_fail(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        with chaos(pool, seed=1, failures=1, breaking=1, fatal=True) as faults:
            for _ in range(20):
                async with pool.acquire() as resource:
                    assert resource in ("a", "b")
    assert faults.delayed > 0
    assert faults.failed == faults.broken == 0
    assert pool.statistics().succeeded == 20


async def test_blocks_of_acquire_lose_their_workers(autojump_clock: MockClock) -> None:
    outcomes: Counter[str] = Counter()

    async def borrow(number: int) -> None:
        await trio.sleep(number)  # so that the blocks of others have begun
        try:
            async with pool.acquire():
                await trio.sleep(10)
            outcomes["done"] += 1
        except JobCancelledError:
            outcomes["lost"] += 1

    async with open_pool(list("abcdef")) as pool:
        with chaos(pool, seed=2, losing_workers=0.5, **QUIET) as faults:
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(borrow, number)
    assert faults.lost > 1
    assert outcomes["lost"] > 1
    assert outcomes["lost"] + outcomes["done"] == 6


async def test_a_caller_that_is_cancelled_while_its_block_is_delayed_gives_the_place_back(
    autojump_clock: MockClock,
) -> None:
    entered = 0

    async def borrow() -> None:
        nonlocal entered
        with trio.move_on_after(0.5):
            async with pool.acquire():
                entered += 1

    async with open_pool(["a"]) as pool:
        with chaos(pool, seed=1, delays=100):
            for _ in range(20):
                await borrow()
        assert pool.idle_workers
    statistics = pool.statistics()
    assert statistics.succeeded == entered
    assert statistics.cancelled == 20 - entered > 0


async def test_a_block_whose_job_is_cancelled_while_it_is_delayed_never_begins(autojump_clock: MockClock) -> None:
    refused = 0
    async with open_pool(["a"]) as pool:
        with chaos(pool, seed=1, delays=100):
            for _ in range(20):
                lease = pool.acquire(name="mine")

                async def cancels() -> None:
                    await trio.sleep(0.01)
                    for job in pool.jobs():
                        job.cancel()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancels)
                    try:
                        async with lease:
                            pass
                    except JobCancelledError:
                        refused += 1
    assert pool.statistics().cancelled == refused > 0


async def test_groups_have_faults_like_their_pool(autojump_clock: MockClock) -> None:
    async with open_pool(list("abcd"), retry=AGAIN) as pool:
        with chaos(pool, seed=1, failures=0.3, losing_workers=0.2) as faults:
            async with pool.open_group(max_running=2, must_succeed=True) as group:
                jobs = [await group.submit(works, number) for number in range(20)]
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert faults.failed > 0
    assert faults.lost > 0


async def test_hedged_jobs_succeed_too(autojump_clock: MockClock) -> None:
    async with open_pool(list("abcd"), retry=AGAIN) as pool:
        with chaos(pool, seed=1, failures=0.3, losing_workers=0.2, breaking=0.2) as faults:
            async with pool.map(works, range(20), hedge=Hedge(0.5)) as results:
                assert [result async for result in results] == list(range(20))
    assert faults.failed > 0


async def test_jobs_that_lend_succeed_too(autojump_clock: MockClock) -> None:
    async def outer(_: object, number: int) -> int:
        job = await pool.submit(works, number)
        async with outers[number].lend():
            return int(await job.wait())

    outers: dict[int, Job[int]] = {}
    async with open_pool(list("abc"), retry=AGAIN) as pool:
        with chaos(pool, seed=1, failures=0.2, losing_workers=0.1) as faults:
            for number in range(10):
                outers[number] = pool.submit_nowait(outer, number)
            assert [await outers[number].wait() for number in range(10)] == list(range(10))
    assert faults.failed > 0


async def test_only_the_pool_given_has_faults(autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=AGAIN) as pool, open_pool(2, retry=AGAIN) as other:
        with chaos(pool, seed=1, failures=0.9) as faults:
            for number in range(5):
                await pool.run(works, number)
                await other.run(works, number)
    assert faults.failed > 0
    assert other.statistics().failures == 0


async def test_after_the_block_the_pool_is_as_ever(autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=AGAIN) as pool:
        with chaos(pool, seed=1, failures=1):
            pass
        await pool.run(works, 1)
        with chaos(pool, seed=1, failures=1):
            await pool.run(works, 1)
    assert pool.statistics().failures == 3


async def test_an_attempt_without_faults_that_never_waits_is_a_checkpoint_as_ever() -> None:
    async with open_pool(1) as pool:
        with chaos(pool, seed=1, **QUIET), assert_checkpoints():
            await pool.run(at_once)


async def test_delays_bring_no_two_calls_closer_than_a_rate_limit_says(autojump_clock: MockClock) -> None:
    began: list[float] = []

    async def notes(_: int) -> None:
        began.append(trio.current_time())

    async def borrow() -> None:
        async with pool.acquire():
            began.append(trio.current_time())

    async with open_pool(20, rate_limit=RateLimit(1)) as pool:
        with chaos(pool, seed=1, failures=0, delays=5) as faults:
            async with pool.as_completed(notes, range(30)) as jobs, trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(borrow)
                assert [job.state async for job in jobs] == [JobState.SUCCEEDED] * 30
    began.sort()
    assert len(began) == 40
    assert faults.delayed > 0
    assert min(later - earlier for earlier, later in itertools.pairwise(began)) >= 1 - 1e-9


@types.coroutine
def waits_for_another_framework() -> Generator[str, None, None]:
    yield "a message that Trio does not know"


async def test_what_trio_throws_into_a_function_reaches_it(autojump_clock: MockClock) -> None:
    async def confused() -> str:
        with pytest.raises(TypeError, match="unrecognized yield message"):
            await waits_for_another_framework()
        return "told"

    async with open_pool(1) as pool:
        with chaos(pool, seed=1, losing_workers=1, **QUIET):
            assert await pool.run(confused) == "told"
