"""Options of ``map`` and ``as_completed`` may be functions of the item."""

from __future__ import annotations

import math
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from tests.exceptions import WAYS, Refuses, stray
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
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from trio.testing import MockClock

EITHER = pytest.mark.parametrize("name", ["map", "as_completed"])

user: ContextVar[str] = ContextVar("user", default="nobody")


@attrs.frozen
class Page:
    rank: int
    url: str = ""


PAGES = [Page(3, "c"), Page(1, "a"), Page(2, "b")]


async def fetch(page: Page) -> str:
    await trio.sleep(1)
    return page.url


async def which(page: Page) -> Job[Any]:
    await trio.lowlevel.checkpoint()
    return current_job()


async def which_with(resource: str, page: Page) -> tuple[str, Job[Any]]:
    await trio.lowlevel.checkpoint()
    return resource, current_job()


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [each.result() if isinstance(each, Job) else each async for each in stream]


def a_list() -> list[Page]:
    return PAGES


def an_iterator() -> Iterator[Page]:
    return iter(PAGES)


async def async_pages() -> AsyncGenerator[Page]:
    for page in PAGES:
        yield page


EVERY_SOURCE = pytest.mark.parametrize("pages", [a_list, an_iterator, async_pages])


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


async def test_they_are_called_inside_the_job_that_has_entered_the_block() -> None:
    async def parent() -> list[str]:
        me = current_job()
        async with pool.map(fetch, PAGES, name=lambda page: current_job().name) as found, current_job().lend():
            del me
            return await collect(found)

    async with open_pool(1) as pool:
        assert await pool.run(parent) == ["c", "a", "b"]


# What goes wrong


BAD: dict[str, tuple[object, type[Exception], str]] = {
    "retry": ("never", TypeError, "the result of retry must be a RetryPolicy, got 'never'"),
    "attempt_timeout": (-1, ValueError, "the result of attempt_timeout must not be negative, got -1"),
    "total_timeout": ("1", TypeError, "the result of total_timeout must be a number, got '1'"),
    "priority": (math.nan, ValueError, "the result of priority must not be NaN"),
    "requires": ("gpu", TypeError, "the result of requires must be an iterable of tags, not the single 'gpu'"),
    "worker": ("a", TypeError, "the result of worker must be a Worker, got 'a'; see pool.workers"),
    "name": (5, TypeError, "the result of name must be a str or None, got 5"),
    "metadata": ([1], TypeError, r"the result of metadata must be a mapping, got \[1\]"),
    "hedge": (1, TypeError, "the result of hedge must be a Hedge, got 1"),
    "after": ([5], TypeError, "the result of after must hold jobs, got 5"),
}


@pytest.mark.parametrize("option", BAD)
@EVERY_SOURCE
@EITHER
async def test_a_result_that_is_no_such_option_ends_the_stream(
    name: str, pages: Callable[[], Any], option: str, autojump_clock: MockClock
) -> None:
    value, kind, words = BAD[option]

    def always(page: Page) -> object:
        return value

    def none_for_the_third(page: Page) -> object:
        return None if page.rank == 3 else value

    def zero_for_the_third(page: Page) -> object:
        return 0 if page.rank == 3 else value

    answer = none_for_the_third
    if option in ("priority", "requires"):  # they have no None
        answer = zero_for_the_third if option == "priority" else always
    async with open_pool(1) as pool:
        async with getattr(pool, name)(fetch, pages(), **{option: answer}) as found:
            if option != "requires":
                first = await anext(found)
                assert (first.result() if isinstance(first, Job) else first) == "c"
            with pytest.raises(kind, match=words):
                await anext(found)
            with pytest.raises(StopAsyncIteration):
                await anext(found)
        assert await pool.run(fetch, Page(1, "it goes on")) == "it goes on"


