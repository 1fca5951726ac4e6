"""Jobs that wait for what can not start on worn or probing workers."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, works
from tests.pool.workers.places import crew
from trio_pool import CircuitBreaker, JobDeadlockError, Resource, open_pool

# Worn resources


@pytest.mark.parametrize("paused", [False, True])
async def test_a_job_that_waits_for_one_that_can_not_start_on_a_worn_worker_is_told_when_the_loan_ends(
    paused: bool, autojump_clock: MockClock
) -> None:
    async def lends() -> None:
        lease = pool.acquire()
        async with lease, lease.job.lend():
            await trio.sleep(2.0)

    async def borrows() -> None:
        async with pool.acquire():
            await trio.sleep(5.0)

    async def pauses() -> None:
        await trio.sleep(3.0)
        pool.workers[0].pause()
        await trio.sleep(5.0)
        pool.workers[0].resume()

    async with open_pool([Resource("a", max_running=2, max_jobs=2)]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(lends)
        await wait_all_tasks_blocked()
        nursery.start_soon(borrows)
        await wait_all_tasks_blocked()
        if paused:
            nursery.start_soon(pauses)
        with trio.fail_after(60):
            async with pool.acquire():
                with pytest.raises(JobDeadlockError):
                    await pool.run(works)
                assert trio.current_time() == 5.0


# Probes


async def fails(resource: str) -> None:
    raise ValueError


async def test_a_job_beside_a_probe_that_waits_for_it_is_no_reason_to_wait_for_ever(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=5.0)

    async def waits(resource: str) -> str:
        try:
            return await pool.run(works)
        except JobDeadlockError:
            return "told"

    async with open_pool(crew(a=3), breaker=breaker, on_dead="keep") as pool:
        await pool.submit(sleeps, 9.0)
        await pool.submit(fails)
        await trio.sleep(6.0)
        with trio.fail_after(60):
            assert await pool.run(waits) == "told"
            assert trio.current_time() == 6.0
