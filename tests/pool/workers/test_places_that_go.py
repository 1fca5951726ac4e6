"""Workers with several places that are removed, or whose lifespans end, while several jobs run there."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, is_stubborn, sleeps, sleeps_forever, state_of, works
from tests.harness import repeatable_schedule
from tests.pool.workers.places import crew, running
from trio_pool import (
    JobFailedError,
    JobState,
    ResourceBroken,
    RetryPolicy,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_pool import Job, Pool


# Removed.


async def test_a_removed_worker_finishes_all_that_runs_and_then_leaves(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(crew(a=3, b=1), lifespan=doors.lifespan) as pool:
        a = pool.workers[0]
        jobs = [await pool.submit(sleeps, seconds, worker=a) for seconds in (1.0, 3.0, 2.0)]
        waiting = await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0)
        await a.remove()
        assert trio.current_time() == 3.0
        assert doors.left == ["a"]
        assert {job.state for job in (*jobs, waiting)} == {JobState.SUCCEEDED}
        assert {waiting.attempts[0].worker_name} == {"b"}


async def test_all_that_runs_on_a_worker_removed_with_cancel_is_queued_again_in_the_order_of_the_starts(
    autojump_clock: MockClock,
) -> None:
    seen: list[int] = []

    async def notes(resource: str, number: int) -> None:
        seen.append(number)
        await trio.sleep(10.0 - number)  # the last to start would be the first to end

    async with open_pool(crew(a=3, b=1)) as pool:
        a, b = pool.workers
        b.pause()
        for number in (1, 2, 3):
            await pool.submit(notes, number)
        await pool.submit(notes, 4)
        await trio.sleep(1.0)
        await a.remove(cancel=True)
        b.resume()
    assert seen == [1, 2, 3, 1, 2, 3, 4]


async def test_that_order_is_of_the_starts_whichever_ends_first(autojump_clock: MockClock) -> None:
    seen: list[int] = []

    async def notes(resource: str, number: int, clean_up: float) -> None:
        seen.append(number)
        if len(seen) > 3:
            return
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(clean_up)

    async with open_pool(crew(a=3, b=1)) as pool:
        a, b = pool.workers
        b.pause()
        for number, clean_up in ((1, 2.0), (2, 1.0), (3, 3.0)):
            await pool.submit(notes, number, clean_up)
        await trio.sleep(1.0)
        await a.remove(cancel=True)
        b.resume()
    assert seen == [1, 2, 3, 1, 2, 3]


async def test_that_order_holds_for_a_job_that_has_lent_its_place_meanwhile(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def lends(resource: str) -> None:
        seen.append("lender")
        if len(seen) == 1:
            async with current_job().lend():
                await trio.sleep(1.0)
            await trio.sleep_forever()

    async def follows(resource: str) -> None:
        seen.append("other")
        if len(seen) == 2:
            await trio.sleep_forever()

    async with open_pool(crew(a=2, b=1)) as pool:
        a, b = pool.workers
        b.pause()
        lender, other = await pool.submit(lends), await pool.submit(follows)
        await trio.sleep(2.0)
        assert a.jobs == (lender, other)
        await a.remove(cancel=True)
        b.resume()
    assert seen == ["lender", "other"] * 2


async def test_of_what_runs_on_a_removed_worker_a_stubborn_job_keeps_its_result(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=1)) as pool:
        a, _ = pool.workers
        stubborn = await pool.submit(is_stubborn, 5.0, worker=a)
        other = await pool.submit(sleeps, 3.0, requires=[])
        await trio.sleep(1.0)
        await a.remove(cancel=True)
        assert trio.current_time() == 5.0
        assert await stubborn.wait() == "done all the same"
        assert await other.wait() == 3.0


async def test_a_job_of_one_place_may_not_remove_its_worker(autojump_clock: MockClock) -> None:
    async def removes(resource: str) -> None:
        with pytest.raises(RuntimeError):
            await pool.workers[0].remove()

    async with open_pool(crew(a=3)) as pool:
        await pool.submit(sleeps, 2.0)
        await pool.run(removes)


async def test_a_worker_may_be_removed_by_a_job_of_another(autojump_clock: MockClock) -> None:
    async def removes(resource: str) -> None:
        await pool.workers[0].remove(cancel=True)

    async with open_pool(crew(a=3, b=2)) as pool:
        jobs = [await pool.submit(sleeps, 2.0, requires=[]) for _ in range(2)]
        await pool.run(removes, worker=pool.workers[1])
        assert len(pool.workers) == 1
        await pool.join()
        assert {job.state for job in jobs} == {JobState.SUCCEEDED}


async def test_cancelled_jobs_of_some_places_leave_the_others_alone(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3)) as pool:
        jobs = [await pool.submit(sleeps, 2.0) for _ in range(3)]
        queued = await pool.submit(sleeps, 2.0)
        await trio.sleep(1.0)
        jobs[1].cancel()
        await wait_all_tasks_blocked()
        assert [state_of(job) for job in (*jobs, queued)] == [
            JobState.RUNNING,
            JobState.CANCELLED,
            JobState.RUNNING,
            JobState.RUNNING,
        ]


async def test_a_timeout_in_one_place_ends_that_attempt_alone(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3), on_dead="keep") as pool:
        jobs = [await pool.submit(sleeps, 5.0, attempt_timeout=limit) for limit in (math.inf, 1.0, 2.0)]
        await pool.join()
        assert [(job.state, job.finished_at) for job in jobs] == [
            (JobState.SUCCEEDED, 5.0),
            (JobState.DEAD, 1.0),
            (JobState.DEAD, 2.0),
        ]


async def test_a_cancelled_pool_ends_what_runs_in_all_places(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(crew(a=3, b=math.inf), lifespan=doors.lifespan) as pool:
        jobs = [await pool.submit(sleeps_forever) for _ in range(10)]
        pool.cancel()
    assert {job.state for job in jobs} == {JobState.CANCELLED}
    assert sorted(doors.left) == ["a", "b"]


# Lifespans that end by themselves.


@attrs.define(eq=False)
class Fragile:
    """A lifespan that can be ended from outside."""

    scopes: list[trio.CancelScope] = attrs.Factory(list[trio.CancelScope])

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        scope = trio.CancelScope()
        self.scopes.append(scope)
        with scope:
            yield name


async def test_all_attempts_on_a_lifespan_that_ends_fail_with_resource_broken(autojump_clock: MockClock) -> None:
    fragile = Fragile()
    async with open_pool(crew(a=3), lifespan=fragile.lifespan, on_dead="keep") as pool:
        jobs = [await pool.submit(sleeps_forever) for _ in range(3)]
        queued = await pool.submit(works)
        await trio.sleep(1.0)
        fragile.scopes[0].cancel()
        for job in jobs:
            with pytest.raises(JobFailedError) as caught:
                await job.wait()
            assert isinstance(caught.value.__cause__, ResourceBroken)
        assert await queued.wait() == "done"
        assert len(fragile.scopes) == 2


async def test_they_are_tried_again_on_what_is_opened_next(autojump_clock: MockClock) -> None:
    fragile = Fragile()
    async with open_pool(crew(a=3), lifespan=fragile.lifespan, retry=RetryPolicy.immediate()) as pool:
        jobs = [await pool.submit(sleeps, 2.0) for _ in range(4)]
        await trio.sleep(1.0)
        fragile.scopes[0].cancel()
        await pool.join()
        assert [job.attempt_count for job in jobs] == [2, 2, 2, 1]


async def test_errors_of_their_own_meanwhile_stand(autojump_clock: MockClock) -> None:
    async def sulks(resource: str) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise OSError("mine") from None

    fragile = Fragile()
    async with open_pool(crew(a=3), lifespan=fragile.lifespan, on_dead="keep") as pool:
        own, plain, stubborn = [await pool.submit(fn) for fn in (sulks, sleeps_forever, stays)]
        await trio.sleep(1.0)
        fragile.scopes[0].cancel()
        await pool.join()
        assert isinstance(own.attempts[0].error, OSError)
        assert isinstance(plain.attempts[0].error, ResourceBroken)
        assert stubborn.state is JobState.SUCCEEDED


async def stays(resource: str) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(3.0)


async def test_a_lifespan_that_ends_while_some_places_are_free_breaks_those_that_run(
    autojump_clock: MockClock,
) -> None:
    fragile = Fragile()
    async with open_pool(crew(a=5), lifespan=fragile.lifespan, on_dead="keep") as pool:
        (worker,) = pool.workers
        job = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        fragile.scopes[0].cancel()
        await wait_all_tasks_blocked()
        assert job.state is JobState.DEAD
        assert pool.idle_workers == () or worker.state is WorkerState.IDLE
        assert await pool.run(works) == "done"


# Cancelled, removed and broken at every step.


@attrs.define(eq=False)
class Scene:
    """A busy pool with several places, and what has come of its jobs."""

    scopes: dict[str, trio.CancelScope] = attrs.Factory(dict[str, trio.CancelScope])
    jobs: list[Job[Any]] = attrs.Factory(list[Any])
    pool: Pool[str] | None = None
    nursery: trio.Nursery | None = None
    returned: list[int] = attrs.Factory(list[int])
    at_work: dict[str, int] = attrs.Factory(dict[str, int])

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as self.scopes[name]:
            try:
                yield name
            finally:
                assert not self.at_work.get(name)

    async def work(self, resource: str, number: int) -> int:
        self.at_work[resource] = self.at_work.get(resource, 0) + 1
        try:
            if number % 4 == 3:
                async with current_job().lend():
                    await trio.sleep(1.0)
            await trio.sleep(number % 3)
        finally:
            self.at_work[resource] -= 1
        self.returned.append(number)
        return number

    async def play(self) -> None:
        async with trio.open_nursery() as self.nursery:
            with trio.CancelScope() as self.scopes["body"]:
                async with open_pool(
                    crew(a=2, b=3), lifespan=self.lifespan, retry=RetryPolicy.endless(base_delay=0.0), on_dead="keep"
                ) as self.pool:
                    for number in range(12):
                        self.jobs.append(await self.pool.submit(self.work, number))
                    await trio.sleep(0.5)
                    self.pool.workers[-1].max_running = 1
                    await trio.sleep(1.0)
                    self.pool.workers[-1].max_running = 4
                    await self.pool.join()
            self.pool = None

    def check(self) -> None:
        assert not any(self.at_work.values())
        for number, job in enumerate(self.jobs):
            assert job.state.is_final, job
            if job.state is JobState.SUCCEEDED:
                assert (job.result(), self.returned.count(number)) == (number, 1)


def cancel_a_job(scene: Scene) -> None:
    for job in scene.jobs[:1]:
        job.cancel()


def cancel_the_body(scene: Scene) -> None:
    if "body" in scene.scopes:
        scene.scopes["body"].cancel()


def end_a_lifespan(scene: Scene) -> None:
    if "a" in scene.scopes:
        scene.scopes["a"].cancel()


def evict_a_worker(scene: Scene) -> None:
    if scene.pool is not None and scene.nursery is not None and len(scene.pool.workers) > 1:
        worker = scene.pool.workers[0]

        async def remove() -> None:
            await worker.remove(cancel=True)

        scene.nursery.start_soon(remove)


def lower(scene: Scene) -> None:
    for worker in scene.pool.workers if scene.pool is not None else ():
        worker.max_running = 1


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


@pytest.mark.parametrize("act", [cancel_a_job, cancel_the_body, end_a_lifespan, evict_a_worker, lower])
def test_nothing_is_lost_at_any_step(act: Callable[[Scene], None]) -> None:
    at = At(Scene(), act, 1)
    while True:
        with repeatable_schedule(at.step):
            trio.run(at.scene.play, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[at])
        at.scene.check()
        if act not in (cancel_a_job, cancel_the_body):
            assert [job.state for job in at.scene.jobs] == [JobState.SUCCEEDED] * 12
        if at.steps < at.step:
            break
        at = At(Scene(), act, at.step + 1)
    assert at.step > 50


async def test_a_worker_with_many_places_keeps_as_many_loops_as_have_run_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=10)) as pool:
        (worker,) = pool.workers
        assert len(worker._task._loops.child_tasks) == 1
        for _ in range(3):
            for _ in range(4):
                await pool.submit(sleeps, 1.0)
            await pool.join()
        assert running(pool) == [0]
        assert len(worker._task._loops.child_tasks) == 4
