"""Submitting jobs: submit, submit_nowait and run, their options, close and join."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.openers import OpenPool, both, over_resources
from trio_pool import (
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    PoolClosedError,
    RetryPolicy,
    current_job,
    open_pool,
)

# The last argument is the job's own; a resource may come before it.


async def echo(*args: Any) -> Any:
    return args[-1]


async def nap(*args: Any) -> Any:
    await trio.sleep(args[-1])
    return args[-1]


async def fail(*args: Any) -> None:
    raise ValueError(f"no {args[-1]}")


# submit


@both
async def test_submit_returns_the_job_without_waiting_for_its_end(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        job = await pool.submit(nap, 5)
        assert isinstance(job, Job)
        assert trio.current_time() == 0
        assert not job.state.is_final
        assert await job.wait() == 5


@both
async def test_submit_queues_the_job_behind_what_runs(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.submit(nap, 5)
        job = await pool.submit(echo, "x")
        assert job.state is JobState.QUEUED


@both
async def test_submit_waits_while_the_queue_is_full(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(max_queue=1) as pool:
        await pool.submit(nap, 5)
        await pool.submit(nap, 5)
        await pool.submit(nap, 5)
        assert trio.current_time() == 5


@both
async def test_jobs_run_at_once_on_as_many_workers_as_there_are(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(3) as pool:
        for _ in range(6):
            await pool.submit(nap, 5)
    assert trio.current_time() == 10


# submit_nowait


@both
async def test_submit_nowait_queues_the_job_at_once(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        first = pool.submit_nowait(nap, 5)
        second = pool.submit_nowait(echo, "x")
        assert (first.state, second.state) == (JobState.RUNNING, JobState.QUEUED)
        assert await second.wait() == "x"


@both
async def test_submit_nowait_would_block_while_the_queue_is_full(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(max_queue=1) as pool:
        pool.submit_nowait(nap, 5)
        pool.submit_nowait(nap, 5)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(nap, 5)
    assert pool.statistics().submitted == 2


@both
async def test_idle_only_submits_while_a_worker_is_idle(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool:
        for _ in range(2):
            job = pool.submit_nowait(nap, 5, idle_only=True)
            assert job.state is JobState.RUNNING
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(nap, 5, idle_only=True)
    assert pool.statistics().submitted == 2


async def test_idle_only_asks_for_a_worker_that_may_take_the_job(autojump_clock: MockClock) -> None:
    async with over_resources(2) as pool:
        first, second = pool.workers
        await pool.submit(nap, 5, worker=first)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(nap, 5, idle_only=True, worker=first)
        job = pool.submit_nowait(nap, 5, idle_only=True, worker=second)
        assert job.state is JobState.RUNNING


async def test_idle_only_counts_no_worker_that_max_running_holds_back(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_running=1) as pool:
        pool.submit_nowait(trio.sleep, 5, idle_only=True)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(trio.sleep, 5, idle_only=True)


# run


@both
async def test_run_gives_the_result(opened: OpenPool) -> None:
    async with opened() as pool:
        assert await pool.run(echo, "x") == "x"


@both
async def test_run_raises_the_failure_of_its_job(opened: OpenPool) -> None:
    async with opened() as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fail, "luck")
    assert isinstance(caught.value.__cause__, ValueError)
    assert str(caught.value.__cause__) == "no luck"


@both
async def test_run_raises_that_its_job_was_cancelled_by_somebody_else(opened: OpenPool) -> None:
    async def cancel_all(pool: Any) -> None:
        await wait_all_tasks_blocked()
        for job in pool.jobs():
            job.cancel()

    async with opened() as pool, trio.open_nursery() as nursery:
        nursery.start_soon(cancel_all, pool)
        with pytest.raises(JobCancelledError):
            await pool.run(run_forever)


async def run_forever(*args: Any) -> None:
    await trio.sleep_forever()


@both
async def test_a_cancelled_run_cancels_its_job(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        with trio.move_on_after(1) as scope:
            await pool.run(run_forever)
        assert scope.cancelled_caught
        statistics = pool.statistics()
        assert (statistics.cancelled, statistics.running) == (1, 0)


@both
async def test_a_cancelled_run_cancels_its_job_that_has_not_started(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        await pool.submit(nap, 5)
        with trio.move_on_after(1):
            await pool.run(echo, "x")
        assert trio.current_time() == 1
        assert pool.statistics().cancelled == 1


@both
async def test_a_cancelled_run_returns_only_when_its_function_no_longer_runs(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    ended_at: list[float] = []

    async def tidy_up_slowly(*args: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            ended_at.append(trio.current_time())

    async with opened() as pool:
        with trio.move_on_after(1):
            await pool.run(tidy_up_slowly)
        assert ended_at == [6]
        assert trio.current_time() == 6


# Options of a job


async def test_keyword_arguments_of_the_function_go_through_partial() -> None:
    async def greet(*, name: str) -> str:
        return f"Hello, {name}!"

    async with open_pool(1) as pool:
        assert await pool.run(partial(greet, name="you")) == "Hello, you!"


@both
async def test_a_job_may_have_a_name(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x", name="my echo")
        assert job.name == "my echo"


@both
async def test_metadata_is_copied(opened: OpenPool) -> None:
    metadata = {"tenant": 7}
    async with opened() as pool:
        job = await pool.submit(echo, "x", metadata=metadata)
    metadata["tenant"] = 8
    assert job.metadata == {"tenant": 7}


@both
async def test_a_job_has_no_metadata_by_default(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x")
    assert job.metadata == {}


@both
async def test_a_job_has_priority_0_by_default(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x")
        urgent = await pool.submit(echo, "x", priority=-2)
    assert (job.priority, urgent.priority) == (0, -2)


@pytest.mark.parametrize("call", ["submit", "submit_nowait", "run"])
@both
async def test_all_ways_of_submitting_take_the_options(opened: OpenPool, call: str) -> None:
    names: list[str] = []

    async def note(*args: Any) -> None:
        names.append(current_job().name)

    async with opened() as pool:
        outcome = getattr(pool, call)(
            note,
            retry=RetryPolicy(),
            attempt_timeout=5,
            total_timeout=5,
            priority=1,
            requires=(),
            worker=pool.workers[0],
            name=call,
            metadata={},
        )
        if call != "submit_nowait":
            await outcome
    assert names == [call]


# What is in the pool


async def test_workers_are_those_that_have_not_left() -> None:
    async with open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        assert isinstance(pool.workers, tuple)
        await first.remove()
        assert pool.workers == (second,)
    assert len(pool.workers) == 0


async def test_idle_workers_are_those_that_could_take_a_job_at_once(autojump_clock: MockClock) -> None:
    async with over_resources(4) as pool:
        busy, paused, resting, idle = pool.workers
        assert set(pool.idle_workers) == {busy, paused, resting, idle}
        await pool.submit(nap, 5, worker=busy)
        paused.pause()
        resting.rest(5)
        assert pool.idle_workers == (idle,)
        assert isinstance(pool.idle_workers, tuple)


@both
async def test_jobs_are_those_that_have_not_ended(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.run(echo, "ended")
        running = await pool.submit(nap, 5)
        queued = await pool.submit(echo, "x")
        assert list(pool.jobs()) == [running, queued]
    assert list(pool.jobs()) == []


@both
async def test_jobs_can_be_asked_for_by_state(opened: OpenPool, autojump_clock: MockClock) -> None:
    retry = RetryPolicy.fixed(10, max_attempts=2)
    async with opened(on_dead="keep") as pool:
        delayed = await pool.submit(fail, "luck", retry=retry)
        await wait_all_tasks_blocked()
        running = await pool.submit(nap, 5)
        queued = await pool.submit(echo, "x")
        assert list(pool.jobs(JobState.DELAYED)) == [delayed]
        assert list(pool.jobs(JobState.RUNNING)) == [running]
        assert list(pool.jobs(JobState.QUEUED, JobState.DELAYED)) == [delayed, queued]
        assert list(pool.jobs(JobState.BLOCKED)) == []


@both
async def test_jobs_can_be_cancelled_while_iterating_over_them(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        for _ in range(5):
            await pool.submit(nap, 5)
        for job in pool.jobs():
            job.cancel()
    assert pool.statistics().cancelled == 5


# close


@pytest.mark.parametrize("call", ["submit", "run"])
@both
async def test_a_closed_pool_takes_no_jobs_from_outside(opened: OpenPool, call: str) -> None:
    async with opened() as pool:
        pool.close()
        with pytest.raises(PoolClosedError):
            await getattr(pool, call)(echo, "x")
        with pytest.raises(PoolClosedError):
            pool.submit_nowait(echo, "x")
    assert pool.statistics().submitted == 0


@both
async def test_a_closed_pool_runs_what_is_queued(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        jobs = [await pool.submit(nap, 1) for _ in range(3)]
        pool.close()
        await pool.join()
        assert [job.result() for job in jobs] == [1, 1, 1]


@both
async def test_closing_twice_does_no_more_than_closing_once(opened: OpenPool) -> None:
    async with opened() as pool:
        job = await pool.submit(echo, "x")
        pool.close()
        pool.close()
        assert await job.wait() == "x"


@both
async def test_a_pool_that_has_been_left_takes_no_jobs(opened: OpenPool) -> None:
    async with opened() as pool:
        pass
    with pytest.raises(PoolClosedError):
        pool.submit_nowait(echo, "x")
    with pytest.raises(PoolClosedError):
        await pool.submit(echo, "x")


# join


@both
async def test_join_waits_until_no_job_is_queued_delayed_or_running(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    retry = RetryPolicy.fixed(10, max_attempts=2)
    async with opened(on_dead="keep") as pool:
        await pool.submit(fail, "luck", retry=retry)
        await pool.submit(nap, 2)
        await pool.submit(nap, 3)
        await pool.join()
        assert trio.current_time() == 10
        assert list(pool.jobs()) == []


@both
async def test_join_lets_the_pool_go_on(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.submit(nap, 1)
        await pool.join()
        assert await pool.run(nap, 2) == 2
        await pool.join()
        assert trio.current_time() == 3


@both
async def test_join_returns_if_there_is_nothing_to_wait_for(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.join()
        assert trio.current_time() == 0


@both
async def test_join_can_be_called_by_many(opened: OpenPool, autojump_clock: MockClock) -> None:
    returned_at: list[float] = []

    async def join(pool: Any) -> None:
        await pool.join()
        returned_at.append(trio.current_time())

    async with opened() as pool:
        await pool.submit(nap, 4)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(join, pool)
    assert returned_at == [4, 4, 4]


@both
async def test_join_inside_a_job_of_the_pool_is_an_error(opened: OpenPool) -> None:
    async def join(*args: Any) -> str:
        with pytest.raises(RuntimeError, match=r"join\(\) inside a job"):
            await pool.join()
        return "told"

    async with opened() as pool:
        assert await pool.run(join) == "told"


@both
async def test_join_inside_a_job_of_another_pool_is_none(opened: OpenPool) -> None:
    async def join(*args: Any) -> str:
        await other.join()
        return "joined"

    async with opened() as pool, opened() as other:
        assert await pool.run(join) == "joined"


# current_job


@both
async def test_current_job_is_the_job_whose_function_runs(opened: OpenPool) -> None:
    async def which(*args: Any) -> Job[Any]:
        return current_job()

    async with opened() as pool:
        job = await pool.submit(which)
        assert await job.wait() is job


async def test_current_job_outside_of_a_job_is_an_error() -> None:
    async with open_pool(1) as pool:
        await pool.submit(trio.sleep, 0)
        with pytest.raises(RuntimeError, match=r"current_job\(\) must be called inside a job's function"):
            current_job()
