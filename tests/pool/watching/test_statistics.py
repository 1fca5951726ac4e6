"""Snapshots of the pool and of its workers."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.openers import OpenPool, both, over_resources
from trio_pool import (
    Discard,
    Resource,
    RetryPolicy,
    WorkerState,
    open_pool,
)
from trio_pool._model.time_account import CAUSES

# The last argument is the job's own; a resource may come before it.


async def nap(*args: Any) -> float:
    await trio.sleep(args[-1])
    seconds: float = args[-1]
    return seconds


async def fail(*args: Any) -> None:
    raise ValueError("no luck")


async def discard(*args: Any) -> None:
    raise Discard


@both
async def test_a_new_pool_has_done_nothing(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2, name="fresh") as pool:
        statistics = pool.statistics()
    assert attrs.asdict(statistics, recurse=False) == {
        "name": "fresh",
        "submitted": 0,
        "blocked": 0,
        "queued": 0,
        "delayed": 0,
        "running": 0,
        "succeeded": 0,
        "dead": 0,
        "cancelled": 0,
        "discarded": 0,
        "attempts": 0,
        "failures": 0,
        "retries": 0,
        "queue_peak": 0,
        "submitters_waiting": 0,
        "used": {},
        "time": dict.fromkeys(CAUSES, 0.0),
        "workers": statistics.workers,
    }


@both
async def test_statistics_are_frozen(opened: OpenPool) -> None:
    async with opened() as pool:
        statistics = pool.statistics()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        statistics.submitted = 7
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        statistics.workers[0].attempts = 7


@both
async def test_a_snapshot_does_not_change_afterwards(opened: OpenPool) -> None:
    async with opened() as pool:
        before = pool.statistics()
        await pool.run(nap, 0)
        assert before.submitted == 0
        assert pool.statistics().submitted == 1
        assert before != pool.statistics()


@both
async def test_each_job_is_counted_where_it_stands(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(on_dead="keep") as pool:
        await pool.submit(fail)
        await pool.submit(discard)
        await pool.submit(nap, 1)
        await pool.submit(fail, retry=RetryPolicy.fixed(100))
        (await pool.submit(nap, 1)).cancel()
        await trio.sleep(2)
        await pool.submit(nap, 1)
        await pool.submit(nap, 1)
        await pool.submit(nap, 1)
        seen = pool.statistics()
        for job in pool.jobs():
            job.cancel()
    assert (seen.queued, seen.running, seen.delayed, seen.blocked) == (2, 1, 1, 0)
    assert (seen.succeeded, seen.dead, seen.cancelled, seen.discarded) == (1, 1, 1, 1)
    assert seen.submitted == 8


@both
async def test_after_the_block_every_job_submitted_has_ended_in_one_way(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened(3, on_dead="keep", retry=RetryPolicy(max_attempts=2)) as pool:
        for number in range(40):
            job = await pool.submit([nap, fail, discard, nap][number % 4], 1)
            if number % 4 == 3:
                job.cancel()
    seen = pool.statistics()
    assert (seen.succeeded, seen.dead, seen.discarded, seen.cancelled) == (10, 10, 10, 10)
    assert seen.submitted == 40
    assert (seen.queued, seen.running, seen.delayed, seen.blocked) == (0, 0, 0, 0)


@both
async def test_attempts_failures_and_retries_are_counted(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(on_dead="keep", retry=RetryPolicy.fixed(1, max_attempts=3)) as pool:
        await pool.submit(fail)
        await pool.submit(nap, 1)
    seen = pool.statistics()
    assert (seen.attempts, seen.failures, seen.retries) == (4, 3, 2)


@both
async def test_attempts_cut_short_are_not_counted(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        job = await pool.submit(nap, 5)
        await trio.sleep(1)
        job.cancel()
    seen = pool.statistics()
    assert (seen.attempts, seen.failures) == (0, 0)
    assert [worker.attempts for worker in seen.workers] == [0]


@both
async def test_a_timeout_of_an_attempt_is_a_failure(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(on_dead="keep") as pool:
        await pool.submit(nap, 5, attempt_timeout=1)
    seen = pool.statistics()
    assert (seen.attempts, seen.failures, seen.dead) == (1, 1, 1)


@both
async def test_queue_peak_is_the_most_jobs_that_ever_waited(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        for _ in range(4):
            await pool.submit(nap, 1)
        await pool.join()
        await pool.submit(nap, 1)
        await pool.submit(nap, 1)
        assert pool.statistics().queue_peak == 3


@both
async def test_jobs_that_start_at_once_never_waited(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(3) as pool:
        for _ in range(3):
            await pool.submit(nap, 1)
    assert pool.statistics().queue_peak == 0


@both
async def test_submitters_that_wait_for_a_place_are_counted(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(max_queue=0) as pool, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(pool.submit, nap, 1)
        await wait_all_tasks_blocked()
        seen = pool.statistics()
        assert (seen.submitters_waiting, seen.submitted, seen.queued) == (3, 1, 0)
        await trio.sleep(1.5)
        assert pool.statistics().submitters_waiting == 2
    assert pool.statistics().submitters_waiting == 0


@both
async def test_statistics_can_be_had_after_the_block(opened: OpenPool) -> None:
    async with opened() as pool:
        await pool.submit(nap, 0)
    statistics = pool.statistics()
    assert statistics.succeeded == 1
    assert [(worker.state, worker.attempts) for worker in statistics.workers] == [(WorkerState.STOPPED, 1)]


# Workers


async def test_there_are_statistics_of_each_worker_in_the_pool() -> None:
    async with open_pool([Resource("a", name="first"), "b"]) as pool:
        await pool.workers[1].remove()
        await pool.add("c")
        seen = [(worker.id, worker.name) for worker in pool.statistics().workers]
    assert seen == [(1, "first"), (3, "worker-3")]


async def test_a_worker_tells_its_own_statistics(autojump_clock: MockClock) -> None:
    async with over_resources(1) as pool:
        [worker] = pool.workers
        await pool.run(nap, 0)
        assert worker.statistics() == pool.statistics().workers[0]


async def test_a_new_worker_has_done_nothing(autojump_clock: MockClock) -> None:
    async with over_resources(1) as pool:
        seen = pool.workers[0].statistics()
    assert attrs.asdict(seen, recurse=False) == {
        "id": 1,
        "name": "worker-1",
        "state": WorkerState.IDLE,
        "running": 0,
        "max_running": 1,
        "attempts": 0,
        "succeeded": 0,
        "failed": 0,
        "busy_seconds": 0,
        "used": {},
        "time": dict.fromkeys(CAUSES, 0.0),
        "last_error": None,
        "available_at": None,
    }


async def test_a_worker_counts_its_attempts(autojump_clock: MockClock) -> None:
    async with over_resources(2, on_dead="keep") as pool:
        first, second = pool.workers
        await pool.submit(nap, 1, worker=first)
        await pool.submit(fail, worker=first)
        await pool.submit(nap, 1, worker=first)
        await pool.submit(nap, 2, attempt_timeout=1, worker=second)
        await pool.join()
        seen = first.statistics(), second.statistics()
    assert (seen[0].attempts, seen[0].succeeded, seen[0].failed) == (3, 2, 1)
    assert (seen[1].attempts, seen[1].succeeded, seen[1].failed) == (1, 0, 1)


async def test_busy_seconds_are_those_of_all_its_attempts_the_present_one_included(
    autojump_clock: MockClock,
) -> None:
    async with over_resources(1) as pool:
        [worker] = pool.workers
        await pool.run(nap, 3)
        await trio.sleep(10)
        await pool.submit(nap, 3)
        await trio.sleep(2)
        assert worker.statistics().busy_seconds == 5
        await pool.join()
        assert worker.statistics().busy_seconds == 6


async def test_the_time_of_an_attempt_that_was_cut_short_was_busy_too(autojump_clock: MockClock) -> None:
    async with over_resources(1) as pool:
        job = await pool.submit(nap, 10)
        await trio.sleep(2)
        job.cancel()
        await pool.join()
        seen = pool.workers[0].statistics()
    assert (seen.busy_seconds, seen.attempts) == (2, 0)


async def test_last_error_is_that_of_its_last_failed_attempt() -> None:
    async with over_resources(1, on_dead="keep") as pool:
        [worker] = pool.workers
        job = await pool.submit(fail)
        await pool.run(nap, 0)
        assert worker.statistics().last_error is job.attempts[0].error


async def test_available_at_is_when_its_rest_ends(autojump_clock: MockClock) -> None:
    async with over_resources(1) as pool:
        [worker] = pool.workers
        await trio.sleep(1)
        worker.rest(5)
        assert worker.statistics().available_at == 6
        assert worker.statistics().state is WorkerState.RESTING
        await trio.sleep(6)
        assert worker.statistics().available_at is None
        assert worker.statistics().state is WorkerState.IDLE


async def test_the_statistics_of_a_worker_that_has_left_can_still_be_had(autojump_clock: MockClock) -> None:
    async with over_resources(2) as pool:
        first, _ = pool.workers
        await pool.run(nap, 3, worker=first)
        await first.remove()
    seen = first.statistics()
    assert (seen.state, seen.attempts, seen.busy_seconds) == (WorkerState.STOPPED, 1, 3)


class Unspeakable(Exception):
    """Can't be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


async def test_statistics_are_shown_though_the_last_error_can_not_be(autojump_clock: MockClock) -> None:
    async def fails(resource: str) -> None:
        raise Unspeakable

    async with open_pool(["a"], on_dead="keep") as pool:
        await pool.submit(fails)
        await pool.join()
        assert "last_error=<Unspeakable: its repr can't be read>" in repr(pool.workers[0].statistics())
        assert "last_error=<Unspeakable: its repr can't be read>" in repr(pool.statistics())


async def test_statistics_show_the_last_error(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert "last_error=None" in repr(pool.workers[0].statistics())
