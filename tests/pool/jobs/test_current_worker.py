"""3.3: the worker of a run, from inside of the job's function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import works
from trio_pool import Hedge, Job, JobFailedError, Pool, RetryPolicy, Worker, current_job, current_worker, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


async def gets(resource: str) -> Worker:
    return current_worker()


async def test_a_function_gets_the_worker_that_runs_it() -> None:
    async with open_pool(["a", "b"]) as pool:
        for worker in pool.workers:
            assert await pool.run(gets, worker=worker) is worker


async def test_slots_have_workers_too() -> None:
    async def get() -> Worker:
        return current_worker()

    async with open_pool(1) as pool:
        assert await pool.run(get) is pool.workers[0]


async def test_each_run_of_a_hedged_job_gets_its_own(autojump_clock: MockClock) -> None:
    seen: list[tuple[str, str]] = []

    async def slow(resource: str) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((resource, current_worker().resource))
        assert current_job().worker is pool.workers[0]
        await trio.sleep(5)

    async with open_pool(["a", "b", "c"]) as pool:
        await pool.run(slow, hedge=Hedge(1, extra=2))
    assert seen == [("a", "a"), ("b", "b"), ("c", "c")]


async def test_tasks_and_threads_of_a_run_get_its_worker(autojump_clock: MockClock) -> None:
    seen: list[tuple[str, str]] = []

    async def look(resource: str) -> None:
        seen.append((resource, current_worker().resource))

    async def slow(resource: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, resource)
        worker = await trio.to_thread.run_sync(current_worker)
        seen.append((resource, worker.resource))
        done.append(resource)
        while len(done) < 2:  # noqa: ASYNC110  # a thread takes no time on this clock
            await trio.sleep(1)

    done: list[str] = []
    async with open_pool(["a", "b"]) as pool:
        await pool.run(slow, hedge=Hedge(1))
    assert set(seen) == {("a", "a"), ("b", "b")}
    assert len(seen) == 4


async def test_a_job_that_a_hedged_job_submits_gets_its_own(autojump_clock: MockClock) -> None:
    async def parent(resource: str, pool: Pool[str]) -> tuple[Worker, Worker]:
        child = await pool.run(gets, worker=pool.workers[1])
        return current_worker(), child

    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(parent, pool, hedge=Hedge(9), worker=None) == pool.workers


async def test_each_attempt_gets_its_own(autojump_clock: MockClock) -> None:
    seen: list[Worker] = []

    async def fails(resource: str) -> None:
        seen.append(current_worker())
        raise OSError

    async with open_pool(["a", "b"], retry=RetryPolicy(max_attempts=2, placement="other"), on_dead="keep") as pool:
        with pytest.raises(JobFailedError):
            await pool.run(fails)
        assert seen == list(pool.workers)


async def test_a_job_that_lends_its_worker_still_gets_it() -> None:
    async def lends(resource: str, pool: Pool[str]) -> tuple[Worker, Worker]:
        async with current_job().lend():
            child = await pool.run(gets)
            return current_worker(), child

    async with open_pool(["a"]) as pool:
        assert await pool.run(lends, pool) == (pool.workers[0],) * 2


@pytest.mark.parametrize("hedge", [None, Hedge(9)])
async def test_what_decides_about_a_failure_gets_it_too(hedge: Hedge | None, autojump_clock: MockClock) -> None:
    seen: list[Worker] = []

    def note(job: Job[Any], error: Exception) -> None:
        seen.append(current_worker())

    async def fails(resource: str) -> None:
        raise OSError

    async with open_pool(["a", "b"], on_failure=note, on_dead="keep") as pool:
        with pytest.raises(JobFailedError):
            await pool.run(fails, hedge=hedge)
        assert seen == [pool.workers[0]]


async def test_outside_of_a_job_there_is_none() -> None:
    async with open_pool(["a"]) as pool:
        await pool.run(works)
        with pytest.raises(RuntimeError, match="inside a job's function"):
            current_worker()


async def test_a_task_that_a_job_has_left_behind_has_none(autojump_clock: MockClock) -> None:
    async def look() -> None:
        await trio.sleep(1)
        with pytest.raises(RuntimeError, match="inside a job's function"):
            current_worker()

    async def leaves(resource: str, nursery: trio.Nursery) -> None:
        nursery.start_soon(look)

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        await pool.run(leaves, nursery)
