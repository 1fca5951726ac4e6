"""``group.cancel()`` cancels the jobs of the group and its body."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import cleans_up, sleeps, sleeps_forever, state_of, works
from trio_pool import Instrument, Job, JobGroup, JobState, PoolClosedError, open_pool

CANCELLED = JobState.CANCELLED
SUCCEEDED = JobState.SUCCEEDED


async def test_cancel_cancels_the_jobs_and_the_body_and_nothing_comes_out(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            jobs = [await group.submit(sleeps_forever), await group.submit(works)]
            group.cancel()
            await trio.sleep(math.inf)
        assert [job.state for job in jobs] == [CANCELLED] * 2
        assert trio.current_time() == 0.0


async def test_cancel_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            await group.submit(cleans_up)
            await wait_all_tasks_blocked()
            group.cancel()
        assert trio.current_time() == 2.0


async def test_cancel_leaves_other_jobs_and_groups_alone(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"]) as pool:
        other = await pool.submit(sleeps, 5.0)
        async with pool.open_group() as neighbor:
            more = await neighbor.submit(sleeps, 3.0)
            async with pool.open_group() as group:
                await group.submit(sleeps_forever)
                group.cancel()
            assert trio.current_time() == 0.0
        assert [state_of(job) for job in (other, more)] == [JobState.RUNNING, SUCCEEDED]


async def test_cancel_by_another_task_ends_the_block(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:

        async def cancels(group: JobGroup[str]) -> None:
            await trio.sleep(1.0)
            group.cancel()

        async with pool.open_group() as group:
            job = await group.submit(sleeps_forever)
            nursery.start_soon(cancels, group)
        assert job.state is CANCELLED
        assert trio.current_time() == 1.0


async def test_cancel_by_a_job_of_the_group_ends_the_block(autojump_clock: MockClock) -> None:
    async def cancels(resource: str, group: JobGroup[str]) -> None:
        group.cancel()
        await trio.sleep_forever()

    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as group:
            jobs = [await group.submit(sleeps_forever), await group.submit(cancels, group)]
        assert [job.state for job in jobs] == [CANCELLED] * 2


async def test_cancel_takes_no_more_jobs_even_from_its_own(autojump_clock: MockClock) -> None:
    turned_away: list[str] = []

    async def submits_when_cancelled(resource: str, group: JobGroup[str]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await group.submit(works)
                except PoolClosedError as error:
                    turned_away.append(str(error))

    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            await group.submit(submits_when_cancelled, group)
            await wait_all_tasks_blocked()
            group.cancel()
        assert turned_away == ["the group is closed"]
        assert group.statistics().submitted == 1


async def test_cancel_turns_away_whoever_waits_for_a_place(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5.0)

        async def waits(group: JobGroup[str]) -> None:
            with pytest.raises(PoolClosedError, match=r"^the group was closed$"):
                await group.submit(works)

        async with pool.open_group() as group:
            nursery.start_soon(waits, group)
            await wait_all_tasks_blocked()
            assert group.statistics().submitters_waiting == 1
            group.cancel()
        assert pool.statistics().submitters_waiting == 0


async def test_cancel_after_the_block_does_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            job = await group.submit(works)
        group.cancel()
        assert job.state is SUCCEEDED
        assert await pool.run(works) == "done"


async def test_cancel_twice_is_cancel_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            job = await group.submit(sleeps_forever)
            group.cancel()
            group.cancel()
        assert job.state is CANCELLED


async def test_an_exception_that_the_body_raises_after_cancel_comes_out(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(KeyError):  # noqa: PT012
            async with pool.open_group() as group:
                group.cancel()
                raise KeyError


async def test_cancel_starts_nothing_that_waits_in_the_group(autojump_clock: MockClock) -> None:
    started: list[str] = []

    async def notes(resource: str, name: str) -> None:
        started.append(name)

    class Cancels(Instrument):
        def job_finished(self, job: Job[Any]) -> None:
            if job is first:
                group.cancel()

    async with open_pool(["a"], instruments=[Cancels()]) as pool:
        async with pool.open_group() as group:
            first = await group.submit(sleeps, 1.0)
            await group.submit(notes, "queued")
            await group.submit(notes, "blocked", after=[first])
        assert started == []
        assert group.statistics().cancelled == 2
