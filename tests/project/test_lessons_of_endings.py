"""How published pools have failed when they ended and when they counted, and this one does not."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import gc
import weakref
from collections import Counter
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, is_stubborn, sleeps, sleeps_forever, works
from tests.platforms import frees_at_once
from tests.project.giving_up import discards, gives_up
from trio_pool import (
    DeadReason,
    Instrument,
    Job,
    JobFailedError,
    JobState,
    PoolClosedError,
    RetryAfter,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)
from trio_pool.testing import assert_settled

# Ending.


async def test_closing_waits_for_what_runs_and_drops_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        jobs = [await pool.submit(sleeps, 1.0) for _ in range(3)]
        pool.close()
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 3
    assert trio.current_time() == 3.0


async def test_closing_leaks_no_paused_worker(autojump_clock: MockClock) -> None:
    doors = Doors()
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        for worker in pool.workers:
            worker.pause()
        pool.close()
    assert pool.workers == ()
    assert sorted(doors.left) == ["a", "b"]
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_no_hook_runs_twice(autojump_clock: MockClock) -> None:
    told: Counter[str] = Counter()

    class Counts(Instrument):
        def pool_opened(self, pool: Any) -> None:
            told["opened"] += 1

        def pool_closed(self, pool: Any) -> None:
            told["closed"] += 1

        def worker_started(self, worker: Worker) -> None:
            told[f"{worker.name} started"] += 1

        def worker_stopped(self, worker: Worker) -> None:
            told[f"{worker.name} stopped"] += 1

        def job_finished(self, job: Job[Any]) -> None:
            told[f"job {job.id}"] += 1

    doors = Doors()
    async with open_pool(["a", "b"], lifespan=doors.lifespan, instruments=[Counts()]) as pool:
        (await pool.submit(sleeps, 1.0)).cancel()
        await pool.submit(works)
        await pool.workers[0].remove()
        pool.close()
        pool.cancel()
        pool.close()
    assert set(told.values()) == {1}
    assert len(told) == 8
    assert sorted(doors.left) == ["a", "b"]


async def test_submitting_after_closing_does_not_count(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(works)
        pool.close()
        for _ in range(3):
            with pytest.raises(PoolClosedError):
                pool.submit_nowait(works)
            with pytest.raises(PoolClosedError):
                await pool.submit(works)
        await pool.join()
    assert pool.statistics().submitted == 1
    assert_settled(pool)


async def test_a_job_whose_worker_is_removed_is_never_both_dead_and_succeeded(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        worker = pool.workers[0]
        job = await pool.submit(is_stubborn, 1000.0)
        await wait_all_tasks_blocked()
        await worker.remove(cancel=True)
        assert trio.current_time() == 1000.0
    assert [each.state for each in job.history] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]


class Faulty(RetryPolicy):
    """A curve that can't be computed."""

    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        raise ZeroDivisionError


def faulty_hook(job: Job[Any], error: Exception) -> None:
    raise ZeroDivisionError


def faulty_rule(error: Exception) -> bool:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "options",
    [{"on_failure": faulty_hook}, {"retry": RetryPolicy(retry_on=faulty_rule)}, {"retry": Faulty()}],
)
async def test_an_error_in_a_callback_does_not_kill_the_worker(
    autojump_clock: MockClock, options: dict[str, Any]
) -> None:
    async with open_pool(["a"], **options) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails)
        assert caught.value.job.dead_reason is DeadReason.NOT_RETRYABLE
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert pool.workers[0].state is WorkerState.IDLE
        assert await pool.run(works) == "done"


async def test_an_error_in_an_instrument_does_not_kill_the_worker(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Faults(Instrument):
        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            raise ZeroDivisionError

    async with open_pool(["a"], instruments=[Faults()]) as pool:
        assert await pool.run(works) == "done"
        assert pool.workers[0].state is WorkerState.IDLE
    assert "ZeroDivisionError" in caplog.text


async def test_cancelling_from_outside_leaves_no_worker_running_and_accepts_no_more_work(
    autojump_clock: MockClock,
) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(1) as scope:
        async with open_pool(["a", "b"]) as pool:
            for _ in range(4):
                await pool.submit(sleeps_forever)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert pool.workers == ()
    assert trio.lowlevel.current_statistics().tasks_living == before
    with pytest.raises(PoolClosedError):
        pool.submit_nowait(works)
    assert_settled(pool)


# Counting.


async def test_the_size_of_the_queue_has_no_running_jobs_in_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        for _ in range(5):
            await pool.submit(sleeps, 1.0)
        seen = pool.statistics()
        assert (seen.queued, seen.running) == (3, 2)


async def test_no_more_dead_jobs_are_kept_than_allowed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_dead=3, on_dead="keep") as pool:
        jobs = [await pool.submit(fails) for _ in range(10)]
        await pool.join()
        assert list(pool.dead) == jobs[-3:]
        assert pool.dead.dropped == 7
    assert pool.statistics().dead == 10


async def test_no_dropped_job_takes_its_place_with_it(autojump_clock: MockClock) -> None:
    """However the jobs end, the bound lets as many in afterwards as before."""

    async def asks_again(resource: str) -> None:
        raise RetryAfter(1.0)

    async with open_pool(["a"], max_queue=5, max_dead=1, on_dead="keep") as pool:
        for _ in range(20):
            pool.submit_nowait(sleeps, 1.0)
            for fn in (fails, discards, gives_up, asks_again):
                pool.submit_nowait(fn)
            pool.submit_nowait(works).cancel()
            pool.submit_nowait(works, total_timeout=0.5)
            await pool.join()
        jobs = [pool.submit_nowait(works) for _ in range(6)]
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 6
    assert_settled(pool)


class Burden:
    """Something big that a function holds in a local variable."""


@frees_at_once
async def test_kept_errors_do_not_keep_local_variables_alive(autojump_clock: MockClock) -> None:
    burdens: list[weakref.ref[Burden]] = []

    async def inner(burden: Burden) -> None:
        held = burden
        await trio.lowlevel.checkpoint()
        raise ValueError(repr(type(held)))

    async def carries(resource: str) -> None:
        burden = Burden()
        burdens.append(weakref.ref(burden))
        try:
            await inner(burden)
        except ValueError as error:
            raise OSError from error

    async with open_pool(["a"], retry=RetryPolicy.fixed(0.0), on_dead="keep") as pool:
        job = await pool.submit(carries)
    gc.collect()
    assert len(job.attempts) == len(burdens) == 3
    assert [burden() for burden in burdens] == [None] * 3


async def test_clearing_kept_errors_leaves_coroutines_that_go_on_alone(autojump_clock: MockClock) -> None:
    """The cancellation in the error's context is raised while the body's own error is handled."""

    async def sulks_bare() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise RuntimeError("cancelled, so failed") from None

    error = ValueError("of the body")
    with pytest.raises(ValueError, match="of the body") as caught:  # noqa: PT012
        async with open_pool(1, on_dead="keep") as pool:
            job = await pool.submit(sulks_bare)
            await wait_all_tasks_blocked()
            raise error
    assert caught.value is error
    assert job.state is JobState.DEAD
