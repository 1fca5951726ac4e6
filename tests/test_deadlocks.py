"""A job that would wait for ever for others of its pool is told so; one that wouldn't isn't."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, of_any_arguments, sleeps_forever, state_of
from trio_pool import (
    DeadReason,
    Elastic,
    Hedge,
    Instrument,
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobState,
    Resource,
    ResourceBroken,
    RetryPolicy,
    SlotPool,
    Worker,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky


@of_any_arguments
async def nap(*args: Any) -> float:
    """The last argument is the job's own; a resource may come before it."""
    await trio.sleep(args[-1])
    return trio.current_time()


async def waits_for(getter: Callable[[], Job[Any]], *, lend: bool = False) -> str:
    """Waits for another job, which may not be there yet; tells how that went."""
    await trio.sleep(1)
    try:
        if lend:
            async with current_job().lend():
                await getter().wait()
        else:
            await getter().wait()
    except JobDeadlockError:
        return "deadlock"
    return "fine"


# What is found


async def by_run(pool: SlotPool) -> object:
    return await pool.run(nap, 1)


async def by_wait(pool: SlotPool) -> object:
    return await (await pool.submit(nap, 1)).wait()


async def by_waiting_for_its_start(pool: SlotPool) -> object:
    await (await pool.submit(nap, 1)).wait_started()
    return None


async def by_map(pool: SlotPool) -> object:
    async with pool.map(nap, [1, 2]) as results:
        return [result async for result in results]


async def by_map_over_async_items(pool: SlotPool) -> object:
    async def items() -> AsyncIterator[float]:
        yield 1
        await trio.sleep(3)
        yield 2

    await trio.sleep(1)
    async with pool.map(nap, items()) as results:
        await wait_all_tasks_blocked()
        return [result async for result in results]


async def by_as_completed(pool: SlotPool) -> object:
    async with pool.as_completed(nap, [1, 2]) as jobs:
        return [job async for job in jobs]


async def by_leaving_a_group(pool: SlotPool) -> object:
    async with pool.open_group() as group:
        await group.submit(nap, 1)
    return None


async def by_joining_a_group(pool: SlotPool) -> object:
    async with pool.open_group() as group:
        job = await group.submit(nap, 1)
        try:
            await group.join()
        finally:
            job.cancel()
    return None


async def by_a_graph_in_a_chain(pool: SlotPool) -> object:
    first = await pool.submit(nap, 1)
    second = await pool.submit(nap, 1, after=[first])
    return await (await pool.submit(nap, 1, after=[second])).wait()


async def by_a_task_of_its_own(pool: SlotPool) -> object:
    found: list[JobDeadlockError] = []

    async def child() -> None:
        try:
            await pool.run(nap, 1)
        except JobDeadlockError as error:
            found.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    raise found[0]


async def by_waiting_for_itself(pool: SlotPool) -> object:
    return await current_job().wait()


WAYS = [
    by_run,
    by_wait,
    by_waiting_for_its_start,
    by_map,
    by_map_over_async_items,
    by_as_completed,
    by_leaving_a_group,
    by_joining_a_group,
    by_a_graph_in_a_chain,
    by_a_task_of_its_own,
    by_waiting_for_itself,
]


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
        with pytest.raises(JobDeadlockError, match="holds one of the workers"):
            async with pool.open_group(reserve=2):
                pass

    async with open_pool(2) as pool:
        await pool.run(parent)
        assert await pool.run(nap, 1) == 1


async def test_a_group_may_have_all_workers_while_its_opener_lends_its_own(autojump_clock: MockClock) -> None:
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
            "the job parent would wait for ever for in the group 0, in the group 1, in the group 2 and 2 more: "
            "that can't end before one of these does, which wait themselves: parent (on worker-1)"
        )


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
        "the job other would wait for ever for one: that can't end before one of these does, "
        "which wait themselves: other (on worker-2), one (has lent worker-1)"
    ]


# What is no deadlock


async def has_a_child(pool: Any) -> float:
    """Waits for a child in its own pool, without lending."""
    found: float = await pool.run(nap, 1)
    return found


