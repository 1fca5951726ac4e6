"""Functions of the item that give no such option, or that raise."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.exceptions import WAYS, Refuses, stray
from tests.pool.streams.pages import EVERY_SOURCE, PAGES, Page, collect, fetch
from tests.streams import EITHER
from trio_pool import Job, PoolClosedError, open_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

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
        with pytest.raises(TypeError, match="priority must be a plain function of the item, which returned <coroutine"):
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
