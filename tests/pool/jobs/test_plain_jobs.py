"""Jobs without wishes: who waits for them, and a Ctrl-C at any point of their way."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps, works
from trio_pool import Job, JobState, Pool, RetryPolicy, SlotPool, open_pool
from trio_pool._core.dispatcher import Dispatcher
from trio_pool._core.lifecycle import Lifecycle
from trio_pool._core.ready_queue import ReadyQueue
from trio_pool._core.straight_way import StraightWay
from trio_pool._core.worker_index import WorkerIndex
from trio_pool.testing import assert_settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool._model.records import JobRecord


def watch(pool: Pool[Any], job: Job[Any]) -> list[JobState]:
    """The states in which those who wait for a job are called."""
    called: list[JobState] = []

    def note(job: JobRecord) -> None:
        called.append(job.state)

    pool._engine.waiting.watch(job, note)
    return called


async def test_who_waits_for_the_end_is_not_called_at_the_start(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(sleeps, 1.0)
        job = await pool.submit(sleeps, 1.0)
        called = watch(pool, job)
        await job.wait()
        assert called == [JobState.SUCCEEDED]


async def test_once_somebody_waits_for_the_start_all_are_called_at_the_first_one(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(1.0, max_attempts=2), on_dead="keep") as pool:
        await pool.submit(sleeps, 1.0)
        job = await pool.submit(fails)
        called = watch(pool, job)
        await job.wait_started()
        assert trio.current_time() == 1.0
        await pool.join()
        assert called == [JobState.RUNNING, JobState.DEAD]


async def test_waits_for_the_start_and_for_the_end_of_one_job_each_end_in_their_time(
    autojump_clock: MockClock,
) -> None:
    ended: list[tuple[str, float]] = []

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:

        async def runs() -> None:
            await pool.run(sleeps, 1.0)
            ended.append(("run", trio.current_time()))

        async def waits(name: str) -> None:
            await getattr(job, name)()
            ended.append((name, trio.current_time()))

        await pool.submit(sleeps, 1.0)
        nursery.start_soon(runs)
        await wait_all_tasks_blocked()
        (job,) = pool.jobs(JobState.QUEUED)
        nursery.start_soon(waits, "wait")
        nursery.start_soon(waits, "wait_started")
        with trio.move_on_after(0.5):
            await job.wait_started()
        await job.wait_started()
        assert trio.current_time() == 1.0
        await job.wait_started()
        assert trio.current_time() == 1.0
    assert sorted(ended) == [("run", 2.0), ("wait", 2.0), ("wait_started", 1.0)]


async def test_the_wait_for_the_start_of_a_job_that_is_cancelled_before_ends_with_it(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5.0)
        job = await pool.submit(works)
        nursery.start_soon(job.wait_started)
        await trio.sleep(1.0)
        job.cancel()
        await job.wait_started()
        assert trio.current_time() == 1.0


# Ctrl-C at any point of their way.


async def submits(pool: SlotPool) -> None:
    await pool.submit(nothing)


async def submits_nowait(pool: SlotPool) -> None:
    pool.submit_nowait(nothing)


async def runs(pool: SlotPool) -> None:
    await pool.run(nothing)


async def maps(pool: SlotPool) -> None:
    async with pool.map(takes, [1, 2, 3]) as results:
        async for _ in results:
            pass


async def nothing() -> None:
    pass


async def takes(_: int) -> None:
    pass


STEPS: list[tuple[type[Any], str]] = [
    (StraightWay, "submit"),
    (StraightWay, "succeeded"),
    (WorkerIndex, "take_idle"),
    (Dispatcher, "begin"),
    (Lifecycle, "enter"),
    (StraightWay, "enter_running"),
    (Lifecycle, "start"),
    (ReadyQueue, "push"),
    (ReadyQueue, "take"),
    (Dispatcher, "next_straight"),
]


@pytest.mark.parametrize("submits", [submits, submits_nowait, runs, maps])
@pytest.mark.parametrize(("owner", "name"), STEPS)
@pytest.mark.parametrize("is_before", [True, False])
def test_a_ctrl_c_on_their_way_ends_the_pool_and_each_job_once(
    submits: Callable[[SlotPool], Any], owner: type[Any], name: str, is_before: bool
) -> None:
    pools: list[SlotPool] = []
    step = getattr(owner, name)
    pressed = 0

    def press() -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 2:
            signal.raise_signal(signal.SIGINT)

    def struck(*arguments: Any, **options: Any) -> object:
        if is_before:
            press()
        done = step(*arguments, **options)
        if not is_before:
            press()
        return done

    async def main() -> None:
        async with open_pool(1) as pool:
            pools.append(pool)
            for _ in range(5):
                for _ in range(2):
                    pool.submit_nowait(nothing)
                await submits(pool)
                await pool.join()

    with patch.object(owner, name, struck), pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    (pool,) = pools
    assert_settled(pool)
    seen = pool.statistics()
    assert seen.submitted == seen.succeeded + seen.cancelled
    assert pressed >= 2
