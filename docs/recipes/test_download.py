"""Tests of code that uses a pool: on a clock that jumps, with functions that fail, and in a fixed order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import pytest
import trio

from trio_pool import JobFailedError, RetryPolicy, open_pool
from trio_pool.testing import Flaky, assert_settled, one_at_a_time

if TYPE_CHECKING:
    from trio.testing import MockClock

Fetch = Callable[[str, str], Awaitable[bytes]]


async def download(tokens: Iterable[str], paths: Iterable[str], fetch: Fetch) -> list[bytes]:
    """The code under test: in a program it is in a module of its own."""
    patient = RetryPolicy(max_attempts=3, base_delay=60, placement="other")
    async with open_pool(tokens, retry=patient, attempt_timeout=30) as pool, pool.map(fetch, paths) as bodies:
        return [body async for body in bodies]


async def test_a_page_that_fails_is_tried_with_the_other_token(autojump_clock: MockClock) -> None:
    fetch = Flaky(1, result=b"body", error=OSError)
    assert await download(["a", "b"], ["/1"], fetch) == [b"body"]
    assert fetch.calls == [("a", "/1"), ("b", "/1")]


async def test_a_page_that_keeps_failing_is_raised(autojump_clock: MockClock) -> None:
    with pytest.raises(JobFailedError) as failure:
        await download(["a", "b"], ["/1"], Flaky(3, result=b"", error=OSError("no route")))
    assert str(failure.value.__cause__) == "no route"


async def test_a_token_that_hangs_costs_half_a_minute_and_no_more(autojump_clock: MockClock) -> None:
    async def fetch(token: str, path: str) -> bytes:
        await trio.sleep(3600 if token == "a" else 1)
        return path.encode()

    assert await download(["a", "b"], ["/1", "/2"], fetch) == [b"/1", b"/2"]
    assert 30 < trio.current_time() < 30 + 60 + 2  # the timeout, the longest pause, a download


async def test_pages_are_fetched_in_order(autojump_clock: MockClock) -> None:
    fetch = Flaky(0, result=b"body")
    with one_at_a_time():
        await download(["a", "b"], ["/1", "/2", "/3"], fetch)
    assert [path for _, path in fetch.calls] == ["/1", "/2", "/3"]


async def test_stopping_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(Flaky(0), "/1")
        pool.cancel()
    assert_settled(pool)
    assert pool.statistics().cancelled == 1
