"""What the live view shows of failures, whatever the names and errors are."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from rich.cells import cell_len

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.extras.rich.watch import A, Watch, says
from trio_pool import GiveUp, Resource, RetryPolicy, open_pool
from trio_pool.rich._frame import plain_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock


def failures_in(lines: list[str]) -> list[str]:
    """The rows of the table of failures, with single blanks in place of columns."""
    head = next(index for index, line in enumerate(lines) if line.split() == ["worker", "failed", "job", "error"])
    return [" ".join(line.split()) for line in lines[head + 1 :]]


# The failures


async def test_the_last_failures_are_shown_with_worker_job_and_error_the_newest_first(
    autojump_clock: MockClock,
) -> None:
    async with open_pool([A], retry=RetryPolicy.fixed(1.0)) as pool:
        watch = Watch(pool)
        await pool.submit(says, OSError("no paper"), name="print")
        await trio.sleep(1.5)
        assert failures_in(watch.lines()) == [
            "A 0.5 s ago 1 print OSError: no paper",
            "A 1.5 s ago 1 print OSError: no paper",
        ]
        pool.cancel()


async def test_no_more_failures_are_kept_than_asked_for(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool, failures=2)
        for number in range(4):
            await pool.submit(says, OSError(number))
        await pool.join()
        assert [line.split()[-1] for line in failures_in(watch.lines())] == ["3", "2"]


async def test_without_room_for_failures_there_is_no_table_of_them(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool, failures=0)
        await pool.submit(fails)
        await pool.join()
        assert not any("error" in line for line in watch.lines())


async def test_the_failure_that_made_a_job_dead_is_marked(autojump_clock: MockClock) -> None:
    async with open_pool([A], retry=RetryPolicy(max_attempts=2), on_dead="keep") as pool:
        watch = Watch(pool)
        await pool.submit(says, OSError("no paper"))
        await pool.join()
        errors = [line.partition("… ")[2] for line in failures_in(watch.lines())]
        assert errors == ["dead: OSError: no paper", "OSError: no paper"]


async def test_a_death_that_no_attempt_brought_about_is_shown_with_its_reason(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool)
        await pool.submit(fails, name="running")
        await trio.lowlevel.checkpoint()
        await pool.submit(sleeps, 60)
        waiting = await pool.submit(works, name="waiting", total_timeout=5)
        await trio.sleep(6)
        assert failures_in(watch.lines()) == [
            f"1.0 s ago 3 waiting dead: {waiting.reason}",
            "A 6.0 s ago 1 running dead: ValueError: failed",
        ]
        pool.cancel()


async def test_an_attempt_that_was_cut_short_is_no_failure(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool)
        job = await pool.submit(sleeps_forever)
        await trio.sleep(1)
        job.cancel()
        await pool.join()
        assert len(watch.failures.kept) == 0


async def test_what_a_job_asked_for_counts_as_a_failure_too(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool)
        await pool.submit(says, GiveUp("no such page"), name="print")
        await pool.join()
        assert failures_in(watch.lines())[0] == "A 0.0 s ago 1 print dead: GiveUp: no such page"


async def test_failures_take_no_more_than_their_share_of_the_lines(autojump_clock: MockClock) -> None:
    async with open_pool(20, on_dead="keep") as pool:
        watch = Watch(pool)
        for _ in range(5):
            await pool.submit(has_no_paper)
        await pool.join()
        for height in range(1, 40):
            lines = watch.lines(height=height)
            assert len(lines) <= max(4, height)


async def has_no_paper() -> None:
    raise OSError("no paper")


# Whatever the names and errors are


NASTY = [
    "[red]markup[/red]",
    "[/]",
    "a \x1b[2J command to the terminal",
    "two\nlines\tand tabs",
    "a very long name, " * 50,
    "東京のサーバーは大変に長い名前を持っている",
    "e\u0301 and \u200d joined and \udc80 alone",
    "",
]


@asynccontextmanager
async def nasty_pool(watch_failures: int = 8) -> AsyncGenerator[Watch]:
    """A pool all of whose names and errors are odd."""
    described = [Resource(name, name=name or None) for name in NASTY]
    async with open_pool(described, name=NASTY[0] + NASTY[2], on_dead="keep") as pool:
        watch = Watch(pool, total=12345678, failures=watch_failures)
        for name in NASTY:
            await pool.submit(says, OSError(name), name=name or None)
        await pool.join()
        for name in NASTY:
            await pool.submit(sleeps, 1000, name=name or None)
        await trio.sleep(7)
        yield watch
        pool.cancel()


async def test_names_and_errors_are_shown_as_they_are_and_not_read_for_markup(autojump_clock: MockClock) -> None:
    async with nasty_pool() as watch:
        text = "\n".join(watch.lines(width=300))
        assert text.count("[red]markup[/red]") == 6  # the pool, a worker and its job, and both with their error
        assert "OSError: [/]" in text


async def test_what_would_be_a_command_to_the_terminal_is_spelt_out(autojump_clock: MockClock) -> None:
    async with nasty_pool() as watch:
        text = "".join(watch.lines(width=300)) + watch.plain()
        assert text.isprintable()
        assert r"a \x1b[2J command" in text


@pytest.mark.parametrize("width", [*range(1, 30), 49, 50, 65, 66, 79, 80, 95, 96, 120, 400])
async def test_no_line_is_wider_than_the_terminal(width: int, autojump_clock: MockClock) -> None:
    async with nasty_pool() as watch:
        assert max(map(cell_len, watch.lines(width))) <= width


@pytest.mark.parametrize("width", [66, 80, 120])
async def test_columns_are_aligned_whatever_is_in_them(width: int, autojump_clock: MockClock) -> None:
    async with nasty_pool() as watch:
        lines = watch.lines(width)
        first = next(index for index, line in enumerate(lines) if line.startswith("worker"))
        last = lines.index("", first)
        assert {cell_len(line) for line in lines[first:last]} == {width}
        cells = {cell_len(line[: line.index("busy")]) for line in lines[first + 1 : last]}
        assert len(cells) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_a_terminal_gets_nothing_that_it_has_no_character_for(encoding: str, autojump_clock: MockClock) -> None:
    async with nasty_pool() as watch:
        lines = watch.lines(encoding=encoding)
        assert "".join(lines).encode(encoding)
        assert set(lines[1]) <= set("#=.")
        first = next(index for index, line in enumerate(lines) if line.startswith("worker"))
        assert {cell_len(line) for line in lines[first : lines.index("", first)]} == {120}
        assert plain_line(watch.read(), encoding).encode(encoding)


async def test_an_error_that_cannot_say_what_it_is_is_shown_by_its_type(autojump_clock: MockClock) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool)
        await pool.submit(fails)
        await pool.join()
        watch.failures.kept.append(attrs.evolve(watch.failures.kept[0], error=MuteError()))
        assert failures_in(watch.lines())[0].endswith("MuteError: <its text can't be read>")
