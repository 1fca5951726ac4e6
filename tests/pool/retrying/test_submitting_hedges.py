"""All calls that submit a job take a hedge, and the job is the same on each worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.actors import slow_on
from trio_pool import Hedge, Job, current_job, open_pool

# With resources or slots, as they come.
open_anything: Any = open_pool


async def by_run(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.run(fn, *args, **options)


async def by_submit(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await (await pool.submit(fn, *args, **options)).wait()


async def by_submit_nowait(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.submit_nowait(fn, *args, idle_only=True, **options).wait()


async def by_map(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    async with pool.map(fn, args, **options) as results:
        (result,) = [result async for result in results]
        return result


async def by_as_completed(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    async with pool.as_completed(fn, args, **options) as jobs:
        (result,) = [job.result() async for job in jobs]
        return result


async def by_requeue(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.dead.requeue(await dead_job(pool, fn, *args), **options).wait()


async def by_requeue_of_one_that_has_it(pool: Any, fn: Any, *args: Any, **options: Any) -> Any:
    return await pool.dead.requeue(await dead_job(pool, fn, *args, **options)).wait()


async def dead_job(pool: Any, fn: Any, *args: Any, **options: Any) -> Job[Any]:
    """A job that has timed out before it could start."""
    for worker in pool.workers:
        worker.pause()
    job: Job[Any] = await pool.submit(fn, *args, total_timeout=1.0, **options)
    await pool.join()
    for worker in pool.workers:
        worker.resume()
    return job


@attrs.define
class FirstIsSlow:
    """Takes long when it is called first."""

    calls: int = 0

    async def __call__(self, *_: object) -> str:
        self.calls += 1
        if self.calls == 1:
            await trio.sleep(100)
        return f"call {self.calls}"


@pytest.mark.parametrize(
    "call",
    [by_run, by_submit, by_submit_nowait, by_map, by_as_completed, by_requeue, by_requeue_of_one_that_has_it],
)
@pytest.mark.parametrize("resources", [["a", "b"], 2])
async def test_everything_that_submits_a_job_takes_a_hedge(
    resources: Any, call: Callable[..., Awaitable[Any]], autojump_clock: MockClock
) -> None:
    async with open_anything(resources, on_dead="keep") as pool:
        assert await call(pool, FirstIsSlow(), "item", hedge=Hedge(0.5)) == "call 2"


async def test_a_dead_job_can_be_queued_again_without_it(autojump_clock: MockClock) -> None:
    work = slow_on("a", "b")
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        dead = await dead_job(pool, work, hedge=Hedge(1))
        await pool.dead.requeue(dead, hedge=None, total_timeout=None).wait()
    assert work.began == [("a", 1.0)]


request_id: ContextVar[str] = ContextVar("request_id")


async def test_on_each_worker_it_runs_in_a_fresh_copy_of_its_submitter_s_context(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def work(resource: str) -> None:
        seen.append(request_id.get())
        request_id.set(f"set by {resource}")
        await trio.sleep(2)
        seen.append(request_id.get())

    request_id.set("of the submitter")
    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, hedge=Hedge(1))
    assert seen == ["of the submitter", "of the submitter", "set by a"]
    assert request_id.get() == "of the submitter"


async def test_on_each_worker_it_is_the_same_job(autojump_clock: MockClock) -> None:
    seen: list[Job[Any]] = []

    async def work(resource: str) -> None:
        seen.append(current_job())
        await trio.sleep(2)

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
    assert seen == [job, job]


async def test_a_job_can_t_remove_any_worker_that_it_runs_on(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def work(resource: str) -> None:
        await trio.sleep(2)
        for worker in pool.workers:
            with pytest.raises(RuntimeError, match="can't be removed by the job that runs on it"):
                await worker.remove()
            told.append(worker.name)

    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, hedge=Hedge(1))
    assert told == ["worker-1", "worker-2"]
