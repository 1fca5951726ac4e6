"""At the end of the pool jobs that nobody may take die, though others wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import nap
from tests.pool.waiting.late_failures import breaks
from trio_pool import DeadReason, Job, JobFailedError, current_job, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("begins", ["before", "after"])
async def test_at_the_end_a_job_that_nobody_may_take_dies_though_a_job_waits_for_it(
    autojump_clock: MockClock, begins: str
) -> None:
    async def parent(resource: str) -> tuple[DeadReason | None, float]:
        await trio.sleep(1 if begins == "before" else 5)
        with pytest.raises(JobFailedError) as caught:
            await pool.run(nap, 1, requires=["z"])
        return caught.value.job.dead_reason, trio.current_time()

    with trio.fail_after(60):
        async with open_pool(["a", "b"], no_worker="wait") as pool:
            job = await pool.submit(parent)
            await trio.sleep(3)
    assert job.result() == (DeadReason.NO_WORKER, 3 if begins == "before" else 5)


async def test_it_does_not_while_anything_else_goes_on(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        with pytest.raises(JobFailedError):
            await pool.run(nap, 1, requires=["z"])
        return trio.current_time()

    with trio.fail_after(60):
        async with open_pool(["a", "b"], no_worker="wait") as pool:
            job = await pool.submit(parent)
            await pool.submit(nap, 7)
    assert job.result() == 7


async def test_it_does_not_before_the_end(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        return await pool.run(nap, 1, requires=["z"])

    async with open_pool(["a"], no_worker="wait") as pool:
        job = await pool.submit(parent)
        await trio.sleep(9)
        await pool.add("b", tags=["z"])
        assert await job.wait() == 10


async def test_those_behind_it_for_which_a_worker_is_there_run(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        lost = await pool.submit(nap, 1, requires=["z"])
        other = await pool.submit(nap, 1, worker=current_job().worker)
        with pytest.raises(JobFailedError):
            await lost.wait()
        return other.state.name

    with trio.fail_after(60):
        async with open_pool(["a"], no_worker="wait") as pool:
            job = await pool.submit(parent)
        assert pool.statistics().succeeded == 2
    assert job.result() == "QUEUED"


async def test_at_the_end_it_dies_too_if_the_worker_lent_for_its_sake_is_broken(autojump_clock: MockClock) -> None:
    lost: list[Job[Any]] = []

    async def parent(resource: str) -> None:
        async with current_job().lend():
            lost.append(await pool.submit(nap, 1, requires=["z"]))
            with pytest.raises(JobFailedError):
                await lost[0].wait()

    with trio.fail_after(60):
        async with open_pool(["a"], no_worker="wait", on_dead="keep") as pool:
            await pool.submit(parent)
            await trio.sleep(1)
            await pool.submit(breaks)
            await trio.sleep(3)
    assert lost[0].dead_reason is DeadReason.NO_WORKER
