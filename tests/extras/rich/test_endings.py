"""How the live view ends, also when it fails or Ctrl-C is pressed."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.extras.rich.outputs import Attach, Log, begins
from tests.extras.rich.watch import A
from tests.openers import OpenPool, both
from tests.terminal import Terminal
from trio_pool import Instrument, Pool, open_pool
from trio_pool.rich import live

# How it ends


async def test_the_last_frame_stays_on_the_screen_and_the_cursor_comes_back(attach: Attach) -> None:
    terminal = attach(Terminal())
    async with open_pool([A]) as pool:
        async with live(pool, total=1):
            assert not terminal.shows_cursor()
            await pool.run(works)
        print("after it")
    assert terminal.shows_cursor()
    assert begins(terminal) == ["pool", "━" * 100, "0", "1", "bottleneck:", "", "worker", "A", "after", ""]
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


async def test_of_a_pool_that_is_over_there_is_one_line_and_at_once(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_pool([A]) as pool:
        await pool.run(works)
    async with live(pool, console=Console(file=log)):
        await trio.sleep(100)
    assert [line.split()[0] for line in log.lines] == ["0:00"]


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
