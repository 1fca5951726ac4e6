"""4.5: a job that waits for its next attempt holds no worker, and costs no Trio task."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps, works
from tests.patience import PATIENT
from trio_pool import Instrument, Job, JobState, RetryAfter, WorkerState, open_pool


async def fails_once(resource: str, failed: set[int], number: int) -> int:
    """Fails in its first attempt."""
    if number not in failed:
        failed.add(number)
        raise ValueError(number)
    return number


async def test_the_worker_takes_the_next_job_meanwhile(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT, on_dead="keep") as pool:
        failing = await pool.submit(fails)
        following = await pool.submit(works)
        await following.wait()
        assert trio.current_time() == 0.0
        assert failing.state is JobState.DELAYED
        assert failing.worker is None


async def test_a_worker_whose_only_job_backs_off_is_idle(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT, on_dead="keep") as pool:
        await pool.submit(fails)
        await wait_all_tasks_blocked()
        assert pool.workers[0].state is WorkerState.IDLE
        assert pool.idle_workers == pool.workers


async def test_many_jobs_back_off_at_the_same_time(autojump_clock: MockClock) -> None:
    failed: set[int] = set()
    async with open_pool(["a", "b"], retry=PATIENT) as pool:
        jobs = [await pool.submit(fails_once, failed, number) for number in range(100)]
        good = [await pool.submit(works) for _ in range(100)]
        for job in good:
            await job.wait()
        assert trio.current_time() == 0.0
    assert trio.current_time() == 5.0
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 100


async def test_a_waiting_job_costs_no_trio_task(autojump_clock: MockClock) -> None:
    failed: set[int] = set()
    async with open_pool(["a"], retry=PATIENT) as pool:
        await pool.run(works)
        before = trio.lowlevel.current_statistics().tasks_living
        for number in range(50):
            await pool.submit(fails_once, failed, number)
        await wait_all_tasks_blocked()
        assert pool.statistics().delayed == 50
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_queued_job_costs_no_trio_task(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(sleeps, 1.0)
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(50):
            await pool.submit(works)
        assert pool.statistics().queued == 50
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_the_next_attempt_starts_when_the_delay_is_over(autojump_clock: MockClock) -> None:
    failed: set[int] = set()
    async with open_pool(["a"], retry=PATIENT) as pool:
        job = await pool.submit(fails_once, failed, 1)
    assert [(each.state, each.at) for each in job.history] == [
        (JobState.QUEUED, 0.0),
        (JobState.RUNNING, 0.0),
        (JobState.DELAYED, 0.0),
        (JobState.QUEUED, 5.0),
        (JobState.RUNNING, 5.0),
        (JobState.SUCCEEDED, 5.0),
    ]


async def test_a_retry_waits_for_its_turn_if_the_workers_are_busy(autojump_clock: MockClock) -> None:
    failed: set[int] = set()
    async with open_pool(["a"], retry=PATIENT) as pool:
        job = await pool.submit(fails_once, failed, 1)
        await pool.submit(sleeps, 8.0)
    assert job.finished_at == 8.0


async def test_a_shorter_delay_overtakes_a_longer_one(autojump_clock: MockClock) -> None:
    ends: list[float] = []

    async def asks_for(resource: str, delay: float, asked: set[float]) -> None:
        if delay not in asked:
            asked.add(delay)
            raise RetryAfter(delay)
        ends.append(delay)

    asked: set[float] = set()
    async with open_pool(["a"], retry=PATIENT) as pool:
        for delay in (3.0, 1.0, 2.0):
            await pool.submit(asks_for, delay, asked)
    assert ends == [1.0, 2.0, 3.0]
    assert trio.current_time() == 3.0


async def test_instruments_are_told_until_when_a_job_is_delayed(autojump_clock: MockClock) -> None:
    told: list[float] = []

    class Delays(Instrument):
        def job_delayed(self, job: Job[object], until: float) -> None:
            assert job.state is JobState.DELAYED
            told.append(until)

    failed: set[int] = set()
    async with open_pool(["a"], retry=PATIENT, instruments=[Delays()]) as pool:
        await trio.sleep(1)
        await pool.submit(fails_once, failed, 1)
    assert told == [6.0]


async def test_a_delay_holds_no_place_in_the_queue(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT, max_queue=1, on_dead="keep") as pool:
        delayed = await pool.submit(fails)
        await wait_all_tasks_blocked()
        assert delayed.state is JobState.DELAYED
        pool.submit_nowait(sleeps, 1.0)
        queued = pool.submit_nowait(works)
        assert queued.state is JobState.QUEUED
