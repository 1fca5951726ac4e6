"""``run_from_thread``: a thread runs a job and waits for its result."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from functools import partial

import pytest
import trio

from tests.actors import fails, works
from tests.openers import OpenPool, both
from tests.platforms import sends_signals
from tests.pool.threads.calls_and_doors import Doors, InThread, each_kind, echo, hand_back
from tests.threads import in_plain_thread, in_trios_thread
from trio_pool import (
    JobCancelledError,
    JobFailedError,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool._runtime.home import Home
from trio_pool.testing import Flaky, assert_settled

request_id: ContextVar[str] = ContextVar("request_id", default="none")


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


@sends_signals
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
