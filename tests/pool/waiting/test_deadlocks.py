"""A job that would wait forever for others of its pool is told so."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import nap
from tests.ways_to_wait import WAYS, by_a_task_of_its_own, waits_for
from trio_pool import (
    Job,
    JobDeadlockError,
    JobFailedError,
    JobState,
    Resource,
    RetryPolicy,
    SlotPool,
    Worker,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.mark.parametrize("way", WAYS)
async def test_a_wait_for_what_only_the_waiters_own_worker_could_run_is_found(
    autojump_clock: MockClock, way: Callable[[SlotPool], Awaitable[object]]
) -> None:
    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        with trio.fail_after(60), pytest.raises(JobFailedError) as caught:
            await pool.run(way, pool)
        assert isinstance(caught.value.__cause__, JobDeadlockError)


@pytest.mark.parametrize("way", WAYS[:-1])
async def test_no_wait_of_a_job_that_has_lent_its_worker_is_one_for_ever(
    autojump_clock: MockClock, way: Callable[[SlotPool], Awaitable[object]]
) -> None:
    async def parent() -> None:
        async with current_job().lend():
            if way is by_a_task_of_its_own:
                with pytest.raises(IndexError):
                    await way(pool)
            else:
                await way(pool)

    async with open_pool(1, retry=RetryPolicy.never()) as pool:
        with trio.fail_after(60):
            await pool.run(parent)


async def test_a_run_that_would_wait_for_ever_cancels_its_job(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(nap, 1)

    async with open_pool(1) as pool:
        await pool.run(parent)
        assert pool.statistics().cancelled == 1


async def test_a_wait_that_would_be_for_ever_leaves_its_job_alone(autojump_clock: MockClock) -> None:
    async def parent() -> Job[float]:
        child = await pool.submit(nap, 1)
        with pytest.raises(JobDeadlockError):
            await child.wait()
        return child

    async with open_pool(1) as pool:
        child = await pool.run(parent)
        assert await child.wait() == 1


async def test_a_groups_block_that_would_wait_for_ever_cancels_its_jobs(autojump_clock: MockClock) -> None:
    children: list[Job[float]] = []

    async def parent() -> None:
        with pytest.raises(JobDeadlockError):
            async with pool.open_group() as group:
                children.append(await group.submit(nap, 1))

    async with open_pool(1) as pool:
        await pool.run(parent)
        assert children[0].state is JobState.CANCELLED


@pytest.mark.parametrize("workers", [2, 3])
async def test_of_as_many_waiting_jobs_as_there_are_workers_the_last_is_told(
    autojump_clock: MockClock, workers: int
) -> None:
    outcomes: list[str] = []

    async def parent(seconds: float) -> None:
        await trio.sleep(1 + seconds)
        try:
            await pool.run(nap, 1)
        except JobDeadlockError:
            outcomes.append(f"{seconds} deadlock")
        else:
            outcomes.append(f"{seconds} fine")

    async with open_pool(workers) as pool:
        for seconds in range(workers):
            await pool.submit(parent, seconds)
    last = workers - 1
    # Its worker is free then, and runs what the others wait for.
    assert outcomes[0] == f"{last} deadlock"
    assert sorted(outcomes[1:]) == [f"{seconds} fine" for seconds in range(last)]


@pytest.mark.parametrize("length", [2, 3, 7])
async def test_a_circle_of_waits_is_found_though_other_workers_are_idle(autojump_clock: MockClock, length: int) -> None:
    jobs: list[Job[str]] = []
    async with open_pool(length + 2) as pool:
        for number in range(length):
            jobs.append(await pool.submit(waits_for, lambda n=number: jobs[(n + 1) % length]))  # they see it grow
        with trio.fail_after(60):
            outcomes = [await job.wait() for job in jobs]
    assert sorted(outcomes) == ["deadlock"] + ["fine"] * (length - 1)


async def test_a_circle_is_found_though_all_in_it_have_lent_their_workers(autojump_clock: MockClock) -> None:
    jobs: list[Job[str]] = []

    async def parent(other: int) -> str:
        return await waits_for(lambda: jobs[other], lend=True)

    async with open_pool(2) as pool:
        jobs.append(await pool.submit(parent, 1))
        jobs.append(await pool.submit(parent, 0))
        with trio.fail_after(60):
            assert sorted([await job.wait() for job in jobs]) == ["deadlock", "fine"]


async def test_a_wait_for_who_needs_the_waiters_worker_back_is_found(autojump_clock: MockClock) -> None:
    async def lends() -> None:
        async with current_job().lend():
            await trio.sleep(5)

    async with open_pool(2) as pool:
        first, _ = pool.workers
        lender = await pool.submit(lends, worker=first)
        child = await pool.submit(waits_for, lambda: lender, worker=first)
        with trio.fail_after(60):
            assert await child.wait() == "deadlock"
            await lender.wait()


async def test_a_wait_for_a_chain_that_ends_at_the_waiters_worker_is_found(autojump_clock: MockClock) -> None:
    async def parent(worker: Worker) -> str:
        running = await pool.submit(nap, 10)
        blocked = await pool.submit(nap, 1, after=[running], worker=worker)
        try:
            await blocked.wait()
        except JobDeadlockError:
            return "deadlock"
        return "fine"

    async with open_pool(2) as pool:
        with trio.fail_after(60):
            assert await pool.run(parent, pool.workers[0], worker=pool.workers[0]) == "deadlock"


async def test_a_wait_for_a_blocked_job_whose_turn_comes_is_fine(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        running = await pool.submit(nap, 10)
        await (await pool.submit(nap, 1, after=[running])).wait()
        return trio.current_time()

    async with open_pool(2) as pool:
        assert await pool.run(parent) == 11


async def test_a_pin_to_the_waiters_worker_is_found_though_another_is_idle(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(nap, 1, worker=current_job().worker)

    async with open_pool(2) as pool:
        await pool.run(parent)


async def test_tags_that_only_the_waiters_worker_has_are_found_though_another_is_idle(
    autojump_clock: MockClock,
) -> None:
    async def parent(_: object) -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(nap, 1, requires=["gpu"])

    async with open_pool([Resource("a", tags=["gpu"]), "b"]) as pool:
        await pool.run(parent, requires=["gpu"])


async def test_tags_that_another_worker_has_too_are_fine(autojump_clock: MockClock) -> None:
    async def parent(_: object) -> float:
        return await pool.run(nap, 1, requires=["gpu"])

    async with open_pool([Resource("a", tags=["gpu"]), Resource("b", tags=["gpu", "big"]), "c"]) as pool:
        assert await pool.run(parent, requires=["gpu"]) == 1


async def test_a_retry_that_only_the_waiters_worker_may_run_is_found(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        raise ValueError

    async with open_pool(2, on_dead="keep") as pool:
        first, _ = pool.workers
        policy = RetryPolicy.fixed(10, placement="same")
        failing = await pool.submit(fails, worker=first, retry=RetryPolicy.never())
        child = await pool.submit(fails, retry=policy, priority=1)
        await failing.wait_started()
        await trio.sleep(1)
        [attempt] = child.attempts
        where = next(worker for worker in pool.workers if worker.id == attempt.worker_id)
        parent = await pool.submit(waits_for, lambda: child, worker=where)
        with trio.fail_after(60):
            assert await parent.wait() == "deadlock"


async def test_max_running_is_held_by_who_waits(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(nap, 1)

    async with open_pool(2, max_running=1) as pool:
        await pool.run(parent)


async def test_max_running_is_not_held_by_who_lends(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        async with current_job().lend():
            return await pool.run(nap, 1)

    async with open_pool(2, max_running=1) as pool:
        assert await pool.run(parent) == 1


async def test_max_running_that_leaves_room_is_fine(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        return await pool.run(nap, 1)

    async with open_pool(3, max_running=2) as pool:
        assert await pool.run(parent) == 1


async def test_a_groups_max_running_is_held_by_who_waits_in_it(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, pool.open_group(max_running=1) as group:

        async def parent() -> None:
            with pytest.raises(JobDeadlockError):
                await group.run(nap, 1)

        await group.run(parent)


async def test_a_groups_max_running_is_not_held_by_who_waits_outside_of_it(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, pool.open_group(max_running=1) as group:

        async def parent() -> float:
            return await group.run(nap, 1)

        assert await pool.run(parent) == 1


async def test_a_group_that_would_wait_for_its_opener_s_worker_is_found(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        with pytest.raises(JobDeadlockError, match=r"parent \(on worker-1\) itself holds one of the workers"):
            async with pool.open_group(reserve=2):
                pass

    async with open_pool(2) as pool:
        await pool.run(parent)
        assert await pool.run(nap, 1) == 1


async def test_a_job_of_the_group_is_fine_on_the_groups_worker(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        async with pool.open_group(reserve=1) as group:
            return await group.run(nap, 1)

    async with open_pool(2) as pool:
        assert await pool.run(parent) == 1


async def test_the_error_names_the_jobs_and_their_workers(autojump_clock: MockClock) -> None:
    async def parent() -> str:
        jobs = [await pool.submit(nap, 1, name=f"child {number}") for number in range(5)]
        with pytest.raises(JobDeadlockError) as caught:  # noqa: PT012  # it is the block's end that raises
            async with pool.open_group() as group:
                for number in range(5):
                    await group.submit(nap, 1, name=f"in the group {number}")
        for job in jobs:
            job.cancel()
        return str(caught.value)

    async with open_pool(1) as pool:
        assert await pool.run(parent, name="parent") == (
            "the job parent would wait forever for in the group 0, in the group 1, in the group 2 and 2 more: "
            "that can't happen while these jobs wait: parent (on worker-1); "
            "'async with current_job().lend():' around the wait lets other jobs use the worker meanwhile"
        )


async def test_the_error_shows_jobs_without_names_with_their_arguments(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        with pytest.raises(JobDeadlockError, match=r"would wait forever for nap\(1\): "):
            await pool.run(nap, 1)

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_the_error_tells_who_has_lent_a_worker(autojump_clock: MockClock) -> None:
    messages: list[str] = []

    async def one() -> None:
        await trio.sleep(1)
        async with current_job().lend():
            await jobs[1].wait()

    async def other() -> None:
        await trio.sleep(2)
        with pytest.raises(JobDeadlockError) as caught:
            await jobs[0].wait()
        messages.append(str(caught.value))

    async with open_pool(2) as pool:
        jobs = [await pool.submit(one, name="one"), await pool.submit(other, name="other")]
    assert messages == [
        "the job other would wait forever for one: that can't happen while these jobs wait: "
        "other (on worker-2), one (has lent worker-1)"
    ]


async def test_a_wait_in_the_clean_up_of_a_cancelled_job_is_found(autojump_clock: MockClock) -> None:
    found: list[JobDeadlockError] = []

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await pool.run(nap, 1)
                except JobDeadlockError as error:
                    found.append(error)

    with trio.fail_after(60):
        async with open_pool(1) as pool:
            job = await pool.submit(cleans_up)
            await job.wait_started()
            job.cancel()
    assert len(found) == 1


@pytest.mark.parametrize("limited", ["pool", "group"])
async def test_more_waiting_jobs_than_may_run_leave_no_room(autojump_clock: MockClock, limited: str) -> None:
    async def lends() -> None:
        async with current_job().lend():
            await trio.sleep(10)

    async def lends_and_waits(scope: Any) -> None:
        job = await scope.submit(lends)
        async with current_job().lend():
            await trio.sleep(1)  # so that another starts
        await job.wait()

    async def waits(scope: Any) -> float:
        await trio.sleep(2)
        with pytest.raises(JobDeadlockError):
            await scope.run(nap, 1)
        return trio.current_time()

    async def program(pool: SlotPool) -> None:
        async with pool.open_group(max_running=1) if limited == "group" else nullcontext(pool) as scope:
            await scope.submit(lends_and_waits, scope, priority=-1)
            await trio.sleep(0.5)
            waiter = await scope.submit(waits, scope)
            assert await waiter.wait() == 2.5

    with trio.fail_after(60):
        async with open_pool(3, max_running=1 if limited == "pool" else None) as pool:
            await program(pool)


async def test_a_job_beside_the_group_that_has_the_last_worker_for_itself_is_waited_for_in_vain(
    autojump_clock: MockClock,
) -> None:
    async def parent() -> None:
        async with pool.open_group(reserve=1):
            await pool.run(nap, 1)  # not the group's

    with trio.fail_after(60):
        async with open_pool(2, retry=RetryPolicy.never()) as pool:
            with pytest.raises(JobFailedError) as caught:
                await pool.run(parent)
    assert isinstance(caught.value.__cause__, JobDeadlockError)


async def test_a_group_in_a_group_that_keeps_a_worker_it_needs_is_waited_for_in_vain(
    autojump_clock: MockClock,
) -> None:
    async def parent() -> None:
        async with pool.open_group(reserve=1):
            with pytest.raises(JobDeadlockError):
                async with pool.open_group(reserve=2):
                    pass

    with trio.fail_after(60):
        async with open_pool(3) as pool:
            await pool.run(parent)
