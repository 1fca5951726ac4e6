"""Jobs that run on several workers and wait for others: each run waits and holds its own worker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap
from tests.harness import no_hanging
from tests.ways_to_wait import WAYS
from trio_pool import (
    DeadReason,
    Elastic,
    Hedge,
    JobDeadlockError,
    JobFailedError,
    JobState,
    SlotPool,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


class Runs:
    """Counts the runs of one job, so that each may do something else."""

    def __init__(self) -> None:
        self.begun = 0

    def number(self) -> int:
        self.begun += 1
        return self.begun


async def is_on(pool: Any, resource: object) -> None:
    """Wait for a job that only the worker with this resource may run."""
    [worker] = [worker for worker in pool.workers if worker.resource == resource]
    await pool.run(nap, 1, worker=worker)


# One run


@pytest.mark.parametrize("way", WAYS)
async def test_a_wait_for_what_only_the_worker_of_the_only_run_could_run_is_found(
    autojump_clock: MockClock, way: Callable[[SlotPool], Awaitable[object]]
) -> None:
    async with no_hanging(), open_pool(1, on_dead="keep") as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(way, pool, hedge=Hedge(20))
        assert isinstance(caught.value.__cause__, JobDeadlockError)
        assert trio.current_time() < 20


async def test_a_wait_is_fine_as_long_as_the_job_may_be_started_on_one_more_worker(autojump_clock: MockClock) -> None:
    runs = Runs()

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            await is_on(pool, resource)
        return resource

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, hedge=Hedge(5)) == "b"
        assert trio.current_time() == 5


async def test_so_it_is_while_the_other_worker_is_busy_or_paused(autojump_clock: MockClock) -> None:
    runs = Runs()

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            await is_on(pool, resource)
        return resource

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        await pool.submit(nap, 7, worker=second)
        second.pause()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                await trio.sleep(9)
                second.resume()

            assert await pool.run(parent, hedge=Hedge(5)) == "b"
        assert (first.name, trio.current_time()) == ("worker-1", 9)


async def test_it_is_found_when_the_other_worker_leaves(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> None:
        await is_on(pool, resource)

    async with no_hanging(), open_pool(["a", "b", "c"], on_dead="keep") as pool:
        _, second, third = pool.workers
        await pool.submit(nap, 100, worker=second)
        await pool.submit(nap, 100, worker=third)
        job = await pool.submit(parent, hedge=Hedge(5))
        await trio.sleep(10)
        await third.remove(cancel=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(second.remove)
            await wait_all_tasks_blocked()
            assert job.state is JobState.DEAD
            [waiting] = pool.jobs()
            waiting.cancel()


async def test_a_worker_where_it_has_failed_is_none_in_place_of_one_that_leaves(autojump_clock: MockClock) -> None:
    runs = Runs()
    told: list[float] = []

    async def parent(resource: str) -> None:
        if runs.number() == 2:
            raise OSError
        try:
            await is_on(pool, "a")
        except JobDeadlockError:
            told.append(trio.current_time())
            raise

    async with no_hanging(), open_pool(["a", "b", "c"], on_dead="keep") as pool:
        third = pool.workers[2]
        await pool.submit(nap, 100, worker=third)
        await pool.submit(parent, hedge=Hedge(3, extra=2))
        await trio.sleep(10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(third.remove)
    assert told == [10]


async def test_it_is_found_when_who_is_on_the_other_worker_begins_to_wait_for_the_job(
    autojump_clock: MockClock,
) -> None:
    async def parent(resource: str) -> str:
        await is_on(pool, resource)
        return "fine"

    async def other(resource: str) -> str:
        await trio.sleep(10)
        with pytest.raises(JobDeadlockError) as caught:
            await job.wait()
        return str(caught.value)

    async with no_hanging(), open_pool(["a", "b"], on_dead="keep") as pool:
        first, second = pool.workers
        told = await pool.submit(other, worker=second, name="other")
        job = await pool.submit(parent, hedge=Hedge(5), name="parent")
        assert "other (on worker-2), parent (on worker-1)" in await told.wait()
        # Its worker is free then, for the second run: both wait for the first worker.
        with pytest.raises(JobFailedError) as caught:
            await job.wait()
        assert isinstance(caught.value.__cause__, JobDeadlockError)
        assert caught.value.job.attempts[0].hedges == ((second.id, second.name),)
        assert first.statistics().attempts == 1


async def test_an_elastic_pool_opens_no_worker_for_it(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        yield "a"

    async def parent(resource: str) -> None:
        await pool.run(nap, 1, worker=current_job().worker)

    async with no_hanging(), open_pool(Elastic(factory, min=1, max=2, idle_timeout=5), on_dead="keep") as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(parent, hedge=Hedge(5))
        assert isinstance(caught.value.__cause__, JobDeadlockError)


async def test_but_one_that_is_about_to_come_may_run_it(autojump_clock: MockClock) -> None:
    opened = 0

    @asynccontextmanager
    async def factory() -> AsyncGenerator[int]:
        nonlocal opened
        opened += 1
        await trio.sleep(opened)
        yield opened

    runs = Runs()

    async def parent(resource: int) -> int:
        if runs.number() == 1:
            await pool.submit(nap, 10)  # another worker is opened for that
            await pool.run(nap, 1, worker=current_job().worker)
        return resource

    async with no_hanging(), open_pool(Elastic(factory, min=1, max=2, idle_timeout=50), on_dead="keep") as pool:
        assert await pool.run(parent, hedge=Hedge(5)) == 2
        assert trio.current_time() == 13


async def test_so_may_one_that_an_elastic_pool_opens_to_keep_its_least_number(autojump_clock: MockClock) -> None:
    opened = 0

    @asynccontextmanager
    async def factory() -> AsyncGenerator[int]:
        nonlocal opened
        opened += 1
        yield opened
        await trio.sleep(3)

    runs = Runs()

    async def parent(resource: int) -> int:
        if runs.number() == 1:
            await trio.sleep(2)
            await pool.run(nap, 1, worker=current_job().worker)
        return resource

    async with no_hanging(), open_pool(Elastic(factory, min=2, max=2, idle_timeout=50), on_dead="keep") as pool:
        first, second = pool.workers
        job = await pool.submit(parent, hedge=Hedge(9), name="parent")
        await trio.sleep(1)
        assert job.worker is first
        await second.remove()
        assert await job.wait() == 3
        assert trio.current_time() == 9


# Several runs


async def test_every_run_holds_its_worker_and_the_last_to_wait_is_told(autojump_clock: MockClock) -> None:
    told: list[tuple[float, str]] = []

    async def parent(resource: str) -> float:
        await trio.sleep(4)
        try:
            return await pool.run(nap, 2)
        except JobDeadlockError as error:
            told.append((trio.current_time(), str(error)))
            raise

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, hedge=Hedge(1), name="parent") == 7
    [(time, words)] = told
    assert time == 5
    assert words.endswith("while these jobs wait: parent (on worker-2), parent (on worker-1)")


async def test_where_every_run_waits_in_vain_all_are_told_and_that_is_one_attempt(autojump_clock: MockClock) -> None:
    told: list[float] = []

    async def parent(resource: str) -> None:
        try:
            await is_on(pool, "a")
        except JobDeadlockError:
            told.append(trio.current_time())
            await trio.sleep(1)
            raise

    async with no_hanging(), open_pool(["a", "b", "c"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(parent, hedge=Hedge(3, extra=2))
        assert told == [6, 7, 8]
        [attempt] = caught.value.job.attempts
        assert isinstance(attempt.error, JobDeadlockError)
        assert len(attempt.hedges) == 2


async def test_a_run_that_does_not_wait_may_help_the_others(autojump_clock: MockClock) -> None:
    runs = Runs()

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            await is_on(pool, "a")
        await trio.sleep(30)
        return resource

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, hedge=Hedge(3)) == "b"
        assert trio.current_time() == 33


@pytest.mark.parametrize("end", ["fails", "is evicted"])
async def test_those_left_are_told_when_the_run_that_does_not_wait_is_gone(autojump_clock: MockClock, end: str) -> None:
    runs = Runs()
    told: list[float] = []

    async def parent(resource: str) -> None:
        if runs.number() == 1:
            try:
                await is_on(pool, "a")
            except JobDeadlockError:
                told.append(trio.current_time())
                raise
        await trio.sleep(10 if end == "fails" else 1000)
        raise OSError

    async with no_hanging(), open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(parent, hedge=Hedge(3))
        await trio.sleep(13)
        if end == "is evicted":
            await pool.workers[1].remove(cancel=True)
    assert told == [13]
    assert job.state is JobState.DEAD


async def test_max_running_is_held_by_every_run_that_waits(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        await trio.sleep(4)
        try:
            await pool.run(nap, 1)
        except JobDeadlockError:
            return f"told at {trio.current_time():g}"
        return "fine"

    async with no_hanging(), open_pool(["a", "b", "c"], max_running=2) as pool:
        assert await pool.run(parent, hedge=Hedge(1)) == "told at 5"


async def test_a_circle_by_way_of_a_job_that_runs_twice_is_found(autojump_clock: MockClock) -> None:
    async def other(resource: str) -> str:
        await trio.sleep(10)
        try:
            await job.wait()
        except JobDeadlockError:
            return f"told at {trio.current_time():g}"
        return "fine"

    async def parent(resource: str) -> str:
        return await circle.wait()

    async with no_hanging(), open_pool(["a", "b", "c"]) as pool:
        circle = await pool.submit(other)
        job = await pool.submit(parent, hedge=Hedge(1))
        assert await job.wait() == "told at 10"


async def test_no_circle_is_found_if_one_of_the_runs_is_not_in_it(autojump_clock: MockClock) -> None:
    runs = Runs()

    async def other(resource: str) -> str:
        await trio.sleep(10)
        return await job.wait()

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            await circle.wait()
        await trio.sleep(20)
        return resource

    async with no_hanging(), open_pool(["a", "b", "c"]) as pool:
        circle = await pool.submit(other)
        job = await pool.submit(parent, hedge=Hedge(1))
        assert await circle.wait() == "c"


async def test_a_run_that_has_lost_and_waits_behind_a_shield_is_told(autojump_clock: MockClock) -> None:
    runs = Runs()
    told: list[float] = []

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            with trio.CancelScope(shield=True):
                try:
                    await is_on(pool, "a")
                except JobDeadlockError:
                    told.append(trio.current_time())
        await trio.sleep(5)
        return resource

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, hedge=Hedge(3)) == "b"
    assert told == [8]


async def test_so_it_is_where_it_begins_to_wait_only_then(autojump_clock: MockClock) -> None:
    runs = Runs()
    told: list[float] = []

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2)
                    try:
                        await is_on(pool, "a")
                    except JobDeadlockError:
                        told.append(trio.current_time())
        await trio.sleep(5)
        return resource

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, hedge=Hedge(3)) == "b"
    assert told == [10]


async def test_what_a_run_that_has_lost_waits_for_without_a_shield_is_cancelled(autojump_clock: MockClock) -> None:
    runs = Runs()
    seen: list[str] = []

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            try:
                await is_on(pool, "a")
            except BaseException as error:
                seen.append(type(error).__name__)
                raise
        await trio.sleep(5)
        return resource

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, hedge=Hedge(3)) == "b"
    assert seen == ["Cancelled"]


async def test_a_run_that_waits_for_the_end_of_a_cancelled_job_keeps_all_from_their_end(
    autojump_clock: MockClock,
) -> None:
    runs = Runs()

    async def child(resource: str) -> None:
        with trio.CancelScope(shield=True):
            try:
                await job.wait()
            except JobDeadlockError:
                await trio.sleep(1)

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            with trio.move_on_after(10):
                await pool.run(child)
        await trio.sleep(5)
        return resource

    async with no_hanging(), open_pool(["a", "b", "c"]) as pool:
        job = await pool.submit(parent, hedge=Hedge(3))
        assert await job.wait() == "c"
        assert trio.current_time() == 9


# Groups


async def test_a_group_counts_on_no_worker_of_the_run_that_opens_it(autojump_clock: MockClock) -> None:
    runs = Runs()

    async def parent(resource: str) -> str:
        if runs.number() == 1:
            await trio.sleep(100)
        with pytest.raises(JobDeadlockError) as caught:
            async with pool.open_group(reserve=2):
                pass
        return str(caught.value)

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert "on worker-2" in await pool.run(parent, hedge=Hedge(3))


async def test_two_runs_that_open_groups_for_each_other_s_worker_are_told(autojump_clock: MockClock) -> None:
    told: list[float] = []

    async def parent(resource: str) -> str:
        await trio.sleep(5)
        try:
            async with pool.open_group(reserve=1):
                return f"{resource} has it at {trio.current_time():g}"
        except JobDeadlockError:
            told.append(trio.current_time())
            raise

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, hedge=Hedge(3)) == "a has it at 8"
    assert told == [8]


# The end of the block


@pytest.mark.parametrize("workers", [1, 2])
async def test_at_the_end_a_job_that_nobody_may_take_dies_though_a_hedged_job_waits_for_it(
    autojump_clock: MockClock, workers: int
) -> None:
    async def parent(resource: int) -> DeadReason | None:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(nap, 1, requires=["z"])
        return caught.value.job.dead_reason

    async with no_hanging():
        async with open_pool(range(workers), no_worker="wait", on_dead="keep") as pool:
            job = await pool.submit(parent, hedge=Hedge(5))
        assert trio.current_time() == 5
    assert job.result() is DeadReason.NO_WORKER
