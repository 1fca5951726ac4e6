"""The live view beside what is printed, and beside other views."""

from __future__ import annotations

import sys

import pytest
import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import works
from tests.extras.rich.outputs import Attach, Log, begins
from tests.extras.rich.watch import A
from tests.terminal import Terminal
from trio_pool import open_pool
from trio_pool.rich import live

# What is printed meanwhile


async def test_what_is_printed_comes_above_it(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool, live(pool):
        print("to output")
        print("to error", file=sys.stderr)
        assert begins(terminal)[:3] == ["to", "to", "pool"]
        print("two\nlines")
    assert begins(terminal)[:5] == ["to", "to", "two", "lines", "pool"]
    assert begins(terminal).count("pool") == 1


async def test_what_is_printed_is_not_read_for_markup(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool, live(pool):
        print("[red]line[/red]")
        print("[red]flushed[/nonsense]", end="", flush=True)
        assert terminal.lines[:2] == ["[red]line[/red]", "[red]flushed[/nonsense]"]


async def test_an_unfinished_line_is_not_lost_at_the_end(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool:
        async with live(pool):
            print("[un", end="")
            print("finished]", end="")
            assert "finished" not in terminal.text
        assert terminal.lines[0] == "[unfinished]"


async def test_printing_says_how_much_it_has_written(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool, live(pool):
        assert sys.stdout.write("four") == 4
        assert sys.stdout.write("") == 0
        assert sys.stdout.write("\n") == 1
        assert sys.stdout.encoding == "utf-8"
    assert terminal.lines[0] == "four"


async def test_a_program_s_own_console_prints_above_it_when_it_is_given(attach: Attach) -> None:
    terminal = attach(Terminal())
    console = Console()
    async with open_pool([A]) as pool, live(pool, console=console):
        console.print("[bold]said[/bold]")
        assert begins(terminal)[:2] == ["said", "pool"]


async def test_output_that_goes_to_a_file_still_does(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach(Terminal())
    log = Log()
    monkeypatch.setattr(sys, "stdout", log)
    async with open_pool([A]) as pool, live(pool):
        print("said")
    assert log.lines == ["said"]
    assert "said" not in terminal.text


async def test_a_view_in_another_terminal_leaves_output_alone(attach: Attach) -> None:
    terminal = attach(Terminal())
    frames = Log()
    console = Console(file=frames, force_terminal=True, width=100, height=40)
    async with open_pool([A]) as pool, live(pool, console=console):
        print("said")
    assert terminal.lines == ["said", ""]
    assert "worker" in frames.getvalue()


async def test_output_that_somebody_else_has_redirected_meanwhile_stays_so(
    attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = attach(Terminal())
    log = Log()
    async with open_pool([A]) as pool:
        async with live(pool):
            monkeypatch.setattr(sys, "stdout", log)
        assert sys.stdout is log
        assert sys.stderr is terminal


async def test_a_closed_output_is_no_terminal(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach(Terminal())
    log = Log()
    log.close()
    monkeypatch.setattr(sys, "stdout", log)
    async with open_pool([A]) as pool, live(pool):
        assert sys.stdout is log
    assert begins(terminal)[0] == "pool"


# Several of them


async def test_two_views_in_one_terminal_are_below_each_other_and_share_its_height(
    attach: Attach, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = attach(Terminal())
    monkeypatch.setenv("LINES", "21")
    slots = open_pool(20, name="first"), open_pool(20, name="second")
    async with slots[0] as first, slots[1] as second, live(first), live(second):
        await trio.sleep(1)
        assert len(terminal.lines) <= 21
        assert [word for word in begins(terminal) if word in ("first", "second", "and")] == [
            "first",
            "and",
            "second",
            "and",
        ]
    assert terminal.shows_cursor()
    assert sys.stdout is terminal


@pytest.mark.parametrize("order", ["first", "second"])
async def test_a_view_that_ends_leaves_its_last_frame_above_those_that_go_on(
    order: str, attach: Attach, autojump_clock: MockClock
) -> None:
    terminal = attach(Terminal())
    events = {"first": trio.Event(), "second": trio.Event()}

    async def watch(name: str) -> None:
        async with open_pool([A], name=name) as pool, live(pool):
            await events[name].wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, "first")
        await wait_all_tasks_blocked()
        nursery.start_soon(watch, "second")
        await trio.sleep(1)
        events.pop(order).set()
        await trio.sleep(2.1)
        ((rest, event),) = events.items()
        shown = [line.split() for line in terminal.lines if line.startswith(("first", "second"))]
        assert shown == [[order, "0:01"], [rest, "0:03"]]
        assert not terminal.shows_cursor()
        print("said")
        assert begins(terminal).index(order) < begins(terminal).index("said") < begins(terminal).index(rest)
        event.set()
    assert terminal.shows_cursor()
    assert sys.stdout is terminal


async def test_one_pool_may_have_several(attach: Attach) -> None:
    terminal = attach(Terminal())
    log = Log()
    async with open_pool([A]) as pool, live(pool), live(pool), live(pool, console=Console(file=log)):
        await pool.run(works)
    assert begins(terminal).count("A") == 2
    assert len(log.lines) == 1


async def test_views_one_after_the_other_in_one_console_are_independent(attach: Attach) -> None:
    terminal = attach(Terminal())
    console = Console()
    for name in ("first", "second"):
        async with open_pool([A], name=name) as pool, live(pool, console=console):
            pass
    assert [word for word in begins(terminal) if word in ("first", "second")] == ["first", "second"]


async def test_inside_a_display_of_the_program_s_own_neither_harms_the_other(attach: Attach) -> None:
    terminal = attach(Terminal())
    console = Console()
    with Live(Text("their display"), console=console, auto_refresh=False) as display:
        async with open_pool([A]) as pool, live(pool, console=console):
            assert await pool.run(works) == "done"
        display.update(Text("still theirs"), refresh=True)
    assert terminal.line("still theirs")
    assert terminal.shows_cursor()
    assert sys.stdout is terminal
