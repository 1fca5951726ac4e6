"""Whoever waits in a block for jobs of the pool waits as the block's job."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, sleeps, works
from tests.pool.leases.borrowers import Opened, no_place
from trio_pool import (
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobState,
    JobTimeoutError,
    Lease,
    ResourceBroken,
    current_job,
    open_pool,
)

# Deadlocks


async def test_a_wait_for_the_worker_that_the_block_holds_is_a_deadlock() -> None:
    async with open_pool(["a"]) as pool, pool.acquire():
        with pytest.raises(JobDeadlockError, match=r"lease\.job\.lend\(\)"):
            await pool.run(works)


async def test_a_second_block_in_the_first_is_a_deadlock_if_there_is_no_other_worker() -> None:
    async with open_pool(["a"]) as pool, pool.acquire():
        with pytest.raises(JobDeadlockError):
            async with pool.acquire():
                no_place()
        assert pool.statistics().cancelled == 1


async def test_tasks_of_the_block_wait_as_its_job() -> None:
    async def waits() -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(works)

    async with open_pool(["a"]) as pool, pool.acquire(), trio.open_nursery() as nursery:
        nursery.start_soon(waits)


async def test_tasks_around_the_block_do_not_hold_it_up(autojump_clock: MockClock) -> None:
    async def waits() -> None:
        assert await pool.run(nap, 1) == 4

    async with open_pool(1) as pool, trio.open_nursery() as nursery, pool.acquire():
        nursery.start_soon(waits)
        await trio.sleep(3)


async def test_two_tasks_that_hold_what_the_other_wants_are_a_deadlock(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def both_of() -> None:
        async with pool.acquire() as one:
            await trio.sleep(1)
            try:
                async with pool.acquire() as other:
                    outcomes.append(f"{one}{other}")
            except JobDeadlockError:
                outcomes.append("deadlock")

    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(both_of)
    assert max(outcomes) == "deadlock"
    assert len(outcomes) == 2


async def test_a_job_that_waits_for_a_block_that_waits_for_the_job_is_a_deadlock(autojump_clock: MockClock) -> None:
    async def borrower(resource: str) -> str:
        async with pool.acquire(worker=pool.workers[1]):
            with pytest.raises(JobDeadlockError):
                await pool.run(works, worker=pool.workers[0])
            return "told"

    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(borrower, worker=pool.workers[0]) == "told"


async def test_a_job_that_waits_for_a_place_on_its_own_worker_is_a_deadlock() -> None:
    async def borrower(resource: str) -> None:
        async with pool.acquire():
            no_place()

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(borrower)
        assert isinstance(caught.value.__cause__, JobDeadlockError)


async def test_a_block_of_a_child_task_holds_its_job_up_too(autojump_clock: MockClock) -> None:
    async def borrow() -> None:
        async with pool.acquire(worker=pool.workers[1]):
            await trio.sleep(1)
            with pytest.raises(JobDeadlockError):
                await pool.run(works, worker=pool.workers[0])

    async def borrower(resource: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(borrow)

    async with open_pool(["a", "b"]) as pool:
        await pool.run(borrower, worker=pool.workers[0])


async def test_a_block_around_a_block_that_waits_is_held_up_by_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.acquire(), pool.acquire():
        with pytest.raises(JobDeadlockError):
            await pool.run(works)


async def test_a_wait_in_the_block_for_what_others_will_free_is_no_deadlock(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.submit(sleeps, 5)
        async with pool.acquire():
            assert await pool.run(sleeps, 1) == 1
            assert trio.current_time() == 6


async def test_a_job_with_a_block_that_waits_for_its_place_is_no_deadlock(autojump_clock: MockClock) -> None:
    async def borrower(resource: str) -> float:
        async with pool.acquire():
            return trio.current_time()

    async with open_pool(["a", "b"]) as pool:
        await pool.submit(sleeps, 5)
        assert await pool.run(borrower) == 5


async def test_a_cancelled_job_with_a_block_that_waits_ends(autojump_clock: MockClock) -> None:
    async def borrower(resource: str) -> None:
        async with pool.acquire(), pool.acquire():
            raise AssertionError("there are two workers only")

    async with open_pool(["a", "b"]) as pool:
        await pool.submit(sleeps, 9)
        job = await pool.submit(borrower)
        await trio.sleep(1)
        job.cancel()
        with pytest.raises(JobCancelledError):
            await job.wait()


async def test_a_group_that_waits_for_the_worker_of_the_block_is_a_deadlock() -> None:
    async with open_pool(["a"]) as pool, pool.acquire():
        with pytest.raises(JobDeadlockError):
            async with pool.open_group(reserve=1):
                raise AssertionError("there is no worker")


async def test_a_group_that_waits_for_a_block_in_its_body_is_a_deadlock(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.acquire():
        with pytest.raises(JobDeadlockError):
            async with pool.open_group() as group:
                await group.submit(works)


async def test_the_results_of_a_stream_are_a_wait_too() -> None:
    async with open_pool(["a"]) as pool, pool.acquire(), pool.map(sleeps, [0]) as results:
        with pytest.raises(JobDeadlockError):
            await anext(results)


async def test_a_thread_that_the_block_waits_for_waits_as_its_job() -> None:
    async with open_pool(["a"]) as pool, pool.acquire():
        with pytest.raises(JobDeadlockError):
            await trio.to_thread.run_sync(pool.run_from_thread, works)


async def test_a_wait_with_a_timeout_that_is_no_deadlock_times_out(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.submit(sleeps, 5)
        async with pool.acquire():
            with pytest.raises(JobTimeoutError):
                async with pool.acquire(timeout=1):
                    no_place()


# Never held up


async def test_a_full_queue_does_not_hold_up_the_block() -> None:
    async with open_pool(["a"], max_queue=1) as pool, pool.acquire():
        jobs = [await pool.submit(works) for _ in range(3)]
        assert [job.state for job in jobs] == [JobState.QUEUED] * 3


async def test_join_in_the_block_is_an_error() -> None:
    async with open_pool(["a"]) as pool, pool.acquire():
        with pytest.raises(RuntimeError, match="join"):
            await pool.join()


async def test_join_of_a_group_in_its_block_is_an_error() -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group, group.acquire():
        with pytest.raises(RuntimeError, match="join"):
            await group.join()


async def test_join_waits_for_blocks_elsewhere(autojump_clock: MockClock) -> None:
    async def borrow() -> None:
        async with pool.acquire():
            await trio.sleep(3)

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(borrow)
        await wait_all_tasks_blocked()
        await pool.join()
        assert trio.current_time() == 3


async def test_the_block_cannot_remove_its_worker() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with lease:
            assert lease.job.worker is not None
            with pytest.raises(RuntimeError, match="removed"):
                await lease.job.worker.remove()


async def test_after_the_block_the_caller_is_outside_again(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.acquire():
            pass
        await pool.join()
        assert await pool.run(works) == "done"


async def test_tasks_that_the_block_leaves_behind_are_outside(autojump_clock: MockClock) -> None:
    async def later() -> None:
        await trio.sleep(1)
        await pool.join()
        with pytest.raises(RuntimeError, match="inside a job"):
            current_job()

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery, pool.acquire():
        nursery.start_soon(later)


async def test_what_a_block_in_a_job_leaves_behind_is_part_of_the_job(autojump_clock: MockClock) -> None:
    async def later() -> None:
        await trio.sleep(1)
        with pytest.raises(JobDeadlockError):
            await pool.run(works, worker=pool.workers[0])

    async def borrower(resource: str) -> None:
        async with trio.open_nursery() as nursery, pool.acquire():
            nursery.start_soon(later)

    async with open_pool(["a", "b"]) as pool:
        await pool.run(borrower, worker=pool.workers[0])


async def test_jobs_that_a_block_submits_are_jobs_of_their_own(autojump_clock: MockClock) -> None:
    async def asks(resource: str) -> object:
        job = current_job()
        await pool.run(works)
        return job

    async with open_pool(["a", "b", "c"]) as pool, pool.acquire():
        job = await pool.submit(asks)
        assert await job.wait() is job


# Lending


async def test_the_block_lends_its_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with lease:
            async with lease.job.lend():
                assert await pool.run(works) == "done"
            assert pool.workers[0].job is lease.job


async def test_a_block_in_a_block_lends_either(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        one, other = pool.acquire(), pool.acquire()
        async with one, other:
            for lease in (one, other):
                async with lease.job.lend():
                    assert await pool.run(works) == "done"


async def test_a_job_with_a_block_lends_its_own_worker(autojump_clock: MockClock) -> None:
    async def borrower(resource: str) -> str:
        async with pool.acquire(), current_job().lend():
            return await pool.run(works)

    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(borrower) == "done"


async def test_others_cannot_lend_the_worker_of_a_block() -> None:
    async def lends() -> None:
        with pytest.raises(RuntimeError, match="inside"):
            lease.job.lend()

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()

        async def borrow() -> None:
            async with lease:
                await trio.lowlevel.checkpoint()
                await wait_all_tasks_blocked()

        nursery.start_soon(borrow)
        while not list(pool.jobs()):
            await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        nursery.start_soon(lends)


async def test_a_block_that_ends_while_it_lends_gets_its_worker_back_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with lease:
            block = lease.job.lend()
            await block.__aenter__()
            await pool.submit(sleeps, 3)
            await trio.sleep(1)
        assert trio.current_time() == 3
        assert lease.job.state is JobState.SUCCEEDED


async def test_a_resource_that_breaks_while_it_is_lent_tells_the_block() -> None:
    async def breaks(resource: str) -> None:
        raise ResourceBroken

    async def borrow(lease: Lease[str]) -> None:
        async with lease, lease.job.lend():
            with pytest.raises(JobFailedError):
                await pool.run(breaks)

    async with open_pool(["a"], lifespan=Opened().lifespan) as pool:
        with pytest.raises(ResourceBroken, match="while it was lent"):
            await borrow(pool.acquire())
        assert await pool.run(works) == "done"


# Amounts


async def test_only_the_block_says_what_it_has_used() -> None:
    async def borrower(resource: str) -> None:
        lease = pool.acquire()
        async with lease:
            current_job().set_used(tokens=1)
            lease.job.set_used(tokens=2)
        with pytest.raises(RuntimeError, match="set_used"):
            lease.job.set_used(tokens=3)

    async with open_pool(["a", "b"]) as pool:
        await pool.run(borrower)
        assert pool.statistics().used == {"tokens": 3}


# Two pools


async def test_blocks_of_two_pools_are_independent(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as one, open_pool(["b"]) as other:
        async with one.acquire() as a, other.acquire() as b:
            assert (a, b) == ("a", "b")
            await trio.sleep(1)
        async with one.acquire():
            assert await other.run(works) == "done"


async def test_a_wait_for_the_own_pool_inside_a_block_of_another_is_told(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as one, open_pool(["b"]) as other, one.acquire(), other.acquire():
        with pytest.raises(JobDeadlockError):
            await one.run(works)
        with pytest.raises(RuntimeError, match="join"):
            await one.join()


async def test_a_block_submits_from_a_thread(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        async with pool.acquire():
            future = await trio.to_thread.run_sync(pool.submit_from_thread, works)
        while not future.done():
            await trio.lowlevel.checkpoint()
        assert future.result() == "done"
