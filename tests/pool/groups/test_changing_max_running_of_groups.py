"""3.2, 4.9: ``max_running`` of a group is assigned to while its jobs run."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import nap, sleeps, sleeps_forever, works
from tests.openers import OpenPool, both
from trio_pool import Elastic, JobDeadlockError, JobState, RetryPolicy, current_job, open_pool
from trio_pool.testing import Flaky


def running(jobs: list[Any]) -> list[int]:
    """Which of the jobs run."""
    return [number for number, job in enumerate(jobs) if job.state is JobState.RUNNING]


@both
async def test_it_is_what_the_group_was_opened_with(opened: OpenPool) -> None:
    async with opened() as pool, pool.open_group(max_running=2) as group, pool.open_group() as other:
        assert (group.max_running, other.max_running) == (2, None)
        group.max_running = None
        other.max_running = 3
        assert (group.max_running, other.max_running) == (None, 3)
        group.max_running = float("inf")
        assert group.max_running is None


@both
async def test_a_higher_bound_lets_more_start(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(5) as pool, pool.open_group(max_running=1) as group:
        jobs = [await group.submit(nap, 9) for _ in range(5)]
        assert running(jobs) == [0]
        group.max_running = 3
        assert running(jobs) == [0, 1, 2]
        group.max_running = None
        assert running(jobs) == [0, 1, 2, 3, 4]


@both
async def test_what_is_under_way_beyond_a_lower_bound_finishes(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(5) as pool, pool.open_group(max_running=3) as group:
        jobs = [await group.submit(nap, 2) for _ in range(6)]
        await trio.sleep(1)
        group.max_running = 1
        assert running(jobs) == [0, 1, 2]
        await group.join()
        assert [job.finished_at for job in jobs] == [2, 2, 2, 4, 6, 8]


async def test_a_group_without_a_bound_can_get_one(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        jobs = [await group.submit(sleeps, 2) for _ in range(6)]
        await trio.sleep(1)
        group.max_running = 1
        later = await group.submit(sleeps, 2)
        await group.join()
        assert [job.finished_at for job in (*jobs, later)] == [2, 2, 4, 6, 8, 10, 12]


async def test_jobs_of_others_go_on_beside_a_group_that_gets_a_bound(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        jobs = [await group.submit(sleeps, 2) for _ in range(4)]
        others = [await pool.submit(sleeps, 2) for _ in range(3)]
        group.max_running = 1
        await pool.join()
        assert [job.finished_at for job in jobs] == [2, 2, 4, 6]
        assert [job.finished_at for job in others] == [4, 6, 8]


async def test_jobs_keep_their_order_when_their_group_gets_a_bound(autojump_clock: MockClock) -> None:
    order: list[str] = []

    async def notes(resource: str, name: str) -> None:
        order.append(name)

    async with open_pool(["a"]) as pool, pool.open_group() as group:
        await pool.submit(sleeps, 1)
        for name, where, priority in (
            ("first", group, 0),
            ("second", pool, 0),
            ("third", group, 0),
            ("at once", group, -1),
            ("last", pool, 1),
            ("fourth", pool, 0),
        ):
            await where.submit(notes, name, priority=priority)
        group.max_running = 1
        await pool.join()
    assert order == ["at once", "first", "second", "third", "fourth", "last"]


async def test_jobs_that_wait_for_a_place_or_for_others_or_back_off_obey_it(autojump_clock: MockClock) -> None:
    retry = RetryPolicy.fixed(1, max_attempts=2, jitter="none")
    async with open_pool(2, max_queue=1) as pool, trio.open_nursery() as nursery, pool.open_group() as group:
        first = await group.submit(trio.sleep, 3)
        blocked = await group.submit(trio.sleep, 2, after=[first])

        async def fails_once() -> None:
            await flaky(None)
            await trio.sleep(2)

        flaky = Flaky(1)
        backs_off = await group.submit(fails_once, retry=retry)
        await pool.submit(trio.sleep, 5)
        nursery.start_soon(group.run, trio.sleep, 2)  # waits for a place: the blocked one has the only one
        await trio.sleep(0.5)
        assert backs_off.state is JobState.DELAYED
        group.max_running = 1
        await group.join()
        ends = sorted(job.finished_at or 0 for job in (first, blocked, backs_off))
        assert ends[0] == 3
        assert trio.current_time() == 9


async def test_a_stream_of_a_group_obeys_a_bound_that_comes_later(autojump_clock: MockClock) -> None:
    async with (
        open_pool(["a", "b", "c"]) as pool,
        pool.open_group() as group,
        group.map(sleeps, [2] * 6, buffer=3) as results,
    ):
        ends: list[float] = []
        async for _ in results:
            group.max_running = 1
            ends.append(trio.current_time())
    assert ends == [2, 2, 2, 4, 6, 8]


async def test_jobs_with_tags_of_a_group_obey_a_bound_that_comes_later(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        worker = await pool.add("c", tags=["x"])
        async with pool.open_group() as group:
            jobs = [await group.submit(sleeps, 1, requires=["x"]) for _ in range(2)]
            jobs += [await group.submit(sleeps, 1, worker=worker), await group.submit(sleeps, 1)]
            group.max_running = 1
            await group.join()
        assert [job.finished_at for job in jobs] == [1, 2, 3, 1]


async def test_a_lending_job_does_not_count(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(5)

    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        await group.submit(lends)
        await trio.sleep(1)
        group.max_running = 1
        assert await group.run(works) == "done"
        assert trio.current_time() == 1


async def test_a_job_that_waits_for_what_a_lower_bound_never_lets_start_is_told(autojump_clock: MockClock) -> None:
    async def waits(resource: str) -> str:
        with pytest.raises(JobDeadlockError):
            await group.run(sleeps_forever)
        return "told"

    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        await pool.submit(sleeps, 3)
        job = await group.submit(waits)
        await trio.sleep(1)
        group.max_running = 1
        assert await job.wait() == "told"
        assert trio.current_time() == 1


async def test_an_elastic_pool_opens_no_workers_beyond_the_bound(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(lambda: open_pool(1), max=5)) as pool, pool.open_group() as group:
        pool.pause()
        for _ in range(4):
            await group.submit(works)
        group.max_running = 2
        pool.resume()
        await pool.join()
        assert len(pool.workers) == 2


@pytest.mark.parametrize("wrong", [0, -1])
async def test_a_wrong_bound_is_a_value_error(wrong: Any) -> None:
    async with open_pool(1) as pool, pool.open_group() as group:
        with pytest.raises(ValueError, match="max_running"):
            group.max_running = wrong


async def test_after_the_end_of_the_group_it_changes_nothing_more() -> None:
    async with open_pool(1) as pool:
        async with pool.open_group() as group:
            pass
        group.max_running = 1
        await pool.run(trio.sleep, 0)
