"""A job that waits for all that is in a group is told where that becomes impossible with a job that comes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.actors import sleeps, works
from trio_pool import Job, JobDeadlockError, JobFailedError, JobGroup, RetryPolicy, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_group_of_a_job_ends_when_a_job_comes_into_it_that_needs_the_worker_of_the_opener(
    autojump_clock: MockClock, is_after: bool
) -> None:
    async def member(resource: str) -> None:
        await trio.sleep(1)
        after = [await groups[0].submit(sleeps, 5.0)] if is_after else []
        late.append(await groups[0].submit(works, worker=pool.workers[0], after=after))

    async def parent(resource: str) -> None:
        async with pool.open_group() as group:
            groups.append(group)
            await group.submit(member, worker=pool.workers[1])

    groups: list[JobGroup[str]] = []
    late: list[Job[str]] = []
    async with open_pool(["a", "b", "c"], retry=RetryPolicy.never(), on_dead="keep") as pool:
        job = await pool.submit(parent, worker=pool.workers[0])
        with trio.fail_after(60), pytest.raises(JobFailedError) as caught:
            await job.wait()
    assert isinstance(caught.value.__cause__, JobDeadlockError)
    assert job.finished_at == 1.0
    assert late[0].finished_at == 1.0


async def test_it_does_not_end_where_what_comes_can_start_elsewhere(autojump_clock: MockClock) -> None:
    async def member(resource: str) -> None:
        await trio.sleep(1)
        await groups[0].submit(sleeps, 1.0)
        await groups[0].submit(sleeps, 1.0)

    async def parent(resource: str) -> None:
        async with pool.open_group() as group:
            groups.append(group)
            await group.submit(member)

    groups: list[JobGroup[str]] = []
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(parent)
    assert job.finished_at == 3.0
