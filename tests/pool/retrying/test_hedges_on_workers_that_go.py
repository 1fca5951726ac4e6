"""Hedged attempts on workers that are removed or whose lifespans break."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import after, counts, script, sleeps, slow_on, state_of
from trio_pool import Hedge, Job, JobState, WorkerState, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.mark.parametrize(("removed", "stays"), [(0, "b"), (1, "a")])
async def test_a_worker_that_is_removed_is_dropped_and_the_others_go_on(
    removed: int, stays: str, autojump_clock: MockClock
) -> None:
    work = script(a=after(10), b=after(10))
    async with open_pool(["a", "b", "c"]) as pool:
        first, second, _ = pool.workers
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        await pool.workers[removed].remove(cancel=True)
        assert trio.current_time() == 2.0
        assert job.worker is (second if removed == 0 else first)
        assert await job.wait() == stays
    assert len(work.began) == 2
    (attempt,) = job.attempts
    assert (attempt.worker_id, attempt.hedges) == (1, ((2, "worker-2"),))


async def test_where_all_are_removed_the_job_is_queued_again_in_front(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b", "c")
    async with open_pool(["a", "b", "c"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await pool.submit(sleeps, 5.0, worker=pool.workers[2])
        await trio.sleep(2)
        other = await pool.submit(after(1))
        async with trio.open_nursery() as nursery:
            for worker in pool.workers[:2]:
                nursery.start_soon(partial(worker.remove, cancel=True))
        assert (state_of(job), job.worker) == (JobState.QUEUED, None)
        assert await job.wait() == "c"
        assert state_of(other) is not JobState.SUCCEEDED
    assert work.began == [("a", 0.0), ("b", 1.0), ("c", 5.0)]
    assert [(attempt.number, attempt.worker_id, attempt.hedges) for attempt in job.attempts] == [(1, 3, ())]


async def test_a_worker_removed_before_it_has_begun_is_dropped(autojump_clock: MockClock) -> None:
    work = script(a=after(10))
    async with open_pool(["a", "b"]) as pool:
        second = pool.workers[1]
        second.pause()
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        second.resume()  # from which on it has the job, but the worker has had no time to begin it
        assert second.job is job
        await second.remove(cancel=True)
        assert await job.wait() == "a"
    assert work.began == [("a", 0.0)]


async def test_what_is_done_to_a_worker_meanwhile_holds_afterwards(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=after(100), c=after(2), d=after(100))
    async with open_pool(["a", "b", "c", "d"]) as pool:
        first, second, third, fourth = pool.workers
        job = await pool.submit(work, hedge=Hedge(1, extra=3))
        await trio.sleep(3.5)
        first.pause()
        second.rest(50.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fourth.remove)
            await wait_all_tasks_blocked()
            assert {worker.state for worker in pool.workers} == {WorkerState.BUSY}
        assert await job.wait() == "c"
        assert trio.current_time() == 4.0
        assert (first.state, second.state, third.state) == (
            WorkerState.PAUSED,
            WorkerState.RESTING,
            WorkerState.IDLE,
        )
        assert fourth not in pool.workers


@attrs.define(eq=False)
class Fragile:
    """A lifespan that can be made to break."""

    scopes: dict[str, trio.CancelScope] = attrs.Factory(dict[str, trio.CancelScope])
    entered: list[str] = attrs.Factory(list[str])

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        self.entered.append(name)
        with trio.CancelScope() as scope:
            self.scopes[name] = scope
            yield name


@pytest.mark.parametrize(("broken", "stays"), [("a", "b"), ("b", "a")])
async def test_a_worker_whose_lifespan_breaks_has_failed_and_the_others_go_on(
    broken: str, stays: str, autojump_clock: MockClock
) -> None:
    fragile = Fragile()
    work = script(a=after(10), b=after(10))
    async with open_pool(["a", "b"], lifespan=fragile.lifespan) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(2)
        fragile.scopes[broken].cancel()
        assert await job.wait() == stays
        assert counts(pool) == ([(1, 1), (1, 0)] if broken == "a" else [(1, 0), (1, 1)])
    assert fragile.entered == ["a", "b", broken]
    assert job.attempts[0].error is None


async def test_a_loser_whose_lifespan_breaks_opens_it_anew_and_changes_nothing(autojump_clock: MockClock) -> None:
    fragile = Fragile()
    asked: list[Exception] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append(error)

    async def break_down(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            fragile.scopes[resource].cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            await trio.lowlevel.checkpoint()

    work = script(a=break_down, b=after(1))
    async with open_pool(["a", "b"], lifespan=fragile.lifespan, on_failure=on_failure) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        assert await job.wait() == "b"
        await trio.sleep(1)
        assert fragile.entered == ["a", "b", "a"]
        assert {worker.state for worker in pool.workers} == {WorkerState.IDLE}
        assert counts(pool)[1] == (1, 0)
    assert (asked, job.attempts[0].error) == ([], None)


async def test_at_the_end_of_the_block_it_goes_on_as_before(autojump_clock: MockClock) -> None:
    work = script(a=after(100), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        pool.workers[1].pause()  # until the end of the block
        job = await pool.submit(work, hedge=Hedge(1))
        await trio.sleep(5)
    assert job.result() == "b"
    assert trio.current_time() == 6.0
