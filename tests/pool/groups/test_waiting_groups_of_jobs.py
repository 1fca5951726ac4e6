"""A group that a job opens waits for workers of its own."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, sleeps, state_of, works
from tests.pool.groups.own_workers import named
from tests.pool.workers.places import crew
from trio_pool import (
    Elastic,
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobState,
    Pool,
    PoolClosedError,
    Worker,
    current_job,
    open_pool,
)

QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED

IN_VAIN = r"^the pool ended before the group had its workers$"


async def test_a_job_that_enters_a_group_too_late_for_its_workers_is_told_so_at_once(autojump_clock: MockClock) -> None:
    async def opens_late(resource: str) -> None:
        block = pool.open_group(reserve=3)
        await trio.sleep(2.0)
        with pytest.raises(PoolClosedError, match=IN_VAIN):
            async with block:
                pass
        assert trio.current_time() == 2.0

    async with open_pool(list("abcd")) as pool:
        job = await pool.submit(opens_late)
        await wait_all_tasks_blocked()
        for worker in pool.workers[2:]:
            await worker.remove()
    assert job.state is SUCCEEDED


async def test_at_the_end_of_the_pool_a_job_is_told_that_its_group_waits_in_vain(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> None:
        with pytest.raises(PoolClosedError, match=IN_VAIN):
            async with pool.open_group(reserve=3):
                pass
        assert trio.current_time() == 1.0

    async with open_pool(crew(a=1, b=1, c=2)) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 1.0, worker=pool.workers[2])
        job = await pool.submit(opens, worker=pool.workers[0])
        await wait_all_tasks_blocked()
        nursery.start_soon(pool.workers[2].remove)
        await wait_all_tasks_blocked()
        assert state_of(job) is RUNNING
    assert job.state is SUCCEEDED


async def test_a_worker_that_is_to_leave_is_not_missed_by_the_group_of_its_job(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> float:
        await trio.sleep(1.0)
        async with pool.open_group(reserve=2):
            return trio.current_time()

    async with open_pool(list("abc")) as pool, trio.open_nursery() as nursery:
        job = await pool.submit(opens, worker=pool.workers[0])
        await wait_all_tasks_blocked()
        nursery.start_soon(pool.workers[0].remove)
        assert await job.wait() == 1.0


async def test_a_group_waits_for_ever_for_a_worker_that_waits_for_its_opener(autojump_clock: MockClock) -> None:
    async def child(resource: str) -> str:
        await trio.sleep(1.0)
        with pytest.raises(JobDeadlockError) as caught:
            async with pool.open_group(reserve=2):
                pass
        return str(caught.value)

    async def parent(resource: str) -> str:
        return await pool.run(child, name="child")

    async with open_pool(named("a", "b", "c")) as pool:
        message = await pool.run(parent, name="parent")
        assert message.startswith("the job child would wait forever for workers for its group alone: ")
        assert "while these jobs wait: child (on b), parent (on a)" in message


async def test_so_does_a_job_that_begins_to_wait_after_that(autojump_clock: MockClock) -> None:
    async def child(resource: str) -> None:
        async with pool.open_group(reserve=2):
            pass

    async def parent(resource: str) -> str:
        job = await pool.submit(child, name="child")
        await trio.sleep(1.0)
        with pytest.raises(JobDeadlockError) as caught:
            await job.wait()
        return str(caught.value)

    async with open_pool(list("abc")) as pool:
        assert (await pool.run(parent, name="parent")).startswith("the job parent would wait forever for child: ")


async def test_a_group_waits_for_workers_of_jobs_that_wait_for_what_will_end(autojump_clock: MockClock) -> None:
    async def parent(resource: str, seconds: float) -> None:
        await pool.run(sleeps, seconds)

    async def opens(resource: str) -> float:
        async with pool.open_group(reserve=4):
            return trio.current_time()

    async with open_pool(list("abcde")) as pool:
        for seconds in (1.0, 2.0):
            await pool.submit(parent, seconds)
        await wait_all_tasks_blocked()
        assert await pool.run(opens) == 2.0


async def test_a_group_does_not_wait_for_ever_where_another_worker_may_be_opened(autojump_clock: MockClock) -> None:
    async def child(resource: int) -> str:
        async with pool.open_group(reserve=2) as group:
            return await group.run(works)

    async def parent(resource: int) -> str:
        return await pool.run(child)

    async with open_pool(Elastic(Mint(), max=4)) as pool:
        assert await pool.run(parent) == "done"


async def test_a_group_would_wait_for_ever_for_the_worker_that_its_opener_has_lent(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            with pytest.raises(JobDeadlockError, match="itself holds one of the workers"):
                async with pool.open_group(reserve=2):
                    pass

    async with open_pool(list("ab")) as pool:
        await pool.run(lends)


async def test_so_does_one_for_which_no_other_worker_is_left(autojump_clock: MockClock) -> None:
    async def child(resource: str) -> float:
        await trio.sleep(0.5)
        with pytest.raises(JobDeadlockError):
            async with pool.open_group(reserve=2):
                pass
        return trio.current_time()

    async def parent(resource: str) -> float:
        return await pool.run(child)

    async with open_pool(list("abcd")) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5.0, worker=pool.workers[3])
        job = await pool.submit(parent)
        await trio.sleep(1.0)
        nursery.start_soon(pool.workers[3].remove)
        assert await job.wait() == 1.0


async def test_at_the_end_a_worker_that_is_paused_is_resumed_for_the_group_of_a_job(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> float:
        async with pool.open_group(reserve=2):
            return trio.current_time()

    async def pauses(worker: Worker) -> None:
        await trio.sleep(1.0)
        worker.pause()

    async with trio.open_nursery() as nursery, open_pool(list("abc")) as pool:
        await pool.submit(sleeps, 2.0, worker=pool.workers[2])
        job = await pool.submit(opens)
        nursery.start_soon(pauses, pool.workers[2])
        await wait_all_tasks_blocked()
    assert job.result() == 2.0


async def test_a_job_that_is_cancelled_while_its_group_waits_gives_back_what_that_has(
    autojump_clock: MockClock,
) -> None:
    async def opens(resource: str) -> None:
        async with pool.open_group(reserve=2):
            pass

    async with open_pool(list("abc")) as pool:
        await pool.submit(sleeps, 5.0, worker=pool.workers[2])
        job = await pool.submit(opens)
        await wait_all_tasks_blocked()
        queued = await pool.submit(sleeps, 1.0)
        await trio.sleep(1.0)
        assert state_of(queued) is QUEUED
        job.cancel()
        with pytest.raises(JobCancelledError):
            await job.wait()
        assert state_of(queued) is RUNNING


async def test_cancelling_the_pool_as_a_group_gets_its_workers_ends_it_quietly(autojump_clock: MockClock) -> None:
    async def cancels(pool: Pool[str], job: Job[float]) -> None:
        await job.wait()
        pool.cancel()

    for _ in range(10):  # Trio leaves it to chance which of the two goes on first
        async with trio.open_nursery() as nursery, open_pool(["a"]) as pool:
            job = await pool.submit(sleeps, 1.0)
            nursery.start_soon(cancels, pool, job)
            async with pool.open_group(reserve=1):
                await trio.sleep_forever()
