"""4.1: what comes out of the pool's block, and what has become of its jobs and workers then."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import logging
import math
import signal
import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, is_stubborn, sleeps, sleeps_forever, sulks, works
from trio_pool import (
    DeadReason,
    Job,
    JobFailedError,
    JobState,
    Pool,
    PoolClosedError,
    PoolError,
    RetryPolicy,
    SlotPool,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import assert_settled

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


PATIENT = RetryPolicy.fixed(5.0)


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the library has logged as errors."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "trio_pool" and record.levelno == logging.ERROR
    ]


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
    with pytest.RaisesGroup(pytest.RaisesExc(JobFailedError, match="no worker of the pool may take it")):
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
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
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


# The body raises.


async def test_an_exception_of_the_body_comes_out_itself(autojump_clock: MockClock) -> None:
    error = KeyError("of the body")
    with pytest.raises(KeyError) as caught:
        async with open_pool(["a"]):
            raise error
    assert caught.value is error


async def test_an_exception_group_of_the_body_comes_out_itself(autojump_clock: MockClock) -> None:
    error = ExceptionGroup("of the body", [KeyError()])
    with pytest.RaisesGroup(KeyError) as caught:
        async with open_pool(["a"]):
            raise error
    assert caught.value is error


async def test_an_exception_of_the_body_cancels_all_jobs(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a", "b"], retry=PATIENT) as pool:
            running = await pool.submit(sleeps_forever)
            delayed = await pool.submit(fails)
            await delayed.wait_started()
            await wait_all_tasks_blocked()
            assert delayed.state is JobState.DELAYED
            await pool.submit(sleeps_forever)
            queued = await pool.submit(works)
            raise KeyError
    assert [running.state, delayed.state, queued.state] == [JobState.CANCELLED] * 3
    assert trio.current_time() == 0.0


async def test_an_exception_of_the_body_leaves_the_lifespans_the_newest_first(autojump_clock: MockClock) -> None:
    doors = Doors()
    with pytest.raises(KeyError):
        async with open_pool(["a", "b", "c"], lifespan=doors.lifespan):
            raise KeyError
    assert doors.left == ["c", "b", "a"]


async def test_an_exception_of_the_body_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            job = await pool.submit(is_stubborn, 4.0)
            await job.wait_started()
            await wait_all_tasks_blocked()
            raise KeyError
    assert trio.current_time() == 4.0
    assert job.result() == "done all the same"


async def test_deaths_are_logged_if_the_body_raises(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            await pool.submit(fails, name="failing")
            await pool.join()
            raise KeyError
    (message,) = errors_logged(caplog)
    assert "(failing)" in message


async def test_a_function_may_answer_the_end_of_a_failed_body_with_an_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            job = await pool.submit(sulks)
            await wait_all_tasks_blocked()
            raise KeyError
    assert job.state is JobState.DEAD
    assert len(errors_logged(caplog)) == 1


# Cancelled from outside.


async def test_cancelled_while_opening_it_leaves_what_was_open(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=2.0)
    reached = False
    with trio.move_on_after(3) as scope:
        async with open_pool(["a", "b"], lifespan=doors.lifespan):
            reached = True
    assert scope.cancelled_caught
    assert not reached
    assert doors.entered == doors.left == ["a"]


async def test_cancelled_before_opening_it_opens_nothing(autojump_clock: MockClock) -> None:
    doors = Doors()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_pool(["a"], lifespan=doors.lifespan):
            raise AssertionError("unreachable")
    assert scope.cancelled_caught
    assert doors.entered == []


async def test_cancelled_in_the_body_it_cancels_all_jobs(autojump_clock: MockClock) -> None:
    doors = Doors()
    with trio.move_on_after(3) as scope:
        async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
            jobs = [await pool.submit(sleeps_forever) for _ in range(3)]
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 3
    assert doors.left == ["b", "a"]


async def test_cancelled_while_draining_it_cancels_all_jobs(autojump_clock: MockClock) -> None:
    doors = Doors()
    with trio.move_on_after(3) as scope:
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            jobs = [await pool.submit(sleeps, 2.0) for _ in range(3)]
    assert scope.cancelled_caught
    assert [job.state for job in jobs] == [JobState.SUCCEEDED, JobState.CANCELLED, JobState.CANCELLED]
    assert doors.left == ["a"]
    assert trio.current_time() == 3.0


async def test_cancelled_while_stopping_it_leaves_every_lifespan_all_the_same(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=2.0)
    with trio.move_on_after(3) as scope:
        async with open_pool(["a", "b", "c"], lifespan=doors.lifespan) as pool:
            await pool.submit(works)
    assert scope.cancelled_caught
    assert doors.left == ["c", "b", "a"]
    assert trio.current_time() == 3.0


async def test_cancelled_while_stopping_it_logs_the_deaths(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.move_on_after(1):
        async with open_pool(["a"], lifespan=Doors(seconds_out=2.0).lifespan) as pool:
            await pool.submit(fails)
    assert len(errors_logged(caplog)) == 1


async def test_cancelled_from_outside_it_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with open_pool(["a"]) as pool:
            job = await pool.submit(is_stubborn, 4.0)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 4.0
    assert job.state is JobState.SUCCEEDED


# pool.cancel()


async def test_pool_cancel_cancels_the_body_too_and_nothing_comes_out(autojump_clock: MockClock) -> None:
    doors = Doors()
    after = False
    async with open_pool(["a"], lifespan=doors.lifespan) as pool:
        jobs = [await pool.submit(sleeps_forever) for _ in range(2)]
        pool.cancel()
        await trio.sleep(1)
        after = True
    assert not after
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 2
    assert doors.left == ["a"]


async def test_pool_cancel_in_a_job_ends_the_block(autojump_clock: MockClock) -> None:
    async def cancels(resource: str, pool: Pool[str]) -> None:
        pool.cancel()
        await trio.sleep(1)

    async with open_pool(["a"]) as pool:
        job = await pool.submit(cancels, pool)
        await trio.sleep(math.inf)
    assert job.state is JobState.CANCELLED


async def test_pool_cancel_while_draining_cancels_what_is_left(autojump_clock: MockClock) -> None:
    async def cancels_later(pool: Pool[str]) -> None:
        await trio.sleep(3)
        pool.cancel()

    async with trio.open_nursery() as nursery, open_pool(["a"]) as pool:
        nursery.start_soon(cancels_later, pool)
        jobs = [await pool.submit(sleeps, 2.0) for _ in range(2)]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED, JobState.CANCELLED]
    assert trio.current_time() == 3.0


async def test_pool_cancel_while_stopping_cuts_short_the_leaving_of_lifespans(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=10.0)

    async def cancels_later(pool: Pool[str]) -> None:
        await trio.sleep(3)
        pool.cancel()

    async with trio.open_nursery() as nursery, open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        nursery.start_soon(cancels_later, pool)
    assert doors.left == ["b", "a"]
    assert trio.current_time() == 3.0


async def test_pool_cancel_logs_the_deaths(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(fails)
        await pool.join()
        pool.cancel()
    assert len(errors_logged(caplog)) == 1


async def test_pool_cancel_takes_no_more_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.cancel()
        with pytest.raises(PoolClosedError):
            pool.submit_nowait(works)


async def test_a_body_that_submits_after_pool_cancel_sees_its_own_cancellation(autojump_clock: MockClock) -> None:
    seen: list[type[BaseException]] = []
    async with open_pool(["a"]) as pool:
        pool.cancel()
        try:
            await pool.submit(works)
        except BaseException as error:
            seen.append(type(error))
            raise
    assert seen == [trio.Cancelled]


async def test_pool_cancel_after_the_block_does_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(works)
    pool.cancel()
    assert job.state is JobState.SUCCEEDED


async def test_an_exception_that_the_body_raises_after_pool_cancel_comes_out(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError, match="of the body"):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            pool.cancel()
            raise KeyError("of the body")


# on_dead="cancel"


async def test_with_on_dead_cancel_the_first_death_ends_everything(autojump_clock: MockClock) -> None:
    doors = Doors()
    with pytest.RaisesGroup(JobFailedError) as caught:
        async with open_pool(["a", "b"], lifespan=doors.lifespan, on_dead="cancel") as pool:
            running = pool.submit_nowait(sleeps_forever)
            failing = pool.submit_nowait(fails)
            queued = pool.submit_nowait(sleeps_forever)
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, JobFailedError)
    assert error.job is failing
    assert [running.state, queued.state] == [JobState.CANCELLED] * 2
    assert doors.left == ["b", "a"]


async def test_with_on_dead_cancel_a_retry_is_no_death(autojump_clock: MockClock) -> None:
    calls: list[str] = []

    async def fails_once(resource: str) -> str:
        calls.append(resource)
        if len(calls) == 1:
            raise ValueError
        return "done"

    async with open_pool(["a"], on_dead="cancel", retry=PATIENT) as pool:
        assert await pool.run(fails_once) == "done"


async def test_with_on_dead_cancel_the_death_comes_out_once_though_run_raised_it_too(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool:
            await pool.run(fails)


async def test_with_on_dead_cancel_further_deaths_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a", "b"], on_dead="cancel") as pool:
            await pool.submit(sulks, name="sulking")
            await wait_all_tasks_blocked()
            await pool.submit(fails)
            await trio.sleep_forever()
    (message,) = errors_logged(caplog)
    assert "(sulking)" in message


async def test_with_on_dead_cancel_a_body_that_waits_for_a_place_is_cancelled(autojump_clock: MockClock) -> None:
    """The death that ends the body also gives it the place that it waits for."""

    async def fails_late(resource: str) -> None:
        await trio.sleep(1)
        raise ValueError

    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], max_queue=1, on_dead="cancel") as pool:
            for _ in range(5):
                await pool.submit(fails_late)
    assert trio.current_time() == 1.0
    assert_settled(pool)


async def test_with_on_dead_cancel_a_death_while_draining_ends_everything(autojump_clock: MockClock) -> None:
    async def fails_late(resource: str) -> None:
        await trio.sleep(2)
        raise ValueError

    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a", "b"], on_dead="cancel") as pool:
            running = await pool.submit(sleeps_forever)
            await pool.submit(fails_late)
    assert running.state is JobState.CANCELLED
    assert trio.current_time() == 2.0


# A function raises what is no Exception.


class Abort(BaseException):
    """As test runners and frameworks have them."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Abort])
