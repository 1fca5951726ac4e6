"""What happens to a worker and its attempts when its lifespan ends by itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from .._basics.error_text import in_words
from .._basics.logs import report
from .._basics.text import one_line
from .._model.errors import JobCancelledError
from .._policies.retry import ResourceBroken

if TYPE_CHECKING:
    from .._core.core import Core
    from .._model.records import Run, WorkerRecord


class Judge(Protocol):
    """The decision about the job of a failed attempt; returns the next run."""

    def __call__(self, run: Run, error: Exception, now: float) -> Run | None: ...


class Breakage:
    """Takes a worker out of use when its lifespan ends by itself; the lifespan may take some time to end.

    The reason is known only when the lifespan has ended. Until then, instruments are not notified, and
    the attempts that it has cut short have not failed.

    Arguments:
      worker: the worker.
      core: the pool's core.
      judge: called with each run that fails because of the lifespan.
    """

    __slots__ = ("_broken", "_core", "_doomed", "_judge", "_untold", "_worker")

    def __init__(self, worker: WorkerRecord, core: Core, judge: Judge) -> None:
        self._worker = worker
        self._core = core
        self._judge = judge
        # The error of the worker's attempts after the lifespan has begun to end by itself.
        self._broken: ResourceBroken | None = None
        # Whether the instruments have yet to be notified of this, because the reason is unknown.
        self._untold = False
        # The runs whose functions have ended for that reason: their attempts fail once the reason
        # is known.
        self._doomed: dict[Run, None] = {}

    @property
    def has_begun(self) -> bool:
        """Whether the lifespan is ending by itself."""
        return self._broken is not None

    def opened(self) -> None:
        """Record that the resource is open."""
        self._broken = None

    def take_out_of_use(self) -> ResourceBroken:
        """Take the worker out of use, since its lifespan is ending; return the error for its attempts."""
        if self._broken is None:
            self._broken = ResourceBroken(f"the lifespan of {one_line(self._worker.name)} ended by itself")
        if self._worker._is_open:  # otherwise it is already due to reopen
            self._untold = True
            self._core.reopen(self._worker, self._broken, trio.current_time(), tell=False)
        return self._broken

    def fail(self, run: Run) -> None:
        """Fail the attempt of a run whose function has ended because the lifespan is ending."""
        broken = self.take_out_of_use()
        if self._worker._lent:  # the lifespan can't end before these runs have got the worker back
            self._judge(run, broken, trio.current_time())
        else:
            self._doomed[run] = None

    def cancel(self, run: Run) -> bool:
        """Cut a run short; return False if it doesn't wait for the end of the lifespan."""
        if run not in self._doomed:
            return False
        del self._doomed[run]
        self._core.cut_short(run, JobCancelledError(run.job), trio.current_time())
        return True

    def ended(self, error: Exception | None) -> None:
        """Record that the lifespan has ended by itself, perhaps because of an error."""
        broken = self.take_out_of_use()
        if error is not None:  # its attempts have failed with this error before the reason was known
            broken.reason = f"the lifespan of {one_line(self._worker.name)} broke: {in_words(error)}"
            broken.args = (broken.reason,)
            broken.__cause__ = error
            if not self._doomed:  # no attempt reports the error
                report("the lifespan of %s broke", one_line(self._worker.name), error=error, level=logging.WARNING)
        if self._untold:
            self._untold = False
            self._core.tell_reopening(self._worker, broken)
        doomed, self._doomed = self._doomed, {}
        for run in doomed:
            self._judge(run, broken, trio.current_time())
