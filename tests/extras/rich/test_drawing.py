"""When and where the live view draws, and what it takes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tests.actors import fails, sleeps, works
from tests.extras.rich.outputs import Attach, Log, begins
from tests.extras.rich.watch import A
from tests.openers import OpenPool, both
from tests.terminal import Terminal
from trio_pool import open_pool
from trio_pool.rich import live

# When it draws


async def test_frames_come_at_once_then_after_each_interval_and_at_the_end(autojump_clock: MockClock) -> None:
    terminal = Terminal()
    seen: list[str] = []
    async with open_pool([A]) as pool:
        async with live(pool, frame_interval=2, console=terminal.console()):
            for seconds in (1, 2, 2, 0):
                seen.append(terminal.line("pool").split()[1])
                await trio.sleep(seconds)
        for _ in range(2):
            seen.append(terminal.line("pool").split()[1])
            await trio.sleep(10)
    assert seen == ["0:00", "0:00", "0:02", "0:04", "0:05", "0:05"]


async def test_nothing_is_done_between_two_frames_whatever_the_pool_does(autojump_clock: MockClock) -> None:
    terminal = Terminal()
    async with open_pool([A], on_dead="keep") as pool, live(pool, frame_interval=60, console=terminal.console()):
        await wait_all_tasks_blocked()
        before = terminal.writes
        for _ in range(100):
            await pool.run(works)
            await pool.submit(fails)
        await pool.join()
        await trio.sleep(59)
        assert terminal.writes == before


async def test_entering_and_leaving_are_checkpoints() -> None:
    async with open_pool([A]) as pool, AsyncExitStack() as stack:
        with assert_checkpoints():
            await stack.enter_async_context(live(pool, console=Terminal().console()))
        with assert_checkpoints():
            await stack.aclose()


async def test_it_is_not_entered_by_who_has_been_cancelled() -> None:
    terminal = Terminal()
    async with open_pool([A]) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with live(pool, console=terminal.console()):
                raise AssertionError("never reached")
        assert scope.cancelled_caught
    assert terminal.lines == [""]


# Where there is no terminal


async def test_where_there_is_no_terminal_it_prints_a_line_after_each_interval_and_at_the_end(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    console = Console(file=log)
    async with open_pool([A], name="printers") as pool, live(pool, line_interval=2, total=4, console=console):
        await pool.submit(sleeps, 1)
        await pool.submit(sleeps, 4)
        await trio.sleep(5.5)
    assert log.lines == [
        "printers 0:02  1 of 4 ended (25 %), 0.5/s, 3 s left, 1 running, 0 queued, 0 delayed; workers: 1 busy",
        "printers 0:04  1 of 4 ended (25 %), 0.2/s, 7 s left, 1 running, 0 queued, 0 delayed; workers: 1 busy",
        "printers 0:05  2 of 4 ended (50 %), 0.4/s, 5 s left, 0 running, 0 queued, 0 delayed; workers: 1 idle",
    ]


async def test_a_line_is_neither_broken_nor_read_for_markup(autojump_clock: MockClock) -> None:
    log = Log()
    name = "[red]red[/red] :smile: " + 20 * "name "
    async with open_pool([A], name=name) as pool, live(pool, console=Console(file=log, width=40)):
        pass
    (line,) = log.lines
    assert line.startswith("[red]red[/red] :smile: name name")


async def test_by_default_it_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    async with open_pool([A]) as pool, live(pool):
        print("said")
    out, err = capsys.readouterr()
    assert out == "said\n"
    assert err.startswith("0:00  0 ended")


async def test_colors_that_are_forced_make_no_terminal_of_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    async with open_pool([A]) as pool, live(pool):
        pass
    assert capsys.readouterr().err.isprintable() is False  # for the line's end alone:
    assert len(capsys.readouterr().err.splitlines()) <= 1


async def test_a_dumb_terminal_gets_lines_too(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    async with open_pool([A]) as pool, live(pool):
        print("said")
    assert begins(terminal) == ["said", "0:00", ""]


async def test_a_program_without_standard_error_gets_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    async with open_pool([A]) as pool, live(pool):
        assert await pool.run(works) == "done"


# What it takes


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"total": -1}, ValueError),
        ({"total": 1.5}, TypeError),
        ({"failures": -1}, ValueError),
        ({"frame_interval": 0}, ValueError),
        ({"frame_interval": -1}, ValueError),
        ({"line_interval": 0}, ValueError),
        ({"line_interval": "5"}, TypeError),
        ({"console": sys.stderr}, TypeError),
    ],
)
async def test_an_argument_that_makes_no_sense_is_refused_at_the_call(
    options: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = options
    async with open_pool([A]) as pool:
        with pytest.raises(error, match=f"^{name} must "):
            live(pool, **options)


def test_what_is_no_pool_is_refused_at_the_call() -> None:
    not_a_pool: Any = "pool"
    with pytest.raises(TypeError, match=r"^pool must be a Pool or a SlotPool, got 'pool'$"):
        live(not_a_pool)


# Without rich


def test_without_rich_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("trio_pool.rich")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [*sys.modules]:
        if name.partition(".")[0] == "rich":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ImportError, match=r'pip install "trio-pool\[rich\]"') as caught:
        importlib.import_module("trio_pool.rich")
    assert isinstance(caught.value.__cause__, ImportError)


def test_the_library_does_without_it() -> None:
    code = "import sys, trio_pool; sys.exit(any(name.partition('.')[0] == 'rich' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@both
async def test_it_is_entered_by_async_with(opened: OpenPool) -> None:
    async with opened() as pool:
        view: Any = live(pool)
        with pytest.raises(TypeError, match=r"^use 'async with', not 'with'$"), view:
            pass
