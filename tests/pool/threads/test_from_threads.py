"""3.2: calling a pool from other threads of the process: ``run_from_thread`` and ``submit_from_thread``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps_forever, works
from tests.openers import OpenPool, both
from tests.threads import PlainThread, in_plain_thread, in_trios_thread
from trio_pool import (
    DeadReason,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool._runtime.home import Home
from trio_pool.testing import Flaky, assert_settled

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

V = TypeVar("V")

request_id: ContextVar[str] = ContextVar("request_id", default="none")

InThread = Callable[..., Awaitable[Any]]
each_kind = pytest.mark.parametrize("in_thread", [in_plain_thread, in_trios_thread])


async def echo(*args: Any) -> Any:
    """Returns its last argument, which is never the resource."""
    await trio.lowlevel.checkpoint()
    return args[-1]


async def hand_back(_: object, value: V) -> V:
    """The same with exact types."""
    await trio.lowlevel.checkpoint()
    return value


class Doors:
    """Jobs that go on when they are let, and tell how far they are."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.opened = trio.Event()
        self.ended = False

    async def pass_through(self, _: object) -> str:
        self.started.set()
        try:
            await self.opened.wait()
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            self.ended = True
        return "through"

    async def sulk(self, _: object) -> None:
        self.started.set()
        try:
            await self.opened.wait()
        except trio.Cancelled:
            raise ValueError("sulks") from None


# run_from_thread


@both
@each_kind
async def test_run_gives_the_result(opened: OpenPool, in_thread: InThread) -> None:
    async with opened() as pool:
        assert await in_thread(pool.run_from_thread, echo, "hello") == "hello"


@each_kind
async def test_run_takes_the_options_of_a_job(in_thread: InThread) -> None:
    flaky = Flaky(2, result="done")
    async with open_pool(["a"]) as pool:
        run = partial(pool.run_from_thread, flaky, retry=RetryPolicy.immediate(max_attempts=3))
        assert await in_thread(run) == "done"
    assert len(flaky.calls) == 3


@each_kind
async def test_run_raises_the_failure_of_its_job_which_is_dealt_with(in_thread: InThread) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await in_thread(pool.run_from_thread, fails)
        assert isinstance(caught.value.__cause__, ValueError)
    assert pool.statistics().dead == 1


@each_kind
async def test_run_raises_that_its_job_was_cancelled_by_somebody_else(in_thread: InThread) -> None:
    async def cancels_itself(_: object) -> None:
        current_job().cancel()
        await trio.sleep_forever()

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobCancelledError):
            await in_thread(pool.run_from_thread, cancels_itself)


@each_kind
async def test_run_raises_that_no_worker_may_take_its_job(in_thread: InThread) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(NoEligibleWorkerError):
            await in_thread(partial(pool.run_from_thread, works, requires=["gpu"]))


@each_kind
async def test_a_job_sees_the_variables_of_the_thread(in_thread: InThread) -> None:
    async def reads(_: object) -> str:
        return request_id.get()

    async with open_pool(["a"]) as pool:

        def calls() -> str:
            request_id.set("of the thread")
            return pool.run_from_thread(reads)

        assert await in_thread(calls) == "of the thread"


async def test_a_job_of_a_thread_knows_that_it_runs_in_trio() -> None:
    import sniffio

    async def asks(_: object) -> str:
        return sniffio.current_async_library()

    async with open_pool(["a"]) as pool:
        for in_thread in (in_trios_thread, in_plain_thread):
            assert await in_thread(pool.run_from_thread, asks) == "trio"


async def test_cancelling_the_task_that_waits_for_a_thread_cancels_the_job_that_runs_from_it() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_trios_thread, pool.run_from_thread, doors.pass_through)
                await doors.started.wait()
                scope.cancel()
        assert scope.cancelled_caught
        assert doors.ended
        assert pool.statistics().cancelled == 1


async def test_a_thread_that_has_been_abandoned_can_run_nothing_more() -> None:
    abandoned = threading.Event()
    attempts: list[BaseException] = []
    ended = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async with open_pool(["a"]) as pool:

        def calls_too_late() -> None:
            token.run_sync_soon(scope.cancel)
            abandoned.wait()
            try:
                pool.run_from_thread(works)
            except BaseException as error:
                attempts.append(error)
            token.run_sync_soon(ended.set)

        with trio.CancelScope() as scope:
            await trio.to_thread.run_sync(calls_too_late, abandon_on_cancel=True)
        abandoned.set()
        await ended.wait()
        assert pool.statistics().submitted == 0
    assert [type(error) for error in attempts] == [trio.Cancelled]


