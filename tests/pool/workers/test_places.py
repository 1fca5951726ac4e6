"""Workers with several places: how many jobs they run, which of them get a job, and what users see of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, sleeps, sleeps_forever, state_of, works
from tests.core.makers import calls_of
from tests.pool.workers.places import Gauge, crew, names, running, where
from trio_pool import Hedge, JobState, Resource, RetryPolicy, Worker, WorkerState, open_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool import Pool


# How many.


def first_job(worker: Worker) -> object:
    return worker.job


@pytest.mark.parametrize("ask", [first_job, Worker.statistics, repr])
async def test_what_a_worker_says_of_itself_costs_the_same_however_many_run(
    ask: Callable[[Worker], object], autojump_clock: MockClock
) -> None:
    async with open_pool(crew(a=1000, b=1000), max_queue=3000) as pool:
        first, second = pool.workers
        for number, worker in ((10, first), (900, second)):
            for _ in range(number):
                pool.submit_nowait(sleeps, 1.0, worker=worker)
        assert calls_of(lambda: ask(first)) == calls_of(lambda: ask(second))


@pytest.mark.parametrize("places", [1, 2, 3])
async def test_a_worker_runs_as_many_jobs_at_once_as_it_has_places(places: int, autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=places)) as pool:
        for _ in range(6):
            await pool.submit(gauge)
    assert gauge.peak == {"a": places}
    assert trio.current_time() == 6 / places


async def test_an_added_worker_has_the_places_that_are_said(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=1)) as pool:
        worker = await pool.add("b", max_running=2)
        assert worker.max_running == 2
        for _ in range(9):
            await pool.submit(gauge)
    assert gauge.peak == {"a": 1, "b": 2}


async def test_a_slot_may_have_several_places(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.add(max_running=3)
        for _ in range(8):
            await pool.submit(nap, 1.0)
    assert trio.current_time() == 2.0


async def test_a_worker_without_a_bound_runs_a_thousand_jobs_at_once(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=math.inf), max_queue=1) as pool:
        for _ in range(1000):
            pool.submit_nowait(gauge)
        assert running(pool) == [1000]
    assert gauge.peak == {"a": 1000}
    assert trio.current_time() == 1.0


async def test_a_worker_of_many_places_serves_many_more_jobs_than_it_has_places(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=100, b=50), max_queue=math.inf) as pool:
        for _ in range(1500):
            await pool.submit(gauge)
    assert gauge.peak == {"a": 100, "b": 50}
    assert trio.current_time() == 10.0


async def test_a_job_ends_on_its_own_and_the_next_takes_its_place(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool:
        long = await pool.submit(sleeps, 5.0)
        short = [await pool.submit(sleeps, 1.0) for _ in range(4)]
        for job in short:
            await job.wait()
        assert trio.current_time() == 4.0
        assert state_of(long) is JobState.RUNNING


# What users see.


async def test_jobs_are_those_that_hold_a_place_in_the_order_of_their_start(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3)) as pool:
        (worker,) = pool.workers
        assert (worker.jobs, worker.job) == ((), None)
        first, second = [await pool.submit(sleeps, seconds) for seconds in (1.0, 3.0)]
        assert worker.jobs == (first, second)
        assert worker.job is first
        await trio.sleep(2.0)
        third = await pool.submit(sleeps, 3.0)
        assert worker.jobs == (second, third)


async def test_jobs_of_one_instant_are_told_in_the_order_of_their_start(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1)) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 1.0)
        late, early = [await pool.submit(sleeps, 5.0, priority=priority) for priority in (1, 0)]
        worker.pause()
        await trio.sleep(2.0)
        worker.max_running = 2
        worker.resume()
        assert worker.jobs == (early, late)


async def test_a_worker_that_runs_something_is_free_but_not_idle(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool:
        (worker,) = pool.workers
        assert (pool.free_workers, pool.idle_workers) == ((worker,), (worker,))
        await pool.submit(sleeps, 1.0)
        assert (pool.free_workers, pool.idle_workers) == ((worker,), ())
        assert worker.state is WorkerState.BUSY
        await pool.submit(sleeps, 2.0)
        assert (pool.free_workers, pool.idle_workers) == ((), ())
        await trio.sleep(1.5)
        assert (pool.free_workers, pool.idle_workers) == ((worker,), ())
        await pool.join()
        await wait_all_tasks_blocked()
        assert (pool.free_workers, pool.idle_workers) == ((worker,), (worker,))


async def test_free_workers_are_told_once_the_longest_without_a_start_or_an_end_first(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(crew(a=3, b=3, c=3)) as pool:
        a, b, c = pool.workers
        assert pool.free_workers == (a, b, c)
        await pool.submit(sleeps, 1.0, worker=b)
        await pool.submit(sleeps, 2.0, worker=a)
        assert pool.free_workers == (c, b, a)
        await trio.sleep(1.5)
        assert pool.free_workers == (c, a, b)


async def test_statistics_tell_the_places_and_what_runs(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=math.inf)) as pool:
        for _ in range(5):
            await pool.submit(sleeps, 2.0)
        seen = pool.statistics()
        assert [worker.max_running for worker in seen.workers] == [2, math.inf]
        assert sum(worker.running for worker in seen.workers) == seen.running == 5
        await pool.join()
        seen = pool.statistics()
        assert [worker.running for worker in seen.workers] == [0, 0]
        assert sum(worker.attempts for worker in seen.workers) == 5
        assert sum(worker.busy_seconds for worker in seen.workers) == 10.0  # the times added up


@pytest.mark.parametrize("places", [0, -1, 1.5, math.nan])
async def test_nonsense_is_refused(places: float, autojump_clock: MockClock) -> None:
    with pytest.raises((ValueError, TypeError), match="max_running"):
        Resource("a", max_running=places)
    async with open_pool(["a"]) as pool:
        with pytest.raises((ValueError, TypeError), match="max_running"):
            pool.workers[0].max_running = places
        assert pool.workers[0].max_running == 1
        with pytest.raises((ValueError, TypeError), match="max_running"):
            await pool.add("b", max_running=places)
        assert len(pool.workers) == 1


# The queue.


async def test_idle_only_asks_for_a_free_place(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=1)) as pool:
        for _ in range(3):
            pool.submit_nowait(sleeps, 1.0, idle_only=True)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(sleeps, 1.0, idle_only=True)
        assert pool.statistics().submitted == 3


async def test_idle_only_asks_for_a_place_of_a_worker_that_may_take_the_job(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"], max_running=2), Resource("b", max_running=5)]) as pool:
        for _ in range(2):
            pool.submit_nowait(sleeps, 1.0, requires=["x"], idle_only=True)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(sleeps, 1.0, requires=["x"], idle_only=True)


async def test_a_full_queue_admits_at_once_what_a_free_place_can_take(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3), max_queue=1) as pool:
        for _ in range(4):
            pool.submit_nowait(sleeps, 1.0)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(sleeps, 1.0)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(pool.submit, sleeps, 1.0)
            await wait_all_tasks_blocked()
            assert pool.statistics().submitters_waiting == 5
    assert trio.current_time() == 3.0


async def test_the_pools_own_bound_holds_over_all_places(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3, b=3), max_running=4) as pool:
        for _ in range(8):
            await pool.submit(sleeps, 1.0)
        assert sum(running(pool)) == 4
    assert trio.current_time() == 2.0


@pytest.mark.parametrize(("places", "buffer"), [((3, 2), 10), ((600,), 1000), ((math.inf, 1), 1000)])
async def test_a_stream_holds_twice_as_many_jobs_as_there_are_places(
    places: tuple[float, ...], buffer: int, autojump_clock: MockClock
) -> None:
    taken: list[int] = []

    def items() -> Any:
        for number in range(5000):
            taken.append(number)
            yield 1.0

    async with open_pool([Resource("a", max_running=each) for each in places]) as pool, pool.map(sleeps, items()):
        await wait_all_tasks_blocked()
        assert len(taken) in (buffer, buffer + 1)


async def test_a_stream_holds_more_jobs_once_a_worker_has_more_places(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1)) as pool, pool.map(sleeps_forever_for, range(50)):
        await wait_all_tasks_blocked()
        assert pool.statistics().submitted == 2
        pool.workers[0].max_running = 4
        await wait_all_tasks_blocked()
        assert (pool.statistics().running, pool.statistics().submitted) == (4, 8)


async def sleeps_forever_for(resource: object, item: int) -> None:
    await trio.sleep_forever()


# Who gets a job.


async def picks(pool: Pool[str], number: int) -> list[str]:
    """The workers that get so many jobs, one after another, none of which ends."""
    return [where(await pool.submit(sleeps_forever)) for _ in range(number)]


async def test_the_worker_with_the_smallest_share_of_its_places_taken_goes_first(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=4)) as pool:
        assert await picks(pool, 6) == ["a", "b", "b", "a", "b", "b"]
        pool.cancel()


async def test_of_equal_shares_the_one_without_a_start_or_an_end_for_longest_goes_first(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(crew(a=2, b=2, c=2)) as pool:
        await pool.run(works, worker=pool.workers[0])
        assert await picks(pool, 6) == ["b", "c", "a", "b", "c", "a"]
        pool.cancel()


async def test_a_worker_without_a_bound_has_nothing_taken(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=math.inf)) as pool:
        # Of several with the share 0, the one with the fewest attempts under way.
        assert await picks(pool, 5) == ["a", "b", "b", "b", "b"]
        pool.cancel()


async def test_of_workers_without_a_bound_the_one_with_the_fewest_attempts_goes_first(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(crew(a=math.inf, b=math.inf)) as pool:
        a, b = pool.workers
        for _ in range(3):
            await pool.submit(sleeps_forever, worker=a)
        await pool.submit(sleeps_forever, worker=b)
        assert await picks(pool, 4) == ["b", "b", "a", "b"]
        pool.cancel()


async def test_last_used_takes_the_worker_with_the_latest_start_or_end_until_it_is_full(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(crew(a=2, b=3), pick="last_used") as pool:
        await pool.run(works, worker=pool.workers[0])
        assert await picks(pool, 5) == ["a", "a", "b", "b", "b"]
        pool.cancel()


async def test_a_random_pick_is_among_all_that_are_free(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=20, b=20, c=1), pick="random") as pool:
        assert set(await picks(pool, 30)) == {"a", "b", "c"}
        pool.cancel()
    async with open_pool(crew(a=2, b=2), pick="random") as pool:
        assert sorted(await picks(pool, 4)) == ["a", "a", "b", "b"]
        pool.cancel()


async def test_a_lower_or_higher_bound_changes_the_shares(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=4, b=4)) as pool:
        a, b = pool.workers
        await pool.submit(sleeps_forever, worker=a)
        await pool.submit(sleeps_forever, worker=b)
        b.max_running = 3
        assert await picks(pool, 1) == ["a"]  # a quarter against a third
        a.max_running = 10
        b.max_running = 10
        assert await picks(pool, 1) == ["b"]
        pool.cancel()


async def test_a_retry_at_once_goes_where_the_share_is_smallest_now(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=4), retry=RetryPolicy.immediate(placement="any")) as pool:
        _, b = pool.workers
        for _ in range(3):
            await pool.submit(sleeps_forever, worker=b)
        again: list[str] = []

        async def fails_once(resource: str) -> None:
            again.append(resource)
            await trio.sleep(1.0)
            if len(again) == 1:
                raise ValueError

        await pool.submit(fails_once, worker=None)
        await trio.sleep(1.5)
        assert again == ["a", "a"]  # nothing of two places against three of four
        pool.cancel()


async def test_a_job_that_bounces_avoids_all_places_of_the_worker(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def fails_on_a(resource: str) -> None:
        seen.append(resource)
        if resource == "a":
            raise ValueError

    async with open_pool(crew(a=5, b=1), retry=RetryPolicy.immediate(placement="other")) as pool:
        await pool.submit(sleeps, 3.0, worker=pool.workers[1])
        await pool.run(fails_on_a)
    assert seen == ["a", "b"]
    assert trio.current_time() == 3.0


async def test_a_job_may_be_tried_again_on_the_same_worker_while_others_run_there(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def fails_twice(resource: str) -> None:
        seen.append(resource)
        if len(seen) < 3:
            raise ValueError

    async with open_pool(crew(a=2, b=2), retry=RetryPolicy.immediate()) as pool:
        await pool.submit(sleeps, 3.0, worker=pool.workers[0])
        await pool.run(fails_twice, worker=None)
    assert seen == ["b"] * 3


# Hedges.


async def test_a_hedge_takes_no_other_place_of_the_same_worker(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=3, b=2)) as pool:
        job = await pool.submit(gauge, 10.0, hedge=Hedge(1.0, extra=3))
        await trio.sleep(5.0)
        assert running(pool) == [1, 1]
        assert names(pool.free_workers) == ["a", "b"]
        await job.wait()
    assert gauge.peak == {"a": 1, "b": 1}


async def test_a_hedge_waits_for_a_place_of_another_worker(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=3, b=2)) as pool:
        _, b = pool.workers
        others = [await pool.submit(sleeps, 4.0, worker=b) for _ in range(2)]
        await pool.submit(gauge, 10.0, hedge=Hedge(1.0))
        await trio.sleep(3.0)
        assert running(pool) == [1, 2]
        await others[0].wait()
        await wait_all_tasks_blocked()
        assert running(pool) == [1, 1]


async def test_several_hedged_jobs_share_the_places_of_two_workers(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=3, b=3)) as pool:
        jobs = [await pool.submit(gauge, 10.0, hedge=Hedge(1.0)) for _ in range(3)]
        await trio.sleep(2.0)
        assert running(pool) == [3, 3]
        for job in jobs:
            assert len({run.worker for run in job._run.race.runners}) == 2  # type: ignore[union-attr]
        await pool.join()
        assert [len(job.attempts[0].hedges) for job in jobs] == [1] * 3


async def test_waiting_time_of_a_free_place_is_no_idle_time_of_a_job(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2), name="p") as pool:
        jobs = [await pool.submit(sleeps, 1.0) for _ in range(3)]
        await trio.sleep(0.5)
        assert [job.state for job in jobs] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]
        assert "a" in repr(pool.workers[0])
