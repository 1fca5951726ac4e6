"""``submit_from_thread``: futures, their cancellation, and the failures that they tell of."""

from __future__ import annotations

import concurrent.futures
import sys
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps_forever, works
from tests.openers import OpenPool, both
from tests.pool.threads.calls_and_doors import Doors, InThread, each_kind, echo
from tests.threads import PlainThread, in_plain_thread, in_trios_thread
from trio_pool import DeadReason, JobDeadlockError, JobFailedError, JobState, PoolClosedError, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


# submit_from_thread


@both
@each_kind
async def test_submit_gives_a_future_of_the_result(opened: OpenPool, in_thread: InThread) -> None:
    async with opened() as pool:
        future = await in_thread(pool.submit_from_thread, echo, "hello")
        assert isinstance(future, Future)
        assert await in_thread(future.result) == "hello"
        assert future.exception() is None


async def test_submit_does_not_wait_for_a_place_but_its_job_does() -> None:
    order: list[str] = []

    async def notes(_: object, name: str) -> None:
        order.append(name)

    doors = Doors()
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(doors.pass_through)
        for name in ("x", "y"):
            await in_plain_thread(pool.submit_from_thread, notes, name)
        await wait_all_tasks_blocked()
        now = pool.statistics()
        assert (now.submitted, now.queued, now.submitters_waiting) == (1, 0, 2)
        doors.opened.set()
        await pool.run(notes, "z")
    assert order == ["x", "y", "z"]


async def test_a_future_that_is_cancelled_in_line_for_a_place_leaves_no_job() -> None:
    doors = Doors()
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(doors.pass_through)
        future = await in_plain_thread(pool.submit_from_thread, works)
        await wait_all_tasks_blocked()
        assert await in_plain_thread(future.cancel)
        await in_plain_thread(concurrent.futures.wait, [future])
        assert (pool.statistics().submitted, pool.statistics().submitters_waiting) == (1, 0)
        doors.opened.set()
    assert future.cancelled()


async def test_a_job_whose_start_others_wait_for_too_settles_its_future_at_its_end() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        await pool.submit(doors.pass_through)
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        await wait_all_tasks_blocked()
        [job] = pool.jobs(JobState.QUEUED)
        doors.opened.set()
        await job.wait_started()
        assert not future.done()
        await job.wait()
        assert future.done()


async def test_closing_turns_away_what_is_in_line_for_a_place() -> None:
    doors = Doors()
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(doors.pass_through)
        future = await in_plain_thread(pool.submit_from_thread, works)
        await wait_all_tasks_blocked()
        pool.close()
        assert isinstance(future.exception(), PoolClosedError)
        doors.opened.set()
    assert pool.statistics().submitted == 1


async def test_a_cancellation_that_comes_when_the_job_has_just_been_turned_away_changes_nothing() -> None:
    doors = Doors()
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(doors.pass_through)
        future = await in_plain_thread(pool.submit_from_thread, works)
        await wait_all_tasks_blocked()
        assert future.cancel()  # which the pool has not noticed yet
        pool.close()
        await wait_all_tasks_blocked()
        assert future.cancelled()
        doors.opened.set()
    assert pool.statistics().submitted == 1


async def test_a_job_whose_time_is_up_in_line_for_a_place_is_dead(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        first = await pool.submit(sleeps_forever)
        future = await in_plain_thread(partial(pool.submit_from_thread, works, total_timeout=2.0))
        with pytest.raises(JobFailedError) as caught:
            await in_plain_thread(future.result)
        assert caught.value.job.dead_reason is DeadReason.TIMED_OUT
        first.cancel()


async def test_cancelling_the_future_cancels_a_job_that_waits() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        await pool.submit(doors.pass_through)
        future = await in_plain_thread(pool.submit_from_thread, works)
        await wait_all_tasks_blocked()
        assert await in_plain_thread(future.cancel)
        await in_plain_thread(concurrent.futures.wait, [future])
        assert pool.statistics().cancelled == 1
        doors.opened.set()


async def test_cancelling_the_future_cancels_a_job_that_runs() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        await doors.started.wait()

        def cancels() -> None:
            assert future.cancel()
            assert future.cancelled()
            with pytest.raises(concurrent.futures.CancelledError):
                future.result()
            concurrent.futures.wait([future])
            assert doors.ended  # since that waits for the function

        await in_plain_thread(cancels)
        assert pool.statistics().cancelled == 1


async def test_a_future_that_is_cancelled_before_the_pool_has_noticed_leaves_no_job() -> None:
    async with open_pool(["a"]) as pool:
        future = PlainThread(pool.submit_from_thread, works).join()
        assert future.cancel()
        await in_plain_thread(concurrent.futures.wait, [future])
    assert pool.statistics().submitted == 0


async def test_a_future_can_be_cancelled_until_its_job_has_ended() -> None:
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, works)
        assert await in_plain_thread(future.result) == "done"
        assert not future.cancel()
        assert future.result() == "done"


def test_to_cancel_a_cancelled_future_again_does_no_harm_even_when_the_run_is_over() -> None:
    async def program() -> Future[Any]:
        async with open_pool(["a"]) as pool:
            future = await in_plain_thread(pool.submit_from_thread, sleeps_forever)
            assert [future.cancel(), future.cancel()] == [True, True]
            return future

    future = trio.run(program)
    assert future.cancel()
    assert future.cancelled()


async def test_a_job_that_dies_of_its_cancellation_has_told_nobody() -> None:
    doors = Doors()

    async def program() -> None:
        async with open_pool(["a"]) as pool:
            future = await in_plain_thread(pool.submit_from_thread, doors.sulk)
            await doors.started.wait()
            assert future.cancel()

    with pytest.raises(ExceptionGroup) as caught:
        await program()
    assert [type(error) for error in caught.value.exceptions] == [JobFailedError]


