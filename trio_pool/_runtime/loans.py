"""Lending the places of a worker, on behalf of the jobs that run there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.core import Core
    from .._core.waits import Wait
    from .._model.records import Run


class Host(Protocol):
    """The call that loans need from their pool."""

    def carry_out(self) -> None: ...


class Loans:
    """Lends the places of runs to other jobs, and lets the jobs wait to get them back.

    Arguments:
      core: the pool's core.
      host: the pool.
      send: sends a run to a loop of the worker.
    """

    __slots__ = ("_core", "_host", "_send")

    def __init__(self, core: Core, host: Host, send: Callable[[Run], None]) -> None:
        self._core = core
        self._host = host
        self._send = send

    def lend(self, run: Run) -> None:
        """Lend the place of a run to others."""
        run.loop.returned = trio.Event()
        following = self._core.lend(run, trio.current_time())
        if following is not None:
            self._send(following)
        self._host.carry_out()

    async def take_back(self, run: Run) -> Wait | None:
        """Wait until a run gets back the place that it has lent. Can't be cancelled.

        Returns:
          the wait, if it would never end, so that the job goes on without the worker; otherwise None.
        """
        if not run.is_lent or run.is_forfeited:
            return None  # noqa: ASYNC910
        self._core.claim(run, trio.current_time(), trio.lowlevel.current_task())
        if run.wait is not None:
            run.wait.wake = partial(self._forfeit, run)
        self._host.carry_out()
        with trio.CancelScope(shield=True):
            await run.loop.returned.wait()
        wait: Wait | None = run.wait
        return wait

    def _forfeit(self, run: Run) -> None:
        """Let a run go on without its place, since it will never get it back."""
        self._core.forfeit(run)
        run.loop.returned.set()

    def regain(self, run: Run) -> None:
        """Wake a run that has got its place back."""
        run.loop.returned.set()