async def test_what_is_no_exception_ends_everything_and_comes_out_in_a_group(
    autojump_clock: MockClock, kind: type[BaseException]
) -> None:
    doors = Doors()

    async def aborts(resource: str) -> None:
        raise kind

    with pytest.RaisesGroup(kind) as caught:
        async with open_pool(["a", "b"], lifespan=doors.lifespan, retry=PATIENT) as pool:
            other = await pool.submit(sleeps_forever)
            job = await pool.submit(aborts)
            await trio.sleep_forever()
    assert isinstance(caught.value, BaseExceptionGroup)
    assert job.state is JobState.CANCELLED
    assert other.state is JobState.CANCELLED
    assert doors.left == ["b", "a"]


async def test_what_is_no_exception_comes_out_while_draining_too(autojump_clock: MockClock) -> None:
    async def exits(resource: str) -> None:
        await trio.sleep(2)
        raise SystemExit(3)

    with pytest.RaisesGroup(pytest.RaisesExc(SystemExit, check=lambda error: error.code == 3)):
        async with open_pool(["a", "b"]) as pool:
            other = await pool.submit(sleeps_forever)
            await pool.submit(exits)
    assert other.state is JobState.CANCELLED


async def test_a_group_with_what_is_no_exception_in_it_ends_everything(autojump_clock: MockClock) -> None:
    async def exits_in_a_nursery(resource: str) -> None:
        raise BaseExceptionGroup("both", [ValueError(), SystemExit()])

    with pytest.RaisesGroup(pytest.RaisesGroup(ValueError, SystemExit)):
        async with open_pool(["a"]) as pool:
            job = await pool.submit(exits_in_a_nursery)
            await trio.sleep_forever()
    assert job.state is JobState.CANCELLED


