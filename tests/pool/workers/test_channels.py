"""Jobs reach the loops of a worker through a Trio memory channel, and results of streams their readers."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
import trio
import trio.testing

from tests.harness import repeatable_schedule
from trio_pool import Job, JobState, RetryPolicy, current_job, open_pool
from trio_pool._api.streams import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from trio.testing import MockClock

    from trio_pool import Pool, Worker


def channel_of(worker: Worker) -> trio.MemoryChannelStatistics:
    return cast("trio.MemoryChannelStatistics", worker._task.runs.statistics())


async def nap(resource: object, seconds: float = 1.0) -> float:
    await trio.sleep(seconds)
    return seconds


# A worker's channel.


async def test_an_idle_workers_loop_waits_at_its_channel(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        await trio.testing.wait_all_tasks_blocked()
        for worker in pool.workers:
            found = channel_of(worker)
            assert (found.tasks_waiting_receive, found.tasks_waiting_send, found.current_buffer_used) == (1, 0, 0)
            assert found.max_buffer_size == math.inf  # the number of its places may change


async def test_a_busy_workers_loop_does_not(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(nap)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert channel_of(pool.workers[0]).tasks_waiting_receive == 0
        await pool.join()
        await trio.testing.wait_all_tasks_blocked()
        assert channel_of(pool.workers[0]).tasks_waiting_receive == 1


class Watch(trio.abc.Instrument):
    """What is in the channel of a pool's only worker, before each step of a task."""

    def __init__(self, pool: Pool[str]) -> None:
        self.pool = pool
        self.seen: list[int] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.pool.workers and not self.pool.workers[0]._task.opened.is_set():
            return
        self.seen += [channel_of(worker).current_buffer_used for worker in self.pool.workers]


async def test_a_job_is_in_the_channel_until_a_loop_is_there(autojump_clock: MockClock) -> None:
    async with open_pool(cast("list[str]", []), no_worker="wait") as pool:
        job = await pool.submit(nap)
        watch = Watch(pool)
        trio.lowlevel.add_instrument(watch)
        await pool.add("a")
        assert await job.wait() == 1.0
        trio.lowlevel.remove_instrument(watch)
    assert set(watch.seen) == {0, 1}


async def test_a_job_that_lends_its_worker_needs_no_other_loop_until_a_job_comes(autojump_clock: MockClock) -> None:
    seen: list[tuple[int, int]] = []

    async def lends(resource: str) -> None:
        worker = current_job().worker
        assert worker is not None
        for _ in range(3):
            async with current_job().lend():
                await trio.testing.wait_all_tasks_blocked(0.1)
                seen.append((channel_of(worker).tasks_waiting_receive, len(worker._task._loops.child_tasks)))
            seen.append((channel_of(worker).tasks_waiting_receive, len(worker._task._loops.child_tasks)))

    async with open_pool(["a"]) as pool:
        await pool.run(lends)
        await trio.testing.wait_all_tasks_blocked()
        worker = pool.workers[0]
        seen.append((channel_of(worker).tasks_waiting_receive, len(worker._task._loops.child_tasks)))
    assert seen == [(0, 1)] * 6 + [(1, 1)]


@pytest.mark.parametrize("lenders", [1, 5])
async def test_the_loops_beyond_its_places_end_when_they_have_nothing_to_do(
    lenders: int, autojump_clock: MockClock
) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(10.0)

    async with open_pool(["a"]) as pool:
        jobs = [await pool.submit(lends) for _ in range(lenders)]
        await trio.sleep(1.0)
        assert len(pool.workers[0]._task._loops.child_tasks) == lenders
        for job in jobs:
            await job.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(pool.workers[0]._task._loops.child_tasks) == 1


async def test_a_worker_that_leaves_closes_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        worker = pool.workers[0]
        job = await pool.submit(nap, worker=worker)
        await trio.sleep(0.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.remove)
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert channel_of(worker).open_send_channels == 0
            assert job.state is JobState.RUNNING
        assert (job.state, channel_of(worker).open_receive_channels) == (JobState.SUCCEEDED, 0)


