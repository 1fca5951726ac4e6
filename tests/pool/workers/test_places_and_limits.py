"""What holds a worker with several places back: limits, breakers, rests, pauses, and the age of its resource."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, sleeps, sleeps_forever, state_of, works
from tests.pool.workers.places import Gauge, running
from trio_pool import (
    CircuitBreaker,
    JobState,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from trio_pool import Job, Pool, Worker

TOUCHY = CircuitBreaker(failures=1, reset_after=10.0)


def only(places: float = 3, **options: Any) -> list[Resource[str]]:
    """One resource, with so many places."""
    return [Resource("a", name="a", max_running=places, **options)]


def free(pool: Pool[str]) -> list[Worker]:
    """Those with a place for something now."""
    return [*pool.free_workers]


async def fails_after(resource: object, seconds: float) -> None:
    await trio.sleep(seconds)
    raise ValueError


# Rate limits.


async def test_a_rate_limit_counts_the_starts_in_all_places(autojump_clock: MockClock) -> None:
    begun: list[float] = []

    async def notes(resource: str) -> None:
        begun.append(trio.current_time())
        await trio.sleep(10.0)

    async with open_pool(only(3, rate_limit=RateLimit(1, per=2.0))) as pool:
        for _ in range(4):
            await pool.submit(notes)
    assert begun == [0.0, 2.0, 4.0, 10.0]


async def test_a_rate_limited_worker_is_not_free_until_the_limit_allows_a_start(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, rate_limit=RateLimit(1, per=2.0))) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 10.0)
        assert free(pool) == []
        await trio.sleep(1.0)
        assert free(pool) == []
        await trio.sleep(1.5)
        assert free(pool) == [worker]


async def test_a_burst_fills_several_places_at_once(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(only(4, rate_limit=RateLimit(1, per=100.0, burst=3))) as pool:
        for _ in range(3):
            await pool.submit(gauge)
        assert running(pool) == [3]
    assert trio.current_time() == 1.0


async def test_a_start_that_is_given_back_is_for_the_next_job_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(only(2, rate_limit=RateLimit(1, per=10.0))) as pool:
        job = pool.submit_nowait(works)
        assert free(pool) == []
        job.cancel()
        await pool.run(works)
        assert trio.current_time() == 0.0


async def test_an_end_while_the_limit_holds_the_worker_back_starts_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(only(2, rate_limit=RateLimit(1, per=3.0))) as pool:
        await pool.submit(sleeps, 1.0)
        late = await pool.submit(sleeps, 1.0)
        await trio.sleep(2.0)
        assert state_of(late) is JobState.QUEUED
        await late.wait()
        assert trio.current_time() == 4.0


# Rests and pauses.


async def test_a_paused_worker_finishes_all_that_runs_and_starts_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(only(2)) as pool:
        (worker,) = pool.workers
        jobs = [await pool.submit(sleeps, seconds) for seconds in (1.0, 2.0, 1.0)]
        worker.pause()
        assert pool.free_workers == ()
        await trio.sleep(3.0)
        assert [state_of(job) for job in jobs] == [JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.QUEUED]
        worker.resume()
        await jobs[2].wait()
        assert trio.current_time() == 4.0


async def test_a_worker_that_is_resumed_while_jobs_run_fills_its_free_places(autojump_clock: MockClock) -> None:
    async with open_pool(only(3)) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 5.0)
        worker.pause()
        for _ in range(4):
            await pool.submit(sleeps, 5.0)
        assert running(pool) == [1]
        worker.resume()
        assert running(pool) == [3]


async def test_a_rest_holds_all_places_back(autojump_clock: MockClock) -> None:
    async with open_pool(only(3)) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 4.0)
        worker.rest(2.0)
        job = await pool.submit(sleeps, 1.0)
        await job.wait()
        assert trio.current_time() == 3.0


async def test_one_of_several_jobs_can_send_the_worker_to_rest(autojump_clock: MockClock) -> None:
    calls: list[float] = []

    async def too_many(resource: str) -> None:
        calls.append(trio.current_time())
        if len(calls) == 1:
            await trio.sleep(1.0)
            raise RetryAfter(5.0, rest=True)

    async with open_pool(only(2), retry=RetryPolicy()) as pool:
        other = await pool.submit(sleeps, 3.0)
        job = await pool.submit(too_many)
        behind = await pool.submit(works)
        await job.wait()
        assert calls == [0.0, 6.0]
        assert other.finished_at == 3.0
        assert behind.finished_at == 6.0


# Breakers.


async def test_failures_in_all_places_count_together(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, breaker=CircuitBreaker(failures=3, reset_after=10.0)), on_dead="keep") as pool:
        (worker,) = pool.workers
        for _ in range(3):
            await pool.submit(fails_after, 1.0)
        await trio.sleep(2.0)
        assert worker.state is WorkerState.QUARANTINED


async def test_a_quarantined_worker_finishes_what_runs(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, breaker=TOUCHY), on_dead="keep") as pool:
        (worker,) = pool.workers
        slow = await pool.submit(sleeps, 5.0)
        await pool.submit(fails_after, 1.0)
        await trio.sleep(2.0)
        assert pool.free_workers == ()
        queued = await pool.submit(works)
        await trio.sleep(4.0)
        assert state_of(slow) is JobState.SUCCEEDED
        assert state_of(queued) is JobState.QUEUED
        assert worker.state is WorkerState.QUARANTINED
        await queued.wait()
        assert trio.current_time() == 11.0


async def test_there_is_one_probe_at_a_time_and_its_success_opens_all_places(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, breaker=TOUCHY), on_dead="keep") as pool:
        await pool.submit(fails_after, 1.0)
        await trio.sleep(2.0)
        for _ in range(4):
            await pool.submit(sleeps, 2.0)
        await trio.sleep(9.5)
        assert running(pool) == [1]
        assert pool.free_workers == ()
        await trio.sleep(2.0)  # the probe has succeeded
        assert running(pool) == [3]


async def test_a_breaker_that_is_reset_while_its_probe_runs_opens_the_other_places(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, breaker=TOUCHY), on_dead="keep") as pool:
        (worker,) = pool.workers
        await pool.submit(fails_after, 0.0)
        await trio.sleep(11.0)
        for _ in range(4):
            await pool.submit(sleeps, 5.0)
        assert running(pool) == [1]
        worker.reset_breaker()
        assert running(pool) == [3]


async def test_a_probe_that_fails_holds_all_places_back_again(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, breaker=TOUCHY), on_dead="keep") as pool:
        (worker,) = pool.workers
        await pool.submit(fails_after, 1.0)
        await trio.sleep(2.0)
        probe = await pool.submit(fails_after, 1.0)
        others = [await pool.submit(works) for _ in range(3)]
        await trio.sleep(11.0)
        assert probe.state is JobState.DEAD
        assert worker.state is WorkerState.QUARANTINED
        await others[2].wait()
        assert trio.current_time() == 22.0


async def test_a_probe_that_ends_as_neither_gives_its_place_to_one_other(autojump_clock: MockClock) -> None:
    async def asks_again(resource: str) -> None:
        await trio.sleep(1.0)
        raise RetryAfter(50.0)

    async with open_pool(only(3, breaker=TOUCHY), on_dead="keep", retry=RetryPolicy(max_attempts=2)) as pool:
        await pool.submit(fails_after, 1.0, retry=RetryPolicy.never())
        await trio.sleep(2.0)
        await pool.submit(asks_again)
        for _ in range(3):
            await pool.submit(sleeps, 2.0)
        await trio.sleep(10.5)
        assert running(pool) == [1]  # at 12.5
        await trio.sleep(2.0)
        assert running(pool) == [2]


async def test_what_ran_before_the_breaker_opened_keeps_no_place_from_the_probe(autojump_clock: MockClock) -> None:
    async with open_pool(only(2, breaker=TOUCHY), on_dead="keep") as pool:
        await pool.submit(sleeps, 30.0)
        await pool.submit(fails_after, 1.0)
        probe = await pool.submit(sleeps, 1.0)
        await probe.wait()
        assert trio.current_time() == 12.0


async def test_what_ran_before_the_breaker_opened_is_not_the_probe(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, breaker=TOUCHY), on_dead="keep") as pool:
        await pool.submit(sleeps, 13.0)
        await pool.submit(fails_after, 1.0)
        await trio.sleep(2.0)
        for _ in range(3):
            await pool.submit(sleeps, 4.0)
        await trio.sleep(9.5)
        assert running(pool) == [2]  # the old one, and the probe
        await trio.sleep(2.0)  # the old one has succeeded
        assert running(pool) == [1]
        await trio.sleep(2.0)
        assert running(pool) == [2]  # the probe too


async def test_a_probe_that_lends_its_place_lets_one_other_run(autojump_clock: MockClock) -> None:
    async def probe() -> None:
        children = [await pool.submit(sleeps_, 1.0) for _ in range(2)]
        async with current_job().lend():
            await trio.sleep(0.5)
            seen.append(pool.statistics().workers[0].running)
            for child in children:
                await child.wait()

    async def sleeps_(seconds: float) -> None:
        await trio.sleep(seconds)

    async def breaks_down() -> None:
        raise ValueError

    seen: list[int] = []
    async with open_pool(1, on_dead="keep") as pool:
        await pool.workers[0].remove()
        await pool.add(max_running=3, breaker=TOUCHY)
        await pool.submit(breaks_down)
        await trio.sleep(1.0)
        await pool.run(probe)
    assert seen == [1]


@pytest.mark.parametrize("places", [1, 3])
@pytest.mark.parametrize("hold", ["pause", "rest", "places"])
async def test_a_worker_lent_by_the_probe_goes_on_after_it_was_held_back(
    hold: str, places: int, autojump_clock: MockClock
) -> None:
    async def works_for(resource: str, seconds: float) -> None:
        await trio.sleep(seconds)

    async def probe(resource: str) -> str:
        async with current_job().lend():
            await trio.sleep(1.0)
            if hold == "pause":
                worker.pause()
                worker.resume()
            elif hold == "rest":
                worker.rest(1.0)
            else:
                worker.max_running = places + 1
            child = await pool.submit(works_for, 1.0)
            await child.wait()
        return "done"

    async with open_pool(only(places, breaker=TOUCHY), on_dead="keep") as pool:
        (worker,) = pool.workers
        await pool.submit(fails_after, 1.0)
        await trio.sleep(2.0)
        with trio.fail_after(60):
            assert await pool.run(probe) == "done"


# Age.


@pytest.mark.parametrize("places", [1, 2, 3, math.inf])
@pytest.mark.parametrize("max_jobs", [1, 2, 3, 5])
async def test_not_more_than_max_jobs_attempts_run_in_one_lifespan(
    places: float, max_jobs: int, autojump_clock: MockClock
) -> None:
    doors = Doors(seconds_in=0.5, seconds_out=0.5)
    lives: list[int] = []

    async def notes(resource: str, seconds: float) -> None:
        lives.append(len(doors.entered))
        assert len(doors.left) == len(doors.entered) - 1
        await trio.sleep(seconds)
        assert len(doors.left) == len(doors.entered) - 1  # left only when nothing runs

    async with open_pool(only(places, max_jobs=max_jobs), lifespan=doors.lifespan) as pool:
        for number in range(11):
            await pool.submit(notes, 1.0 + number % 3)
    assert [lives.count(life) for life in range(1, 1 + 11 // max_jobs)] == [max_jobs] * (11 // max_jobs)


async def test_a_worker_that_has_used_up_its_jobs_is_not_free(autojump_clock: MockClock) -> None:
    async with open_pool(only(3, max_jobs=2), lifespan=Doors().lifespan) as pool:
        await pool.submit(sleeps, 2.0)
        assert free(pool) == [*pool.workers]
        await pool.submit(sleeps, 5.0)
        assert free(pool) == []
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, idle_only=True)
        await trio.sleep(3.0)
        assert free(pool) == []
        await pool.join()
        await wait_all_tasks_blocked()
        assert free(pool) == [*pool.workers]


async def test_a_resource_that_is_too_old_takes_nothing_more_beside_what_runs(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(only(3, max_age=5.0), lifespan=doors.lifespan) as pool:
        long = await pool.submit(sleeps, 20.0)
        await trio.sleep(6.0)
        assert free(pool) == []
        late = await pool.submit(works)
        assert late.state is JobState.QUEUED
        await trio.sleep(10.0)
        assert state_of(late) is JobState.QUEUED
        await late.wait()
        assert (long.finished_at, late.finished_at) == (20.0, 20.0)
        assert doors.entered == ["a", "a"]


async def test_a_resource_that_is_too_old_while_all_places_run_is_reopened_after_the_last(
    autojump_clock: MockClock,
) -> None:
    doors = Doors()
    async with open_pool(only(2, max_age=5.0), lifespan=doors.lifespan) as pool:
        for seconds in (7.0, 9.0, 1.0, 1.0):
            await pool.submit(sleeps, seconds)
        await trio.sleep(8.0)
        assert running(pool) == [1]
        await trio.sleep(1.5)
        assert (running(pool), doors.entered) == ([2], ["a", "a"])


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("hold", ["nothing", "pause", "places"])
async def test_a_used_up_worker_serves_on_while_it_is_lent(hold: str, places: int, autojump_clock: MockClock) -> None:
    doors = Doors()

    async def lends(resource: str) -> str:
        async with current_job().lend():
            if hold == "pause":
                worker.pause()
                worker.resume()
            elif hold == "places":
                worker.max_running = places + 1
            await pool.run(sleeps, 1.0)
            await pool.run(sleeps, 1.0)
            assert doors.entered == ["a"]
        return "done"

    async with open_pool(only(places, max_jobs=1), lifespan=doors.lifespan) as pool:
        (worker,) = pool.workers
        with trio.fail_after(60):
            assert await pool.run(lends) == "done"
            assert await pool.run(works) == "done"
    assert doors.entered == ["a", "a"]


async def test_a_used_up_resource_is_not_broken_for_a_job_that_lends_it(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> str:
        await trio.sleep(1.0)
        async with current_job().lend():
            await trio.sleep(1.0)
        return "done"

    doors = Doors()
    async with open_pool(only(3, max_jobs=2), lifespan=doors.lifespan) as pool:
        lender = await pool.submit(lends)
        await pool.submit(sleeps, 0.5)  # which ends before
        assert await lender.wait() == "done"
        assert await pool.run(works) == "done"
    assert doors.entered == ["a", "a"]


async def test_a_place_that_is_lent_is_for_others_although_the_resource_is_used_up(autojump_clock: MockClock) -> None:
    doors = Doors()

    async def lends(resource: str) -> str:
        async with current_job().lend():
            await pool.run(sleeps, 1.0)  # beside the job that runs in the other place
        return "done"

    async with open_pool(only(2, max_jobs=2), lifespan=doors.lifespan) as pool:
        other = await pool.submit(sleeps, 10.0)
        assert await pool.run(lends) == "done"
        assert trio.current_time() == 1.0
        assert state_of(other) is JobState.RUNNING


async def test_what_breaks_in_one_place_waits_for_the_others_before_it_is_reopened(autojump_clock: MockClock) -> None:
    doors = Doors()
    calls: list[float] = []

    async def breaks_once(resource: str) -> None:
        calls.append(trio.current_time())
        if len(calls) == 1:
            await trio.sleep(1.0)
            raise ResourceBroken("torn")

    async with open_pool(only(3), lifespan=doors.lifespan, retry=RetryPolicy.immediate()) as pool:
        (worker,) = pool.workers
        others: list[Job[Any]] = [await pool.submit(sleeps, seconds) for seconds in (2.0, 5.0)]
        broken = await pool.submit(breaks_once)
        await trio.sleep(3.0)
        assert (state_of(worker), free(pool)) == (WorkerState.BUSY, [])
        assert doors.left == []
        await broken.wait()
        assert [job.finished_at for job in others] == [2.0, 5.0]
        assert calls == [0.0, 5.0]
        assert doors.entered == ["a", "a"]


async def test_two_jobs_that_break_a_resource_have_it_reopened_once(autojump_clock: MockClock) -> None:
    doors = Doors()

    async def breaks_once(resource: str, seconds: float) -> None:
        if len(doors.entered) == 1:
            await trio.sleep(seconds)
            raise ResourceBroken("torn")

    async with open_pool(only(3), lifespan=doors.lifespan, retry=RetryPolicy.immediate()) as pool:
        for seconds in (1.0, 1.0, 4.0):
            await pool.submit(breaks_once, seconds)
    assert doors.entered == ["a", "a"]
    assert trio.current_time() == 4.0


async def idle_for_ever(pool: Pool[Any], worker: Worker) -> None:
    await pool.submit(sleeps_forever, worker=worker)


async def test_a_paused_worker_of_a_full_pool_leaves_its_jobs_to_the_places_of_others(
    autojump_clock: MockClock,
) -> None:
    async with open_pool([*only(2), Resource("b", name="b", max_running=3)]) as pool:
        a, b = pool.workers
        await idle_for_ever(pool, a)
        a.pause()
        for _ in range(3):
            await pool.submit(sleeps_forever)
        assert running(pool) == [1, 3]
        b.pause()
        b.resume()
        assert running(pool) == [1, 3]
        pool.cancel()
