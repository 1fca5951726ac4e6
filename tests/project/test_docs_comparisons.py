"""Each line of code in the pages for those who come from another library runs."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import math
import re
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

import trio_pool
import trio_pool.otel
import trio_pool.testing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("from_*.rst"))
LINE = re.compile(r"^     - ``([^`\n]+)``$(?=\n   \* |\n\n|\n?\Z)", re.MULTILINE)
"""The last cell of a row of a table."""


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def lines_of(page: str) -> list[str]:
    return LINE.findall(text_of(page))


class Client:
    """A connection, a session or a client: what the pages have a pool of."""

    async def execute(self, statement: str) -> str:
        await trio.lowlevel.checkpoint()
        return statement

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()


async def fetch(client: Client, url: str) -> str:
    await trio.lowlevel.checkpoint()
    return url


async def get(url: str) -> str:
    await trio.lowlevel.checkpoint()
    return url


@asynccontextmanager
async def connect(token: str = "") -> AsyncGenerator[Client]:
    yield Client()


@asynccontextmanager
async def transaction(pool: trio_pool.Pool[Client]) -> AsyncGenerator[Client]:
    async with pool.acquire() as client:
        yield client


async def run_with_names(line: str, pool: trio_pool.Pool[Client], slots: trio_pool.SlotPool) -> None:
    """Run a line of code in names that it takes for granted."""
    job = await pool.submit(fetch, "/page")
    await job.wait()
    names: dict[str, Any] = {
        **vars(trio_pool),
        **vars(trio_pool.testing),
        "AsyncExitStack": AsyncExitStack,
        "Client": Client,
        "MockClock": trio.testing.MockClock,
        "Telemetry": trio_pool.otel.Telemetry,
        "attrs": attrs,
        "clients": [Client(), Client()],
        "connect": connect,
        "fetch": fetch,
        "get": get,
        "itertools": itertools,
        "job": job,
        "math": math,
        "partial": functools.partial,
        "pool": pool,
        "slots": slots,
        "tokens": ["token-a", "token-b"],
        "transaction": transaction,
        "trio": trio,
        "url": "/page",
        "urls": ["/1", "/2"],
        "worker": pool.workers[1],
    }
    if line.startswith("open_pool("):
        line = f"async with {line}: pass"
    outcome = eval(compile(line, f"<{line}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), names)
    if inspect.iscoroutine(outcome):
        await outcome


async def run_a_line(line: str) -> None:
    async with (
        trio_pool.open_pool(trio_pool.Elastic(connect, min=2, max=4)) as pool,
        trio_pool.open_pool(2) as slots,
    ):
        if "current_job" not in line:
            await run_with_names(line, pool, slots)
        else:
            await pool.run(_in_a_job(line, pool, slots))


def _in_a_job(line: str, pool: trio_pool.Pool[Client], slots: trio_pool.SlotPool) -> Callable[[Client], Any]:
    async def run_inside(client: Client) -> None:
        await run_with_names(line, pool, slots)

    return run_inside


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in dict.fromkeys(lines_of(page))])
def test_line_for_those_who_come_from_elsewhere_runs(page: str, line: str) -> None:
    trio.run(run_a_line, line, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("page", PAGES)
def test_each_row_of_a_comparison_has_a_line_of_code(page: str) -> None:
    text = text_of(page)
    rows = text.count("\n   * - ") - text.count("     - a line of code\n")
    assert len(lines_of(page)) == rows > 0