async def test_an_exit_out_of_on_failure_ends_everything_too(autojump_clock: MockClock) -> None:
    def on_failure(job: Job[Any], error: Exception) -> None:
        raise SystemExit

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(["a", "b"], on_failure=on_failure) as pool:
            other = await pool.submit(sleeps_forever)
            failing = await pool.submit(fails)
            await trio.sleep_forever()
    assert other.state is JobState.CANCELLED
    assert failing.state.is_final


async def test_the_exits_of_two_functions_come_out_together(autojump_clock: MockClock) -> None:
    async def exits(resource: str, code: int) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(code)
        raise SystemExit(code)

    with pytest.RaisesGroup(SystemExit, SystemExit):
        async with open_pool(["a", "b"]) as pool:
            await pool.submit(exits, 1)
            await pool.submit(exits, 2)


# Ctrl-C.


def test_ctrl_c_interrupts_a_job_that_spins_without_a_checkpoint() -> None:
    turns = 0

    async def spins() -> None:
        nonlocal turns
        signal.raise_signal(signal.SIGINT)
        for turns in range(1000):  # noqa: B007
            pass

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(spins))
            await trio.sleep_forever()

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main)
    assert turns == 0
    assert jobs[0].state is JobState.CANCELLED


@trio.lowlevel.enable_ki_protection
def press_ctrl_c() -> None:
    """As if it came while Trio itself is running: the main task is told."""
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_the_body_waits_comes_out_of_it() -> None:
    async def presses() -> None:
        press_ctrl_c()
        await trio.sleep_forever()

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(presses))
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert jobs[0].state is JobState.CANCELLED


