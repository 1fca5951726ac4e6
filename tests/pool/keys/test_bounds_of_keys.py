"""3.11: how many attempts of one key run at once, beside everything else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import nap, of_any_arguments, works
from trio_pool import (
    Elastic,
    Hedge,
    Job,
    JobDeadlockError,
    JobFailedError,
    JobState,
    PerKey,
    Resource,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Hashable

    from trio.testing import MockClock


@of_any_arguments
async def when(*_: object) -> float:
    """Takes a second, and tells when it began."""
    started_at = trio.current_time()
    await trio.sleep(1)
    return started_at


def one_at_a_time(*keys: Hashable) -> PerKey:
    """One attempt at once for each of these keys, no bound for others."""
    return PerKey(max_running=lambda key: 1 if key in keys else None)


async def starts(jobs: list[Job[float]]) -> list[float]:
    times = [await job.wait() for job in jobs]
    return [time - min(times) for time in times]


async def test_a_key_at_its_bound_holds_back_none_of_the_others(autojump_clock: MockClock) -> None:
    async with open_pool(4, per_key=PerKey(max_running=1)) as pool:
        jobs = [await pool.submit(when, key=key) for key in ("a", "a", "a", "b", "b", None, None)]
        assert await starts(jobs) == [0, 1, 2, 0, 1, 0, 0]


async def test_without_bounds_for_keys_a_key_only_labels(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        jobs = [await pool.submit(when, key=key) for key in "aaab"]
        assert await starts(jobs) == [0, 0, 1, 1]
        assert [job.key for job in jobs] == ["a", "a", "a", "b"]
        assert len(pool.keys) == 0


async def test_more_urgent_jobs_of_a_key_at_its_bound_wait_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(2, per_key=one_at_a_time("a")) as pool:
        jobs = [await pool.submit(when, key="a") for _ in range(2)]
        jobs.append(await pool.submit(when, key="a", priority=-1))
        jobs.append(await pool.submit(when, key="b"))
        assert await starts(jobs) == [0, 2, 1, 0]


async def test_jobs_of_a_key_that_only_some_workers_may_run_count_too(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["t"]), "b", "c"], per_key=one_at_a_time("k")) as pool:
        jobs = [await pool.submit(when, key="k", requires=["t"])]
        jobs.append(await pool.submit(when, key="k", worker=pool.workers[1]))
        jobs.append(await pool.submit(when, key="k"))
        jobs.append(await pool.submit(when, requires=["t"]))
        assert await starts(jobs) == [0, 1, 2, 1]


async def test_a_job_that_lends_its_worker_does_not_count(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        async with current_job().lend():
            return await pool.run(when, key="a")

    async with open_pool(2, per_key=PerKey(max_running=1)) as pool:
        assert await pool.run(parent, key="a") == trio.current_time() - 1


async def test_each_run_of_a_hedged_job_counts(autojump_clock: MockClock) -> None:
    async with open_pool(4, per_key=PerKey(max_running=2)) as pool:
        hedged = await pool.submit(nap, 10, key="a", hedge=Hedge(1, extra=3))
        await trio.sleep(5)
        assert [worker.running for worker in pool.statistics().workers] == [1, 1, 0, 0]
        other = await pool.submit(when, key="a")
        await trio.sleep(1)
        assert other.state is JobState.QUEUED
        await hedged.wait()
        assert await other.wait() == 10


async def test_a_slow_attempt_of_a_key_at_its_bound_is_started_nowhere_else(autojump_clock: MockClock) -> None:
    async with open_pool(3, per_key=PerKey(max_running=1)) as pool:
        job = await pool.submit(nap, 10, key="a", hedge=Hedge(1))
        other = await pool.submit(nap, 10, key="b", hedge=Hedge(1))
        await trio.sleep(5)
        assert [len(pool.idle_workers), job.state, other.state] == [1, JobState.RUNNING, JobState.RUNNING]
        job.cancel()
        other.cancel()


async def test_the_bounds_of_a_group_and_of_keys_hold_both(autojump_clock: MockClock) -> None:
    async with open_pool(9, per_key=PerKey(max_running=2)) as pool, pool.open_group(max_running=3) as group:
        jobs = [await group.submit(when, key=key) for key in "aaaaabbb"]
        jobs.append(await pool.submit(when, key="b"))
        assert await starts(jobs) == [0, 0, 1, 1, 2, 0, 1, 2, 0]


async def test_reserved_workers_run_jobs_of_a_key_within_its_bound(autojump_clock: MockClock) -> None:
    async with open_pool(3, per_key=PerKey(max_running=1)) as pool, pool.open_group(reserve=2) as group:
        jobs = [await group.submit(when, key=key) for key in "aab"]
        jobs.append(await pool.submit(when, key="a"))
        assert await starts(jobs) == [0, 1, 0, 2]


async def test_a_submitter_whose_key_is_not_at_its_bound_passes_those_in_line(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=1, per_key=PerKey(max_running=1)) as pool:
        begun = trio.current_time()
        ran: dict[int, float] = {}

        async def run(number: int, key: str) -> None:
            ran[number] = await pool.run(when, key=key) - begun

        async with trio.open_nursery() as nursery:
            for number, key in enumerate("aaaab"):
                nursery.start_soon(run, number, key)
                await trio.testing.wait_all_tasks_blocked()
        assert ran == {0: 0, 1: 1, 2: 2, 3: 3, 4: 0}


async def test_a_submitter_gets_in_when_its_key_may_start_a_job(autojump_clock: MockClock) -> None:
    async with open_pool(3, max_queue=1, per_key=PerKey(max_running=1)) as pool:
        ends: list[Job[float]] = []

        async def submit(key: str) -> None:
            ends.append(await pool.submit(when, key=key))

        blocker = await pool.submit(nap, 10, key="x")
        async with trio.open_nursery() as nursery:
            for key in ("a", "x", "a"):
                nursery.start_soon(submit, key)
                await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == 1
        await blocker.wait()
        assert await starts(ends) == [0, 10, 1]


async def test_a_full_queue_has_no_room_for_a_job_whose_key_is_at_its_bound() -> None:
    async with open_pool(2, max_queue=0, per_key=PerKey(max_running=1)) as pool:
        job = pool.submit_nowait(nap, 100, key="a")
        for idle_only in (False, True):
            with pytest.raises(trio.WouldBlock):
                pool.submit_nowait(when, key="a", idle_only=idle_only)
        pool.submit_nowait(of_any_arguments(trio.lowlevel.checkpoint), key="b", idle_only=True)
        job.cancel()


async def test_jobs_that_back_off_do_not_count(autojump_clock: MockClock) -> None:
    async def fails_once() -> float:
        if not current_job().attempts:
            raise ValueError
        return trio.current_time()

    async with open_pool(2, retry=RetryPolicy.fixed(5.0), per_key=PerKey(max_running=1)) as pool:
        job = await pool.submit(fails_once, key="a")
        other = await pool.submit(when, key="a")
        assert (await other.wait(), await job.wait()) == (0, 5)


async def test_a_wait_that_the_bound_of_a_key_would_never_let_end_is_told(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        await pool.run(of_any_arguments(trio.sleep), 1, key="a")

    async with open_pool(5, per_key=PerKey(max_running=1), on_dead="keep") as pool:
        with trio.fail_after(60), pytest.raises(JobFailedError) as caught:
            await pool.run(parent, key="a")
        assert isinstance(caught.value.__cause__, JobDeadlockError)
        assert "lend()" in str(caught.value.__cause__)
        assert "no more jobs of these keys can run: 'a' (max_running=1)" in str(caught.value.__cause__)
        await pool.run(parent, key="b")


async def test_a_deadlock_names_only_keys_at_their_bounds(autojump_clock: MockClock) -> None:
    async def parent() -> str:
        try:
            await pool.run(of_any_arguments(trio.sleep), 1, key="b" * 100)
        except JobDeadlockError as error:
            return str(error)
        return "done"

    async with open_pool(1, per_key=PerKey(max_running=1)) as pool:
        assert "no more jobs" not in await pool.run(parent, key="a")
    async with open_pool(2, per_key=PerKey(max_running=1)) as pool:
        assert f"no more jobs of these keys can run: '{'b' * 38}…" in await pool.run(parent, key="b" * 100)


async def test_a_wait_that_becomes_endless_by_the_bound_of_a_key_is_told(autojump_clock: MockClock) -> None:
    async def parent(seconds: float) -> str:
        await trio.sleep(seconds)
        try:
            await pool.run(of_any_arguments(trio.sleep), 1, key="a")
        except JobDeadlockError:
            return "told"
        return "done"

    async with open_pool(5, per_key=PerKey(max_running=2)) as pool:
        with trio.fail_after(60):
            jobs = [await pool.submit(parent, seconds, key="a") for seconds in (1, 2)]
            assert [await job.wait() for job in jobs] == ["done", "told"]


async def test_a_job_that_waits_for_others_counts_for_its_key_once_it_starts(autojump_clock: MockClock) -> None:
    async with open_pool(4, per_key=PerKey(max_running=1)) as pool:
        first = await pool.submit(when, key="a")
        after = await pool.submit(when, key="b", after=[first])
        cancelled = await pool.submit(when, key="c", after=[first])
        jobs = [first, after, await pool.submit(when, key="b"), await pool.submit(when, key="b")]
        assert sorted(map(str, pool.keys)) == ["a", "b", "c"]
        cancelled.cancel()
        assert sorted(map(str, pool.keys)) == ["a", "b"]
        assert await starts(jobs) in ([0, 1, 0, 2], [0, 2, 0, 1])


async def test_a_worker_is_opened_for_a_job_of_a_key_whose_running_job_lends_its_own(autojump_clock: MockClock) -> None:
    async def parent(device: str) -> float:
        await trio.sleep(1)
        async with current_job().lend():
            await trio.sleep(5)
        return trio.current_time()

    @asynccontextmanager
    async def device() -> AsyncGenerator[str]:
        yield "device"

    async with open_pool(Elastic(device, max=2), per_key=PerKey(max_running=1)) as pool:
        lender = await pool.submit(parent, key="a")
        others = [await pool.submit(nap, 3, key="a") for _ in range(2)]
        assert [await job.wait() for job in others] == [4, 7]
        assert await lender.wait() == 7


async def test_no_worker_is_opened_for_jobs_whose_key_is_at_its_bound(autojump_clock: MockClock) -> None:
    opened: list[float] = []

    class Device:
        async def __aenter__(self) -> str:
            opened.append(trio.current_time())
            return "device"

        async def __aexit__(self, *_: object) -> None:
            return None

    elastic = Elastic(Device, max=10)
    async with open_pool(elastic, per_key=PerKey(max_running=2)) as pool:
        jobs = [await pool.submit(when, key=key) for key in "aaaaaab"]
        await jobs[0].wait()
        assert len(opened) == 3
        await trio.sleep(10)
        assert len(opened) == 3


async def test_a_worker_is_opened_for_a_job_once_its_key_lets_it_start(autojump_clock: MockClock) -> None:
    opened: list[float] = []

    class Device:
        async def __aenter__(self) -> str:
            opened.append(trio.current_time())
            return "device"

        async def __aexit__(self, *_: object) -> None:
            return None

    elastic = Elastic(Device, max=10, open_after=5.0, idle_timeout=100)
    async with open_pool(elastic, per_key=PerKey(max_running=1)) as pool:
        first = await pool.submit(when, key="a")
        second = await pool.submit(when, key="a")
        third = await pool.submit(when, key="b")
        assert await starts([first, second, third]) == [0, 1, 0]
        assert opened == [5, 5]


async def test_the_block_ends_after_all_jobs_of_bounded_keys(autojump_clock: MockClock) -> None:
    async with open_pool(9, per_key=PerKey(max_running=1)) as pool:
        jobs = [await pool.submit(when, key="a") for _ in range(5)]
    assert all(job.state is JobState.SUCCEEDED for job in jobs)
    assert trio.current_time() == 5


async def test_cancelled_pools_leave_no_job_of_a_key() -> None:
    async with open_pool(2, per_key=PerKey(max_running=1), on_dead="keep") as pool:
        jobs = [await pool.submit(of_any_arguments(trio.sleep_forever), key=key) for key in "aaabbb"]
        pool.cancel()
    assert {job.state for job in jobs} == {JobState.CANCELLED}
    assert len(pool.keys) == 0


async def test_jobs_that_nobody_may_take_die_though_their_key_is_at_its_bound(autojump_clock: MockClock) -> None:
    async with open_pool(2, per_key=PerKey(max_running=1), no_worker="wait", on_dead="keep") as pool:
        await pool.submit(when, key="a")
        lost = await pool.submit(when, key="a", requires=["nobody has this"])
    assert lost.state is JobState.DEAD


async def items(number: int) -> AsyncGenerator[int]:
    for each in range(number):
        yield each


async def test_the_key_may_be_a_function_of_the_item(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    async def note(item: int) -> float:
        seen.append(current_job().key)
        started_at: float = await when()
        return started_at

    async with (
        open_pool(4, per_key=PerKey(max_running=1)) as pool,
        pool.map(note, items(6), key=lambda item: item % 2) as times,
    ):
        assert [time async for time in times] == [0, 0, 1, 1, 2, 2]
    assert sorted(seen) == [0, 0, 0, 1, 1, 1]


async def test_a_requeued_job_keeps_its_key(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        raise ValueError

    async with open_pool(1, per_key=PerKey(), on_dead="keep") as pool:
        job = await pool.submit(fails, key="a")
        await pool.join()
        again = pool.dead.requeue(job)
        await pool.join()
        other = pool.dead.requeue(again, key="b")
        await pool.join()
        assert (again.key, other.key) == ("a", "b")


async def test_workers_that_are_removed_give_the_places_of_their_jobs_back(autojump_clock: MockClock) -> None:
    async with open_pool(["x", "y"], per_key=PerKey(max_running=1)) as pool:

        async def slow(resource: str) -> float:
            await trio.sleep(5)
            return trio.current_time()

        first, second = [await pool.submit(slow, key="a") for _ in range(2)]
        await trio.sleep(1)
        assert first.worker is not None
        await first.worker.remove(cancel=True)
        assert await first.wait() == 6
        assert await second.wait() == 11
        assert await pool.run(works, key="a") == "done"


async def test_a_resource_for_oneself_counts_for_its_key(autojump_clock: MockClock) -> None:
    async with open_pool(["x", "y"], per_key=PerKey(max_running=1)) as pool:
        async with pool.acquire(key="a"):
            job = await pool.submit(when, key="a")
            await trio.sleep(3)
            assert pool.keys["a"].running == pool.keys["a"].queued == 1
        assert await job.wait() == 3
    async with open_pool(2, per_key=PerKey(max_running=1)) as slots, slots.acquire(key="a") as slot:
        assert (slot, list(slots.keys)) == (None, ["a"])
