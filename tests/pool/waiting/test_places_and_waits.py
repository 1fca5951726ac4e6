"""Jobs that lend their places and wait for others, on workers with several places."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, state_of, works
from tests.pool.workers.places import crew, running
from trio_pool import (
    CircuitBreaker,
    Hedge,
    JobDeadlockError,
    JobState,
    Resource,
    ResourceBroken,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from trio_pool import Job


# Lending.


async def test_lending_frees_one_place_and_no_more(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(5.0)

    async with open_pool(crew(a=2)) as pool:
        (worker,) = pool.workers
        lender = await pool.submit(lends)
        other = await pool.submit(sleeps, 9.0)
        await wait_all_tasks_blocked()
        assert (worker.jobs, pool.free_workers) == ((other,), (worker,))
        borrowers = [await pool.submit(sleeps, 9.0) for _ in range(2)]
        assert worker.jobs == (other, borrowers[0])
        assert state_of(borrowers[1]) is JobState.QUEUED
        assert lender.worker is worker


async def test_a_lender_gets_the_first_place_that_falls_free(autojump_clock: MockClock) -> None:
    back: list[float] = []

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(1.0)
        back.append(trio.current_time())

    async with open_pool(crew(a=2)) as pool:
        await pool.submit(lends)
        for seconds in (5.0, 3.0):
            await pool.submit(sleeps, seconds)
        queued = await pool.submit(works)
        await pool.join()
    assert back == [3.0]
    assert queued.finished_at == 3.0  # right after the lender


async def test_a_lender_that_is_back_is_again_the_first_of_the_jobs(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(1.0)
        await trio.sleep(9.0)

    async with open_pool(crew(a=3)) as pool:
        (worker,) = pool.workers
        first = await pool.submit(sleeps, 2.0)
        lender, later = await pool.submit(lends), await pool.submit(sleeps, 5.0)
        await trio.sleep(0.5)
        assert (worker.jobs, worker.job) == ((first, later), first)
        await trio.sleep(1.0)
        assert (worker.jobs, worker.job) == ((first, lender, later), first)
        await trio.sleep(1.0)
        assert (worker.jobs, worker.job) == ((lender, later), lender)
        await trio.sleep(4.0)
        assert (worker.jobs, worker.job) == ((lender,), lender)
        await pool.join()
        assert (worker.jobs, worker.job) == ((), None)


async def test_all_places_can_be_lent_at_once(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await pool.run(sleeps, 1.0)

    async with open_pool(crew(a=3), name="p") as pool:
        for _ in range(6):
            await pool.submit(lends)
        await pool.join()
        assert trio.current_time() == 2.0


async def test_a_tree_of_jobs_in_two_places_comes_to_its_end_with_lending(autojump_clock: MockClock) -> None:
    async def grows(resource: str, depth: int) -> int:
        if not depth:
            return 1
        async with current_job().lend(), pool.map(grows, [depth - 1] * 3) as counts:
            return 1 + sum([count async for count in counts])

    async with open_pool(crew(a=2)) as pool:
        assert await pool.run(grows, 3) == 40


async def test_a_lender_is_not_the_last_to_leave_a_worker_that_breaks(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        with pytest.raises(ResourceBroken):
            async with current_job().lend():
                await trio.sleep(2.0)

    async def breaks_down(resource: str) -> None:
        raise ResourceBroken("torn")

    async with open_pool(crew(a=2), on_dead="keep") as pool:
        lender = await pool.submit(lends)
        other = await pool.submit(sleeps, 5.0)
        await pool.submit(breaks_down)
        queued = await pool.submit(works)
        await lender.wait()
        assert trio.current_time() == 2.0
        await queued.wait()
        assert trio.current_time() == 5.0
        assert other.state is JobState.SUCCEEDED


async def test_a_removed_worker_waits_for_the_lenders_and_all_that_runs(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        with pytest.raises(ResourceBroken):
            async with current_job().lend():
                await trio.sleep(3.0)

    async with open_pool(crew(a=2, b=1)) as pool:
        a, _ = pool.workers
        await pool.submit(lends, worker=a)
        await pool.submit(sleeps, 2.0, worker=a)
        await wait_all_tasks_blocked()
        await a.remove()
        assert trio.current_time() == 3.0


async def test_an_evicted_lender_gets_a_place_back_and_is_queued_again(autojump_clock: MockClock) -> None:
    tries: list[str] = []

    async def lends(resource: str) -> None:
        tries.append(resource)
        if resource == "a":
            async with current_job().lend():
                await trio.sleep_forever()

    async with open_pool(crew(a=2, b=1)) as pool:
        a, b = pool.workers
        await pool.submit(lends)
        for _ in range(3):
            await pool.submit(sleeps, 4.0)
        assert running(pool) == [2, 1]
        await trio.sleep(1.0)
        await a.remove(cancel=True)
        await pool.join()
    assert tries == ["a", "b"]
    assert b.state.name == "STOPPED"


# Deadlocks.


async def waits_for(job: Job[Any]) -> bool:
    """Whether the wait for a job ends."""
    try:
        await job.wait()
    except JobDeadlockError:
        return False
    return True


async def test_a_job_may_wait_for_one_that_takes_another_place_of_its_worker(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> bool:
        return await waits_for(await pool.submit(sleeps, 1.0))

    async with open_pool(crew(a=2)) as pool:
        assert await pool.run(parent)


@pytest.mark.parametrize("places", [1, 2, 3])
async def test_jobs_that_hold_all_places_and_wait_for_queued_ones_are_a_deadlock(
    places: int, autojump_clock: MockClock
) -> None:
    told: list[float] = []

    async def parent(resource: str) -> None:
        await trio.sleep(1.0)
        child = await pool.submit(sleeps, 1.0)
        if not await waits_for(child):
            told.append(trio.current_time())

    async with open_pool(crew(a=places)) as pool:
        with trio.fail_after(60):
            for _ in range(places):
                await pool.submit(parent)
            await pool.join()
    assert told == [1.0]  # the last to wait; its end gives the children a place


async def test_some_places_held_by_waiting_jobs_are_none(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> bool:
        return await waits_for(await pool.submit(sleeps, 1.0))

    async with open_pool(crew(a=3)) as pool:
        parents = [await pool.submit(parent) for _ in range(2)]
        other = await pool.submit(sleeps, 5.0)
        assert [await job.wait() for job in parents] == [True, True]
        assert trio.current_time() == 7.0 if other.state is JobState.SUCCEEDED else 2.0


async def test_they_are_one_once_the_last_other_place_is_held_too(autojump_clock: MockClock) -> None:
    async def parent(resource: str, seconds: float) -> bool:
        await trio.sleep(seconds)
        return await waits_for(await pool.submit(sleeps, 1.0))

    async with open_pool(crew(a=2)) as pool:
        with trio.fail_after(60):
            first, second = [await pool.submit(parent, seconds) for seconds in (1.0, 2.0)]
            assert (await first.wait(), await second.wait()) == (True, False)


async def test_a_lower_bound_can_make_waits_a_deadlock(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> bool:
        child = await pool.submit(sleeps, 1.0, priority=1)
        return await waits_for(child)

    async with open_pool(crew(a=3)) as pool:
        (worker,) = pool.workers
        with trio.fail_after(60):
            blocker = await pool.submit(sleeps, 3.0)
            parents = [await pool.submit(parent) for _ in range(2)]
            worker.max_running = 1
            # Three must end before another starts, and two of them wait: one is told, and then the other.
            assert [await job.wait() for job in parents] == [False, False]
            await blocker.wait()


async def test_a_lower_bound_of_which_enough_ends_by_itself_is_none(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> bool:
        return await waits_for(await pool.submit(sleeps, 1.0, priority=1))

    async with open_pool(crew(a=4)) as pool:
        (worker,) = pool.workers
        with trio.fail_after(60):
            for seconds in (1.0, 2.0, 3.0):
                await pool.submit(sleeps, seconds)
            job = await pool.submit(parent)
            worker.max_running = 2
            assert await job.wait()
            assert trio.current_time() == 4.0


async def test_a_higher_bound_in_time_prevents_one(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> bool:
        child = await pool.submit(sleeps, 1.0)
        pool.workers[0].max_running = 2
        return await waits_for(child)

    async with open_pool(crew(a=1)) as pool:
        assert await pool.run(parent)


async def test_a_lender_that_can_never_have_a_place_back_goes_on_without(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        borrowers.extend([await pool.submit(borrows, current_job()) for _ in range(2)])
        with pytest.raises(JobDeadlockError):
            async with current_job().lend():
                await trio.sleep(1.0)

    async def borrows(resource: str, lender: Job[Any]) -> None:
        with trio.CancelScope(shield=True):
            await waits_for(lender)

    borrowers: list[Job[Any]] = []
    async with open_pool(crew(a=2), on_dead="keep") as pool:
        with trio.fail_after(60):
            lender = await pool.submit(lends_to_all, lends)
            await trio.sleep(0.5)
            lender.cancel()
            await pool.join()


async def lends_to_all(resource: str, lends: Any) -> None:
    await lends(resource)


async def test_a_lender_and_a_borrower_that_wait_for_each_other_are_told(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def lends(resource: str) -> None:
        children = [await pool.submit(borrows, current_job()) for _ in range(2)]
        async with current_job().lend():
            told.extend(["lender" for child in children if not await waits_for(child)])

    async def borrows(resource: str, lender: Job[Any]) -> None:
        if not await waits_for(lender):
            told.append("borrower")

    async with open_pool(crew(a=2)) as pool:
        with trio.fail_after(60):
            await pool.run(lends)
            await pool.join()
    assert told


async def test_jobs_that_wait_on_an_unbounded_worker_are_never_one(autojump_clock: MockClock) -> None:
    async def parent(resource: str, depth: int) -> int:
        if not depth:
            return 0
        return 1 + await pool.run(parent, depth - 1)

    async with open_pool(crew(a=math.inf)) as pool:
        assert await pool.run(parent, 50) == 50


async def test_a_job_that_waits_for_one_behind_a_probe_is_not_one_unless_it_is_the_probe(
    autojump_clock: MockClock,
) -> None:
    async def fails_at_once(resource: str) -> None:
        raise ValueError

    async def parent(resource: str) -> bool:
        child = await pool.submit(sleeps, 1.0)
        return await waits_for(child)

    breaker = CircuitBreaker(failures=1, reset_after=10.0)
    async with open_pool([Resource("a", max_running=3, breaker=breaker)], on_dead="keep") as pool:
        with trio.fail_after(100):
            old = await pool.submit(late_parent, parent)
            await pool.submit(fails_at_once)
            await trio.sleep(1.0)
            probe = await pool.submit(sleeps, 30.0)
            assert await old.wait()
            assert probe.state is JobState.SUCCEEDED
            await pool.submit(fails_at_once)
            await trio.sleep(1.0)
            assert not await pool.run(parent)  # its child waits for the end of the probe, which it is


async def late_parent(resource: str, parent: Any) -> bool:
    await trio.sleep(15.0)
    found: bool = await parent(resource)
    return found


async def test_a_job_that_waits_for_one_behind_max_jobs_is_one(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> bool:
        return await waits_for(await pool.submit(sleeps, 1.0))

    async with open_pool([Resource("a", max_running=3, max_jobs=2)]) as pool:
        with trio.fail_after(60):
            other = await pool.submit(sleeps, 5.0)
            assert not await pool.run(parent)  # nothing starts before both have ended
            assert trio.current_time() <= 5.0
            await other.wait()


async def test_a_hedge_on_another_worker_gets_a_waiting_attempt_through(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        if resource == "a":
            await (await pool.submit(sleeps, 1.0, worker=pool.workers[0])).wait()
        return resource

    async with open_pool(crew(a=1, b=2)) as pool:
        a, b = pool.workers
        with trio.fail_after(60):
            fillers = [await pool.submit(sleeps, 3.0, worker=b) for _ in range(2)]
            job = await pool.submit(parent, hedge=Hedge(1.0))
            assert await job.wait() == "b"
            assert trio.current_time() == 3.0
            assert {filler.state for filler in fillers} <= {JobState.SUCCEEDED, JobState.RUNNING}
        assert a is not b
