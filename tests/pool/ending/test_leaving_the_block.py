"""The body of the pool's block ends: what becomes of jobs and workers, and which deaths come out."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, sleeps, works
from tests.patience import PATIENT
from tests.pool.ending.logged_errors import errors_logged
from trio_pool import (
    DeadReason,
    Job,
    JobFailedError,
    JobState,
    Pool,
    PoolClosedError,
    PoolError,
    SlotPool,
    WorkerState,
    current_job,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


# The body ends.


async def test_all_jobs_run_to_their_end(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        jobs = [await pool.submit(sleeps, 1.0) for _ in range(5)]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 5
    assert trio.current_time() == 3.0


async def test_jobs_that_back_off_run_to_their_end(autojump_clock: MockClock) -> None:
    calls: list[float] = []

    async def fails_once(resource: str) -> None:
        calls.append(trio.current_time())
        if len(calls) == 1:
            raise ValueError

    async with open_pool(["a"], retry=PATIENT) as pool:
        job = await pool.submit(fails_once)
    assert job.state is JobState.SUCCEEDED
    assert calls == [0.0, 5.0]


async def test_nobody_submits_from_outside_once_the_body_has_ended(autojump_clock: MockClock) -> None:
    async def submits_late(pool: Pool[str]) -> None:
        await trio.sleep(1)
        with pytest.raises(PoolClosedError):
            await pool.submit(works)
        with pytest.raises(PoolClosedError):
            pool.submit_nowait(works)
        tried.append(True)

    tried: list[bool] = []
    async with trio.open_nursery() as nursery, open_pool(["a"]) as pool:
        await pool.submit(sleeps, 2.0)
        nursery.start_soon(submits_late, pool)
    assert tried


async def test_whoever_waits_for_a_place_is_turned_away_when_the_body_ends(autojump_clock: MockClock) -> None:
    async def waits_for_a_place(pool: Pool[str]) -> None:
        with pytest.raises(PoolClosedError):
            await pool.submit(works)
        turned_away.append(trio.current_time())

    turned_away: list[float] = []
    async with trio.open_nursery() as nursery, open_pool(["a"], max_queue=0) as pool:
        await pool.submit(sleeps, 2.0)
        nursery.start_soon(waits_for_a_place, pool)
        await wait_all_tasks_blocked()
    assert turned_away == [0.0]
    assert pool.statistics().submitted == 1


async def test_jobs_may_still_submit_after_the_body(autojump_clock: MockClock) -> None:
    children: list[Job[str]] = []

    async def has_children(resource: str, pool: Pool[str], generations: int) -> None:
        await trio.sleep(1)
        children.append(await pool.submit(works))
        if generations:
            await pool.submit(has_children, pool, generations - 1)

    async with open_pool(["a"]) as pool:
        await pool.submit(has_children, pool, 2)
    assert [child.state for child in children] == [JobState.SUCCEEDED] * 3


async def test_paused_workers_are_resumed(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        for worker in pool.workers:
            worker.pause()
        job = await pool.submit(works)
    assert job.state is JobState.SUCCEEDED


async def test_a_worker_that_is_paused_after_the_body_keeps_no_job_waiting(autojump_clock: MockClock) -> None:
    async def pauses_its_worker(resource: str) -> None:
        worker = current_job().worker
        assert worker is not None
        worker.pause()

    async with open_pool(["a"]) as pool:
        await pool.submit(pauses_its_worker)
        job = await pool.submit(works)
    assert job.state is JobState.SUCCEEDED


async def test_a_rest_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.workers[0].rest(7.0)
        job = await pool.submit(works)
    assert job.state is JobState.SUCCEEDED
    assert job.finished_at == 7.0


async def test_a_worker_that_opens_meanwhile_is_waited_for(autojump_clock: MockClock) -> None:
    doors = Doors()

    async with trio.open_nursery() as nursery, open_pool(["a"], lifespan=doors.lifespan, no_worker="wait") as pool:
        job = await pool.submit(works, requires=["special"])
        doors.seconds_in = 5.0

        async def adds() -> None:
            await pool.add("b", tags=["special"])

        nursery.start_soon(adds)
        await wait_all_tasks_blocked()
    assert job.state is JobState.SUCCEEDED


async def test_jobs_that_nobody_may_take_die_when_nothing_else_is_left(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(JobFailedError, match="no worker of the pool can run it")):
        async with open_pool(["a"], no_worker="wait") as pool:
            job = await pool.submit(works, requires=["special"])
            await pool.submit(sleeps, 3.0)
    assert job.dead_reason is DeadReason.NO_WORKER
    assert job.finished_at == 3.0


async def test_jobs_of_a_pool_without_workers_die_at_the_end(autojump_clock: MockClock) -> None:
    no_resources: list[str] = []
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(no_resources, no_worker="wait") as pool:
            job = await pool.submit(works)
    assert job.dead_reason is DeadReason.NO_WORKER


async def test_workers_stop_the_newest_first(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=1.0)
    async with open_pool(["a", "b"], lifespan=doors.lifespan, max_opening=1) as pool:
        await pool.add("c")
        workers = pool.workers
    assert doors.left == ["c", "b", "a"]
    assert trio.current_time() == 3.0  # one after the other
    assert [worker.state for worker in workers] == [WorkerState.STOPPED] * 3
    assert pool.workers == ()


async def test_workers_stop_only_after_the_last_job(autojump_clock: MockClock) -> None:
    doors = Doors()
    left_while_running: list[list[str]] = []

    async def looks(resource: str) -> None:
        await trio.sleep(2)
        left_while_running.append(list(doors.left))

    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        await pool.submit(looks)
    assert left_while_running == [[]]


async def test_deaths_that_nobody_has_dealt_with_come_out_in_a_group(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError, JobFailedError) as caught:
        async with open_pool(["a"]) as pool:
            jobs = [await pool.submit(fails), await pool.submit(works), await pool.submit(fails)]
    assert isinstance(caught.value, ExceptionGroup)
    told = [error.job for error in caught.value.exceptions if isinstance(error, JobFailedError)]
    assert told == [jobs[0], jobs[2]]
    assert all(isinstance(error.__cause__, ValueError) for error in caught.value.exceptions)


async def test_the_group_names_the_pool(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError, match="the pool 'tokens' ended with errors"):
        async with open_pool(["a"], name="tokens") as pool:
            await pool.submit(fails)
    with pytest.RaisesGroup(JobFailedError, match="^the pool ended with errors"):
        async with open_pool(["a"]) as pool:
            await pool.submit(fails)


async def test_a_death_that_was_raised_to_somebody_does_not_come_out(autojump_clock: MockClock) -> None:
    async def fails_with_item(resource: str, item: int) -> None:
        raise ValueError(item)

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError):
            await pool.run(fails)
        job = await pool.submit(fails)
        with pytest.raises(JobFailedError):
            await job.wait()
        job = await pool.submit(fails)
        await pool.join()
        with pytest.raises(JobFailedError):
            job.result()
        async with pool.map(fails_with_item, [1]) as results:
            with pytest.raises(JobFailedError):
                await anext(results)
    assert pool.statistics().dead == 4


async def test_a_death_that_as_completed_has_yielded_does_not_come_out(autojump_clock: MockClock) -> None:
    async def fails_with_item(resource: str, item: int) -> None:
        raise ValueError(item)

    async with open_pool(["a"]) as pool, pool.as_completed(fails_with_item, [1, 2]) as jobs:
        states = [job.state async for job in jobs]
    assert states == [JobState.DEAD, JobState.DEAD]


async def test_a_death_that_was_taken_out_of_the_dead_letters_does_not_come_out(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(fails)
        second = await pool.submit(fails)
        third = await pool.submit(fails)
        await pool.join()
        assert pool.dead.pop(second) is second
        assert pool.dead.pop_all() == [first, third]
    assert len(pool.dead) == 0


async def test_a_waiter_that_is_cancelled_has_not_dealt_with_a_death(autojump_clock: MockClock) -> None:
    async def fails_late(resource: str) -> None:
        await trio.sleep(2)
        raise ValueError

    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"]) as pool:
            job = await pool.submit(fails_late)
            with trio.move_on_after(1):
                await job.wait()
    assert job.state is JobState.DEAD


async def test_deaths_are_logged_instead_with_on_dead_keep(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        await pool.submit(fails, name="first")
        with pytest.raises(JobFailedError):
            await pool.run(fails, name="dealt with")
    (message,) = errors_logged(caplog)
    assert "(first)" in message
    assert len(pool.dead) == 2


async def test_deaths_that_were_dropped_are_told_by_their_number(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError, pytest.RaisesExc(PoolError, match="2 .*dropped")) as caught:
        async with open_pool(["a"], max_dead=1) as pool:
            jobs = [await pool.submit(fails) for _ in range(3)]
    assert [error.job for error in caught.value.exceptions if isinstance(error, JobFailedError)] == jobs[2:]
    assert pool.dead.dropped == 2


async def test_a_dropped_death_that_was_dealt_with_is_not_told(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_dead=0) as pool:
        before = await pool.submit(fails)
        await pool.join()
        with pytest.raises(JobFailedError):
            before.result()
    assert pool.dead.dropped == 1


# Slots.


async def test_a_pool_of_slots_is_left_in_the_same_way(autojump_clock: MockClock) -> None:
    async def fails_bare() -> None:
        raise ValueError

    async def sleeps_bare() -> None:
        await trio.sleep(2)

    pools: list[SlotPool] = []
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(2) as pool:
            pools.append(pool)
            job = await pool.submit(sleeps_bare)
            await pool.submit(fails_bare)
    assert job.state is JobState.SUCCEEDED
    assert pools[0].workers == ()
