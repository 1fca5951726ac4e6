"""3.2: ``pool.elastic`` is assigned to while the pool runs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.actors import Mint, sleeps, works
from tests.openers import OpenPool, both
from tests.pool.workers.elastic_crew import crew
from trio_pool import CircuitBreaker, Elastic, JobState, PoolClosedError, RateLimit, WorkerState, current_job, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_pool import Pool


def change(pool: Pool[int], **fields: Any) -> None:
    """Change some fields."""
    assert pool.elastic is not None
    pool.elastic = attrs.evolve(pool.elastic, **fields)


# What can be changed.


async def test_it_is_what_the_pool_was_opened_with() -> None:
    elastic = Elastic(Mint(), max=2)
    async with open_pool(elastic) as pool:
        assert pool.elastic is elastic
        change(pool, max=3, min=1, idle_timeout=None, open_after=0.5)
        assert pool.elastic == attrs.evolve(elastic, max=3, min=1, idle_timeout=None, open_after=0.5)


@pytest.mark.parametrize(
    "fields",
    [
        {"factory": Mint()},
        {"tags": {"x"}},
        {"rate_limit": RateLimit(1)},
        {"breaker": CircuitBreaker()},
        {"max_jobs": 3},
        {"max_age": 3},
        {"max_running": 2},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_other_fields_can_not_be_changed(fields: dict[str, Any]) -> None:
    async with open_pool(Elastic(Mint(), max=2)) as pool:
        with pytest.raises(ValueError, match=f"not in {next(iter(fields))}"):
            change(pool, **fields)
        assert pool.elastic is not None
        assert pool.elastic.max == 2


async def test_the_same_method_as_factory_is_no_other_one() -> None:
    class Opener:
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[int]:
            yield 1

    opener = Opener()
    async with open_pool(Elastic(opener.open, max=2)) as pool:
        pool.elastic = Elastic(opener.open, max=3)
        with pytest.raises(ValueError, match="factory"):
            pool.elastic = Elastic(Opener().open, max=3)


@both
async def test_a_pool_that_was_opened_otherwise_has_none(opened: OpenPool) -> None:
    async with opened() as pool:
        assert pool.elastic is None
        with pytest.raises(ValueError, match="opened with an Elastic"):
            pool.elastic = Elastic(Mint(), max=2)


@pytest.mark.parametrize("wrong", [None, 3, "Elastic"])
async def test_anything_else_is_a_type_error(wrong: Any) -> None:
    async with open_pool(Elastic(Mint(), max=2)) as pool:
        with pytest.raises(TypeError, match="elastic"):
            pool.elastic = wrong


async def test_after_the_end_it_changes_nothing_more() -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=2)) as pool:
        pass
    change(pool, min=1)
    await trio.testing.wait_all_tasks_blocked()
    assert mint.called == []
    with pytest.raises(PoolClosedError):
        await pool.submit(works)


# More of them.


async def test_a_higher_max_opens_workers_for_jobs_that_wait(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=1)) as pool:
        for _ in range(5):
            await pool.submit(sleeps, 9)
        assert len(crew(pool)) == 1
        change(pool, max=3)
        assert len(crew(pool)) == 3


async def test_a_higher_min_opens_workers_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3)) as pool:
        change(pool, min=2)
        assert len(crew(pool)) == 2
        await trio.sleep(100)
        assert [worker.state for worker in crew(pool)] == [WorkerState.IDLE] * 2


async def test_a_group_may_get_more_workers_than_there_could_be_before(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=1)) as pool:
        with pytest.raises(ValueError, match="reserve"):
            pool.open_group(reserve=2)
        change(pool, max=2)
        async with pool.open_group(reserve=2) as group:
            assert len(group.statistics().workers) == 2


# Fewer of them.


async def test_a_lower_max_lets_idle_workers_go_the_longest_idle_first(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=3, max=5)) as pool:
        first, *_ = crew(pool)
        await pool.run(works, worker=first)
        change(pool, min=0, max=1)
        await trio.sleep(1)
        assert crew(pool) == (first,)
    assert sorted(mint.closed) == [0, 1, 2]


async def test_a_lower_max_lets_busy_workers_go_as_their_attempts_end(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=5)) as pool:
        for seconds in (1, 2, 3):
            await pool.submit(sleeps, seconds)
        await trio.sleep(0.5)
        change(pool, max=1)
        assert len(crew(pool)) == 3
        for left in (2, 1, 1):
            await trio.sleep(1)
            assert len(crew(pool)) == left


async def test_workers_go_though_jobs_wait(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3)) as pool:
        jobs = [await pool.submit(sleeps, 2) for _ in range(6)]
        await trio.sleep(1)
        change(pool, max=1)
        await trio.sleep(1.5)
        assert len(crew(pool)) == 1
        await pool.join()
        assert [job.finished_at for job in jobs] == [2, 2, 2, 4, 6, 8]


async def test_workers_that_are_being_opened_go_before_they_take_a_job(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(seconds_in=2), max=3)) as pool:
        jobs = [await pool.submit(sleeps, 2) for _ in range(3)]
        await trio.sleep(1)
        change(pool, max=1)
        await pool.join()
        assert sorted(job.finished_at or 0 for job in jobs) == [4, 6, 8]


async def test_a_worker_of_a_group_stays_until_the_group_releases_it(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3)) as pool:
        async with pool.open_group(reserve=2) as group:
            change(pool, max=1)
            await group.run(works)
            await trio.sleep(9)
            assert len(crew(pool)) == 2
        await trio.sleep(1)
        assert len(crew(pool)) == 1


async def test_a_worker_that_jobs_wait_for_alone_stays_until_they_have_run(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=2, max=3)) as pool:
        first, second = crew(pool)
        jobs = [await pool.submit(sleeps, 1, worker=worker) for worker in (first, second) for _ in range(2)]
        change(pool, min=0, max=1)
        await pool.join()
        assert {job.state for job in jobs} == {JobState.SUCCEEDED}
        await trio.sleep(1)
        assert len(crew(pool)) == 1


async def test_a_lent_worker_stays_until_its_job_has_it_back(autojump_clock: MockClock) -> None:
    async def lends(resource: int) -> int:
        async with current_job().lend():
            await trio.sleep(2)
        return resource

    async with open_pool(Elastic(Mint(), min=2, max=3)) as pool:
        jobs = [await pool.submit(lends) for _ in range(2)]
        await trio.sleep(1)
        change(pool, min=0, max=1)
        await trio.sleep(0.5)
        assert len(crew(pool)) == 2
        assert sorted([await job.wait() for job in jobs]) == [0, 1]
        await trio.sleep(1)
        assert len(crew(pool)) == 1


async def test_a_group_that_waits_for_more_workers_than_there_may_be_waits_until_there_may_be_more(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(Elastic(Mint(seconds_in=1), max=3)) as pool, trio.open_nursery() as nursery:

        async def opens() -> None:
            async with pool.open_group(reserve=3):
                assert trio.current_time() == 6

        nursery.start_soon(opens)
        await trio.sleep(0.5)
        change(pool, max=1)
        await trio.sleep(4.5)
        change(pool, max=3)


# How long they may be idle.


async def test_a_shorter_idle_timeout_counts_the_time_before(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3, idle_timeout=1000)) as pool:
        for _ in range(3):
            await pool.submit(sleeps, 1)
        await trio.sleep(4)
        change(pool, idle_timeout=5)
        await trio.sleep(1.5)
        assert len(crew(pool)) == 3
        await trio.sleep(1)
        assert len(crew(pool)) == 0


async def test_workers_that_have_been_idle_for_longer_go_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3, idle_timeout=None)) as pool:
        for _ in range(3):
            await pool.submit(sleeps, 1)
        await trio.sleep(100)
        assert len(crew(pool)) == 3
        change(pool, idle_timeout=5, min=1)
        await trio.sleep(0.1)
        assert len(crew(pool)) == 1


async def test_a_longer_idle_timeout_lets_workers_stay(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3, idle_timeout=5)) as pool:
        await pool.run(works)
        await trio.sleep(4)
        change(pool, idle_timeout=10)
        await trio.sleep(5)
        assert len(crew(pool)) == 1
        await trio.sleep(2)
        assert len(crew(pool)) == 0


# How long jobs wait for one.


async def test_open_after_can_be_changed(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3)) as pool:
        change(pool, open_after=5)
        await pool.submit(works)
        await trio.sleep(3)
        assert mint.called == []
        change(pool, open_after=4)
        await trio.sleep(2)
        assert mint.called == [4]


async def test_without_open_after_the_jobs_that_wait_get_workers_at_once(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3, open_after=50)) as pool:
        await pool.submit(works)
        await trio.sleep(3)
        change(pool, open_after=0)
        await trio.sleep(1)
        assert mint.called == [3]
