"""The live view: it reads the pool, draws frames and shows them in the terminal."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import trio

try:
    from rich.console import Console
except ImportError as _error:
    raise ImportError('trio_pool.rich needs rich: pip install "trio-pool[rich]"') from _error

from .._api.pool import checked_pool
from .._basics.logs import report
from .._basics.text import one_line
from .._policies import validate
from .._runtime.block import Block
from ._frame import frame, plain_line
from ._readings import Failures, Readings
from ._terminal import Place, console_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from contextlib import AbstractAsyncContextManager

    from .._api.pool import Pool, SlotPool
    from .._model.statistics import PoolStatistics
    from ._readings import Reading


def live(
    pool: Pool[Any] | SlotPool,
    *,
    total: int | None = None,
    failures: int = 5,
    frame_interval: float = 0.25,
    line_interval: float = 5.0,
    console: Console | None = None,
) -> AbstractAsyncContextManager[None]:
    """Show a pool's activity in a terminal, as long as the block lasts.

    Use it inside the pool's block: ``async with live(pool): ...``. The view shows the workers and
    what each is doing, the jobs by state, how fast they end, and the last failures. If jobs use
    units, it also shows how much of each was used lately, compared to the limits. Other output
    appears above the view, and the last frame stays on the screen.

    The view ends with its block, or when the pool is closed and every job has ended, if that is
    earlier. At the end of its block, jobs may still be in the pool: to watch them too, call ``await
    pool.join()`` inside the block.

    If the output is not a terminal, the view prints a line of plain text at intervals and at the
    end.

    Several views can be open at once, of the same pool or of different ones; views in one terminal
    share its height.

    If a view fails, for example because its terminal has gone, it is stopped, and the error is
    logged with its traceback. This affects neither the block nor the pool. Entering and leaving the
    block are checkpoints. An exception of the body propagates unchanged, not in a group.

    Arguments:
      pool: the pool to watch.
      total: the number of jobs, if it is known. The view then also shows how long they will take, as
          far as the places, the limits, the keys and the rests of the pool tell. If there are more
          jobs, the actual number is used.
      failures: how many of the last failures to show, zero or more.
      frame_interval: seconds between two frames in a terminal, more than zero.
      line_interval: seconds between two lines without a terminal, more than zero.
      console: where to draw, by default standard error. If the program prints with a rich console
          of its own, pass that console, so that both share the terminal.

    Returns:
      an async context manager that yields nothing.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type; raised by the
          call.
    """
    checked_pool(pool)
    if total is not None:
        validate.count("total", total, least=0)
    validate.count("failures", failures, least=0)
    for name, seconds in (("frame_interval", frame_interval), ("line_interval", line_interval)):
        validate.positive(name, seconds)
    validate.optional("console", console, Console)
    return Block("live", _show(_View(pool, total, failures, frame_interval, line_interval, console)))


@trio.lowlevel.enable_ki_protection
async def _show(view: _View) -> AsyncGenerator[None, BaseException | None]:
    """The view's block."""
    view.check_caller()
    await trio.lowlevel.checkpoint()
    async with trio.open_nursery() as nursery:
        view.begin()
        nursery.start_soon(view.run)
        error = yield  # raised below, outside of the nursery, which would wrap it in a group
        view.end()
        # Neither a cancellation from outside nor a Ctrl-C may replace the error. The shield keeps
        # out the cancellation; the loop below keeps the nursery from waiting, which a Ctrl-C would
        # interrupt.
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        while nursery.child_tasks:
            try:
                with trio.CancelScope(shield=True):
                    await view.ended.wait()
            except KeyboardInterrupt as interrupt:
                interrupt.__context__ = error
                error = interrupt
    if error is not None:
        raise error


class _Outlet(Protocol):
    """The interface of an output for readings."""

    interval: float

    def show(self, reading: Reading) -> None: ...
    def leave(self) -> None: ...


class _Screen:
    """Draws readings in a terminal."""

    def __init__(self, console: Console, interval: float) -> None:
        self.interval = interval
        self._place = Place(console)

    def show(self, reading: Reading) -> None:
        self._place.show(frame(reading, *self._place.size, self._place.encoding))

    def leave(self) -> None:
        self._place.leave()


class _Lines:
    """Prints a line for each reading."""

    def __init__(self, console: Console, interval: float) -> None:
        self.interval = interval
        self._console = console

    def show(self, reading: Reading) -> None:
        line = plain_line(reading, self._console.encoding)
        self._console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)

    def leave(self) -> None:
        """Do nothing; lines need no cleanup."""


class _View:
    """One view of a pool. Its errors never reach the pool or the block."""

    def __init__(
        self,
        pool: Pool[Any] | SlotPool,
        total: int | None,
        failures: int,
        frame_interval: float,
        line_interval: float,
        console: Console | None,
    ) -> None:
        self._pool = pool
        self._failures = Failures(failures)
        self._readings = Readings(pool, total, self._failures)
        self._frame_interval = frame_interval
        self._line_interval = line_interval
        self._console = console
        # None before the beginning and after the end.
        self._outlet: _Outlet | None = None
        # Set at the very end of run().
        self.ended = trio.Event()

    @property
    def _is_on(self) -> bool:
        return self._outlet is not None

    def check_caller(self) -> None:
        """Check that the caller is in the pool's Trio run."""
        self._pool._engine.check_caller()

    def begin(self) -> None:
        """Show the first frame; with lines, show nothing yet."""
        with self._contained():
            # The rates are measured from this reading on.
            first = self._readings.take(self._pool.statistics())
            console = console_for(self._console)
            if console.is_interactive and console.is_terminal and not console.is_dumb_terminal:
                self._outlet = _Screen(console, self._frame_interval)
                self._outlet.show(first)
                self._pool.add_instrument(self._failures)
            else:
                self._outlet = _Lines(console, self._line_interval)

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Show readings at intervals, until the pool is closed and every job has ended."""
        try:
            await trio.lowlevel.checkpoint()
            if self._outlet is None:
                return
            snapshots = self._pool.snapshots(self._outlet.interval)
            await anext(snapshots)  # the first snapshot is immediate, and begin() has shown that reading
            async for statistics in snapshots:
                if self._pool._engine.over.is_set():
                    break  # the last snapshot, which end() shows
                self._show(statistics)
                if not self._is_on:
                    return
            self.end()
        finally:
            self.ended.set()

    def end(self) -> None:
        """Show the last reading and leave it on the screen, unless that has been done."""
        self._show(self._pool.statistics())
        with self._contained():
            self._leave()

    def _show(self, statistics: PoolStatistics) -> None:
        with self._contained():
            if self._outlet is not None:
                self._outlet.show(self._readings.take(statistics))

    def _leave(self) -> None:
        outlet, self._outlet = self._outlet, None
        with suppress(KeyError):  # with lines, it has never been added
            self._pool.remove_instrument(self._failures)
        if outlet is not None:
            outlet.leave()

    @contextmanager
    def _contained(self) -> Generator[None]:
        """Log any error inside the block, and stop the view."""
        try:
            yield
        except BaseException as error:  # as with instruments, the view never lets an error out
            with suppress(BaseException):
                self._leave()
            name = "the pool" if self._pool.name is None else f"the pool {one_line(self._pool.name)!r}"
            report("the live view of %s failed and was stopped", name, error=error)
