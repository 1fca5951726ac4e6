"""The live view: when and where it draws, how it ends, and that it never gets into anybody's way."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeVar

import pytest
import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.openers import OpenPool, both
from tests.terminal import Terminal
from trio_pool import Instrument, Pool, Resource, open_pool
from trio_pool.rich import live

A = Resource("a", name="A")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of one kind and size, whatever the tests are run in."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "vt100", "COLUMNS": "100", "LINES": "40"}.items():
        monkeypatch.setenv(name, value)


T = TypeVar("T", bound=Terminal)


class Attach(Protocol):
    def __call__(self, terminal: T, /) -> T: ...


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Attach:
    """Lets standard output and standard error go to a terminal; called by the test, since pytest captures them."""

    def attach(terminal: T) -> T:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return attach


def begins(terminal: Terminal) -> list[str]:
    """The first word of each line of a terminal."""
    return [line.split()[0] if line else "" for line in terminal.lines]


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


class Log(io.StringIO):
    """A file that is no terminal."""

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


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
        "printers 0:02  1 of 4 ended (25 %), 0.5/s, 6 s left, 1 running, 0 queued, 0 delayed; workers: 1 busy",
        "printers 0:04  1 of 4 ended (25 %), 0.2/s, 12 s left, 1 running, 0 queued, 0 delayed; workers: 1 busy",
        "printers 0:05  2 of 4 ended (50 %), 0.4/s, 6 s left, 0 running, 0 queued, 0 delayed; workers: 1 idle",
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


async def test_colours_that_are_forced_make_no_terminal_of_a_file(
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


# How it ends


async def test_the_last_frame_stays_on_the_screen_and_the_cursor_comes_back(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool:
        async with live(pool, total=1):
            assert not terminal.shows_cursor()
            await pool.run(works)
        print("after it")
    assert terminal.shows_cursor()
    assert begins(terminal) == ["pool", "━" * 100, "0", "1", "", "worker", "A", "after", ""]
    assert terminal.lines[3].endswith("1 of 1 (100 %)")


@both
async def test_what_the_body_raises_comes_out_as_it_is(opened: OpenPool, attach: Attach) -> None:
    terminal = attach(Terminal())
    error = KeyError("body")
    cause = OSError("cause")
    with pytest.raises(KeyError) as caught:
        async with opened() as pool, live(pool):
            raise error from cause
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (cause, None)
    assert terminal.shows_cursor()
    assert sys.stdout is terminal


async def test_what_the_body_raises_is_not_lost_in_a_cancellation_from_outside(attach: Attach) -> None:
    attach(Terminal())
    error = KeyError("body")
    caught: BaseException | None = None
    async with open_pool([A]) as pool:
        with trio.CancelScope() as scope:
            try:
                async with live(pool):
                    scope.cancel()
                    raise error
            except BaseException as exc:
                caught = exc
    assert caught is error


async def test_a_timeout_around_it_ends_it(attach: Attach, autojump_clock: MockClock) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool:
        with trio.move_on_after(5) as scope:
            async with live(pool):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() == 5
        assert terminal.line("pool").split()[1] == "0:05"
        assert terminal.shows_cursor()


async def test_a_pool_that_is_cancelled_in_it_ends_as_it_does_without(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool, live(pool):
        await pool.submit(sleeps_forever)
        pool.cancel()
        await trio.sleep(1000)
    assert terminal.shows_cursor()
    assert terminal.line("A")


async def test_it_ends_with_its_block_though_the_pool_goes_on(attach: Attach, autojump_clock: MockClock) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool:
        async with live(pool):
            await pool.submit(sleeps, 100)
        assert pool._engine.instruments == []
        before = terminal.text
        await trio.sleep(50)
        assert terminal.text == before
    assert terminal.line("A").split()[1] == "busy"


async def test_it_ends_with_the_pool_though_its_block_goes_on(attach: Attach, autojump_clock: MockClock) -> None:
    terminal = attach(Terminal())

    async def watch(pool: Pool[str]) -> None:
        async with live(pool):
            await trio.sleep(10)
            assert sys.stdout is terminal
            assert terminal.shows_cursor()
            print("still there")

    async with trio.open_nursery() as nursery, open_pool([A]) as pool:
        nursery.start_soon(watch, pool)
        await pool.submit(sleeps, 3)
    assert terminal.lines[-2:] == ["still there", ""]
    assert terminal.line("pool").split()[1] == "0:03"


async def test_of_a_pool_that_is_over_it_shows_the_end(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool:
        await pool.run(works)
    async with live(pool):
        await trio.lowlevel.checkpoint()
    assert terminal.lines[3].endswith("1 of 1 so far")
    assert terminal.line("A").split()[1] == "stopped"


async def test_lines_too_end_with_the_pool(autojump_clock: MockClock) -> None:
    log = Log()

    async def watch(pool: Pool[str]) -> None:
        async with live(pool, console=Console(file=log)):
            await trio.sleep(100)

    async with trio.open_nursery() as nursery, open_pool([A]) as pool:
        nursery.start_soon(watch, pool)
        await pool.submit(sleeps, 3)
    assert [line.split()[0] for line in log.lines] == ["0:03"]


async def test_a_job_may_open_one(attach: Attach) -> None:
    terminal = attach(Terminal())

    async def watches(resource: object) -> None:
        async with live(pool):
            await trio.lowlevel.checkpoint()

    async with open_pool([A]) as pool:
        await pool.run(watches, name="watches")
    assert terminal.line("A").split()[4:6] == ["1", "watches"]


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


# When it fails


class Faulty(Terminal):
    """A terminal that fails as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("error", [OSError("no terminal"), SystemExit(1), UnicodeEncodeError("x", "y", 0, 1, "z")])
