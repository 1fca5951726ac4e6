"""Options of ``map`` and ``as_completed`` may be functions of the item."""

from __future__ import annotations

import math
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.pool.streams.pages import EVERY_SOURCE, PAGES, Page, collect, fetch
from tests.streams import EITHER
from trio_pool import (
    Hedge,
    Job,
    JobFailedError,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    Resource,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

user: ContextVar[str] = ContextVar("user", default="nobody")


async def which(page: Page) -> Job[Any]:
    await trio.lowlevel.checkpoint()
    return current_job()


async def which_with(resource: str, page: Page) -> tuple[str, Job[Any]]:
    await trio.lowlevel.checkpoint()
    return resource, current_job()


# Every option


async def test_priority(autojump_clock: MockClock) -> None:
    ran: list[int] = []

    async def run(page: Page) -> None:
        ran.append(page.rank)

    async with open_pool(1) as pool:
        await pool.submit(trio.sleep, 1)
        async with pool.map(run, PAGES, buffer=3, priority=lambda page: page.rank) as results:
            await collect(results)
    assert ran == [1, 2, 3]


async def test_name() -> None:
    async with open_pool(1) as pool, pool.map(which, PAGES, name=lambda page: f"page {page.url}") as jobs:
        assert [job.name for job in await collect(jobs)] == ["page c", "page a", "page b"]


async def test_metadata() -> None:
    async with open_pool(1) as pool, pool.map(which, PAGES, metadata=lambda page: {"rank": page.rank}) as jobs:
        assert [job.metadata for job in await collect(jobs)] == [{"rank": 3}, {"rank": 1}, {"rank": 2}]


async def test_attempt_timeout(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, pool.map(fetch, PAGES, attempt_timeout=lambda page: page.rank / 2) as results:
        assert await anext(results) == "c"
        with pytest.raises(JobFailedError):
            await anext(results)


async def test_total_timeout(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, pool.map(which, PAGES, total_timeout=lambda page: page.rank) as jobs:
        assert [job.deadline for job in await collect(jobs)] == [3, 1, 2]


async def test_retry(autojump_clock: MockClock) -> None:
    async def fail(page: Page) -> None:
        raise OSError

    async with (
        open_pool(3) as pool,
        pool.as_completed(fail, PAGES, retry=lambda page: RetryPolicy.fixed(1, max_attempts=page.rank)) as jobs,
    ):
        assert [job.attempt_count async for job in jobs] == [1, 2, 3]


async def test_requires() -> None:
    resources = [Resource(tag, tags=[tag]) for tag in "abc"]
    async with open_pool(resources) as pool, pool.map(which_with, PAGES, requires=lambda page: [page.url]) as found:
        assert [resource for resource, _ in await collect(found)] == ["c", "a", "b"]


async def test_worker() -> None:
    async with open_pool(["a", "b", "c"]) as pool:
        workers = {str(worker.resource): worker for worker in pool.workers}
        async with pool.map(which_with, PAGES, worker=lambda page: workers[page.url]) as found:
            assert [resource for resource, _ in await collect(found)] == ["c", "a", "b"]


async def test_hedge(autojump_clock: MockClock) -> None:
    async def fetch_with(resource: str, page: Page) -> str:
        return await fetch(page)

    async with open_pool(["a", "b", "c", "d"]) as pool:
        hedges = {3: Hedge(0.5), 1: None, 2: Hedge(5)}
        async with pool.as_completed(fetch_with, PAGES, hedge=lambda page: hedges[page.rank]) as jobs:
            assert {job.args[-1].rank: len(job.attempts[0].hedges) async for job in jobs} == {3: 1, 1: 0, 2: 0}


async def test_after(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    async def note(page: Page) -> None:
        ended.append(page.rank)

    async with open_pool(3) as pool:
        first = {page.rank: await pool.submit(trio.sleep, page.rank) for page in PAGES}
        async with pool.map(note, PAGES, after=lambda page: [first[page.rank]]) as results:
            await collect(results)
    assert ended == [1, 2, 3]


async def test_several_at_once_and_others_fixed() -> None:
    async with (
        open_pool(1) as pool,
        pool.map(which, PAGES, name=lambda page: page.url, priority=lambda page: page.rank, total_timeout=9) as jobs,
    ):
        found = [(job.name, job.priority, job.deadline < math.inf) for job in await collect(jobs)]
    assert found == [("c", 3, True), ("a", 1, True), ("b", 2, True)]


async def test_in_a_group() -> None:
    async with open_pool(1) as pool, pool.open_group() as group, group.map(which, PAGES, name=lambda p: p.url) as jobs:
        found = await collect(jobs)
        assert [job.name for job in found] == ["c", "a", "b"]
        assert group.statistics().submitted == 3


async def test_none_is_the_default(autojump_clock: MockClock) -> None:
    def none(page: Page) -> None:
        return None

    async with (
        open_pool(1, attempt_timeout=7, total_timeout=8) as pool,
        pool.map(
            which,
            PAGES,
            retry=none,
            attempt_timeout=none,
            total_timeout=none,
            worker=none,
            name=none,
            metadata=none,
            hedge=none,
            after=none,
        ) as jobs,
    ):
        assert [(job.name, job.deadline) for job in await collect(jobs)] == [("which", 8)] * 3


async def test_types_are_functions_too() -> None:
    async def job_of(item: str) -> Job[Any]:
        await trio.lowlevel.checkpoint()
        return current_job()

    async with open_pool(1) as pool, pool.map(job_of, ["30", "4"], name=str.upper, priority=int, requires=set) as jobs:
        with pytest.raises(NoEligibleWorkerError):  # it requires the digits
            await collect(jobs)
    async with open_pool(1) as pool, pool.map(job_of, ["30", "4"], name=str, priority=len) as jobs:
        assert [(job.name, job.priority) for job in await collect(jobs)] == [("30", 2), ("4", 1)]


async def test_whatever_can_be_called_is_a_function() -> None:
    class Rank:
        def __call__(self, page: Page, times: int = 1) -> float:
            return page.rank * times

    for function in (Rank(), partial(Rank(), times=2), Rank().__call__):
        async with open_pool(1) as pool, pool.map(which, PAGES, priority=function) as jobs:
            assert len({job.priority for job in await collect(jobs)}) == 3


# When, and where, they are called


@EVERY_SOURCE
@EITHER
async def test_they_are_called_once_for_each_item_as_it_is_taken(
    name: str, pages: Callable[[], Any], autojump_clock: MockClock
) -> None:
    asked: list[int] = []

    def rank(page: Page) -> float:
        asked.append(page.rank)
        return 0

    async with open_pool(1, max_queue=0) as pool, getattr(pool, name)(fetch, pages(), buffer=2, priority=rank) as found:
        await trio.sleep(0.5)
        assert asked == [3, 1]
        assert sorted(await collect(found)) == ["a", "b", "c"]
    assert asked == [3, 1, 2]


@EVERY_SOURCE
async def test_they_are_called_in_the_context_of_who_has_entered_the_block(
    pages: Callable[[], Any], autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    def note(page: Page) -> str:
        seen.append(user.get())
        return page.url

    async def read(found: AsyncIterator[Any]) -> None:
        user.set("the reader")
        await collect(found)

    user.set("who opened the pool")
    async with open_pool(1) as pool:
        user.set("who entered the block")
        async with pool.map(fetch, pages(), buffer=1, name=note) as found, trio.open_nursery() as nursery:
            nursery.start_soon(read, found)
    assert seen == ["who entered the block"] * 3


async def test_they_are_called_inside_the_job_that_has_entered_the_block(autojump_clock: MockClock) -> None:
    async def parent() -> list[str]:
        me = current_job()
        async with pool.map(fetch, PAGES, name=lambda page: current_job().name) as found, current_job().lend():
            del me
            return await collect(found)

    async with open_pool(1) as pool:
        assert await pool.run(parent) == ["c", "a", "b"]


# What they do to the pool meanwhile


@EVERY_SOURCE
@EITHER
async def test_they_may_close_the_pool(name: str, pages: Callable[[], Any], autojump_clock: MockClock) -> None:
    def closes(page: Page) -> float:
        if page.rank == 1:
            pool.close()
        return 0

    async with open_pool(1) as pool, getattr(pool, name)(fetch, pages(), priority=closes) as found:
        assert await anext(found) is not None
        with pytest.raises(PoolClosedError):
            await anext(found)


@EVERY_SOURCE
@EITHER
async def test_they_may_cancel_the_pool(
    name: str, pages: Callable[[], Any], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def cancels(page: Page) -> float:
        pool.cancel()
        return 0

    async with open_pool(1) as pool, getattr(pool, name)(fetch, pages(), priority=cancels):
        await trio.sleep(1000)
    assert caplog.records == []


@EVERY_SOURCE
async def test_they_may_submit_jobs_and_start_streams(pages: Callable[[], Any], autojump_clock: MockClock) -> None:
    extra: list[Job[str]] = []

    def submits(page: Page) -> float:
        extra.append(pool.submit_nowait(fetch, page))
        return 0

    async with open_pool(1) as pool, pool.map(fetch, pages(), priority=submits) as found:
        assert await collect(found) == ["c", "a", "b"]
    assert [job.result() for job in extra] == ["c", "a", "b"]


async def test_a_removed_worker_ends_the_stream(autojump_clock: MockClock) -> None:
    async def fetch_with(resource: str, page: Page) -> str:
        return await fetch(page)

    async def remove(pool: Pool[str], worker: Worker) -> None:
        await trio.sleep(0.5)
        await worker.remove()

    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:
        worker = pool.workers[1]
        nursery.start_soon(remove, pool, worker)
        async with pool.map(fetch_with, PAGES, buffer=1, worker=lambda page: worker) as found:
            assert await anext(found) == "c"
            with pytest.raises(NoEligibleWorkerError):
                await anext(found)
