"""``close()`` and ``join()`` of a group."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, works
from trio_pool import JobGroup, JobState, Pool, PoolClosedError, open_pool

SUCCEEDED = JobState.SUCCEEDED


# close()


async def test_close_takes_no_more_jobs_but_runs_those_that_are_there(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        jobs = [await group.submit(sleeps, 1.0) for _ in range(2)]
        group.close()
        with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
            await group.submit(works)
        with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
            await group.submit_graph({})
        await group.join()
        assert [job.state for job in jobs] == [SUCCEEDED] * 2


async def test_close_leaves_the_pool_and_other_groups_open(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as other, pool.open_group() as group:
        group.close()
        assert await other.run(works) == "done"
        assert await pool.run(works) == "done"


async def test_after_close_jobs_of_the_group_may_still_submit_to_it(autojump_clock: MockClock) -> None:
    async def has_children(resource: str, group: JobGroup[str]) -> None:
        await trio.sleep(1.0)
        await group.submit(works)
        group.submit_nowait(works)
        async with group.map(sleeps, [0.0, 0.0]) as results:
            assert [result async for result in results] == [0.0, 0.0]

    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as group:
            await group.submit(has_children, group)
            group.close()
        assert group.statistics().succeeded == 5


async def test_close_turns_away_only_those_who_wait_for_a_place_in_this_group(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def waits(submitter: JobGroup[str] | Pool[str], name: str) -> None:
        try:
            await submitter.submit(works)
        except PoolClosedError as error:
            outcomes.append(f"{name}: {error}")
        else:
            outcomes.append(f"{name} is in")

    async with (
        open_pool(["a"], max_queue=0) as pool,
        trio.open_nursery() as nursery,
        pool.open_group() as group,
        pool.open_group() as other,
    ):
        await pool.submit(sleeps, 5.0)
        for submitter, name in ((group, "one"), (other, "another"), (pool, "the pool"), (group, "one more")):
            nursery.start_soon(waits, submitter, name)
            await wait_all_tasks_blocked()
        group.close()
        await wait_all_tasks_blocked()
        assert sorted(outcomes) == ["one more: the group was closed", "one: the group was closed"]
        await trio.sleep(6.0)
    assert outcomes[2:] == ["another is in", "the pool is in"]


# join()


async def test_join_waits_for_the_jobs_of_the_group_alone(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        await pool.submit(sleeps, 10.0)
        await group.submit(sleeps, 1.0)
        await group.submit(sleeps, 1.0)
        await group.join()
        assert trio.current_time() == 2.0
        await group.submit(sleeps, 1.0)
        await group.join()
        assert trio.current_time() == 3.0


async def test_join_waits_for_jobs_that_wait_for_others(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        other = await pool.submit(sleeps, 4.0)
        await group.submit(sleeps, 1.0, after=[other])
        await group.join()
        assert trio.current_time() == 5.0


async def test_several_tasks_may_join(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        await group.submit(sleeps, 1.0)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(group.join)
        assert trio.current_time() == 1.0


async def test_join_that_is_cancelled_leaves_the_jobs_alone(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        job = await group.submit(sleeps, 2.0)
        with trio.move_on_after(1.0):
            await group.join()
        assert job.state is JobState.RUNNING
        await group.join()
        assert trio.current_time() == 2.0


async def test_join_after_the_block_returns(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            pass
        await pool.submit(sleeps, 1.0)
        await group.join()
        assert trio.current_time() == 0.0


async def test_a_job_can_not_join_its_own_group(autojump_clock: MockClock) -> None:
    async def joins(resource: str, group: JobGroup[str]) -> None:
        with pytest.raises(RuntimeError, match="would wait forever"):
            await group.join()

    async with open_pool(["a"]) as pool, pool.open_group() as group:
        await group.run(joins, group)


async def test_a_job_may_join_another_group(autojump_clock: MockClock) -> None:
    async def joins(resource: str, group: JobGroup[str]) -> float:
        await group.join()
        return trio.current_time()

    async with open_pool(["a", "b"]) as pool, pool.open_group() as group, pool.open_group() as other:
        await other.submit(sleeps, 3.0)
        assert await group.run(joins, other) == 3.0