async def test_a_view_that_fails_is_logged_and_stopped_and_the_block_goes_on(
    error: BaseException,
    attach: Attach,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    terminal = attach(Faulty())
    async with open_pool([A], name="printers") as pool:
        async with live(pool, console=Console()):
            terminal.error = error
            assert await pool.run(sleeps, 5) == 5
            assert sys.stdout is terminal
            assert pool._engine.instruments == []
            (record,) = caplog.records
            assert record.name == "trio_pool"
            assert record.getMessage() == "the live view of the pool 'printers' failed and was stopped"
            assert record.exc_info is not None
            assert record.exc_info[1] is error
            terminal.error = None
            await trio.sleep(5)
        assert "0:05" not in terminal.text
    assert len(caplog.records) == 1


async def test_a_view_that_fails_at_the_beginning_is_logged_and_the_block_runs(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    terminal = Faulty()
    terminal.error = OSError("no terminal")
    async with open_pool([A]) as pool, live(pool, console=terminal.console()):
        assert await pool.run(sleeps, 5) == 5
    assert [record.getMessage() for record in caplog.records] == ["the live view of the pool failed and was stopped"]


async def test_a_view_that_fails_at_the_end_is_logged_and_what_the_body_raises_comes_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    terminal = Faulty()

    async def main() -> None:
        async with open_pool([A]) as pool, live(pool, console=terminal.console()):
            terminal.error = OSError("no terminal")
            raise KeyError

    with pytest.raises(KeyError):
        await main()
    assert len(caplog.records) == 1


async def test_the_cursor_comes_back_though_the_last_frame_can_t_be_written(caplog: pytest.LogCaptureFixture) -> None:
    class Narrow(Terminal):
        """Has no character for the bar."""

        def write(self, text: str) -> int:
            if "┈" in text:
                raise OSError("what is that?")
            return super().write(text)

    terminal = Narrow()
    async with open_pool([A]) as pool, live(pool, console=terminal.console()):
        pass
    assert terminal.shows_cursor()
    assert len(caplog.records) == 1


async def test_lines_that_can_t_be_written_are_given_up(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    log = Log()
    async with open_pool([A]) as pool, live(pool, console=Console(file=log)):
        log.close()
        assert await pool.run(sleeps, 60) == 60
    assert len(caplog.records) == 1


async def test_a_reader_who_has_gone_does_not_end_the_program(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    # Unbuffered, so that nothing is left to be written when it is closed.
    with io.TextIOWrapper(os.fdopen(writing, "wb", buffering=0), write_through=True) as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        async with open_pool([A]) as pool, live(pool):
            assert await pool.run(sleeps, 60) == 60
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is BrokenPipeError


async def test_an_instrument_of_the_program_s_that_raises_is_not_the_view_s_affair(attach: Attach) -> None:
    terminal = attach(Terminal())

    class Broken(Instrument):
        def job_finished(self, job: object) -> None:
            raise RuntimeError("broken")

    async with open_pool([A], instruments=[Broken()], on_dead="keep") as pool, live(pool):
        await pool.submit(fails)
        await pool.join()
    assert terminal.line("A                 0.0 s ago")


# Ctrl-C


class Interrupting(Terminal):
    """A terminal at which somebody presses Ctrl-C in the middle of a write."""

    def __init__(self) -> None:
        super().__init__()
        self.at: str | None = None

    def write(self, text: str) -> int:
        if self.at is not None and self.at in text:
            self.at = None
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


@pytest.mark.parametrize("at", ["\x1b[?25l", "0:00", "0:01", "\x1b[?25h"])
def test_ctrl_c_while_something_is_drawn_comes_out_with_the_terminal_as_it_was(
    at: str, attach: Attach, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = attach(Interrupting())
    terminal.at = at

    async def main() -> None:
        async with open_pool([A]) as pool:
            async with live(pool, frame_interval=1, console=Console()):
                await trio.sleep(1.5)
            await trio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert sys.stdout is terminal
    assert terminal.shows_cursor()
    assert begins(terminal).count("pool") == 1
    assert caplog.records == []


def test_ctrl_c_while_something_is_printed_comes_when_that_has_been_done(attach: Attach) -> None:
    terminal = attach(Interrupting())

    async def main() -> None:
        async with open_pool([A]) as pool, live(pool):
            terminal.at = "said"
            print("said")
            print("said too")
            await trio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert terminal.lines[:2] == ["said", "said too"]


def test_ctrl_c_while_the_last_frame_is_drawn_comes_with_what_the_body_raised(attach: Attach) -> None:
    terminal = attach(Interrupting())
    error = ValueError("body")

    async def main() -> None:
        async with open_pool([A]) as pool, live(pool):
            terminal.at = "\x1b[?25h"
            raise error

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main)
    assert caught.value.__context__ is error


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
