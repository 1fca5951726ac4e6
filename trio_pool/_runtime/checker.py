"""The health checks of one worker, inside its lifespan."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import trio

from .._basics.exceptions import CANCELLATIONS, as_error, without_cancellations
from .._basics.is_a import is_a
from .._basics.logs import report
from .._basics.text import one_line
from .._basics.tracebacks import clear_frames

if TYPE_CHECKING:
    from .._core.core import Core
    from .._model.handles import Worker
    from .._policies.health_check import HealthCheck
    from .attempt_loop import Host


class Checker:
    """Checks a worker, one check at a time.

    Arguments:
      worker: the worker.
      check: the health check to run.
      core: the pool's core.
      host: the pool.
    """

    __slots__ = ("_check", "_core", "_host", "_is_cut", "_scope", "_worker")

    def __init__(self, worker: Worker, check: HealthCheck, core: Core, host: Host) -> None:
        self._worker = worker
        self._check = check
        self._core = core
        self._host = host
        self._scope = trio.CancelScope()
        self._is_cut = False

    def cancel(self) -> None:
        """Cancel the check, if there is one."""
        self._is_cut = True
        self._scope.cancel()

    async def run(self, leading: tuple[Any, ...]) -> None:
        """Check the worker once. The body of a task.

        Arguments:
          leading: the arguments that jobs get first: the resource, or none.
        """
        self._is_cut = False
        with trio.CancelScope() as self._scope:
            # Other tasks that are due at this instant may submit jobs, which go first.
            await trio.lowlevel.checkpoint()
        if self._scope.cancelled_caught or not self._core.begin_check(self._worker, trio.current_time()):
            return
        self._host.carry_out()
        error: BaseException | None = None
        has_returned = False
        with trio.CancelScope(deadline=trio.current_time() + self._check.timeout) as self._scope:
            try:
                await self._check.fn(*leading)
                has_returned = True
            except BaseException as raised:
                error = raised
        is_around = trio.current_effective_deadline() == -math.inf
        is_own = self._scope.cancel_called
        name = one_line(self._worker.name)
        if error is not None:
            is_stopped = is_own or is_around
            error = without_cancellations(error) if is_stopped else as_error(error, f"the health check of {name}")
        is_cut = not has_returned and self._is_cut
        is_late = error is None and not (has_returned or is_cut or is_around)
        if is_late:
            error = trio.TooSlowError(f"the health check took longer than {self._check.timeout:g} s")
        if error is not None and not is_a(error, Exception):
            self._core.checked(self._worker, None, trio.current_time())
            self._host.crash(error)
        else:
            if error is not None:
                clear_frames(error, strangers=CANCELLATIONS)
            self._core.checked(self._worker, error, trio.current_time(), is_cut=is_cut)
            if is_late:
                words = "the health check of %s took longer than %g s"
                report(words, name, self._check.timeout, level=logging.WARNING)
            elif error is not None:  # there may be no other report
                report("the health check of %s failed", name, error=error, level=logging.WARNING)
        self._host.carry_out()
        await trio.lowlevel.checkpoint_if_cancelled()  # raises if the lifespan is ending