async def test_a_worker_or_a_job_of_another_pool(autojump_clock: MockClock) -> None:
    async with open_pool(1) as other, open_pool(1) as pool:
        worker, job = other.workers[0], await other.submit(trio.sleep, 1)
        async with pool.map(fetch, PAGES, worker=lambda page: worker) as found:
            with pytest.raises(ValueError, match="the result of worker must be a worker of this pool"):
                await anext(found)
        async with pool.map(fetch, PAGES, after=lambda page: [job]) as found:
            with pytest.raises(ValueError, match="after must hold jobs of this pool"):
                await anext(found)


@pytest.mark.parametrize("error", [KeyError("rank"), Refuses(3), PoolClosedError("another")])
@EVERY_SOURCE
@EITHER
async def test_what_they_raise_ends_the_stream(
    name: str, pages: Callable[[], Any], error: Exception, autojump_clock: MockClock
) -> None:
    def raises(page: Page) -> float:
        if page.rank == 2:
            raise error
        return 0

    found: list[Any] = []
    async with open_pool(1) as pool, getattr(pool, name)(fetch, pages(), priority=raises) as stream:
        try:
            async for each in stream:
                found.append(each)  # noqa: PERF401
        except Exception as told:
            assert told is error  # noqa: PT017
            found.append("told")
    assert len(found) == 3
    assert found[2] == "told"


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancellation_that_nobody_has_asked_for_is_an_error(way: str, autojump_clock: MockClock) -> None:
    raised = WAYS[way](await stray())

    def raises(page: Page) -> float:
        raise raised

    async with open_pool(1) as pool:
        async with pool.map(fetch, PAGES, priority=raises) as stream:
            with pytest.raises(RuntimeError, match=r"trio\.Cancelled") as told:
                await collect(stream)
        assert told.value.__cause__ is raised
        assert await pool.run(fetch, PAGES[0]) == "c"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_what_is_no_exception_ends_the_pool(error: BaseException, autojump_clock: MockClock) -> None:
    def raises(page: Page) -> float:
        raise error

    with pytest.RaisesGroup(type(error)):
        async with open_pool(1) as pool, pool.map(fetch, PAGES, priority=raises):
            await trio.sleep_forever()


async def test_one_that_fails_when_the_reader_has_left_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(1) as pool, pool.map(fetch, PAGES, priority=lambda page: 1 / (page.rank - 3)):
        await trio.sleep(1)
    assert "ZeroDivisionError" in caplog.text


@EITHER
async def test_an_async_function_is_refused_at_the_call(name: str) -> None:
    async def rank(page: Page) -> float:
        await trio.lowlevel.checkpoint()
        return page.rank

    async with open_pool(1) as pool:
        for fn in (rank, partial(rank)):
            with pytest.raises(TypeError, match="priority must be a plain function of the item, not the async"):
                getattr(pool, name)(fetch, PAGES, priority=fn)


async def test_a_coroutine_as_result_is_refused() -> None:
    async def rank(page: Page) -> float:
        await trio.lowlevel.checkpoint()
        return page.rank

    def answer(page: Page) -> Any:
        return rank(page)

    async with open_pool(1) as pool, pool.map(fetch, PAGES, priority=answer) as found:
        with pytest.raises(TypeError, match="the result of priority must be had without awaiting it, got <coroutine"):
            await anext(found)


@EITHER
async def test_fixed_ones_are_checked_at_the_call(name: str) -> None:
    async with open_pool(1) as pool:
        for option, (value, kind, words) in BAD.items():
            with pytest.raises(kind, match=words.removeprefix("the result of ")):
                getattr(pool, name)(fetch, PAGES, **{option: value, "name" if option != "name" else "retry": None})


def one(page: Page) -> float:
    return 1


@EITHER
async def test_an_unknown_option_is_refused_even_if_it_is_a_function(name: str) -> None:
    async with open_pool(1) as pool:
        with pytest.raises(TypeError, match="unexpected keyword argument 'rank'"):
            getattr(pool, name)(fetch, PAGES, rank=one)


@pytest.mark.parametrize("name", ["submit", "run"])
async def test_elsewhere_an_option_is_no_function(name: str) -> None:
    async with open_pool(1) as pool:
        with pytest.raises(TypeError, match="priority must be a number, got <function"):
            await getattr(pool, name)(fetch, PAGES[0], priority=one)


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
