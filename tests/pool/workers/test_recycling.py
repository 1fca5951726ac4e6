"""4.6: resources that are reopened after so many jobs, or after so long."""

from __future__ import annotations

import sys
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, sleeps, sleeps_forever, state_of, works
from trio_pool import (
    CircuitBreaker,
    Instrument,
    JobState,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class LeastSpread(Random):
    """Takes nothing off the ages."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Told(Instrument):
    """Notes what happens to workers, and when."""

    def __init__(self) -> None:
        self.log: list[tuple[str, float]] = []

    def note(self, event: str) -> None:
        self.log.append((event, trio.current_time()))

    def worker_started(self, worker: Worker) -> None:
        self.note("started")

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        assert worker.state is WorkerState.REOPENING
        self.note("reopening" if error is None else f"reopening after {type(error).__name__}")

    def worker_stopped(self, worker: Worker) -> None:
        self.note("stopped")


def aged(value: str = "a", age: float = 10.0) -> list[Resource[str]]:
    return [Resource(value, max_age=age)]


def used(value: str = "a", jobs: int = 2) -> list[Resource[str]]:
    return [Resource(value, max_jobs=jobs)]


async def gets(resource: str) -> tuple[str, float]:
    """Returns what it is given, and when."""
    return resource, trio.current_time()


# After so many jobs.


async def test_after_so_many_attempts_a_resource_is_left_and_entered_again(autojump_clock: MockClock) -> None:
    doors = Doors()
    seen: list[int] = []
    async with open_pool(used(jobs=3), lifespan=doors.lifespan) as pool:
        for _ in range(7):
            await pool.run(works)
            seen.append(len(doors.entered))
    assert seen == [1, 1, 1, 2, 2, 2, 3]
    assert doors.left == ["a"] * 3


async def test_with_one_job_for_each_opening_many_jobs_still_come_to_their_end(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=1.0, seconds_out=1.0)
    async with open_pool(used(jobs=1), lifespan=doors.lifespan) as pool:
        jobs = [await pool.submit(gets) for _ in range(50)]
    assert [job.result()[1] for job in jobs] == [1.0 + 2.0 * number for number in range(50)]
    assert doors.entered == doors.left == ["a"] * len(doors.entered)


async def test_jobs_that_wait_do_not_wait_for_it_if_another_worker_is_free(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=100.0)
    async with open_pool([Resource("a", max_jobs=1), Resource("b")], lifespan=doors.lifespan) as pool:
        jobs = [await pool.submit(gets) for _ in range(10)]
        await pool.join()
        assert trio.current_time() == 0.0
    assert [job.result()[0] for job in jobs] == ["a"] + ["b"] * 9


@pytest.mark.parametrize("fn", [fails, sleeps_forever])
async def test_failed_and_cancelled_attempts_count(fn: Any, autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(used(jobs=2), lifespan=doors.lifespan, on_dead="keep") as pool:
        for _ in range(2):
            job = await pool.submit(fn)
            await trio.sleep(1)
            job.cancel()
        await wait_all_tasks_blocked()
        assert doors.entered == ["a", "a"]


async def test_a_resource_that_breaks_counts_its_jobs_from_the_next_opening_on(autojump_clock: MockClock) -> None:
    async def breaks(resource: str) -> None:
        raise ResourceBroken

    doors = Doors()
    async with open_pool(used(jobs=2), lifespan=doors.lifespan, on_dead="keep") as pool:
        await pool.submit(works)
        await pool.submit(breaks)
        await pool.join()
        await pool.run(works)
        assert len(doors.entered) == 2
        await pool.run(works)
        await wait_all_tasks_blocked()
        assert len(doors.entered) == 3


async def test_a_resource_that_is_described_when_it_is_added_is_opened_anew_too(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool([], lifespan=doors.lifespan) as pool:
        await pool.add("a", max_jobs=1)
        for _ in range(3):
            await pool.run(works)
    assert len(doors.entered) >= 3


async def test_without_a_lifespan_it_does_no_harm(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", max_jobs=1, max_age=5.0)]) as pool:
        for _ in range(10):
            assert await pool.run(sleeps, 1.0) == 1.0
        await trio.sleep(30)
        assert await pool.run(works) == "done"
    assert trio.current_time() == 40.0


async def test_slots_may_be_renewed_and_it_does_no_harm(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        worker = await pool.add(max_jobs=1, max_age=5.0)
        for _ in range(10):
            await pool.run(trio.sleep, 1.0, worker=worker)
        assert worker.statistics().succeeded == 10


# After so long.


async def test_an_idle_worker_opens_its_resource_anew_when_it_is_too_old(autojump_clock: MockClock) -> None:
    told = Told()
    doors = Doors(seconds_in=1.0)
    async with open_pool(aged(), lifespan=doors.lifespan, instruments=[told], rng=LeastSpread()):
        await trio.sleep(30)
    assert told.log == [
        ("started", 1.0),
        ("reopening", 11.0),
        ("started", 12.0),
        ("reopening", 22.0),
        ("started", 23.0),
        ("stopped", 31.0),
    ]


async def test_a_resource_grows_too_old_under_an_attempt_and_is_opened_anew_after_it(
    autojump_clock: MockClock,
) -> None:
    doors = Doors()
    async with open_pool(aged(), lifespan=doors.lifespan, rng=LeastSpread()) as pool:
        running = await pool.submit(sleeps, 25.0)
        behind = await pool.submit(gets)
        await trio.sleep(24)
        assert doors.left == []
        assert state_of(running) is JobState.RUNNING
        await behind.wait()
        assert doors.left == ["a"]
    assert behind.result() == ("a", 25.0)


async def test_a_job_that_comes_when_the_resource_is_just_too_old_gets_a_new_one(autojump_clock: MockClock) -> None:
    doors = Doors()
    openings: list[int] = []

    async def notes(resource: str) -> None:
        openings.append(len(doors.entered))

    async with open_pool(aged(), lifespan=doors.lifespan, rng=LeastSpread(), retry=RetryPolicy.fixed(10.0)) as pool:

        async def fails_once(resource: str) -> None:
            await notes(resource)
            if len(openings) == 1:
                raise ValueError

        await pool.submit(fails_once)
        await pool.submit(sleeps, 10.0)
        await pool.submit(notes)
    assert openings == [1, 2, 2]


async def test_ages_fall_short_by_up_to_a_tenth_at_random_and_the_rng_repeats_them(autojump_clock: MockClock) -> None:
    async def ages() -> list[float]:
        told = Told()
        resources = [Resource(number, max_age=100.0) for number in range(20)]
        start = trio.current_time()
        async with open_pool(resources, instruments=[told], rng=Random(7)):
            await trio.sleep(101)
        return [round(at - start, 6) for event, at in told.log if event == "reopening"]

    first = await ages()
    assert len(set(first)) == 20
    assert 90.0 <= min(first) < 95.0 < max(first) <= 100.0
    assert await ages() == first


async def test_nothing_is_drawn_for_resources_that_may_grow_as_old_as_they_like(autojump_clock: MockClock) -> None:
    rng = Random(7)
    async with open_pool([Resource("a"), Resource("b", max_jobs=1)], rng=rng) as pool:
        await pool.run(works)
    assert rng.random() == Random(7).random()


@pytest.mark.parametrize("hold", ["pause", "rest"])
async def test_a_worker_that_is_held_back_opens_its_resource_anew_too(hold: str, autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(aged(), lifespan=doors.lifespan, rng=LeastSpread()) as pool:
        (worker,) = pool.workers
        if hold == "pause":
            worker.pause()
        else:
            worker.rest(25.0)
        await trio.sleep(15)
        assert len(doors.entered) == 2
        assert worker.state is (WorkerState.PAUSED if hold == "pause" else WorkerState.RESTING)


async def test_an_age_without_end_is_none(autojump_clock: MockClock) -> None:
    told = Told()
    async with open_pool(aged(age=float("inf")), instruments=[told]):
        await trio.sleep(80_000)
    assert [event for event, _ in told.log] == ["started", "stopped"]


# What stays, and what is told.


async def test_the_worker_stays_with_its_number_and_its_statistics(autojump_clock: MockClock) -> None:
    async with open_pool(used(jobs=1), lifespan=Doors().lifespan, on_dead="keep") as pool:
        (worker,) = pool.workers
        for fn in (works, fails, works):
            await pool.submit(fn)
        await pool.join()
        await wait_all_tasks_blocked()
        assert pool.workers == (worker,)
        seen = worker.statistics()
        assert (seen.id, seen.attempts, seen.succeeded, seen.failed) == (1, 3, 2, 1)
        assert type(seen.last_error) is ValueError
        assert seen.state is WorkerState.IDLE


async def test_jobs_that_only_it_may_take_wait_for_it(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=3.0)
    async with open_pool([Resource("a", max_jobs=1, tags=["red"]), Resource("b")], lifespan=doors.lifespan) as pool:
        await pool.run(works, requires=["red"])
        await trio.sleep(1)
        worker = pool.workers[0]
        assert worker.state is WorkerState.REOPENING
        assert worker not in pool.idle_workers
        jobs = [await pool.submit(gets, requires=["red"]), await pool.submit(gets, worker=worker)]
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, worker=worker, idle_only=True)
    assert [job.result() for job in jobs] == [("a", 6.0), ("a", 9.0)]


async def test_instruments_are_told_without_an_error_that_it_reopens_and_then_that_it_has_started(
    autojump_clock: MockClock,
) -> None:
    told = Told()
    async with open_pool(used(jobs=1), lifespan=Doors(seconds_in=1.0).lifespan, instruments=[told]) as pool:
        await pool.run(works)
        await trio.sleep(2)
    assert told.log == [("started", 1.0), ("reopening", 1.0), ("started", 2.0), ("stopped", 3.0)]


async def test_a_worker_that_is_to_leave_does_not_open_its_resource_anew_first(autojump_clock: MockClock) -> None:
    doors = Doors()
    told = Told()
    async with open_pool(used(jobs=1), lifespan=doors.lifespan, instruments=[told]) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.workers[0].remove()
    assert told.log == [("started", 0.0), ("stopped", 1.0)]
    assert doors.entered == ["a"]


# What goes wrong.


async def test_entering_again_is_tried_with_growing_pauses_until_it_succeeds(autojump_clock: MockClock) -> None:
    doors = Doors()
    told = Told()
    async with open_pool(used(jobs=1), lifespan=doors.lifespan, instruments=[told]) as pool:
        doors.errors_in["a"] = [OSError(number) for number in range(3)]
        await pool.run(works)
        resource, _ = await pool.run(gets)
    assert resource == "a"
    assert [event for event, _ in told.log][:6] == [
        "started",
        "reopening",
        *["reopening after OSError"] * 3,
        "started",
    ]
    times = [at for _, at in told.log]
    assert times[2] == 0.0
    assert 0.05 <= times[3] - times[2] <= 0.1
    assert 0.1 <= times[4] - times[3] <= 0.2


async def test_an_error_of_leaving_is_logged_and_comes_out_of_the_block_and_the_worker_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    doors = Doors()

    async def use_it() -> None:
        async with open_pool(used(jobs=1), lifespan=doors.lifespan) as pool:
            doors.errors_out["a"] = OSError("stuck")
            await pool.run(works)
            await wait_all_tasks_blocked()
            del doors.errors_out["a"]
            assert "leaving the lifespan of worker-1 failed" in caplog.text
            assert await pool.run(works) == "done"

    with pytest.raises(ExceptionGroup) as caught:
        await use_it()
    assert [str(error) for error in caught.value.exceptions] == ["stuck"]


async def test_a_worker_that_opens_its_resource_anew_can_be_removed(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool([*used(jobs=1), Resource("b")], lifespan=doors.lifespan) as pool:
        doors.seconds_in = 1000.0
        await pool.run(works)
        await trio.sleep(1)
        await pool.workers[0].remove()
        assert [worker.id for worker in pool.workers] == [2]
    assert trio.current_time() == 1.0


# With limits, and at the end.


async def test_opening_anew_hands_out_no_fresh_burst_and_closes_no_breaker(autojump_clock: MockClock) -> None:
    resource = Resource(
        "a",
        max_jobs=1,
        rate_limit=RateLimit(1, per=10.0),
        breaker=CircuitBreaker(failures=2, reset_after=100.0),
    )
    async with open_pool([resource], lifespan=Doors().lifespan, on_dead="keep") as pool:
        jobs = [await pool.submit(fails), await pool.submit(fails)]
        last = await pool.submit(gets)
    assert [job.finished_at for job in jobs] == [0.0, 10.0]
    assert last.result() == ("a", 110.0)


async def test_a_worker_that_its_limit_holds_back_opens_its_resource_anew_meanwhile(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=4.0)
    resource = Resource("a", max_jobs=1, rate_limit=RateLimit(1, per=10.0))
    async with open_pool([resource], lifespan=doors.lifespan) as pool:
        jobs = [await pool.submit(gets) for _ in range(3)]
    assert [job.result()[1] for job in jobs] == [4.0, 14.0, 24.0]


async def test_a_quarantined_worker_opens_its_resource_anew_when_it_is_too_old(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=4.0)
    resource = Resource("a", max_age=10.0, breaker=CircuitBreaker(failures=1, reset_after=10.0))
    async with open_pool([resource], lifespan=doors.lifespan, rng=LeastSpread(), on_dead="keep") as pool:
        await pool.submit(fails)
        job = await pool.submit(gets)
        await trio.sleep(11)
        # Both have come due at the same instant: no job gets the old one.
        assert pool.workers[0].state is WorkerState.REOPENING
    assert job.result() == ("a", 18.0)


async def test_leaving_the_block_waits_for_openings_that_jobs_need_and_for_no_others(
    autojump_clock: MockClock,
) -> None:
    doors = Doors(seconds_in=5.0)
    async with open_pool(used(jobs=1), lifespan=doors.lifespan) as pool:
        jobs = [await pool.submit(gets) for _ in range(3)]
    assert [job.result()[1] for job in jobs] == [5.0, 10.0, 15.0]
    assert trio.current_time() == 15.0


async def test_cancelling_the_pool_ends_an_opening(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(used(jobs=1), lifespan=doors.lifespan) as pool:
        doors.seconds_in = 1000.0
        await pool.run(works)
        job = await pool.submit(works)
        pool.cancel()
    assert job.state is JobState.CANCELLED
    assert trio.current_time() == 0.0