async def test_a_wait_for_a_running_job_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        child = await pool.submit(nap, 5)
        assert await pool.run(waits_for, lambda: child) == "fine"


async def test_a_wait_while_another_worker_is_busy_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        await pool.submit(nap, 5)
        assert await pool.run(has_a_child, pool) == 6


async def test_a_wait_while_another_worker_is_paused_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        first, second = pool.workers
        second.pause()
        job = await pool.submit(has_a_child, pool, worker=first)
        await trio.sleep(5)
        second.resume()
        assert await job.wait() == 6


async def test_a_wait_while_another_worker_rests_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        first, second = pool.workers
        second.rest(5)
        assert await pool.run(has_a_child, pool, worker=first) == 6


async def test_a_wait_while_another_worker_is_opened_anew_is_fine(autojump_clock: MockClock) -> None:
    async def breaks() -> None:
        raise ResourceBroken

    async with open_pool(2, retry=RetryPolicy.never(), on_dead="keep") as pool:
        first, second = pool.workers
        await pool.submit(breaks, worker=second)
        with trio.fail_after(60):
            assert await pool.run(has_a_child, pool, worker=first) == 1


async def test_a_wait_while_another_worker_could_be_opened_is_fine(autojump_clock: MockClock) -> None:
    async def parent(_: object) -> float:
        return await has_a_child(pool)

    async with open_pool(Elastic(Mint(seconds_in=3), min=1, max=2)) as pool:
        assert await pool.run(parent) == 7


async def test_a_wait_in_an_elastic_pool_that_is_as_large_as_can_be_is_found(autojump_clock: MockClock) -> None:
    async def parent(_: object) -> None:
        with pytest.raises(JobDeadlockError):
            await has_a_child(pool)

    async with open_pool(Elastic(Mint(), min=0, max=1)) as pool:
        await pool.run(parent)