async def test_every_session_has_a_channel_of_its_own(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        worker = pool.workers[0]
        before = worker._task.runs
        pool._engine.core.reopen(worker, OSError("gone"), trio.current_time())
        pool._engine.carry_out()
        assert await pool.run(nap) == 1.0
        assert worker._task.runs is not before
        assert before.statistics().open_receive_channels == 0


# Results.


@pytest.mark.parametrize("name", ["map", "as_completed"])
async def test_a_reader_waits_at_the_channel_of_its_stream(name: str, autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, getattr(pool, name)(nap, [1.0, 2.0]) as results:
        assert isinstance(results, Stream)
        channel = cast("trio.MemoryReceiveChannel[Any]", results._results)
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async for _ in cast("AsyncIterator[Any]", results):
                    pass

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert channel.statistics().tasks_waiting_receive == 1
            assert channel.statistics().open_send_channels == 1
        assert channel.statistics().open_send_channels == 0  # which was the end for the reader


# Cancelled at every step.


@attrs.define(eq=False)
class Scene:
    """A run, and what has come of it."""

    scopes: dict[str, trio.CancelScope] = attrs.Factory(dict[str, trio.CancelScope])
    jobs: list[Job[Any]] = attrs.Factory(list[Job[Any]])
    pool: Pool[str] | None = None
    nursery: trio.Nursery | None = None
    returned: list[int] = attrs.Factory(list[int])
    read: list[int] = attrs.Factory(list[int])

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as self.scopes[name]:
            yield name

    async def work(self, resource: str, number: int) -> int:
        await trio.sleep(number % 3)
        self.returned.append(number)
        return number

    async def play(self) -> None:
        """Jobs are handed over, queued, lent for and read; workers come and go."""
        async with trio.open_nursery() as self.nursery:
            with trio.CancelScope() as self.scopes["body"]:
                async with open_pool(
                    ["a", "b"], lifespan=self.lifespan, retry=RetryPolicy.endless(base_delay=0.0), on_dead="keep"
                ) as self.pool:
                    for number in range(6):
                        self.jobs.append(await self.pool.submit(self.work, number))
                    async with self.pool.map(self.work, range(6, 9)) as results:
                        async for each in results:
                            self.read.append(each)
                    await self.pool.join()
            self.pool = None

    def check(self) -> None:
        """Nothing is lost: each job has come to its end, and returned once if that is a success."""
        for number, job in enumerate(self.jobs):
            assert job.state.is_final, job
            if job.state is JobState.SUCCEEDED:
                assert (job.result(), self.returned.count(number)) == (number, 1)
        assert self.read == list(range(6, 6 + len(self.read)))


def cancel_a_job(scene: Scene) -> None:
    for job in scene.jobs[-1:]:
        job.cancel()


def cancel_the_body(scene: Scene) -> None:
    if "body" in scene.scopes:
        scene.scopes["body"].cancel()


def end_a_lifespan(scene: Scene) -> None:
    if "a" in scene.scopes:
        scene.scopes["a"].cancel()


def remove_a_worker(scene: Scene) -> None:
    if scene.pool is not None and scene.nursery is not None and len(scene.pool.workers) > 1:
        scene.nursery.start_soon(scene.pool.workers[0].remove)


def evict_a_worker(scene: Scene) -> None:
    if scene.pool is not None and scene.nursery is not None and len(scene.pool.workers) > 1:
        scene.nursery.start_soon(partial(scene.pool.workers[0].remove, cancel=True))


@attrs.define(eq=False)
class At(trio.abc.Instrument):
    """Does something in one of the steps of a run."""

    scene: Scene
    act: Callable[[Scene], None]
    step: int
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.step:
            self.act(self.scene)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("act", [cancel_a_job, cancel_the_body, end_a_lifespan, remove_a_worker, evict_a_worker])
def test_nothing_is_lost_at_any_step_around_sending_receiving_and_closing(
    act: Callable[[Scene], None], seed: int
) -> None:
    at = At(Scene(), act, 1)
    while True:
        with repeatable_schedule(seed):
            trio.run(at.scene.play, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[at])
        at.scene.check()
        if act not in (cancel_a_job, cancel_the_body):
            assert [job.state for job in at.scene.jobs] == [JobState.SUCCEEDED] * 6
            assert at.scene.read == [6, 7, 8]
        if at.steps < at.step:
            break
        at = At(Scene(), act, at.step + 1)
    assert at.step > 50
