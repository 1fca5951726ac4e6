"""4.7: how the bound of the queue holds submitters up, and whom it never does."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps, sleeps_forever, works
from trio_pool import (
    Instrument,
    Job,
    JobFailedError,
    JobState,
    Pool,
    PoolClosedError,
    RetryPolicy,
    open_pool,
)


async def test_jobs_wait_up_to_the_bound_and_then_submitters_do(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=2) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0)
        assert trio.current_time() == 0.0
        assert pool.statistics().queued == 2
        await pool.submit(works)
        assert trio.current_time() == 1.0


async def test_a_job_that_an_idle_worker_may_take_needs_no_place(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=0) as pool:
        for _ in range(2):
            pool.submit_nowait(sleeps, 1.0)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)
    assert pool.statistics().succeeded == 2


async def test_a_job_for_an_idle_worker_is_admitted_though_the_queue_is_full(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=1) as pool:
        first, second = pool.workers
        pool.submit_nowait(sleeps, 1.0, worker=first)
        pool.submit_nowait(works, worker=first)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, worker=first)
        assert pool.submit_nowait(works, worker=second).state is JobState.RUNNING


async def test_running_jobs_hold_no_place(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=1) as pool:
        jobs = [pool.submit_nowait(sleeps, 1.0) for _ in range(3)]
        assert [job.state for job in jobs] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]


async def test_a_started_job_makes_room_for_one_submitter(autojump_clock: MockClock) -> None:
    admitted: list[int] = []

    async def submits(pool: Pool[str], number: int) -> None:
        await pool.submit(sleeps, 1.0)
        admitted.append(number)

    async with open_pool(["a"], max_queue=1) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(submits, pool, number)
            await wait_all_tasks_blocked()
            assert pool.statistics().submitters_waiting == 3
            await trio.sleep(1.5)
            assert len(admitted) == 1
            assert pool.statistics().submitters_waiting == 2


async def test_submitters_are_let_in_first_come_first_served(autojump_clock: MockClock) -> None:
    admitted: list[int] = []

    async def submits(pool: Pool[str], number: int) -> None:
        await pool.submit(sleeps, 1.0)
        admitted.append(number)

    async with open_pool(["a"], max_queue=1) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0)
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(submits, pool, number)
                await wait_all_tasks_blocked()
    assert admitted == [0, 1, 2, 3, 4]


async def test_a_waiting_submitter_whose_job_an_idle_worker_may_take_goes_ahead(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=0) as pool:
        first, second = pool.workers
        await pool.submit(sleeps_forever, worker=first)
        await pool.submit(sleeps, 1.0, worker=second)
        blocked: list[Job[str]] = []

        async def submits_for_the_first() -> None:
            blocked.append(await pool.submit(works, worker=first))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submits_for_the_first)
            await wait_all_tasks_blocked()
            job = await pool.submit(works, worker=second)
            assert trio.current_time() == 1.0
            assert await job.wait() == "done"
            assert blocked == []
            for running in pool.jobs(JobState.RUNNING):
                running.cancel()
    assert [job.state for job in blocked] == [JobState.SUCCEEDED]


async def test_submit_nowait_does_not_overtake_those_who_wait(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=1) as pool:
        await pool.submit(sleeps, 1.0)
        queued = await pool.submit(works)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.submit, works)
            await wait_all_tasks_blocked()
            queued.cancel()
            with pytest.raises(trio.WouldBlock):
                pool.submit_nowait(works)


async def test_close_turns_away_those_who_wait(autojump_clock: MockClock) -> None:
    turned_away: list[int] = []

    async def submits(pool: Pool[str], number: int) -> None:
        with pytest.raises(PoolClosedError):
            await pool.submit(works)
        turned_away.append(number)

    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(sleeps, 1.0)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(submits, pool, number)
            await wait_all_tasks_blocked()
            pool.close()
        assert trio.current_time() == 0.0
    assert sorted(turned_away) == [0, 1, 2]
    assert pool.statistics().submitted == 1


async def test_retries_are_always_let_in_again(autojump_clock: MockClock) -> None:
    failed: set[str] = set()

    async def fails_once(resource: str) -> str:
        if resource in failed:
            return "done"
        failed.add(resource)
        raise ValueError

    async with open_pool(["a"], max_queue=1, retry=RetryPolicy.fixed(1.0)) as pool:
        retried = await pool.submit(fails_once)
        await wait_all_tasks_blocked()
        await pool.submit(sleeps, 3.0)
        await pool.submit(works)
        await trio.sleep(2)
        assert retried.state is JobState.QUEUED
        assert pool.statistics().queued == 2
        assert await retried.wait() == "done"


async def test_a_retry_that_is_queued_takes_no_place_from_new_jobs(autojump_clock: MockClock) -> None:
    async def fails_at_first(resource: str, calls: list[float]) -> None:
        calls.append(trio.current_time())
        if len(calls) == 1:
            raise ValueError

    async with open_pool(["a"], max_queue=1, retry=RetryPolicy.fixed(1.0)) as pool:
        await pool.submit(fails_at_first, list[float]())
        await wait_all_tasks_blocked()
        await pool.submit(sleeps, 3.0)
        await trio.sleep(2)
        assert pool.statistics().queued == 1
        assert pool.submit_nowait(works).state is JobState.QUEUED


async def test_a_job_of_the_pool_is_never_held_up_by_the_bound(autojump_clock: MockClock) -> None:
    children: list[Job[str]] = []

    async def has_children(resource: str, pool: Pool[str]) -> None:
        for _ in range(5):
            children.append(await pool.submit(works))
            children.append(pool.submit_nowait(works))

    async with open_pool(["a"], max_queue=0) as pool:
        await pool.run(has_children, pool)
        assert trio.current_time() == 0.0
    assert [child.state for child in children] == [JobState.SUCCEEDED] * 10


async def test_a_task_of_a_job_of_the_pool_is_never_held_up_either(autojump_clock: MockClock) -> None:
    async def has_helpers(resource: str, pool: Pool[str]) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pool.submit, works)

    async with open_pool(["a"], max_queue=0) as pool:
        await pool.run(has_helpers, pool)
    assert pool.statistics().succeeded == 4


async def test_a_job_of_another_pool_is_held_up_as_anybody(autojump_clock: MockClock) -> None:
    async def submits(resource: str, pool: Pool[str]) -> float:
        await pool.submit(works)
        return trio.current_time()

    async with open_pool(["a"], max_queue=0) as full, open_pool(["b"]) as other:
        await full.submit(sleeps, 2.0)
        assert await other.run(submits, full) == 2.0


async def test_a_requeued_job_is_always_let_in(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        dead = await pool.submit(fails)
        await pool.join()
        await pool.submit(sleeps, 1.0)
        fresh = pool.dead.requeue(dead)
        assert fresh.state is JobState.QUEUED
        await pool.join()
        pool.dead.pop_all()


async def test_jobs_that_only_one_worker_may_take_can_fill_the_queue(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=2) as pool:
        first, second = pool.workers
        for _ in range(3):
            pool.submit_nowait(sleeps, 1.0, worker=first)
        pool.submit_nowait(sleeps, 1.0, worker=second)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)


async def test_cancelled_and_buried_jobs_give_their_places_back(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=3, on_dead="keep") as pool:
        first, second = pool.workers
        pool.submit_nowait(sleeps, 1.0, worker=first)
        pool.submit_nowait(sleeps, 9.0, worker=second)
        for _ in range(20):
            pool.submit_nowait(works).cancel()
        pool.submit_nowait(works, worker=first)
        pool.submit_nowait(works, total_timeout=0.5)
        pool.submit_nowait(works, worker=second)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)
        await first.remove()
        assert pool.statistics().queued == 1
        for _ in range(2):
            pool.submit_nowait(works)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)


async def test_jobs_that_wait_for_a_worker_to_come_hold_places(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=1, no_worker="wait") as pool:
        job = pool.submit_nowait(works, requires=["gpu"])
        pool.submit_nowait(sleeps, 1.0)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)
        job.cancel()


async def test_a_job_evicted_from_its_worker_takes_no_place(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_queue=1) as pool:
        for _ in range(2):
            pool.submit_nowait(sleeps, 1.0)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove(cancel=True)
        assert pool.statistics().queued == 1
        assert pool.submit_nowait(works).state is JobState.QUEUED


@pytest.mark.parametrize("bound", [math.inf, None])
async def test_without_a_bound_nobody_waits(autojump_clock: MockClock, bound: float | None) -> None:
    async with open_pool(["a"], max_queue=bound) as pool:
        for _ in range(2000):
            await pool.submit(works)
        assert trio.current_time() == 0.0
    assert pool.statistics().succeeded == 2000


# What the call itself finds.


async def test_a_submitter_is_turned_away_where_its_own_call_finds_what_ends_the_pool(
    autojump_clock: MockClock,
) -> None:
    """What has come due during a long step of the program, and nobody has noticed yet."""
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], max_queue=0, on_dead="cancel") as pool, trio.open_nursery() as nursery:
            await pool.submit(sleeps, 20.0)
            nursery.start_soon(partial(pool.submit, works, total_timeout=5.0))
            await wait_all_tasks_blocked()
            autojump_clock.jump(10)
            with suppress(PoolClosedError):  # unless it is told so by its cancellation
                await pool.submit(works)
    assert trio.current_time() == 10.0


async def test_a_submitter_is_let_in_where_its_own_call_finds_what_makes_room(autojump_clock: MockClock) -> None:
    class CancelsQueued(Instrument):
        def job_finished(self, job: Job[Any]) -> None:
            if job.state is JobState.DEAD:
                queued.cancel()

    options: Any = {"instruments": [CancelsQueued()], "on_dead": "keep"}
    async with open_pool(["a"], max_queue=1, **options) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 20.0)
        queued = await pool.submit(works)
        nursery.start_soon(partial(pool.submit, works, total_timeout=5.0))
        await wait_all_tasks_blocked()
        autojump_clock.jump(10)
        job = await pool.submit(works)
        assert trio.current_time() == 10.0
        assert await job.wait() == "done"
