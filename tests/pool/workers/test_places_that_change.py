"""``Worker.max_running`` is assigned while the pool runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, sleeps, sleeps_forever, state_of, works
from tests.pool.workers.places import Gauge, crew, my_worker, names, running
from trio_pool import (
    CircuitBreaker,
    Hedge,
    JobState,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from trio_pool import Worker


# Higher.


@pytest.mark.parametrize("places", [2, 4, math.inf])
async def test_a_higher_bound_starts_waiting_jobs_at_once(places: float, autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1)) as pool:
        (worker,) = pool.workers
        for _ in range(4):
            await pool.submit(sleeps, 1.0)
        worker.max_running = places
        assert worker.max_running == places
        assert running(pool) == [min(4, places)]


async def test_an_idle_worker_may_be_given_more_places(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=1)) as pool:
        pool.workers[0].max_running = 3
        assert names(pool.free_workers) == ["a"]
        for _ in range(6):
            await pool.submit(gauge)
    assert gauge.peak == {"a": 3}


async def test_a_higher_bound_admits_submitters_that_wait(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1), max_queue=1) as pool, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(pool.submit, sleeps, 1.0)
        await wait_all_tasks_blocked()
        assert pool.statistics().submitters_waiting == 3
        pool.workers[0].max_running = 4
        await wait_all_tasks_blocked()
        assert pool.statistics().submitters_waiting == 0
        assert running(pool) == [4]


async def test_a_higher_bound_starts_slow_attempts_on_the_worker_too(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1, b=1)) as pool:
        _, b = pool.workers
        await pool.submit(sleeps, 10.0, worker=b)
        await pool.submit(sleeps, 10.0, hedge=Hedge(1.0))
        await trio.sleep(2.0)
        assert running(pool) == [1, 1]
        b.max_running = 2
        assert running(pool) == [1, 2]


async def test_a_paused_workers_new_places_stay_empty(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1)) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 9.0)
        worker.pause()
        await pool.submit(sleeps, 9.0)
        worker.max_running = 2
        assert (running(pool), pool.free_workers) == ([1], ())
        worker.resume()
        assert running(pool) == [2]


async def test_the_rate_limit_holds_new_places_back(autojump_clock: MockClock) -> None:
    begun: list[float] = []

    async def notes(resource: str) -> None:
        begun.append(trio.current_time())
        await trio.sleep(20.0)

    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=3.0))]) as pool:
        for _ in range(3):
            await pool.submit(notes)
        pool.workers[0].max_running = 3
        assert pool.free_workers == ()
        await trio.sleep(1.0)
        pool.workers[0].max_running = 2
    assert begun == [0.0, 3.0, 20.0]


async def test_a_probe_keeps_new_places_empty(autojump_clock: MockClock) -> None:
    async def fails_at_once(resource: str) -> None:
        raise ValueError

    breaker = CircuitBreaker(failures=1, reset_after=5.0)
    async with open_pool([Resource("a", breaker=breaker)], on_dead="keep") as pool:
        (worker,) = pool.workers
        await pool.submit(fails_at_once)
        await trio.sleep(1.0)
        for _ in range(3):
            await pool.submit(sleeps, 2.0)
        await trio.sleep(5.0)
        worker.max_running = 3
        assert running(pool) == [1]
        await trio.sleep(2.0)
        assert running(pool) == [2]


# Lower.


@pytest.mark.parametrize("before", [3, math.inf])
async def test_what_runs_beyond_a_lower_bound_ends_by_itself(before: float, autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=before)) as pool:
        (worker,) = pool.workers
        jobs = [await pool.submit(sleeps, seconds) for seconds in (1.0, 2.0, 3.0)]
        worker.max_running = 1
        late = await pool.submit(works)
        assert (running(pool), pool.free_workers) == ([3], ())
        await trio.sleep(2.5)
        assert (running(pool), state_of(late)) == ([1], JobState.QUEUED)
        await late.wait()
        assert trio.current_time() == 3.0
        assert {job.state for job in jobs} == {JobState.SUCCEEDED}


async def test_a_lower_bound_with_free_places_takes_the_free_ones(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=5)) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 1.0)
        worker.max_running = 2
        for _ in range(3):
            await pool.submit(sleeps, 1.0)
        assert running(pool) == [2]
        worker.max_running = 1
        assert pool.free_workers == ()
    assert trio.current_time() == 3.0


async def test_lowered_and_raised_again_is_as_before(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=3, b=3)) as pool:
        a, _ = pool.workers
        for places in (1, 3, 1, math.inf, 2, 3):
            a.max_running = places
        for _ in range(12):
            await pool.submit(gauge)
    assert gauge.peak == {"a": 3, "b": 3}
    assert trio.current_time() == 2.0


async def test_a_bound_assigned_as_it_is_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=2)) as pool:
        a, b = pool.workers
        await pool.submit(sleeps, 1.0, worker=a)
        a.max_running = 2
        assert pool.free_workers == (b, a)
        assert pool.idle_workers == (b,)


async def test_a_job_may_change_its_own_worker(autojump_clock: MockClock) -> None:
    async def grows(resource: str) -> None:
        my_worker().max_running = 3
        await trio.sleep(1.0)

    async with open_pool(crew(a=1)) as pool:
        await pool.submit(grows)
        for _ in range(2):
            await pool.submit(sleeps, 1.0)
    assert trio.current_time() == 1.0


# While it is not open, or leaves.


async def test_a_worker_that_opens_gets_the_places_that_were_assigned_meanwhile(autojump_clock: MockClock) -> None:
    doors = Doors()
    seen: list[Worker] = []

    async def grows() -> None:
        await trio.sleep(1.0)
        seen.extend(pool.workers)
        pool.workers[-1].max_running = 3

    async with open_pool(crew(a=1), lifespan=doors.lifespan) as pool:
        doors.seconds_in = 2.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grows)
            await pool.add("b")
        for _ in range(4):
            await pool.submit(sleeps, 5.0)
        assert running(pool) == [1, 3]
    assert len(seen) == 2


async def test_a_worker_that_reopens_too(autojump_clock: MockClock) -> None:
    doors = Doors()

    async def breaks_once(resource: str) -> None:
        if len(doors.entered) == 1:
            doors.seconds_in = 2.0
            raise ResourceBroken

    async with open_pool(crew(a=1), lifespan=doors.lifespan, retry=RetryPolicy.immediate()) as pool:
        await pool.submit(breaks_once)
        await trio.sleep(1.0)
        pool.workers[0].max_running = 2
        for _ in range(2):
            await pool.submit(sleeps, 5.0)
        await trio.sleep(2.0)
        assert running(pool) == [2]


async def test_a_worker_that_is_about_to_leave_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1, b=1)) as pool:
        a, _ = pool.workers
        await pool.submit(sleeps, 5.0, worker=a)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.remove)
            await wait_all_tasks_blocked()
            a.max_running = 4
            for _ in range(2):
                await pool.submit(sleeps, 1.0)
            assert running(pool) == [1, 1]
        a.max_running = 7  # it has left
        assert a.max_running == 7
        assert len(pool.workers) == 1


# Streams count the places of those that stay.


async def test_the_buffer_counts_no_places_of_workers_that_leave(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3, b=2)) as pool:
        a, _ = pool.workers
        a.max_running = math.inf
        a.max_running = 4
        assert pool._engine.roster.places.total == 6
        await pool.submit(sleeps, 2.0, worker=a)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.remove)
            await wait_all_tasks_blocked()
            assert pool._engine.roster.places.total == 2
            a.max_running = 10
            assert pool._engine.roster.places.total == 2
        assert pool._engine.roster.places.total == 2


# While jobs lend.


async def test_a_lender_waits_until_fewer_run_than_a_lower_bound_allows(autojump_clock: MockClock) -> None:
    back: list[float] = []

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(1.0)
        back.append(trio.current_time())

    async with open_pool(crew(a=3)) as pool:
        (worker,) = pool.workers
        await pool.submit(lends)
        for seconds in (2.0, 3.0, 4.0):
            await pool.submit(sleeps, seconds)
        worker.max_running = 1
    assert back == [4.0]


async def test_a_higher_bound_gives_lenders_their_places_back_first(autojump_clock: MockClock) -> None:
    back: list[tuple[int, float]] = []

    async def lends(resource: str, number: int) -> None:
        async with current_job().lend():
            await trio.sleep(1.0)
        back.append((number, trio.current_time()))
        await trio.sleep(10.0)

    async with open_pool(crew(a=2)) as pool:
        (worker,) = pool.workers
        for number in range(2):
            await pool.submit(lends, number)
        blockers = [await pool.submit(sleeps, 20.0) for _ in range(2)]
        late = await pool.submit(sleeps, 1.0)
        await trio.sleep(2.0)
        assert back == []
        worker.max_running = 4
        await wait_all_tasks_blocked()
        assert sorted(back) == [(0, 2.0), (1, 2.0)]
        assert state_of(late) is JobState.QUEUED
        worker.max_running = 5
        assert state_of(late) is JobState.RUNNING
        assert {state_of(job) for job in blockers} == {JobState.RUNNING}


async def test_a_lent_place_is_one_of_fewer(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(5.0)

    async with open_pool(crew(a=3)) as pool:
        (worker,) = pool.workers
        await pool.submit(lends)
        await wait_all_tasks_blocked()
        worker.max_running = 1
        for _ in range(2):
            await pool.submit(sleeps_forever)
        assert running(pool) == [1]
        pool.cancel()


# Cancelled.


async def test_an_eviction_empties_what_is_beyond_the_bound_too(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=4, b=1)) as pool:
        a, _ = pool.workers
        jobs = [await pool.submit(sleeps, 2.0, requires=[]) for _ in range(5)]
        await trio.sleep(1.0)
        a.max_running = 1
        await a.remove(cancel=True)
        assert trio.current_time() == 1.0
        await pool.join()
        assert {job.state for job in jobs} == {JobState.SUCCEEDED}