async def test_a_wait_for_a_cancelled_job_is_fine(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        child = await pool.submit(nap, 1)
        child.cancel()
        with pytest.raises(JobCancelledError):
            await child.wait()

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_a_wait_for_a_job_that_is_about_to_be_cancelled_is_fine(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        waiting = await pool.submit(sleeps_forever, None)
        running = await pool.submit(waits_for, lambda: waiting)
        await trio.sleep(5)
        waiting.cancel()
        running.cancel()
        with pytest.raises(JobCancelledError):
            await running.wait()


async def test_a_wait_for_what_waits_with_one_that_was_cancelled_is_fine(autojump_clock: MockClock) -> None:
    jobs: list[Job[Any]] = []

    async def is_slow_to_leave() -> None:
        await trio.sleep(1)
        try:
            await jobs[1].wait()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async def waits() -> None:
        await trio.sleep(5)
        jobs[0].cancel()
        with pytest.raises(JobCancelledError):
            await jobs[0].wait()

    async with open_pool(2) as pool:
        jobs.append(await pool.submit(is_slow_to_leave))
        jobs.append(await pool.submit(waits))
        await jobs[1].wait()


async def test_a_job_that_nobody_may_take_is_waited_for_until_somebody_comes(autojump_clock: MockClock) -> None:
    async def parent(_: object) -> float:
        return await pool.run(nap, 1, requires=["gpu"])

    async with open_pool(["a"], no_worker="wait") as pool:
        job = await pool.submit(parent)
        await trio.sleep(5)
        await pool.add("b", tags=["gpu"])
        assert await job.wait() == 6


async def test_what_a_job_has_started_outside_of_itself_may_wait(autojump_clock: MockClock) -> None:
    async def child(pool: SlotPool) -> None:
        found.append(await pool.run(nap, 1))

    async def parent() -> None:
        nursery.start_soon(child, pool)
        await trio.sleep(5)

    found: list[float] = []
    async with open_pool(1) as pool, trio.open_nursery() as nursery:
        await pool.run(parent)
    assert found == [6]


async def test_a_job_may_wait_for_one_of_another_pool(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool, open_pool(1) as other:
        assert await pool.run(has_a_child, other) == 1


async def test_a_job_with_a_hedge_is_left_out(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(has_a_child, pool, hedge=Hedge(after=10))
        await trio.sleep(5)
        assert state_of(job) is JobState.RUNNING
        job.cancel()


async def test_as_completed_waits_as_long_as_one_of_its_jobs_can_end(autojump_clock: MockClock) -> None:
    async def parent() -> int:
        async with pool.as_completed(nap, [1, 2, 3]) as jobs:
            return len([job async for job in jobs])

    async with open_pool(2) as pool:
        assert await pool.run(parent) == 3


async def test_a_job_that_was_told_may_wait_again_by_lending(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        child = await pool.submit(nap, 1)
        try:
            await child.wait()
        except JobDeadlockError:
            async with current_job().lend():
                await child.wait()
        return trio.current_time()

    async with open_pool(1) as pool:
        assert await pool.run(parent) == 1


async def test_two_waits_of_one_job_are_both_looked_at(autojump_clock: MockClock) -> None:
    async def parent(first: Job[Any]) -> str:
        second = await pool.submit(nap, 1, worker=current_job().worker)
        outcomes: list[str] = []

        async def waits(job: Job[Any]) -> None:
            try:
                await job.wait()
            except JobDeadlockError:
                outcomes.append("deadlock")
            else:
                outcomes.append("fine")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits, first)
            await wait_all_tasks_blocked()
            nursery.start_soon(waits, second)
        return ", ".join(outcomes)

    async with open_pool(2) as pool:
        running = await pool.submit(nap, 10, worker=pool.workers[0])
        assert await pool.run(parent, running, worker=pool.workers[1]) == "deadlock, fine"


# What goes wrong later, while a job waits already


@of_any_arguments
async def breaks(*args: Any) -> None:
    await trio.sleep(1)
    raise ResourceBroken("gone")


class BreaksOnce:
    """Breaks its resource the first time that it is called."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, resource: str) -> str:
        await trio.sleep(1)
        self.calls += 1
        if self.calls == 1:
            raise ResourceBroken("gone")
        return "mended"


@pytest.mark.parametrize("way", WAYS[:-1])
@pytest.mark.parametrize("what", ["breaks", "is to leave"])
async def test_a_wait_for_a_job_that_only_the_waiters_lent_worker_may_run_ends_when_that(
    autojump_clock: MockClock, what: str, way: Callable[[SlotPool], Awaitable[object]]
) -> None:
    async def parent() -> None:
        async with current_job().lend():
            await way(pool)

    async def has_the_worker() -> None:
        await trio.sleep(9)
        if what == "breaks":
            raise ResourceBroken

    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool, trio.open_nursery() as nursery:
        job = await pool.submit(parent)
        await pool.submit(has_the_worker)
        await trio.sleep(5)
        if what == "is to leave":
            nursery.start_soon(pool.workers[0].remove)
        with trio.fail_after(60), pytest.raises(JobFailedError) as caught:
            await job.wait()
        assert isinstance(caught.value.__cause__, JobDeadlockError)
        assert trio.current_time() == 9


async def test_the_error_tells_that_a_lent_worker_is_broken(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> None:
        async with current_job().lend():
            await pool.run(BreaksOnce(), retry=RetryPolicy.fixed(5), name="child")

    async with open_pool([Resource("a", name="a")], on_dead="keep") as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(parent, name="parent")
        assert str(caught.value.__cause__) == (
            "the job parent would wait for ever for child: that can't end before one of these does, "
            "which wait themselves: parent (has lent a, whose resource is broken)"
        )


async def test_a_parent_whose_worker_was_broken_is_tried_again_on_the_mended_one(autojump_clock: MockClock) -> None:
    child = BreaksOnce()

    async def parent(resource: str) -> str:
        async with current_job().lend():
            return await pool.run(child, retry=RetryPolicy.fixed(5))

    async with open_pool(["a"]) as pool:
        with trio.fail_after(60):
            assert await pool.run(parent, retry=RetryPolicy.fixed(10)) == "mended"
        assert trio.current_time() == 12
        assert pool.statistics().cancelled == 1


@pytest.mark.parametrize("bound", ["", "worker", "tags"])
async def test_a_wait_that_begins_after_a_lent_worker_was_broken_is_found(
    autojump_clock: MockClock, bound: str
) -> None:
    async def parent(resource: str) -> None:
        job = current_job()
        assert job.worker is not None
        options: dict[str, Any] = {"worker": job.worker} if bound == "worker" else {}
        if bound == "tags":
            options = {"requires": ["x"]}
        async with job.lend():
            with pytest.raises(JobFailedError):
                await pool.run(breaks, **options)
            with pytest.raises(JobDeadlockError):
                await pool.run(nap, 1, **options)

    resources = [Resource("a", tags=["x"]), Resource("b")]
    async with open_pool(resources if bound else resources[:1], on_dead="keep") as pool:
        job = await pool.submit(parent, worker=pool.workers[0])
        with trio.fail_after(60), pytest.raises(JobFailedError):
            await job.wait()


async def test_a_job_for_a_broken_lent_worker_may_be_waited_for_where_another_can_take_it(
    autojump_clock: MockClock,
) -> None:
    async def parent(resource: str) -> float:
        job = current_job()
        try:
            async with job.lend():
                with pytest.raises(JobFailedError):
                    await pool.run(breaks, worker=job.worker)
                await pool.run(nap, 1)
        except ResourceBroken:
            return trio.current_time()
        raise AssertionError("not reached")

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        await pool.submit(nap, 9, worker=pool.workers[1])
        assert await pool.run(parent, worker=pool.workers[0]) == 10


async def test_a_job_that_waits_for_one_that_runs_on_a_broken_lent_worker_is_left_alone(
    autojump_clock: MockClock,
) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(8)

    async def parent(resource: str, lender: Job[Any]) -> float:
        with pytest.raises(JobFailedError):
            await lender.wait()
        return trio.current_time()

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        first, second = pool.workers
        lender = await pool.submit(lends, worker=first)
        waiter = await pool.submit(parent, lender, worker=second)
        broken = await pool.submit(breaks, worker=first)
        later = await pool.submit(nap, 1, worker=first)
        with trio.fail_after(60):
            assert await waiter.wait() == 8
            assert await later.wait() == 9
        pool.dead.pop(broken)


async def test_of_several_lenders_of_a_broken_worker_all_are_told_who_need_it(autojump_clock: MockClock) -> None:
    told: list[tuple[int, float]] = []

    async def lends(resource: str, number: int) -> None:
        async with current_job().lend():
            await trio.sleep(number)
            try:
                await pool.run(nap, 1)
            except JobDeadlockError:
                told.append((number, trio.current_time()))

    async def has_the_worker(resource: str) -> None:
        await trio.sleep(9)
        raise ResourceBroken

    async with open_pool(["a"], on_dead="keep") as pool:
        for number in (3, 1, 2):
            await pool.submit(lends, number)
        await pool.submit(has_the_worker)
    assert sorted(told) == [(1, 9), (2, 9), (3, 9)]


async def test_who_only_waits_for_one_that_waits_for_ever_is_not_told(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(1)
            await tell("lender", await pool.submit(nap, 1, worker=first))

    async def tell(name: str, job: Job[Any]) -> None:
        try:
            await job.wait()
        except JobDeadlockError:
            told.append(name)
        except JobFailedError:
            pass

    async def waits(resource: str, seconds: float, job: Job[Any]) -> None:
        await trio.sleep(seconds)
        await tell(f"waits since {seconds:g}", job)

    async def has_the_worker(resource: str) -> None:
        await trio.sleep(9)
        raise ResourceBroken

    async with open_pool(["a", "b", "c"], on_dead="keep") as pool:
        first, second, third = pool.workers
        lender = await pool.submit(lends, worker=first)
        await pool.submit(waits, 3, lender, worker=second)
        await pool.submit(waits, 2, lender, worker=third)
        await pool.submit(has_the_worker, worker=first)
    assert told == ["lender"]


async def test_a_wait_that_is_cancelled_as_it_turns_out_to_be_for_ever_is_cancelled(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            async with current_job().lend():
                await pool.run(nap, 1)
        assert scope.cancelled_caught

    async def has_the_worker() -> None:
        await trio.sleep(9)
        scopes[0].cancel()
        raise ResourceBroken

    scopes: list[trio.CancelScope] = []
    async with open_pool(1, on_dead="keep") as pool:
        job = await pool.submit(parent)
        await pool.submit(has_the_worker)
        with trio.fail_after(60):
            await job.wait()


class Cancels(Instrument):
    """Cancels a scope when a worker's resource is to be opened anew: what tells the waits comes after that."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.scope.cancel()


@pytest.mark.parametrize("way", WAYS[:-1])
async def test_so_it_is_where_an_instrument_cancels_it(
    autojump_clock: MockClock, way: Callable[[SlotPool], Awaitable[object]]
) -> None:
    async def parent() -> None:
        with instrument.scope:
            async with current_job().lend():
                await way(pool)
        assert instrument.scope.cancelled_caught

    async def has_the_worker() -> None:
        await trio.sleep(9)
        raise ResourceBroken

    instrument = Cancels()
    async with open_pool(1, on_dead="keep", instruments=[instrument]) as pool:
        job = await pool.submit(parent)
        await pool.submit(has_the_worker)
        with trio.fail_after(60):
            await job.wait()


async def test_a_worker_that_was_lent_can_leave_though_its_lender_needs_it(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        async with current_job().lend():
            await trio.sleep(1)
            first, second = await pool.submit(nap, 2), await pool.submit(nap, 2)
            await first.wait()
            with pytest.raises(JobDeadlockError) as caught:
                await second.wait()
            await trio.sleep(7)
        raise AssertionError(caught)

    async with open_pool([Resource("a", name="a")], on_dead="keep") as pool:
        job = await pool.submit(parent)
        await trio.sleep(2)
        with trio.fail_after(60):
            await pool.workers[0].remove()
        assert trio.current_time() == 10
        assert isinstance(job._error, ResourceBroken)
        assert [dead.dead_reason for dead in pool.dead] == [DeadReason.ATTEMPTS_EXHAUSTED, DeadReason.NO_WORKER]


async def test_a_wait_that_begins_when_its_lent_worker_is_leaving_already_is_found(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        async with current_job().lend():
            await trio.sleep(3)
            with pytest.raises(JobDeadlockError) as caught:
                await pool.run(nap, 1, name="child")
        return str(caught.value)

    async with open_pool([Resource("a", name="a")], on_dead="keep") as pool:
        job = await pool.submit(parent, name="parent")
        await trio.sleep(1)
        with trio.fail_after(60):
            await pool.workers[0].remove()
        assert trio.current_time() == 3
        assert isinstance(job._error, ResourceBroken)


async def test_a_wait_while_another_worker_that_leaves_is_lent_is_fine_if_one_stays(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await pool.run(nap, 1)

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        first, second = pool.workers
        await pool.submit(nap, 9, worker=second)
        job = await pool.submit(lends, worker=first)
        first.pause()
        await trio.sleep(1)
        with trio.fail_after(60):
            await first.remove()
        assert isinstance(job._error, ResourceBroken)
        assert trio.current_time() == 10


async def test_a_wait_for_what_the_last_free_worker_could_have_run_ends_when_that_is_to_leave(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(2) as pool, trio.open_nursery() as nursery:
        first, second = pool.workers
        await pool.submit(nap, 9, worker=second)
        job = await pool.submit(waits_for_a_child, pool, worker=first)
        await trio.sleep(3)
        nursery.start_soon(second.remove)
        with trio.fail_after(60):
            assert await job.wait() == ("deadlock", 3)


async def waits_for_a_child(pool: SlotPool, **options: Any) -> tuple[str, float]:
    try:
        await pool.run(nap, 1)
    except JobDeadlockError:
        return "deadlock", trio.current_time()
    return "fine", trio.current_time()


async def test_a_wait_for_an_evicted_job_ends_where_only_held_workers_are_left_for_it(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(2) as pool:
        first, second = pool.workers
        job = await pool.submit(waits_for_a_child, pool, worker=first)
        await trio.sleep(0.5)
        with trio.fail_after(60):
            await second.remove(cancel=True)
            assert await job.wait() == ("deadlock", 0.5)


async def test_a_wait_for_a_job_ends_when_it_bounces_to_a_worker_that_is_held(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        try:
            await pool.run(fails_once, retry=RetryPolicy.fixed(3, placement="other"))
        except JobDeadlockError:
            return f"deadlock {trio.current_time():g}"
        return "fine"

    async def fails_once(resource: str) -> None:
        await trio.sleep(1)
        raise OSError

    async with open_pool(["a", "b"]) as pool:
        with trio.fail_after(60):
            assert await pool.run(parent, worker=pool.workers[0]) == "deadlock 1"


async def test_so_it_does_where_the_job_has_broken_the_only_worker_that_is_not_held(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        with pytest.raises(JobDeadlockError):
            await pool.run(BreaksOnce(), retry=RetryPolicy.fixed(3, placement="other"))
        return f"deadlock {trio.current_time():g}"

    async with open_pool(["a", "b"]) as pool:
        with trio.fail_after(60):
            assert await pool.run(parent) == "deadlock 1"


@pytest.mark.parametrize("how", ["pause", "rest"])
async def test_a_wait_for_a_job_that_bounces_ends_when_a_held_worker_can_be_counted_on_again(
    autojump_clock: MockClock, how: str
) -> None:
    async def parent(resource: str) -> str:
        await trio.sleep(0.5)
        with pytest.raises(JobDeadlockError):
            await pool.run(Flaky(1), retry=RetryPolicy.fixed(9, placement="other"))
        return f"deadlock {trio.current_time():g}"

    async with open_pool(["a", "b"]) as pool:
        first, _ = pool.workers
        job = await pool.submit(parent, worker=first)
        if how == "rest":
            first.rest(3)
        else:
            first.pause()
        await trio.sleep(3)
        first.resume()
        with trio.fail_after(60):
            assert await job.wait() == "deadlock 3"


async def test_a_wait_for_a_job_that_bounces_is_fine_where_another_worker_is_left(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        await pool.run(Flaky(1), retry=RetryPolicy.fixed(3, placement="other"))
        return trio.current_time()

    async with open_pool(["a", "b", "c"]) as pool:
        first, _, third = pool.workers
        third.pause()
        job = await pool.submit(parent, worker=first)
        await trio.sleep(5)
        third.resume()
        with trio.fail_after(60):
            assert await job.wait() == 5


async def test_a_wait_ends_when_max_running_leaves_no_room_for_what_it_waits_for(autojump_clock: MockClock) -> None:
    async with open_pool(3, max_running=2) as pool:
        await pool.submit(nap, 9)
        job = await pool.submit(waits_for_a_child, pool)
        await trio.sleep(3)
        pool.max_running = 1
        with trio.fail_after(60):
            assert await job.wait() == ("deadlock", 3)


async def test_a_job_that_has_started_may_wait_for_the_one_that_waited_for_its_start(
    autojump_clock: MockClock,
) -> None:
    jobs: list[Job[Any]] = []

    async def child() -> str:
        await jobs[0].wait()
        return "fine"

    async def parent() -> None:
        jobs.append(await pool.submit(child))
        await jobs[1].wait_started()

    async with open_pool(2) as pool:
        await pool.submit(nap, 5, worker=pool.workers[1])
        jobs.append(await pool.submit(parent, worker=pool.workers[0]))
        with trio.fail_after(60):
            await jobs[0].wait()
            assert await jobs[1].wait() == "fine"


async def test_who_waits_for_one_that_waits_for_its_cancelled_child_is_told(autojump_clock: MockClock) -> None:
    async def child(resource: str, item: int) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def parent(resource: str) -> str:
        async with pool.map(child, [1], worker=second):
            await trio.sleep(2)
        return f"fine {trio.current_time():g}"

    async def waits(resource: str) -> str:
        await trio.sleep(1)
        try:
            await job.wait()
        except JobDeadlockError:
            return f"deadlock {trio.current_time():g}"
        raise AssertionError("not reached")

    async with open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        job = await pool.submit(parent, worker=first)
        await trio.sleep(0.5)
        waiter = await pool.submit(waits, worker=second)
        with trio.fail_after(60):
            assert await waiter.wait() == "deadlock 2"
            assert await job.wait() == "fine 2"


# Jobs that nobody may take, at the end of the pool


@pytest.mark.parametrize("begins", ["before", "after"])
async def test_at_the_end_a_job_that_nobody_may_take_dies_though_a_job_waits_for_it(
    autojump_clock: MockClock, begins: str
) -> None:
    async def parent(resource: str) -> tuple[DeadReason | None, float]:
        await trio.sleep(1 if begins == "before" else 5)
        with pytest.raises(JobFailedError) as caught:
            await pool.run(nap, 1, requires=["z"])
        return caught.value.job.dead_reason, trio.current_time()

    with trio.fail_after(60):
        async with open_pool(["a", "b"], no_worker="wait") as pool:
            job = await pool.submit(parent)
            await trio.sleep(3)
    assert job.result() == (DeadReason.NO_WORKER, 3 if begins == "before" else 5)


async def test_it_does_not_while_anything_else_goes_on(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        with pytest.raises(JobFailedError):
            await pool.run(nap, 1, requires=["z"])
        return trio.current_time()

    with trio.fail_after(60):
        async with open_pool(["a", "b"], no_worker="wait") as pool:
            job = await pool.submit(parent)
            await pool.submit(nap, 7)
    assert job.result() == 7


async def test_it_does_not_before_the_end(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        return await pool.run(nap, 1, requires=["z"])

    async with open_pool(["a"], no_worker="wait") as pool:
        job = await pool.submit(parent)
        await trio.sleep(9)
        await pool.add("b", tags=["z"])
        assert await job.wait() == 10


async def test_those_behind_it_for_which_a_worker_is_there_run(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        lost = await pool.submit(nap, 1, requires=["z"])
        other = await pool.submit(nap, 1, worker=current_job().worker)
        with pytest.raises(JobFailedError):
            await lost.wait()
        return other.state.name

    with trio.fail_after(60):
        async with open_pool(["a"], no_worker="wait") as pool:
            job = await pool.submit(parent)
        assert pool.statistics().succeeded == 2
    assert job.result() == "QUEUED"


# Trees of jobs

trees: st.SearchStrategy[list[Any]] = st.recursive(
    st.just([]), lambda children: st.lists(children, max_size=3), max_leaves=20
)


def size(tree: list[Any]) -> int:
    return 1 + sum(size(child) for child in tree)


async def grow(pool: SlotPool, tree: list[Any], by: str, *, lend: bool) -> int:
    """Counts the nodes of a tree: a job for each, which waits for its children."""

    async def children() -> int:
        if by == "run":
            return sum([await pool.run(node, child) for child in tree])
        if by == "map":
            async with pool.map(node, tree) as counts:
                return sum([count async for count in counts])
        async with pool.open_group() as group:
            jobs = [await group.submit(node, child) for child in tree]
        return sum(job.result() for job in jobs)

    async def node(below: list[Any]) -> int:
        return await grow(pool, below, by, lend=lend)

    await trio.sleep(1)
    if lend:
        async with current_job().lend():
            return 1 + await children()
    return 1 + await children()


@given(tree=trees, workers=st.integers(1, 4), by=st.sampled_from(["run", "map", "group"]), lend=st.booleans())
def test_trees_of_jobs_come_to_their_end_or_are_told_why_not(
    tree: list[Any], workers: int, by: str, lend: bool
) -> None:
    async def main() -> None:
        # On this clock a program that hangs comes to the end of that time at once.
        with trio.fail_after(10_000):
            async with open_pool(workers, retry=RetryPolicy.never(), on_dead="keep") as pool:
                root = await pool.submit(lambda: grow(pool, tree, by, lend=lend))
                try:
                    assert await root.wait() == size(tree)
                except JobFailedError as error:
                    assert not lend
                    cause: BaseException | None = error
                    while isinstance(cause, JobFailedError):
                        cause = cause.__cause__
                    assert isinstance(cause, JobDeadlockError)
                assert all(worker.job is None for worker in pool.workers)

    trio.run(main, clock=MockClock(autojump_threshold=0))


# What a node of a tree does: how it waits for its children, whether it lends its worker for that, and whether it breaks
# the resource or fails the first time that it gets there.
nodes = st.tuples(
    st.sampled_from(["run", "map", "as_completed", "group", "wait"]),
    st.booleans(),
    st.sampled_from(["", "", "break", "fail"]),
)
troubled_trees: st.SearchStrategy[Any] = st.recursive(
    st.tuples(nodes, st.just([])),
    lambda children: st.tuples(nodes, st.lists(children, max_size=3)),
    max_leaves=8,
)
troubles = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["remove", "evict", "pause", "add"]), st.integers(0, 3)), max_size=4
)


@given(
    tree=troubled_trees,
    tags=st.lists(st.sampled_from([(), ("x",)]), min_size=1, max_size=3),
    requires=st.sampled_from([(), (), ("x",)]),
    placement=st.sampled_from(["any", "same", "other"]),
    attempts=st.integers(1, 3),
    no_worker=st.sampled_from(["bury", "wait"]),
    max_running=st.sampled_from([None, None, 1, 2]),
    troubles=troubles,
)
def test_whatever_happens_to_their_workers_trees_of_jobs_come_to_an_end(
    tree: Any,
    tags: list[tuple[str, ...]],
    requires: tuple[str, ...],
    placement: Any,
    attempts: int,
    no_worker: Any,
    max_running: int | None,
    troubles: list[tuple[int, str, int]],
) -> None:
    if no_worker == "wait":
        requires = ()  # or remove() may wait for a job that waits for a worker, which may come
    policy = RetryPolicy.fixed(1, placement=placement, max_attempts=attempts)
    been: set[int] = set()
    pool: Any = None

    async def node(_: object, tree: Any) -> None:
        (by, lend, fate), children = tree
        await trio.sleep(1)
        async with current_job().lend() if lend else trio.open_nursery():
            await wait_for_children(by, children)
        if fate and id(tree) not in been:
            been.add(id(tree))
            raise ResourceBroken if fate == "break" else OSError

    async def wait_for_children(by: str, children: list[Any]) -> None:
        if by == "run":
            for child in children:
                await pool.run(node, child, requires=requires)
        elif by == "map":
            async with pool.map(node, children) as results:
                async for _ in results:
                    pass
        elif by == "as_completed":
            async with pool.as_completed(node, children) as ended:
                async for _ in ended:
                    pass
        elif by == "group":
            async with pool.open_group() as group:
                for child in children:
                    await group.submit(node, child)
        else:
            jobs = [await pool.submit(node, child) for child in children]
            for job in jobs:
                await job.wait()

    async def make_trouble(what: str, which: int) -> None:
        worker = pool.workers[which % len(pool.workers)] if pool.workers else None
        if what == "add":
            with suppress(RuntimeError):  # removed before it had started
                await pool.add("more", tags=["x"])
        elif worker is not None and what == "pause":
            worker.pause()
            await trio.sleep(3)
            worker.resume()
        elif worker is not None:
            await worker.remove(cancel=what == "evict")

    async def main() -> None:
        nonlocal pool
        resources = [Resource(number, tags=each) for number, each in enumerate(tags)]
        # On this clock a program that hangs comes to the end of that time at once.
        with trio.fail_after(10_000):
            async with open_pool(
                resources, retry=policy, on_dead="keep", no_worker=no_worker, max_running=max_running
            ) as pool:
                root = await pool.submit(node, tree)
                async with trio.open_nursery() as nursery:
                    for seconds, what, which in troubles:
                        await trio.sleep(seconds)
                        nursery.start_soon(make_trouble, what, which)
            assert root.state.is_final
        seen = pool.statistics()
        assert seen.submitted == seen.succeeded + seen.dead + seen.cancelled + seen.discarded

    logger = logging.getLogger("trio_pool")
    logger.disabled = True
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        logger.disabled = False