def test_ctrl_c_while_draining_ends_everything() -> None:
    async def presses_late() -> None:
        await trio.sleep(1)
        press_ctrl_c()
        await trio.sleep_forever()

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(presses_late))

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert jobs[0].state is JobState.CANCELLED


def test_ctrl_c_twice_still_waits_for_functions_to_end() -> None:
    ended: list[float] = []

    async def presses_twice() -> None:
        press_ctrl_c()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            press_ctrl_c()
            await trio.sleep(1)
            ended.append(trio.current_time())

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(presses_twice))
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert ended == [2.0]
    assert jobs[0].state.is_final


# A resource can't be opened.


async def test_the_error_of_opening_comes_out_and_the_body_never_runs(autojump_clock: MockClock) -> None:
    error = OSError("no such device")
    doors = Doors(errors_in={"c": [error]})
    reached = False
    with pytest.raises(OSError, match="no such device") as caught:
        async with open_pool(["a", "b", "c", "d"], lifespan=doors.lifespan):
            reached = True
    assert caught.value is error
    assert not reached
    assert doors.entered == ["a", "b"]
    assert doors.left == ["b", "a"]


async def test_an_error_of_opening_and_one_of_leaving_come_out_in_a_group(autojump_clock: MockClock) -> None:
    doors = Doors(errors_in={"b": [OSError("opening")]}, errors_out={"a": ValueError("leaving")})
    with pytest.RaisesGroup(OSError, ValueError):
        async with open_pool(["a", "b"], lifespan=doors.lifespan):
            raise AssertionError("unreachable")


async def test_an_exit_while_opening_comes_out(autojump_clock: MockClock) -> None:
    doors = Doors()

    def exits(name: str) -> Any:
        raise SystemExit(name)

    with pytest.raises(SystemExit):
        async with open_pool(["a"], lifespan=exits):
            raise AssertionError("unreachable")
    assert doors.entered == []


# Leaving a lifespan raises.


async def test_an_error_of_leaving_comes_out_of_remove(autojump_clock: MockClock) -> None:
    error = OSError("stuck")
    doors = Doors(errors_out={"a": error})
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        worker = pool.workers[0]
        with pytest.raises(OSError, match="stuck") as caught:
            await worker.remove()
        assert caught.value is error
        assert worker.state is WorkerState.STOPPED
        assert pool.workers == (pool.workers[0],)