async def test_a_thread_of_another_trio_run_can_run_jobs_too() -> None:
    async with open_pool(["a"]) as pool:

        def other_program() -> str:
            return str(trio.run(in_trios_thread, pool.run_from_thread, hand_back, "from afar"))

        assert await in_plain_thread(other_program) == "from afar"


@each_kind
async def test_a_thread_that_waits_is_told_when_the_pool_is_cancelled(in_thread: InThread) -> None:
    doors = Doors()

    async def calls() -> None:
        with pytest.raises(JobCancelledError):
            await in_thread(pool.run_from_thread, doors.pass_through)

    async with trio.open_nursery() as nursery, open_pool(["a"]) as pool:
        nursery.start_soon(calls)
        await doors.started.wait()
        pool.cancel()
    assert doors.ended


def test_a_ctrl_c_that_strikes_the_waiting_thread_cancels_the_job_and_waits_for_its_function() -> None:
    pools: list[Pool[str]] = []
    doors: list[Doors] = []
    has_pool, is_over = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    async def interrupts_its_caller(resource: str) -> None:
        signal.pthread_kill(main, signal.SIGINT)
        await doors[0].pass_through(resource)

    async def program() -> None:
        doors.append(Doors())
        async with open_pool(["a"]) as pool:
            pools.append(pool)
            has_pool.set()
            await trio.to_thread.run_sync(is_over.wait)
            pool.cancel()

    running = threading.Thread(target=trio.run, args=(program,))
    running.start()
    has_pool.wait()
    try:
        with pytest.raises(KeyboardInterrupt):
            pools[0].run_from_thread(interrupts_its_caller)
        assert doors[0].ended
        assert pools[0].statistics().cancelled == 1
    finally:
        is_over.set()
        running.join()


