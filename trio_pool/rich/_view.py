"""The live view: what is read of the pool, drawn, and put on the terminal."""

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
    """Show what a pool does, in a terminal, for as long as the block lasts.

    Use it inside the pool's block: ``async with live(pool): ...``. It shows the workers with what
    each is doing, the jobs by state, how fast they end, and the last failures. What is printed
    meanwhile comes above it, and the last frame stays on the screen. The view ends with its
    block, or when the pool is closed and every job has ended, if that is earlier: to see what
    is still in the pool at the end of the block, wait for it there, by ``await pool.join()``.

    Where the output is no terminal, there is a line of plain text now and then, and at the end.

    Several views may be open at once, of the same pool or of others; in one terminal they
    share its height.

    A view that fails, because its terminal has gone, say, is stopped, and the error is logged
    with its traceback; neither the block nor the pool notices. Entering and leaving are
    checkpoints. What the body raises comes out as it is, not in a group.

    Arguments:
      pool: the pool to watch.
      total: how many jobs there will be, if that is known; then it also says how long it will
          take until they have ended, at the rate of the last minute. If there are more after
          all, those count.
      failures: how many of the last failures to show, zero or more.
      frame_interval: seconds between two frames in a terminal, more than zero.
      line_interval: seconds between two lines where there is no terminal, more than zero.
      console: where to draw, by default standard error. If the program prints with a console of
          rich's itself, give that one, so that the one knows of the other.

    Returns:
      an async context manager that yields nothing.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type; at the call.
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
        error = yield  # raised below, where the nursery doesn't put it into a group
        view.end()
        # Neither a cancellation from outside nor a Ctrl-C shall take the place of the error: so
        # the one is kept out, and the other doesn't get to wait with the nursery.
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
    """Where readings go."""

    interval: float

    def show(self, reading: Reading) -> None: ...
    def leave(self) -> None: ...


class _Screen:
    """Draws them in a terminal."""

    def __init__(self, console: Console, interval: float) -> None:
        self.interval = interval
        self._place = Place(console)

    def show(self, reading: Reading) -> None:
        self._place.show(frame(reading, *self._place.size, self._place.encoding))

    def leave(self) -> None:
        self._place.leave()


class _Lines:
    """Prints a line for each."""

    def __init__(self, console: Console, interval: float) -> None:
        self.interval = interval
        self._console = console

    def show(self, reading: Reading) -> None:
        line = plain_line(reading, self._console.encoding)
        self._console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)

    def leave(self) -> None:
        """There is nothing to put back."""


class _View:
    """One view of a pool; whatever goes wrong in it is its own affair."""

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
        # Set by the last that run() does.
        self.ended = trio.Event()

    @property
    def _is_on(self) -> bool:
        return self._outlet is not None

    def check_caller(self) -> None:
        """Check that the caller is where the pool lives."""
        self._pool._engine.check_caller()

    def begin(self) -> None:
        """Show the first frame, or nothing yet where there are lines."""
        with self._contained():
            # The rates are measured from here on.
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
        """Show one reading after the other, until the pool is closed and every job has ended."""
        try:
            await trio.lowlevel.checkpoint()
            if self._outlet is None:
                return
            snapshots = self._pool.snapshots(self._outlet.interval)
            await anext(snapshots)  # that is now, which begin() has seen to
            async for statistics in snapshots:
                self._show(statistics)
                if not self._is_on:
                    return
            self.end()
        finally:
            self.ended.set()

    def end(self) -> None:
        """Show the last reading and leave it where it is, unless that has been done."""
        self._show(self._pool.statistics())
        with self._contained():
            self._leave()

    def _show(self, statistics: PoolStatistics) -> None:
        with self._contained():
            if self._outlet is not None:
                self._outlet.show(self._readings.take(statistics))

    def _leave(self) -> None:
        outlet, self._outlet = self._outlet, None
        with suppress(KeyError):  # where there are lines, it has never been added
            self._pool.remove_instrument(self._failures)
        if outlet is not None:
            outlet.leave()

    @contextmanager
    def _contained(self) -> Generator[None]:
        """Log what goes wrong inside, and stop the view."""
        try:
            yield
        except BaseException as error:  # as with instruments: whatever it is, it is the view's fault
            with suppress(BaseException):
                self._leave()
            name = "the pool" if self._pool.name is None else f"the pool {one_line(self._pool.name)!r}"
            report("the live view of %s failed and was stopped", name, error=error)
