"""How many attempts of a group run at once."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, sleeps, sleeps_forever, state_of, works
from tests.pool.groups.meter import Meter
from tests.pool.groups.own_workers import worker_of
from trio_pool import Elastic, Hedge, JobState, Pool, RateLimit, Resource, RetryPolicy, open_pool
from trio_pool._model.pool_config import PICKS, Pick
from trio_pool.testing import Flaky

QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING


async def test_max_running_bounds_the_attempts_of_the_group(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abcd")) as pool:
        async with pool.open_group(max_running=2) as group:
            for _ in range(6):
                await group.submit(meter)
            await wait_all_tasks_blocked()
            assert (group.statistics().running, group.statistics().queued) == (2, 4)
            assert len(pool.idle_workers) == 2
        assert trio.current_time() == 3.0
    assert meter.most == 2


async def test_max_running_of_one_makes_the_group_sequential(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abc")) as pool, pool.open_group(max_running=1) as group:
        async with group.map(meter, "uvwxyz") as results:
            assert [name async for name in results] == list("uvwxyz")
        assert trio.current_time() == 6.0
    assert meter.most == 1


@pytest.mark.parametrize("limit", [None, float("inf"), 10])
async def test_more_than_the_workers_is_no_bound(limit: float | None, autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abc")) as pool, pool.open_group(max_running=limit) as group:
        for _ in range(6):
            await group.submit(meter)
    assert meter.most == 3
    assert trio.current_time() == 2.0


@pytest.mark.parametrize("pick", PICKS)
async def test_a_full_group_does_not_hold_up_jobs_behind_it(pick: Pick, autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), pick=pick, rng=Random(1)) as pool, pool.open_group(max_running=1) as group:
        waiting = [await group.submit(sleeps, 10.0, priority=-1) for _ in range(5)]
        async with pool.open_group() as other:
            for _ in range(5):
                await other.submit(sleeps, 1.0)
        assert trio.current_time() == 5.0
        assert await pool.run(works, priority=5) == "done"
        for job in waiting:
            job.cancel()


async def test_full_groups_do_not_hold_up_each_other(autojump_clock: MockClock) -> None:
    async with open_pool(list("abc")) as pool:
        async with pool.open_group(max_running=1) as one, pool.open_group(max_running=2) as two:
            for _ in range(4):
                await one.submit(sleeps, 1.0)
            for _ in range(4):
                await two.submit(sleeps, 1.0)
            await two.join()
            assert trio.current_time() == 2.0
        assert trio.current_time() == 4.0


async def test_the_jobs_of_a_full_group_start_in_the_order_of_the_queue(autojump_clock: MockClock) -> None:
    started: list[str] = []

    async def notes(resource: str, name: str) -> None:
        started.append(name)
        await trio.sleep(1.0)

    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        await group.submit(notes, "first")
        await group.submit(notes, "fourth", priority=1)
        await group.submit(notes, "second", priority=-1)
        await group.submit(notes, "third")
    assert started == ["first", "second", "third", "fourth"]


async def test_a_retry_at_once_goes_behind_those_of_its_group_that_wait(autojump_clock: MockClock) -> None:
    started: list[str] = []

    async def notes(resource: str, name: str) -> None:
        started.append(name)
        await trio.sleep(1.0)
        if started == ["first"]:
            raise ValueError

    async with (
        open_pool(list("ab"), retry=RetryPolicy.fixed(0.0)) as pool,
        pool.open_group(max_running=1) as group,
    ):
        await group.submit(notes, "first")
        await group.submit(notes, "second")
    assert started == ["first", "second", "first"]


async def test_a_job_that_backs_off_leaves_room_for_another(autojump_clock: MockClock) -> None:
    async with (
        open_pool(list("ab"), retry=RetryPolicy.fixed(10.0)) as pool,
        pool.open_group(max_running=1) as group,
    ):
        flaky = await group.submit(Flaky(1, result="done"))
        await group.submit(sleeps, 4.0)
        await group.submit(sleeps, 4.0)
        await group.submit(sleeps, 4.0)
        assert await flaky.wait() == "done"
        assert trio.current_time() == 12.0  # due at 10, while the group was full


async def test_a_cancelled_job_leaves_room_for_another(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        first = await group.submit(sleeps_forever)
        second = await group.submit(works)
        await trio.sleep(1.0)
        first.cancel()
        assert await second.wait() == "done"
        assert trio.current_time() == 1.0


async def test_a_job_whose_worker_is_removed_goes_on_elsewhere(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        first = await group.submit(sleeps, 2.0)
        await group.submit(sleeps, 2.0)
        await trio.sleep(1.0)
        await worker_of(first).remove(cancel=True)
        await first.wait()
        assert trio.current_time() == 3.0


async def test_the_bound_of_the_group_and_that_of_the_pool_both_hold(autojump_clock: MockClock) -> None:
    async with (
        open_pool(list("abcd"), max_running=3) as pool,
        pool.open_group(max_running=2) as group,
        pool.open_group() as other,
    ):
        for _ in range(4):
            await group.submit(sleeps, 1.0)
        for _ in range(4):
            await other.submit(sleeps, 1.0)
        await wait_all_tasks_blocked()
        assert (group.statistics().running, other.statistics().running) == (2, 1)
        pool.max_running = 1
        await trio.sleep(1.5)
        assert pool.statistics().running == 1
        pool.max_running = None
        await wait_all_tasks_blocked()
        assert (group.statistics().running, other.statistics().running) == (2, 2)


async def test_the_bound_of_the_group_and_the_rate_of_the_pool_both_hold(autojump_clock: MockClock) -> None:
    async with (
        open_pool(list("abcd"), rate_limit=RateLimit(1)) as pool,
        pool.open_group(max_running=1) as group,
        pool.open_group() as other,
    ):
        jobs = [await group.submit(sleeps, 1.5) for _ in range(2)]
        jobs += [await other.submit(sleeps, 1.5) for _ in range(2)]
    starts = [job.attempts[0].started_at for job in jobs]
    assert starts == [0.0, 2.0, 1.0, 3.0]


async def test_a_full_group_starts_nothing_with_idle_only(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        assert group.submit_nowait(sleeps, 1.0, idle_only=True).state is RUNNING
        with pytest.raises(trio.WouldBlock):
            group.submit_nowait(works, idle_only=True)
        assert pool.submit_nowait(works, idle_only=True).state is RUNNING


@pytest.mark.parametrize("option", ["worker", "requires"])
async def test_jobs_that_only_one_worker_may_take_wait_for_the_group_too(
    option: str, autojump_clock: MockClock
) -> None:
    async with (
        open_pool([Resource("a"), Resource("b", tags=["x"])]) as pool,
        pool.open_group(max_running=1) as group,
    ):
        options: Any = {option: pool.workers[1] if option == "worker" else ["x"]}
        await group.submit(sleeps, 1.0)
        job = await group.submit(sleeps, 1.0, **options)
        last = await group.submit(sleeps, 1.0)
        await wait_all_tasks_blocked()
        assert state_of(job) is QUEUED
        await job.wait()
        assert trio.current_time() == 2.0
        assert job.attempts[0].worker_id == 2
        assert state_of(last) is RUNNING


async def test_a_bounced_job_of_a_full_group_still_goes_to_another_worker(autojump_clock: MockClock) -> None:
    calls: list[str] = []

    async def fails_on_a(resource: str) -> None:
        calls.append(resource)
        await trio.sleep(1.0)
        if resource == "a":
            raise ValueError

    policy = RetryPolicy(base_delay=0, placement="other")
    async with open_pool(list("ab"), retry=policy) as pool, pool.open_group(max_running=1) as group:
        await group.submit(fails_on_a)
        await group.submit(sleeps, 5.0)
    assert calls == ["a", "b"]
    assert trio.current_time() == 7.0


async def test_a_full_group_that_fills_the_queue_does_not_keep_others_from_idle_workers(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(list("ab"), max_queue=2) as pool, pool.open_group(max_running=1) as group:
        for _ in range(3):
            await group.submit(sleeps, 10.0)
        with pytest.raises(trio.WouldBlock):
            group.submit_nowait(works)
        assert pool.submit_nowait(works).state is RUNNING
        assert await pool.run(works) == "done"
        assert trio.current_time() == 0.0


async def test_whoever_waits_for_a_place_behind_a_full_group_gets_the_next_free_worker(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(list("ab"), max_queue=1) as pool, pool.open_group(max_running=1) as group:
        await group.submit(sleeps, 10.0)
        await pool.submit(sleeps, 1.0)
        await group.submit(sleeps, 10.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.submit, works)
            await wait_all_tasks_blocked()
            assert await pool.run(works) == "done"  # past the one that waits for its group
            assert trio.current_time() == 1.0


async def test_whoever_waits_for_a_place_in_a_full_group_gets_in_when_it_has_room(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), max_queue=0) as pool, pool.open_group(max_running=1) as group:
        await group.submit(sleeps, 2.0)
        job = await group.submit(works)
        assert trio.current_time() == 2.0
        assert await job.wait() == "done"


async def test_a_parent_does_not_count_in_the_group_that_it_opens(autojump_clock: MockClock) -> None:
    async def divides(resource: str) -> float:
        async with pool.open_group(max_running=1) as inner:
            await inner.submit(sleeps, 1.0)
            await inner.submit(sleeps, 1.0)
        return trio.current_time()

    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as outer:
        assert await outer.run(divides) == 2.0


async def test_of_equal_jobs_the_newest_starts_first_in_a_lifo_pool(autojump_clock: MockClock) -> None:
    started: list[int] = []

    async def notes(resource: str, number: int) -> None:
        started.append(number)
        await trio.sleep(1.0)

    async with open_pool(list("ab"), order="lifo") as pool, pool.open_group(max_running=1) as group:
        for number in range(4):
            await group.submit(notes, number)
    assert started == [0, 3, 2, 1]


async def test_the_pool_ends_only_when_a_full_group_has_run_through(autojump_clock: MockClock) -> None:
    async def opens(pool: Pool[str]) -> None:
        async with pool.open_group(max_running=1) as group:
            for _ in range(3):
                await group.submit(sleeps, 1.0)

    async with trio.open_nursery() as nursery, open_pool(["a", "b"]) as pool:
        nursery.start_soon(opens, pool)
        await wait_all_tasks_blocked()
    assert pool.statistics().succeeded == 3
    assert trio.current_time() == 3.0


async def test_each_worker_of_a_hedged_attempt_counts(autojump_clock: MockClock) -> None:
    async with open_pool(list("abc")) as pool, pool.open_group(max_running=2) as group:
        hedged = await group.submit(sleeps, 10.0, hedge=Hedge(1.0))
        await trio.sleep(2.0)
        job = await group.submit(works)
        await wait_all_tasks_blocked()
        assert [state_of(hedged), state_of(job)] == [RUNNING, QUEUED]
        assert await pool.run(works) == "done"
        hedged.cancel()
        assert await job.wait() == "done"
        assert trio.current_time() == 2.0


async def test_a_full_group_starts_no_hedge(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        job = await group.submit(sleeps, 5.0, hedge=Hedge(1.0))
        await job.wait()
        assert job.attempts[0].hedges == ()


async def test_an_elastic_pool_opens_no_workers_for_jobs_of_a_full_group(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=10)) as pool:
        async with pool.open_group(max_running=2) as group:
            for _ in range(6):
                await group.submit(sleeps, 1.0)
            await trio.sleep(0.5)
            assert len(mint.called) == 2
            await pool.submit(sleeps, 1.0)
            await wait_all_tasks_blocked()
            assert len(mint.called) == 3
        assert trio.current_time() == 3.0