async def test_an_error_of_leaving_comes_out_of_the_block_in_a_group(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck"), "b": ValueError("stuck too")})
    with pytest.RaisesGroup(OSError, ValueError):
        async with open_pool(["a", "b", "c"], lifespan=doors.lifespan) as pool:
            job = await pool.submit(works)
    assert job.state is JobState.SUCCEEDED
    assert doors.left == ["c", "b", "a"]


async def test_an_error_of_leaving_comes_out_together_with_the_deaths(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError, JobFailedError):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            await pool.submit(fails)


async def test_an_error_of_leaving_comes_out_together_with_an_exception_of_the_body(
    autojump_clock: MockClock,
) -> None:
    error = KeyError("of the body")
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(KeyError, OSError) as caught:
        async with open_pool(["a"], lifespan=doors.lifespan):
            raise error
    assert caught.value.exceptions[0] is error


async def test_an_error_of_leaving_comes_out_though_the_block_was_cancelled(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError), trio.move_on_after(1):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            job = await pool.submit(sleeps_forever)
            await trio.sleep_forever()
    assert job.state is JobState.CANCELLED


async def test_an_error_of_leaving_comes_out_after_pool_cancel(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            pool.cancel()
            await trio.sleep_forever()
    assert doors.left == ["a"]


async def test_an_error_of_leaving_comes_out_of_the_block_if_remove_was_cancelled(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=2.0, errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError):
        async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
            with trio.move_on_after(1) as scope:
                await pool.workers[0].remove()
            await trio.sleep(5)
    assert scope.cancelled_caught


# Two at once.


async def test_a_death_that_ends_everything_and_an_error_of_leaving_come_out_together(
    autojump_clock: MockClock,
) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(JobFailedError, OSError):
        async with open_pool(["a"], lifespan=doors.lifespan, on_dead="cancel") as pool:
            await pool.submit(fails)
            await trio.sleep_forever()
    assert doors.left == ["a"]


async def test_an_exit_and_an_error_of_leaving_come_out_together(autojump_clock: MockClock) -> None:
    async def exits(resource: str) -> None:
        raise SystemExit

    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(SystemExit, OSError):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            await pool.submit(exits)
            await trio.sleep_forever()
    assert doors.left == ["a"]


async def test_an_exit_and_what_the_body_raises_at_its_cancellation_come_out_together(
    autojump_clock: MockClock,
) -> None:
    async def exits(resource: str) -> None:
        raise SystemExit

    error = KeyError("of the body")
    with pytest.RaisesGroup(KeyError, SystemExit) as caught:
        async with open_pool(["a"]) as pool:
            await pool.submit(exits)
            try:
                await trio.sleep_forever()
            finally:
                raise error
    assert caught.value.exceptions[0] is error


async def test_a_death_that_ends_everything_and_another_error_of_the_body_come_out_together(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(KeyError, JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool:
            job = await pool.submit(fails)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError
    assert job.state is JobState.DEAD


async def test_an_exit_comes_out_though_the_block_was_cancelled(autojump_clock: MockClock) -> None:
    async def exits_when_cancelled(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit

    with pytest.RaisesGroup(SystemExit), trio.move_on_after(1):
        async with open_pool(["a"]) as pool:
            job = await pool.submit(exits_when_cancelled)
            await trio.sleep_forever()
    assert job.state is JobState.CANCELLED


async def test_an_exit_while_draining_and_the_deaths_do_not_come_out_together(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def exits(resource: str) -> None:
        await trio.sleep(1)
        raise SystemExit

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(["a"]) as pool:
            await pool.submit(fails)
            await pool.submit(exits)
    assert len(errors_logged(caplog)) == 1


async def test_pool_cancel_twice_is_the_same_as_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(is_stubborn, 3.0)
        await wait_all_tasks_blocked()
        pool.cancel()
        pool.cancel()
    assert job.state is JobState.SUCCEEDED


async def test_a_block_cancelled_from_outside_and_by_its_own_method_ends_as_cancelled(
    autojump_clock: MockClock,
) -> None:
    with trio.CancelScope() as scope:
        async with open_pool(["a"]) as pool:
            await pool.submit(is_stubborn, 3.0)
            await wait_all_tasks_blocked()
            pool.cancel()
            scope.cancel()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert pool.workers == ()


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