# Threads of Trio's that wait for a future


@pytest.mark.parametrize("question", ["result", "exception"])
async def test_cancelling_the_task_whose_thread_waits_for_a_future_leaves_the_job_alone(question: str) -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        future = await in_trios_thread(pool.submit_from_thread, doors.pass_through)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_trios_thread, getattr(future, question))
                await doors.started.wait()
                await wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        doors.opened.set()
        assert await in_trios_thread(future.result) == "through"


async def test_a_job_whose_thread_waits_for_one_that_is_in_line_for_a_place_is_no_deadlock() -> None:
    doors = Doors()
    futures: list[Future[str]] = []

    async def waits_for_another(_: object) -> str:
        doors.started.set()
        await doors.opened.wait()
        return await in_trios_thread(futures[0].result)

    async with open_pool(["a", "b"], max_queue=0) as pool:
        job = await pool.submit(waits_for_another)
        other = await pool.submit(sleeps_forever)
        await doors.started.wait()
        futures.append(await in_plain_thread(pool.submit_from_thread, works))
        doors.opened.set()
        await wait_all_tasks_blocked()
        assert pool.statistics().submitters_waiting == 1
        other.cancel()
        assert await job.wait() == "done"


async def test_a_job_that_waits_for_one_in_line_is_told_when_that_has_its_place_and_cannot_start() -> None:
    doors = Doors()
    futures: list[Future[str]] = []

    async def waits_for_another(_: object) -> None:
        doors.started.set()
        await doors.opened.wait()
        await in_trios_thread(futures[0].result)

    async with open_pool(["the only one"], max_queue=1) as pool:
        job = await pool.submit(waits_for_another)
        await doors.started.wait()
        before = await pool.submit(works)
        futures.append(await in_plain_thread(pool.submit_from_thread, works))
        doors.opened.set()
        await wait_all_tasks_blocked()
        assert job.state is JobState.RUNNING
        before.cancel()
        with pytest.raises(JobFailedError) as caught:
            await job.wait()
        assert isinstance(caught.value.__cause__, JobDeadlockError)


@pytest.mark.parametrize("is_in_line", [False, True])
async def test_a_task_whose_thread_waits_for_a_future_is_told_when_that_is_cancelled(is_in_line: bool) -> None:
    doors = Doors()
    async with open_pool(["a"], max_queue=0) as pool:
        if is_in_line:
            await pool.submit(doors.pass_through)
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)

        async def waits() -> None:
            with pytest.raises(concurrent.futures.CancelledError):
                await in_trios_thread(future.result)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await doors.started.wait()
            await wait_all_tasks_blocked()
            assert await in_plain_thread(future.cancel)
        doors.opened.set()


async def test_a_thread_of_another_trio_run_can_wait_for_a_future_too() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        thread = PlainThread(trio.run, in_trios_thread, future.result)
        await doors.started.wait()
        doors.opened.set()
        assert await thread.wait() == "through"


# Failures


async def test_a_death_that_nobody_has_asked_about_comes_out_of_the_block() -> None:
    futures: list[Future[None]] = []

    async def program() -> None:
        async with open_pool(["a"]) as pool:
            futures.append(await in_plain_thread(pool.submit_from_thread, fails))

    with pytest.raises(ExceptionGroup) as caught:
        await program()
    assert [error.job.state for error in caught.value.exceptions if isinstance(error, JobFailedError)] == [
        JobState.DEAD
    ]
    assert isinstance(futures[0].exception(), JobFailedError)


@pytest.mark.parametrize("asks", ["result", "exception"])
async def test_a_death_that_somebody_asks_about_is_dealt_with(asks: str) -> None:
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, fails)
        await in_plain_thread(concurrent.futures.wait, [future])
        try:
            error = getattr(future, asks)()
        except JobFailedError as raised:
            error = raised
        assert isinstance(error, JobFailedError)


async def test_a_death_that_somebody_waits_for_is_dealt_with_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    doors, is_asked = Doors(), trio.Event()
    futures: Any = Future
    ask = futures.exception
    token = trio.lowlevel.current_trio_token()

    def ask_and_tell(future: Future[Any], timeout: float | None = None) -> Any:
        token.run_sync_soon(is_asked.set)
        return ask(future, timeout)

    monkeypatch.setattr(futures, "exception", ask_and_tell)

    async def fails_later(_: object) -> None:
        await doors.opened.wait()
        raise ValueError("no luck")

    async with trio.open_nursery() as nursery, open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, fails_later)
        asking = PlainThread(future.exception)
        await is_asked.wait()
        nursery.start_soon(asking.wait)
        doors.opened.set()
    assert isinstance(future.exception(), JobFailedError)


async def test_to_ask_with_a_timeout_that_passes_deals_with_nothing() -> None:
    doors = Doors()

    async def program() -> None:
        async with open_pool(["a"]) as pool:
            future = await in_plain_thread(pool.submit_from_thread, doors.sulk)
            with pytest.raises(concurrent.futures.TimeoutError):
                await in_plain_thread(future.result, 0.0)
            await doors.started.wait()
            for job in pool.jobs():
                job.cancel()

    with pytest.raises(ExceptionGroup) as caught:
        await program()
    assert [type(error) for error in caught.value.exceptions] == [JobFailedError]


async def test_to_wait_for_a_future_in_the_pools_own_thread_is_an_error() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        for ask in (future.result, future.exception):
            with pytest.raises(RuntimeError, match="in the pool's own thread"):
                ask()
        doors.opened.set()
        await pool.join()
        assert future.result() == "through"
