"""A caller borrows a resource: ``async with pool.acquire() as resource``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints

from tests.actors import nap, sleeps, state_of, works
from trio_pool import (
    Elastic,
    JobState,
    RateLimit,
    Resource,
    RetryPolicy,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def test_the_block_gets_the_resource_of_a_worker() -> None:
    async with open_pool(["a"]) as pool, pool.acquire() as resource:
        assert resource == "a"


async def test_the_block_gets_what_the_lifespan_yields() -> None:
    @asynccontextmanager
    async def opened(resource: str) -> AsyncGenerator[str]:
        yield resource.upper()

    async with open_pool(["a"], lifespan=opened) as pool, pool.acquire() as resource:
        assert resource == "A"


async def test_the_block_gets_nothing_in_a_pool_of_slots() -> None:
    async with open_pool(1) as pool, pool.acquire() as nothing:
        assert nothing is None


async def test_a_resource_that_is_none_is_handed_out() -> None:
    async with open_pool([None]) as pool, pool.acquire() as resource:
        assert resource is None


async def test_no_job_runs_on_the_worker_meanwhile(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        async with pool.acquire():
            job = await pool.submit(nap, 1)
            await trio.sleep(10)
            assert job.state is JobState.QUEUED
        assert await job.wait() == 11


async def test_jobs_run_on_other_workers_meanwhile(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool, pool.acquire():
        assert await pool.run(nap, 1) == 1


async def test_the_block_waits_its_turn_in_the_queue(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(nap, 1)
        await pool.submit(nap, 2)
        async with pool.acquire():
            assert trio.current_time() == 3


async def test_the_priority_says_when_its_turn_comes(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(nap, 1)
        await pool.submit(nap, 2)
        async with pool.acquire(priority=-1):
            assert trio.current_time() == 1


async def test_a_worker_goes_on_with_its_next_job_after_the_block(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        async with pool.acquire():
            jobs = [await pool.submit(nap, 1) for _ in range(3)]
        assert [await job.wait() for job in jobs] == [1, 2, 3]


async def test_blocks_follow_each_other_on_one_worker(autojump_clock: MockClock) -> None:
    ends: list[float] = []

    async def borrow() -> None:
        async with pool.acquire():
            await trio.sleep(1)
            ends.append(trio.current_time())

    async with open_pool(1) as pool, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(borrow)
    assert ends == [1, 2, 3]


async def test_a_worker_with_several_places_has_as_many_blocks(autojump_clock: MockClock) -> None:
    ends: list[float] = []

    async def borrow() -> None:
        async with pool.acquire() as resource:
            assert resource == "a"
            await trio.sleep(1)
            ends.append(trio.current_time())

    async with open_pool([Resource("a", max_running=2)]) as pool, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(borrow)
    assert ends == [1, 1, 2, 2]


async def test_two_blocks_in_one_task_have_two_resources() -> None:
    async with open_pool(["a", "b"]) as pool, pool.acquire() as one, pool.acquire() as other:
        assert {one, other} == {"a", "b"}


async def test_a_block_can_ask_for_tags_or_for_a_worker() -> None:
    async with open_pool([Resource("a"), Resource("b", tags=["gpu"])]) as pool:
        async with pool.acquire(requires=["gpu"]) as resource:
            assert resource == "b"
        async with pool.acquire(worker=pool.workers[1]) as resource:
            assert resource == "b"


async def test_a_block_counts_in_max_running(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_running=1) as pool:
        async with pool.acquire():
            job = await pool.submit(nap, 0)
            await trio.sleep(5)
        assert await job.wait() == 5


async def test_a_block_draws_from_rate_limits(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, per=10)) as pool:
        async with pool.acquire():
            pass
        async with pool.acquire():
            assert trio.current_time() == 10


async def test_a_block_uses_units_and_says_how_much(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, burst=10, unit="tokens")) as pool:
        lease = pool.acquire(uses={"tokens": 4})
        async with lease:
            lease.job.set_used(tokens=7)
        assert pool.statistics().used == {"tokens": 7}
        assert lease.job.attempts[0].used == {"tokens": 7}


async def test_used_up_resources_are_reopened_after_the_block() -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        opened.append(resource)
        yield resource

    async with open_pool([Resource("a", max_jobs=2)], lifespan=lifespan) as pool:
        for _ in range(3):
            async with pool.acquire():
                pass
    assert opened == ["a", "a"]


async def test_an_elastic_pool_opens_a_worker_for_a_block() -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        yield "made"

    async with open_pool(Elastic(factory, min=0, max=2, idle_timeout=10)) as pool, pool.acquire() as resource:
        assert resource == "made"
        assert pool.workers[0].state is WorkerState.BUSY


async def test_a_pause_of_the_pool_holds_the_block_back(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        pool.rest(5)
        async with pool.acquire():
            assert trio.current_time() == 5


async def test_a_paused_worker_keeps_its_block_and_starts_none(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.acquire():
            pool.workers[0].pause()
            await trio.sleep(1)
        with trio.move_on_after(1) as scope:
            async with pool.acquire():
                raise AssertionError("nobody may start anything")
        assert scope.cancelled_caught


# The job of a block


async def test_the_block_has_a_job_that_runs() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire(name="mine", metadata={"for": "me"})
        async with lease:
            job = lease.job
            assert state_of(job) is JobState.RUNNING
            assert (job.name, job.metadata, job.args) == ("mine", {"for": "me"}, ())
            assert job.worker is pool.workers[0]
            assert pool.workers[0].job is job
            assert list(pool.jobs()) == [job]
            assert pool.statistics().running == 1
        assert state_of(job) is JobState.SUCCEEDED
        await job.wait()
        assert [each.state for each in job.history] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
        assert job.attempt_count == 1
        assert pool.statistics().succeeded == 1
        assert lease.job is job


async def test_the_name_is_acquire_by_default() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with lease:
            assert lease.job.name == "acquire"
            assert "acquire" in repr(lease)


async def test_the_current_job_stays_what_it_was() -> None:
    async def borrower(resource: str) -> None:
        job = current_job()
        lease = pool.acquire()
        async with lease:
            assert current_job() is job
            assert lease.job is not job

    async with open_pool(["a", "b"]) as pool:
        await pool.run(borrower)
        async with pool.acquire():
            with pytest.raises(RuntimeError, match="inside a job"):
                current_job()


async def test_timeouts_of_jobs_do_not_apply_to_blocks(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], attempt_timeout=1, total_timeout=2, retry=RetryPolicy.endless()) as pool:
        lease = pool.acquire(timeout=3)
        async with lease:
            assert trio.current_effective_deadline() == float("inf")
            await trio.sleep(10)
        assert lease.job.state is JobState.SUCCEEDED


async def test_others_can_wait_for_the_job_of_a_block(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()
        async with lease:
            after = await pool.submit(works, after=[lease.job])
            nursery.start_soon(lease.job.wait)
            await trio.sleep(1)
            assert after.state is JobState.BLOCKED
        assert await after.wait() == "done"


async def test_the_job_of_a_block_is_in_the_statistics_of_the_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.acquire():
            await trio.sleep(3)
        worker = pool.workers[0].statistics()
    assert (worker.attempts, worker.succeeded, worker.busy_seconds) == (1, 1, 3)


# In groups


async def test_a_group_waits_for_its_blocks(autojump_clock: MockClock) -> None:
    async def borrow(task_status: trio.TaskStatus[None]) -> None:
        async with group.acquire():
            task_status.started()
            await trio.sleep(3)

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        async with pool.open_group() as group:
            await nursery.start(borrow)
            assert group.statistics().running == 1
        assert trio.current_time() == 3
        assert group.statistics().succeeded == 1


async def test_a_block_in_a_group_can_be_in_its_body(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group, group.acquire() as resource:
        assert resource == "a"


async def test_a_group_of_slots_has_blocks_too() -> None:
    async with open_pool(1) as pool, pool.open_group() as group, group.acquire():
        assert group.statistics().running == 1


async def test_a_group_with_two_workers_has_two_blocks_without_deadlock(autojump_clock: MockClock) -> None:
    taken: list[set[Any]] = []

    async def pair() -> None:
        async with pool.open_group(reserve=2) as group, group.acquire() as one:
            await trio.sleep(1)
            async with group.acquire() as other:
                taken.append({one, other})
                await trio.sleep(1)

    async with open_pool(["a", "b", "c"]) as pool, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(pair)
    assert [len(each) for each in taken] == [2] * 5


async def test_the_bound_of_a_group_applies_to_its_blocks(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        async with group.acquire():
            pass
        group.max_running = 1
        async with group.acquire():
            job = await group.submit(sleeps, 0)
            await trio.sleep(2)
            assert job.state is JobState.QUEUED


# Checkpoints


async def test_entering_is_a_checkpoint_with_a_free_worker_too() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with assert_checkpoints():
            await lease.__aenter__()
        await lease.__aexit__(None, None, None)
