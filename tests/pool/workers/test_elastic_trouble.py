"""Elastic pools whose workers can't be opened, and how elastic pools end."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from contextvars import Context
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, sleeps, sleeps_forever, state_of, works
from trio_pool import (
    DeadReason,
    Elastic,
    Instrument,
    Job,
    JobFailedError,
    JobState,
    PoolClosedError,
    RateLimit,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def troubled(count: int) -> list[BaseException]:
    """So many errors, each to be told from the others."""
    return [OSError(number) for number in range(count)]


class Reopenings(Instrument):
    """Notes what it is told of workers whose resource is to be reopened."""

    def __init__(self) -> None:
        self.told: list[tuple[Worker, Exception | None, float]] = []

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.told.append((worker, error, trio.current_time()))


# Those that the pool begins with.


@pytest.mark.parametrize(
    "error", [OSError(), KeyboardInterrupt(), SystemExit()], ids=lambda error: type(error).__name__
)
async def test_if_one_of_the_first_cannot_be_opened_the_body_never_runs(
    error: BaseException, autojump_clock: MockClock
) -> None:
    class FailsSecond(Mint):
        def __call__(self) -> Any:
            self.errors_in = [error] if self.opened else []
            return super().__call__()

    mint = FailsSecond()
    body_ran = False
    with pytest.raises(type(error)) as caught:
        async with open_pool(Elastic(mint, min=3, max=5), max_opening=1):
            body_ran = True
    assert caught.value is error
    assert not body_ran
    assert mint.closed == [0]
    assert len(mint.called) == 2


async def test_opening_the_first_can_be_cancelled(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=10.0)
    with trio.move_on_after(15):
        async with open_pool(Elastic(mint, min=3, max=5), max_opening=1):
            raise AssertionError
    assert trio.current_time() == 15.0
    assert mint.closed == [0]
    assert len(mint.called) == 2


# Those that are opened with the load.


async def test_a_factory_that_fails_is_tried_again_with_backoff(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=troubled(10))
    async with open_pool(Elastic(mint, max=3), rng=Random(0)) as pool:
        await pool.run(works)
    pauses = [after - before for before, after in zip(mint.called, mint.called[1:], strict=False)]
    assert len(pauses) == 10
    for failed, pause in enumerate(pauses):
        most = min(0.1 * 2**failed, 30.0)
        assert most / 2 - 1e-6 <= pause <= most + 1e-6


async def test_each_failure_of_a_factory_is_told_to_instruments(autojump_clock: MockClock) -> None:
    errors = troubled(3)
    seen = Reopenings()
    mint = Mint(errors_in=list(errors))
    async with open_pool(Elastic(mint, max=3), instruments=[seen]) as pool:
        await pool.run(works)
        (worker,) = pool.workers
    assert [(told, error) for told, error, _ in seen.told] == [(worker, error) for error in errors]
    assert [at for *_, at in seen.told] == mint.called[:3]


async def test_a_failure_of_a_factory_is_in_the_statistics(autojump_clock: MockClock) -> None:
    (error,) = troubled(1)
    async with open_pool(Elastic(Mint(errors_in=[error]), max=3)) as pool:
        await pool.submit(works)
        await wait_all_tasks_blocked()
        (worker,) = pool.statistics().workers
        assert worker.state is WorkerState.REOPENING
        assert worker.last_error is error


async def test_a_factory_that_raises_when_it_is_called_is_tried_again_too(autojump_clock: MockClock) -> None:
    mint = Mint()
    calls: list[float] = []

    def factory() -> Any:
        calls.append(trio.current_time())
        if len(calls) < 3:
            raise OSError
        return mint()

    async with open_pool(Elastic(factory, max=1)) as pool:
        assert await pool.run(works) == "done"
    assert len(calls) == 3


async def test_a_factory_that_gives_no_context_manager_is_told_so(autojump_clock: MockClock) -> None:
    def factory() -> Any:
        return 7

    async with open_pool(Elastic(factory, max=1), on_dead="keep") as pool:
        await pool.submit(works, total_timeout=5.0)
        await wait_all_tasks_blocked()
        (worker,) = pool.statistics().workers
        with pytest.raises(TypeError, match=r"^factory must return an async context manager, returned 7$"):
            raise worker.last_error or AssertionError


async def test_while_opening_fails_no_more_workers_are_tried(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(errors_in=troubled(10)), max=9)) as pool:
        await pool.submit(works)
        await wait_all_tasks_blocked()
        for _ in range(5):
            await pool.submit(sleeps, 100.0)
        assert len(pool.workers) == 1


async def test_when_opening_has_succeeded_again_the_jobs_get_their_workers(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=troubled(3))
    async with open_pool(Elastic(mint, max=9)) as pool:
        await pool.submit(sleeps, 5.0)
        await wait_all_tasks_blocked()
        for _ in range(3):
            await pool.submit(sleeps, 5.0)
        await trio.sleep(3)
        assert pool.statistics().running == 4


async def test_other_workers_go_on_while_one_cannot_be_opened(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=2)) as pool:
        mint.errors_in = troubled(100)
        jobs = [await pool.submit(sleeps, 1.0) for _ in range(5)]
        await pool.join()
        assert [job.finished_at for job in jobs] == [1.0, 2.0, 3.0, 4.0, 5.0]


async def test_while_nothing_can_be_opened_total_timeouts_hold(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=troubled(1000))
    async with open_pool(Elastic(mint, max=3), on_dead="keep") as pool:
        job = await pool.submit(works, total_timeout=20.0)
        with pytest.raises(JobFailedError):
            await job.wait()
        assert trio.current_time() == 20.0
        assert job.dead_reason is DeadReason.TIMED_OUT


async def test_total_timeouts_of_submitters_that_wait_hold_too(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=troubled(1000))
    async with open_pool(Elastic(mint, max=3), max_queue=0, on_dead="keep") as pool:
        job = await pool.submit(works, total_timeout=20.0)
        assert trio.current_time() == 20.0
        assert job.dead_reason is DeadReason.TIMED_OUT


async def test_no_more_is_tried_when_no_job_waits(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=troubled(1000))
    async with open_pool(Elastic(mint, max=3), on_dead="keep") as pool:
        await pool.submit(works, total_timeout=20.0)
        await trio.sleep(20)
        await wait_all_tasks_blocked()
        assert pool.workers == ()
        tried = len(mint.called)
        await trio.sleep(100)
        assert len(mint.called) == tried


async def test_any_number_of_them_may_go_at_once(autojump_clock: MockClock) -> None:
    count = sys.getrecursionlimit()
    mint = Mint(errors_in=troubled(2 * count))
    async with open_pool(Elastic(mint, max=count), max_queue=None, max_opening=None, on_dead="keep") as pool:
        for _ in range(count):
            pool.submit_nowait(works, total_timeout=0.04)
        await trio.sleep(0.01)
        assert {worker.state for worker in pool.workers} == {WorkerState.REOPENING}
        assert len(pool.workers) == count
        await trio.sleep(1)
        assert pool.workers == ()


async def test_the_least_number_is_tried_for_though_no_job_waits(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=3)) as pool:
        mint.errors_in = troubled(5)
        await pool.workers[0].remove()
        await trio.sleep(20)
        assert [worker.state for worker in pool.workers] == [WorkerState.IDLE]
    assert len(mint.called) == 7


async def test_a_worker_that_cannot_be_opened_can_be_removed(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=troubled(1))
    async with open_pool(Elastic(mint, max=1)) as pool:
        job = await pool.submit(works)
        await wait_all_tasks_blocked()
        (worker,) = pool.workers
        await worker.remove()
        await job.wait()
        assert trio.current_time() == 0.0
        assert state_of(worker) is WorkerState.STOPPED
        assert pool.workers != ()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_what_is_no_exception_out_of_a_factory_ends_everything(
    error: BaseException, autojump_clock: MockClock
) -> None:
    with pytest.RaisesGroup(type(error)) as caught:
        async with open_pool(Elastic(Mint(seconds_in=1.0, errors_in=[error]), max=3)) as pool:
            job = await pool.submit(works)
            await trio.sleep_forever()
    assert caught.value.exceptions == (error,)
    assert trio.current_time() == 1.0
    assert job.state is JobState.CANCELLED


# Leaving the block.


async def test_what_is_queued_gets_its_workers_when_the_block_is_left(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=1.0)
    async with open_pool(Elastic(mint, max=3)) as pool:
        jobs = [await pool.submit(sleeps, 2.0) for _ in range(4)]
    assert [job.finished_at for job in jobs] == [3.0, 3.0, 3.0, 5.0]
    assert sorted(mint.closed) == [0, 1, 2]
    assert pool.workers == ()


async def test_a_job_queued_by_a_job_after_the_body_gets_a_worker(autojump_clock: MockClock) -> None:
    async def waits_for_another(resource: int) -> None:
        await trio.sleep(1)
        await pool.run(works)

    async with open_pool(Elastic(Mint(seconds_in=1.0), max=3)) as pool:
        job = await pool.submit(waits_for_another)
    assert job.finished_at == 3.0


async def test_leaving_the_block_waits_until_a_factory_that_fails_succeeds(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(errors_in=troubled(5)), max=3)) as pool:
        job = await pool.submit(works)
    assert job.state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    "mint", [Mint(errors_in=troubled(1000)), Mint(seconds_in=float("inf"))], ids=["fails", "hangs"]
)
async def test_leaving_the_block_lasts_no_longer_than_total_timeouts(mint: Mint, autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(Elastic(mint, max=3), no_worker="wait") as pool:
            job = await pool.submit(works, total_timeout=20.0)
    assert trio.current_time() == 20.0
    assert job.dead_reason is DeadReason.TIMED_OUT


@pytest.mark.parametrize(
    "mint", [Mint(errors_in=troubled(1000)), Mint(seconds_in=float("inf"))], ids=["fails", "hangs"]
)
async def test_a_pool_can_be_cancelled_while_its_workers_open(mint: Mint, autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(mint, max=3)) as pool:
        jobs = [await pool.submit(works) for _ in range(5)]
        await trio.sleep(10)
        pool.cancel()
        await trio.sleep(100)
    assert trio.current_time() == 10.0
    assert {job.state for job in jobs} == {JobState.CANCELLED}
    assert pool.workers == ()


async def test_a_body_that_raises_while_workers_open_ends_them(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=float("inf"))

    async def body() -> None:
        async with open_pool(Elastic(mint, max=3)) as pool:
            await pool.submit(works)
            await trio.sleep(1)
            raise ValueError("out")

    with pytest.raises(ValueError, match=r"^out$"):
        await body()
    assert trio.current_time() == 1.0


async def test_when_everything_is_cancelled_no_worker_is_opened_in_place_of_those_that_go(
    autojump_clock: MockClock,
) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=3, max=5)) as pool:
        await pool.submit(sleeps_forever)
        await trio.sleep(1)
        pool.cancel()
    assert len(mint.called) == 3
    assert sorted(mint.closed) == [0, 1, 2]


async def test_when_the_block_ends_no_worker_is_opened_in_place_of_those_that_stop(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=3, max=5)):
        pass
    assert mint.opened == [0, 1, 2]
    assert mint.closed == [2, 1, 0]


async def test_an_added_worker_is_turned_away_when_an_elastic_pool_has_ended(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=1, max=5)) as pool:
        pass
    with pytest.raises(PoolClosedError):
        await pool.add(-1)


async def test_an_error_of_leaving_comes_out_of_the_block(autojump_clock: MockClock) -> None:
    error = OSError("stuck")
    with pytest.RaisesGroup(OSError) as caught:
        async with open_pool(Elastic(Mint(error_out=error), min=1, max=5)):
            pass
    assert caught.value.exceptions == (error,)


async def test_an_error_of_leaving_comes_out_of_the_removal(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(error_out=OSError("stuck")), max=5, idle_timeout=1.0)) as pool:
        await pool.run(works)
        with pytest.raises(OSError, match=r"^stuck$"):
            await pool.workers[0].remove()


async def test_an_error_of_a_retired_workers_leaving_comes_out_of_the_block(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(OSError):
        async with open_pool(Elastic(Mint(error_out=OSError("stuck")), max=5, idle_timeout=1.0)) as pool:
            await pool.run(works)
            await trio.sleep(10)
            assert pool.workers == ()


# How many there are, whatever comes between.


class SlowToClose(Mint):
    """Counts how many are open at once, and takes its time to close."""

    most = 0
    now_open = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[int]:
        async with super().__call__() as number:
            self.now_open += 1
            self.most = max(self.most, self.now_open)
            try:
                yield number
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                self.now_open -= 1


async def test_one_that_is_still_being_closed_counts(autojump_clock: MockClock) -> None:
    mint = SlowToClose()
    async with open_pool(Elastic(mint, max=1, idle_timeout=5)) as pool:
        await pool.run(works)
        await trio.sleep(5.5)  # it is being retired
        await pool.run(works)
    assert mint.most == 1
    assert len(mint.called) == 2


async def test_one_that_is_removed_while_it_works_is_followed_by_another_only_then(autojump_clock: MockClock) -> None:
    mint = SlowToClose()
    async with open_pool(Elastic(mint, min=1, max=1)) as pool:
        job = await pool.submit(sleeps, 3)
        await pool.workers[0].remove()
        assert job.state is JobState.SUCCEEDED
        await wait_all_tasks_blocked()
        assert len(pool.workers) == 1
    assert mint.most == 1


async def test_one_that_never_opened_is_not_told_to_have_stopped(autojump_clock: MockClock) -> None:
    told: list[str] = []

    class Listening(Instrument):
        def worker_started(self, worker: Worker) -> None:
            told.append("started")

        def worker_stopped(self, worker: Worker) -> None:
            told.append("stopped")

    mint = Mint(errors_in=troubled(99))
    async with open_pool(Elastic(mint, max=1), instruments=[Listening()], on_dead="keep") as pool:
        job = await pool.submit(works, total_timeout=2)
        await pool.join()
        assert job.dead_reason is DeadReason.TIMED_OUT
    assert told == []


async def test_that_one_cannot_be_opened_is_logged_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    mint = Mint(errors_in=troubled(3))
    async with open_pool(Elastic(mint, max=1)) as pool:
        await pool.run(works)
    assert len(mint.called) == 4
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "worker-1 can't be opened, and is tried again"
    assert record.exc_info is not None


async def test_one_that_a_job_waits_for_alone_is_not_retired(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=2, idle_timeout=5), max_running=1) as pool:
        await pool.run(works)
        (idle,) = pool.workers
        await pool.add("beside", name="beside")
        long = await pool.submit(sleeps, 20, worker=pool.workers[1])
        pinned = await pool.submit(works, worker=idle)
        await pool.join()
        assert (long.state, pinned.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
        await trio.sleep(30)
        assert idle not in pool.workers


async def test_a_job_of_a_bounded_group_goes_to_a_worker_that_comes_after_all_others_have_left(
    autojump_clock: MockClock,
) -> None:
    removals: list[Worker] = []

    async def works_when_no_more_are_removed(resource: int) -> float:
        if len(removals) < 2:
            worker = current_worker_of(current_job())
            removals.append(worker)
            Context().run(nursery.start_soon, partial(worker.remove, cancel=True))
        await trio.sleep(0.1)
        return trio.current_time()

    @asynccontextmanager
    async def opens() -> AsyncGenerator[int]:
        yield 1

    limit = RateLimit(1, per=2, burst=2)
    elastic = Elastic(opens, max=2)
    async with (
        trio.open_nursery() as nursery,
        open_pool(elastic, rate_limit=limit) as pool,
        pool.open_group(max_running=1) as group,
    ):
        assert await group.run(works_when_no_more_are_removed) == 2.1


def current_worker_of(job: Job[Any]) -> Worker:
    assert job.worker is not None
    return job.worker
