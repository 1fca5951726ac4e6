"""What the live view shows of groups, and of how far running jobs are."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from tests.actors import fails, sleeps
from tests.extras.rich.watch import A, B, Watch
from trio_pool import current_job, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock

HEADERS = "group running queued delayed ended dead"


def rows(lines: list[str]) -> list[str]:
    """The lines with single blanks in place of columns."""
    return [" ".join(line.split()) for line in lines]


async def reads(resource: str) -> None:
    current_job().report(30, 100, "reading")
    await trio.sleep(1)


async def test_a_group_is_shown_with_its_jobs_while_it_is_open(autojump_clock: MockClock) -> None:
    async with open_pool([A, B], on_dead="keep") as pool:
        watch = Watch(pool)
        async with pool.open_group(name="pages") as group:
            await group.run(sleeps, 0)
            await group.submit(fails)
            for _ in range(4):
                await group.submit(sleeps, 1)
            await trio.sleep(0.5)
            lines = rows(watch.lines())
            assert lines[lines.index(HEADERS) + 1] == "pages 2 2 0 2 1"
        assert HEADERS not in rows(watch.lines())


async def test_the_ten_busiest_groups_are_shown(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool, AsyncExitStack() as stack:
        watch = Watch(pool)
        for number in range(12):
            group = await stack.enter_async_context(pool.open_group(name=None if number == 11 else f"group {number}"))
            for _ in range(number):
                await group.submit(sleeps, 1)
        lines = rows(watch.lines())
        assert lines[lines.index(HEADERS) + 1] == "a group 0 11 0 0 0"
        assert lines[-1] == "group 2 0 2 0 0 0"
        pool.cancel()


async def test_a_low_terminal_shows_as_many_groups_as_fit(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool, AsyncExitStack() as stack:
        watch = Watch(pool)
        for number in range(8):
            await stack.enter_async_context(pool.open_group(name=f"group {number}"))
        lines = rows(watch.lines(height=14))
        assert lines[lines.index(HEADERS) + 1 :] == ["group 0 0 0 0 0 0", "group 1 0 0 0 0 0", "group 2 0 0 0 0 0"]


async def test_how_far_a_running_job_is_stands_beside_it(autojump_clock: MockClock) -> None:
    async with open_pool([A, B]) as pool:
        watch = Watch(pool)
        await pool.submit(reads)
        await pool.submit(sleeps, 1)
        await trio.sleep(0.5)
        assert "1 reads 30 of 100 (30 %), reading" in watch.line("A")
        assert "%" not in watch.line("B")
