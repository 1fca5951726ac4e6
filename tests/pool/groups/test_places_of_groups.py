"""Groups that reserve places, of workers with several."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, sleeps_forever, state_of, works
from tests.pool.groups.own_workers import own
from tests.pool.workers.places import Gauge, crew, names, running, where
from trio_pool import (
    Elastic,
    JobDeadlockError,
    JobFailedError,
    JobState,
    Resource,
    ResourceBroken,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from trio_pool import Job, JobGroup


def reserved(group: JobGroup[Any]) -> list[str]:
    """The name of the worker of each reserved place."""
    return sorted(names(group.reserved))


# Entering.


async def test_a_group_reserves_places_of_one_worker_and_names_it_for_each(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3)) as pool, pool.open_group(reserve=2) as group:
        assert reserved(group) == ["a", "a"]
        assert own(group) == ["a"]


async def test_a_group_reserves_places_of_several_workers(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=1)) as pool, pool.open_group(reserve=3) as group:
        assert reserved(group) == ["a", "a", "b"]


async def test_what_is_not_reserved_is_for_all(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3)) as pool, pool.open_group(reserve=2) as group:
        others = [await pool.submit(sleeps, 5.0) for _ in range(2)]
        assert [state_of(job) for job in others] == [JobState.RUNNING, JobState.QUEUED]
        mine = [await group.submit(sleeps, 1.0) for _ in range(3)]
        assert [state_of(job) for job in mine] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]
        await trio.sleep(1.5)
        assert [state_of(job) for job in (*others, *mine)] == [
            JobState.RUNNING,
            JobState.QUEUED,
            JobState.SUCCEEDED,
            JobState.SUCCEEDED,
            JobState.RUNNING,
        ]


async def test_a_group_uses_free_places_beyond_its_own(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=4)) as pool, pool.open_group(reserve=1) as group:
        for _ in range(4):
            await group.submit(sleeps_forever)
        assert running(pool) == [4]
        assert pool.free_workers == ()
        group.cancel()


async def test_when_it_uses_more_than_its_own_the_next_free_place_is_for_all(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool, pool.open_group(reserve=1) as group:
        await group.submit(sleeps, 1.0)
        await group.submit(sleeps, 9.0)
        other = await pool.submit(sleeps, 1.0)
        await trio.sleep(1.5)
        # One of its jobs still runs, which counts as in its own place.
        assert state_of(other) is JobState.RUNNING


async def test_entering_waits_until_places_fall_free(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3)) as pool:
        for seconds in (1.0, 2.0, 3.0):
            await pool.submit(sleeps, seconds)
        queued = await pool.submit(sleeps, 9.0)
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 2.0
            assert reserved(group) == ["a", "a"]
            assert state_of(queued) is JobState.QUEUED
            await trio.sleep(2.0)
            assert state_of(queued) is JobState.RUNNING


async def test_several_groups_reserve_places_of_the_same_worker(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=4)) as pool, pool.open_group(reserve=2) as first, pool.open_group(reserve=1) as second:
        assert (reserved(first), reserved(second)) == (["a", "a"], ["a"])
        jobs = [await first.submit(sleeps, 9.0) for _ in range(4)]
        assert [state_of(job) for job in jobs].count(JobState.RUNNING) == 3
        mine = await second.submit(sleeps, 1.0)
        assert state_of(mine) is JobState.RUNNING


async def test_each_group_gets_its_own_place_when_it_falls_free(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2)) as pool:
        async with pool.open_group(reserve=1) as first, pool.open_group(reserve=1) as second:
            assert pool.free_workers == pool.workers
            other = await pool.submit(works)
            for seconds in (1.0, 2.0, 3.0):
                await first.submit(sleeps, seconds)
                await second.submit(sleeps, seconds)
            assert running(pool) == [2]
            await trio.sleep(2.0)
            assert [group.statistics().running for group in (first, second)] == [1, 1]
            assert state_of(other) is JobState.QUEUED
        assert trio.current_time() == 6.0


async def test_jobs_of_both_groups_wait_and_each_gets_its_place(autojump_clock: MockClock) -> None:
    async with (
        open_pool(crew(a=2)) as pool,
        pool.open_group(reserve=1) as first,
        pool.open_group(reserve=1) as second,
    ):
        (worker,) = pool.workers
        await first.submit(sleeps, 1.0)
        blocker = await second.submit(sleeps, 3.0)
        late = await second.submit(sleeps, 1.0)
        await trio.sleep(2.0)
        assert state_of(late) is JobState.QUEUED  # the free place is of the other group
        worker.pause()
        mine = await first.submit(works)
        worker.resume()
        assert await mine.wait() == "done"
        assert state_of(blocker) is JobState.RUNNING


async def test_an_unbounded_worker_has_places_for_every_group(autojump_clock: MockClock) -> None:
    async with (
        open_pool(crew(a=math.inf)) as pool,
        pool.open_group(reserve=50) as first,
        pool.open_group(reserve=50) as second,
    ):
        assert (len(first.reserved), len(second.reserved)) == (50, 50)
        for _ in range(200):
            pool.submit_nowait(sleeps, 1.0)
        assert running(pool) == [200]


async def test_a_closed_group_gives_its_places_back(autojump_clock: MockClock) -> None:
    gauge = Gauge()
    async with open_pool(crew(a=3, b=1)) as pool:
        async with pool.open_group(reserve=4):
            jobs = [await pool.submit(gauge) for _ in range(4)]
            await trio.sleep(1.0)
            assert running(pool) == [0, 0]
        await jobs[-1].wait()
    assert gauge.peak == {"a": 3, "b": 1}


async def test_the_next_group_in_line_gets_them(autojump_clock: MockClock) -> None:
    entered: list[tuple[str, float]] = []

    async def enter(name: str, reserve: int, seconds: float) -> None:
        async with pool.open_group(reserve=reserve):
            entered.append((name, trio.current_time()))
            await trio.sleep(seconds)

    async with open_pool(crew(a=3)) as pool, trio.open_nursery() as nursery:
        for name, reserve, seconds in (("x", 2, 3.0), ("y", 3, 1.0), ("z", 1, 1.0)):
            nursery.start_soon(enter, name, reserve, seconds)
            await wait_all_tasks_blocked()
    assert entered == [("x", 0.0), ("y", 3.0), ("z", 4.0)]


async def test_a_group_prefers_its_own_places(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=2, b=5)) as pool, pool.open_group(reserve=1) as group:
        (worker,) = group.reserved
        for job in [await pool.submit(sleeps_forever, worker=worker)]:
            assert where(job) == worker.name
        assert where(await group.submit(sleeps_forever)) == worker.name
        pool.cancel()


# Workers that go, break or change.


async def test_a_group_that_loses_places_gets_others_when_they_fall_free(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3, b=3)) as pool, pool.open_group(reserve=3) as group:
        before = set(reserved(group))
        for worker in set(group.reserved):
            await worker.remove()
            break
        assert len(group.reserved) == 3
        assert len(set(reserved(group))) == 1
        assert before


async def test_a_lower_bound_releases_reserved_places(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=3)) as pool:
        (worker,) = pool.workers
        async with pool.open_group(reserve=3) as group:
            worker.max_running = 1
            assert reserved(group) == ["a"]
            jobs = [await pool.submit(works)]
            mine = await group.submit(works)
            assert await mine.wait() == "done"
            assert state_of(jobs[0]) is JobState.QUEUED
            worker.max_running = 4
            assert reserved(group) == ["a", "a", "a"]
            assert await jobs[0].wait() == "done"


@pytest.mark.parametrize("change", [(2,), (3,), (2, 3), (4, 2, 3), (math.inf, 2, 5)])
async def test_after_a_change_exactly_what_is_not_reserved_is_for_all(
    change: tuple[float, ...], autojump_clock: MockClock
) -> None:
    async with open_pool(crew(a=3, b=1), retry=RetryPolicy.fixed(1.0, placement="other", max_attempts=9)) as pool:
        a, b = pool.workers
        async with pool.open_group(reserve=2) as group:
            await wait_all_tasks_blocked()
            for places in change:
                a.max_running = places
            kept = group.reserved.count(a)
            jobs = [await pool.submit(sleeps, 2.0, worker=a) for _ in range(6)]
            assert len(a.jobs) == min(6, change[-1] - kept)
            a.pause()
            a.resume()
            assert len(a.jobs) == min(6, change[-1] - kept)
            available = [kind.available for kind in pool._engine.roster.kinds.all()]
            assert min(available) >= 0
        for job in jobs:
            await job.wait()
        assert [kind.available for kind in pool._engine.roster.kinds.all()] == [2]
        assert b.state.name == "IDLE"


async def test_an_exclusive_reserved_worker_that_gets_more_places_stays_reserved(autojump_clock: MockClock) -> None:
    async with open_pool(crew(a=1)) as pool:
        (worker,) = pool.workers
        async with pool.open_group(reserve=1) as group:
            worker.max_running = 3
            assert reserved(group) == ["a"]
            for _ in range(3):
                await pool.submit(sleeps, 5.0)
            assert running(pool) == [2]
            mine = await group.submit(sleeps, 1.0)
            assert state_of(mine) is JobState.RUNNING


async def test_reserved_places_of_a_worker_that_breaks_stay_reserved(autojump_clock: MockClock) -> None:
    async def breaks_down(resource: str) -> None:
        raise ResourceBroken

    async with open_pool(crew(a=3), on_dead="keep") as pool, pool.open_group(reserve=2) as group:
        await pool.submit(breaks_down)
        await wait_all_tasks_blocked()
        assert reserved(group) == ["a", "a"]
        for _ in range(2):
            await pool.submit(sleeps, 5.0)
        assert running(pool) == [1]


async def test_a_paused_workers_places_are_reserved_once_it_is_resumed(autojump_clock: MockClock) -> None:
    async def resume() -> None:
        await trio.sleep(2.0)
        pool.workers[0].resume()

    async with open_pool(crew(a=3)) as pool:
        pool.workers[0].pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resume)
            async with pool.open_group(reserve=2) as group:
                assert trio.current_time() == 2.0
                assert reserved(group) == ["a", "a"]


@pytest.mark.parametrize("number", [20, 100])
async def test_workers_keep_their_order_when_places_are_reserved_and_released(
    number: int, autojump_clock: MockClock
) -> None:
    async with open_pool([Resource(str(each), max_running=1 + each % 3) for each in range(9)]) as pool:
        await pool.submit(sleeps_forever)
        before = pool.free_workers
        for _ in range(number):
            async with pool.open_group(reserve=3), pool.open_group(reserve=2):
                pass
        assert pool.free_workers == before
        pool.cancel()


# Lending and deadlocks.


async def test_a_lender_takes_no_place_that_is_reserved_for_a_group(autojump_clock: MockClock) -> None:
    back: list[float] = []

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(1.0)
        back.append(trio.current_time())

    async with open_pool(crew(a=2)) as pool:
        async with pool.open_group(reserve=1) as group:
            await pool.submit(lends)
            borrower = await pool.submit(sleeps, 4.0)
            await trio.sleep(2.0)
            assert (back, state_of(borrower)) == ([], JobState.RUNNING)
            assert await group.run(works) == "done"
        await pool.join()
    assert back == [2.0]  # the group has closed


async def test_a_lender_of_a_group_takes_its_groups_place(autojump_clock: MockClock) -> None:
    back: list[float] = []

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(1.0)
        back.append(trio.current_time())

    async with open_pool(crew(a=2)) as pool, pool.open_group(reserve=1) as group:
        await group.submit(lends)
        await pool.submit(sleeps, 4.0)
        await trio.sleep(2.0)
        assert back == [1.0]


@pytest.mark.parametrize("is_opened_by_a_job", [True, False])
async def test_a_circle_of_a_lender_and_its_borrower_is_none_where_a_group_will_give_places_back(
    is_opened_by_a_job: bool, autojump_clock: MockClock
) -> None:
    async def lends(resource: str) -> float:
        child = await pool.submit(waits, current_job())
        async with current_job().lend():
            await trio.sleep(1.0)
        assert not child.state.is_final
        return trio.current_time()

    async def waits(resource: str, lender: Job[Any]) -> None:
        await lender.wait()

    async def opens(resource: object) -> None:
        async with pool.open_group(reserve=1):
            await trio.sleep(3.0)

    async with open_pool(crew(a=2, b=1)) as pool:
        a, b = pool.workers
        b.pause()
        with trio.fail_after(60):
            if is_opened_by_a_job:
                b.resume()
                await pool.submit(opens, worker=b)
                await wait_all_tasks_blocked()
                assert await pool.run(lends, worker=a) == 3.0
            else:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(opens, None)
                    await wait_all_tasks_blocked()
                    assert await pool.run(lends, worker=a) == 3.0


async def test_a_lender_waits_for_the_end_of_its_borrower_where_all_else_is_reserved(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> bool:
        async with current_job().lend():
            child = await pool.submit(sleeps, 2.0)
            await trio.sleep(1.0)
        assert child.state is JobState.SUCCEEDED
        return True

    async with open_pool(crew(a=2)) as pool, pool.open_group(reserve=1):
        assert await pool.run(lends)
        assert trio.current_time() == 2.0


async def test_a_lent_place_is_reserved_for_no_group_before_the_loan_ends(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(3.0)

    async with open_pool(crew(a=3)) as pool:
        await pool.submit(lends)
        await wait_all_tasks_blocked()
        async with pool.open_group(reserve=2):
            assert trio.current_time() == 0.0
        async with pool.open_group(reserve=3):
            assert trio.current_time() == 3.0


async def test_a_group_of_a_job_can_have_the_other_places_of_its_worker(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> list[str]:
        async with pool.open_group(reserve=2) as group:
            return reserved(group)

    async def opens_less(resource: str) -> None:
        async with pool.open_group(reserve=1) as group:
            await group.run(works)

    async with open_pool(crew(a=2)) as pool:
        with trio.fail_after(60):
            await pool.run(opens_less)
            with pytest.raises(JobFailedError) as caught:
                await pool.run(opens)  # it holds one of the two places itself
            assert isinstance(caught.value.__cause__, JobDeadlockError)
            await pool.add("b", name="b")
            assert await pool.run(opens, worker=pool.workers[0]) == ["a", "b"]


async def test_jobs_that_hold_what_each_others_groups_need_are_told(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def opens(resource: str) -> None:
        await trio.sleep(1.0)
        try:
            async with pool.open_group(reserve=2):
                pass
        except JobDeadlockError:
            told.append(resource)

    async with open_pool(crew(a=3)) as pool:
        with trio.fail_after(60):
            jobs = [await pool.submit(opens) for _ in range(2)]
            for job in jobs:
                await job.wait()
    assert told == ["a"]


async def test_a_wait_for_a_place_that_a_group_will_give_back_is_no_deadlock(autojump_clock: MockClock) -> None:
    async def opens(resource: str, seconds: float) -> None:
        async with pool.open_group(reserve=1):
            await trio.sleep(seconds)

    async def parent(resource: str) -> None:
        child = await pool.submit(works)
        await trio.sleep(0.5)
        await child.wait()

    async with open_pool(crew(a=3, b=2)) as pool:
        with trio.fail_after(60):
            for seconds in (2.0, 3.0):
                await pool.submit(opens, seconds)
            await wait_all_tasks_blocked()
            await pool.run(parent)


async def test_elastic_workers_of_several_places_are_opened_for_what_a_group_lacks(autojump_clock: MockClock) -> None:
    opened: list[str] = []

    elastic = Elastic(lambda: Opened(opened), min=0, max=5, max_running=3)
    async with open_pool(elastic) as pool, pool.open_group(reserve=4) as group:
        assert len(group.reserved) == 4
        assert len(opened) == 2
        for _ in range(2):
            await pool.submit(sleeps, 1.0)
        assert sum(running(pool)) == 2
        assert len(opened) == 2


class Opened:
    """A lifespan that counts."""

    def __init__(self, opened: list[str]) -> None:
        self.opened = opened

    async def __aenter__(self) -> str:
        self.opened.append("x")
        return "x"

    async def __aexit__(self, *_: object) -> None:
        pass