async def test_a_ctrl_c_that_strikes_before_the_job_is_sent_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_struck(_: object, fn: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    async with open_pool(["a"]) as pool:
        monkeypatch.setattr(Home, "call_soon", is_struck)
        with pytest.raises(KeyboardInterrupt):
            await in_plain_thread(pool.run_from_thread, works)
        assert pool.statistics().submitted == 0


async def test_a_ctrl_c_that_strikes_when_the_job_has_been_sent_cancels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    call_soon = Home.call_soon
    has_started = threading.Event()

    def is_struck(home: Home, fn: Callable[[], object]) -> None:
        monkeypatch.undo()
        call_soon(home, fn)
        has_started.wait()
        raise KeyboardInterrupt

    async def starts(_: object) -> None:
        has_started.set()
        await trio.sleep_forever()

    async with open_pool(["a"]) as pool:
        monkeypatch.setattr(Home, "call_soon", is_struck)
        with pytest.raises(KeyboardInterrupt):
            await in_plain_thread(pool.run_from_thread, starts)
        assert pool.statistics().cancelled == 1


# Jobs that use threads


def by_run(pool: Pool[str], fn: Callable[[str], Awaitable[V]]) -> V:
    return pool.run_from_thread(fn)


def by_result(pool: Pool[str], fn: Callable[[str], Awaitable[V]]) -> V:
    return pool.submit_from_thread(fn).result()


def by_exception(pool: Pool[str], fn: Callable[[str], Awaitable[V]]) -> BaseException | None:
    return pool.submit_from_thread(fn).exception()


@pytest.mark.parametrize("way", [by_run, by_result, by_exception])
async def test_a_job_that_waits_by_a_thread_for_one_that_cannot_start_is_told_so(
    way: Callable[..., Any],
) -> None:
    async def waits_for_another(_: object) -> None:
        await in_trios_thread(way, pool, works)

    async with open_pool(["the only one"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(waits_for_another)
    assert isinstance(caught.value.__cause__, JobDeadlockError)


@pytest.mark.parametrize("way", [by_run, by_result])
async def test_a_job_can_lend_its_worker_to_what_its_thread_waits_for(way: Callable[..., Any]) -> None:
    async def lends(_: object) -> str:
        async with current_job().lend():
            return str(await in_trios_thread(way, pool, works))

    async with open_pool(["the only one"]) as pool:
        assert await pool.run(lends) == "done"


async def test_a_job_that_submits_from_a_thread_is_not_held_up_by_the_bound() -> None:
    async def submits(_: object) -> Any:
        future = await in_trios_thread(pool.submit_from_thread, works)
        await wait_all_tasks_blocked()
        assert (pool.statistics().queued, pool.statistics().submitters_waiting) == (1, 0)
        return future

    async with open_pool(["the only one"], max_queue=0) as pool:
        future = await pool.run(submits)
        assert await in_plain_thread(future.result) == "done"


async def test_a_job_may_submit_from_a_thread_though_the_pool_is_closed() -> None:
    async def submits(_: object) -> str:
        return await in_trios_thread(pool.run_from_thread, works)

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(submits)
        pool.close()
        assert await job.wait() == "done"


# Calls that can't be


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_calls_in_the_pools_own_thread_are_errors(name: str) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(RuntimeError, match=rf"^{name}\(\) is for other threads .*: await {name[:-12]}\(\)$"):
            getattr(pool, name)(works)
        assert pool.statistics().submitted == 0


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
@each_kind
async def test_a_closed_pool_takes_no_calls_from_threads(name: str, in_thread: InThread) -> None:
    async with open_pool(["a"]) as pool:
        pool.close()
        with pytest.raises(PoolClosedError, match="the pool is closed"):
            await in_thread(getattr(pool, name), works)


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
@each_kind
async def test_a_pool_whose_block_has_been_left_takes_no_calls_from_threads(name: str, in_thread: InThread) -> None:
    async with open_pool(["a"]) as pool:
        pass
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        await in_thread(getattr(pool, name), works)
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        getattr(pool, name)(works)


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
def test_a_pool_whose_trio_run_has_ended_takes_no_calls(name: str) -> None:
    async def program() -> Pool[str]:
        async with open_pool(["a"]) as pool:
            return pool

    pool = trio.run(program)
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        getattr(pool, name)(works)


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
def test_a_trio_run_that_ends_in_the_middle_of_a_call_is_an_error_of_the_call(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_there, is_over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def is_slow(_: Home) -> bool:
        is_there.set()
        is_over.wait()
        return False

    def calls(pool: Pool[str]) -> None:
        try:
            getattr(pool, name)(works)
        except PoolClosedError as error:
            errors.append(error)

    async def program() -> threading.Thread:
        async with open_pool(["a"]) as pool:
            caller = threading.Thread(target=calls, args=(pool,))
            caller.start()
            is_there.wait()
        return caller

    monkeypatch.setattr(Home, "is_here", is_slow)
    caller = trio.run(program)
    is_over.set()
    caller.join()
    assert [str(error) for error in errors] == ["the pool's Trio run has ended"]


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_a_process_that_was_forked_has_no_pool(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_pool(["a"]) as pool:
        monkeypatch.setattr("os.getpid", lambda: 0)
        with pytest.raises(PoolClosedError, match="has stayed in the process that this one was forked from"):
            await in_plain_thread(getattr(pool, name), works)
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_a_pool_that_is_closed_in_the_middle_of_a_call_refuses_the_job(name: str) -> None:
    async with open_pool(["a"]) as pool:
        called = threading.Event()

        def calls() -> Any:
            if name == "run_from_thread":
                return pool.run_from_thread(works)
            future = pool.submit_from_thread(works)
            called.set()
            return future.result()

        thread = PlainThread(calls)
        if name == "submit_from_thread":
            called.wait()  # and with it, the pool's thread
        pool.close()
        with pytest.raises(PoolClosedError):
            await thread.wait()


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_wrong_arguments_are_errors_of_the_call(name: str) -> None:
    async with open_pool(["a"]) as pool, open_pool(["b"]) as other:
        foreign = await other.submit(works)

        def calls() -> None:
            call: Any = getattr(pool, name)
            with pytest.raises(TypeError, match="the first argument must be an async function, got 3"):
                call(3)
            with pytest.raises(TypeError, match="hand over the function and its arguments"):
                call(works("a"))
            with pytest.raises(ValueError, match=r"^total_timeout must not be negative"):
                call(works, total_timeout=-1)
            with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'timeout'"):
                call(works, timeout=1)
            with pytest.raises(ValueError, match=r"^after must hold jobs of this pool"):
                call(works, after=[foreign])

        await in_plain_thread(calls)
        assert pool.statistics().submitted == 0


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


# Callbacks


async def test_a_callback_may_submit_the_next_job() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        future.add_done_callback(lambda _: pool.submit_nowait(works))
        doors.opened.set()
        await pool.join()
    assert pool.statistics().succeeded == 2


async def test_a_callback_that_fails_is_logged_and_the_pool_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    doors = Doors()

    def stumbles(_: object) -> None:
        raise ValueError("stumbled")

    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        future.add_done_callback(stumbles)
        doors.opened.set()
        await pool.join()
        assert await pool.run(works) == "done"
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_a_callback_that_ends_the_program_ends_the_pool() -> None:
    doors = Doors()

    def leaves(_: object) -> None:
        raise SystemExit(3)

    async def program() -> None:
        async with open_pool(["a"]) as pool:
            future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
            future.add_done_callback(leaves)
            doors.opened.set()
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await program()
    assert [type(error) for error in caught.value.exceptions] == [SystemExit]


# asyncio


async def test_asyncio_can_await_jobs_in_a_thread_of_its_own() -> None:
    async with open_pool(["a", "b"]) as pool:

        async def program() -> list[Any]:
            futures = [asyncio.wrap_future(pool.submit_from_thread(hand_back, number)) for number in range(5)]
            return await asyncio.gather(*futures)

        assert await in_plain_thread(asyncio.run, program()) == [0, 1, 2, 3, 4]


async def test_asyncio_is_told_of_failures_which_are_dealt_with() -> None:
    async with open_pool(["a"]) as pool:

        async def program() -> None:
            with pytest.raises(JobFailedError):
                await asyncio.wrap_future(pool.submit_from_thread(fails))

        await in_plain_thread(asyncio.run, program())


async def test_to_cancel_a_task_of_asyncio_cancels_the_job_that_it_waits_for() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        has_started = threading.Event()

        async def program() -> None:
            task = asyncio.ensure_future(asyncio.wrap_future(pool.submit_from_thread(doors.pass_through)))
            await asyncio.to_thread(has_started.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        thread = PlainThread(asyncio.run, program())
        await doors.started.wait()
        has_started.set()
        await thread.wait()
        await pool.join()
        assert doors.ended
        assert pool.statistics().cancelled == 1


async def test_asyncio_is_told_that_the_pool_has_ended() -> None:
    async with open_pool(["a"]) as pool:
        pass

    async def program() -> None:
        with pytest.raises(PoolClosedError):
            pool.submit_from_thread(works)

    await in_plain_thread(asyncio.run, program())


# Groups, and many threads


@both
@each_kind
async def test_a_group_takes_calls_from_threads(opened: OpenPool, in_thread: InThread) -> None:
    async with opened() as pool, pool.open_group() as group:
        assert await in_thread(group.run_from_thread, echo, 1) == 1
        future = await in_thread(group.submit_from_thread, echo, 2)
        assert await in_thread(future.result) == 2
        assert group.statistics().succeeded == 2
        group.close()
        with pytest.raises(PoolClosedError, match="the group is closed"):
            await in_thread(group.run_from_thread, echo, 3)


async def test_many_threads_each_get_their_own_results() -> None:
    got: dict[int, list[int]] = {}

    async with open_pool(["a", "b", "c"], max_queue=2) as pool:

        def calls(number: int) -> None:
            got[number] = [pool.run_from_thread(hand_back, 100 * number + i) for i in range(20)]

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(in_plain_thread, calls, number)
    assert got == {number: [100 * number + i for i in range(20)] for number in range(12)}
    assert pool.statistics().succeeded == 240
    assert_settled(pool)


async def test_a_thread_in_the_context_of_a_job_that_has_ended_is_outside() -> None:
    contexts: list[Context] = []

    async def leaves_its_context(_: object) -> None:
        contexts.append(copy_context())

    async with open_pool(["a"]) as pool:
        await pool.run(leaves_its_context)
        pool.close()
        with pytest.raises(PoolClosedError):
            await in_plain_thread(pool.run_from_thread, works, context=contexts[0])
