"""What an engine in front of a pool needs to know: what becomes of a job that has ended, and of one that comes again.

An engine is a queue outside of the process that delivers at least once: it brings a job again if the
process dies that had it. `trio_pool.dramatiq` and `trio_pool.pgqueuer` are made of this module; a worker
for any other engine can be made of it too. The module imports no engine.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import CancelledError
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import trio

from ._basics.error_text import in_words
from ._basics.public_names import publish
from ._model.errors import JobCancelledError, JobFailedError, NoEligibleWorkerError, PoolClosedError
from ._model.states import DeadReason, JobState
from ._policies import validate

if TYPE_CHECKING:
    from ._api.pool import Pool, SlotPool

__all__ = ["Ending", "Suspects"]

EndingKind: TypeAlias = Literal["done", "dead", "returned", "overstayed"]
Verdict: TypeAlias = Literal["start", "wait", "bury"]


@attrs.frozen
class Ending:
    """What becomes of a job that came from an engine.

    Attributes:
      kind: what the engine must do. ``"done"``: acknowledge the job. ``"dead"``: write it to the dead
          letters, then acknowledge it. ``"returned"``: bring it again after ``delay``, as often as
          it takes. ``"overstayed"``: the process could not do the job; bring it again after ``delay``, but
          not for ever.
      result: the return value of the job's function if ``kind`` is ``"done"``.
      delay: seconds until the job may come again.
      reason: why, in words; empty for a job that has returned a value.
    """

    kind: EndingKind
    result: Any = attrs.field(default=None, repr=False)
    delay: float = 0.0
    reason: str = ""

    @classmethod
    def of_error(cls, error: BaseException, pool: Pool[Any] | SlotPool) -> Ending:
        """Decide about a job by what ``pool.run``, or the future of ``pool.submit_from_thread``, has raised.

        ============================================ ==============================================================
        what happened                                kind
        ============================================ ==============================================================
        the job is dead                              ``dead``, with the death's words as the reason
        its ``total_timeout`` passed                 ``overstayed``
        no worker of this pool may run it            ``overstayed``
        its function raised `HandBack`               ``returned`` after that delay
        it was discarded otherwise                   ``done``, without a result
        the pool has been closed or has ended        ``returned`` at once
        the pool still runs, and it was cancelled    ``done``, without a result
        anything else, such as an invalid option     ``dead``
        ============================================ ==============================================================

        Arguments:
          error: what was raised; an error of the pool must not be a copy.
          pool: the pool that had the job.
        """
        if isinstance(error, JobFailedError):
            if error.job.dead_reason in (DeadReason.TIMED_OUT, DeadReason.NO_WORKER):
                return cls("overstayed", reason=str(error))
            return cls("dead", reason=str(error))
        if isinstance(error, JobCancelledError):
            job = error.job
            extra = job._extra
            if job.state is JobState.DISCARDED:
                delay = None if extra is None else extra.handed_back
                return cls("done", reason=job.reason) if delay is None else cls("returned", None, delay, job.reason)
            return cls("returned" if pool.closed else "done", reason=str(error))
        if isinstance(error, NoEligibleWorkerError):
            return cls("overstayed", reason=str(error))
        if isinstance(error, (PoolClosedError, trio.RunFinishedError, CancelledError, trio.Cancelled)):
            return cls("returned", reason="its pool takes no more jobs")
        return cls("dead", reason=in_words(error))


class Suspects:
    """Tells jobs that kill their process from those that were only under way beside them.

    When a process dies, each job that was under way in it is a suspect: it has one crash more than
    before. If suspects ran side by side again, an innocent one would be counted as often as the one
    that kills. So a process has at most one suspect under way at a time, and the others come back
    later. A suspect that has run for ``patience`` seconds without harm makes room for the next.

    Thread-safe. The engine must count the crashes of each job.

    Arguments:
      max_crashes: the number of crashes at which a job is buried, at least 1; ``None`` for never.
      patience: seconds after which a suspect no longer holds up others.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    def __init__(self, max_crashes: int | None = 3, *, patience: float = 30.0) -> None:
        self.max_crashes: float = validate.bound("max_crashes", max_crashes, least=1)
        self._patience = validate.seconds("patience", patience)
        self._lock = Lock()
        self._job: object = None
        self._until = 0.0

    def admit(self, job: object, crashes: int) -> Verdict:
        """Decide about a job that has come, by the number of its crashes.

        Arguments:
          job: the job's identifier.
          crashes: how often a process has died while the job was under way in it.

        Returns:
          str: ``"start"``: run it, and call `dismiss` at its end. ``"wait"``: let it come back after
          `pause` seconds, without counting this as a crash. ``"bury"``: it is dead.
        """
        if not crashes:
            return "start"
        if crashes >= self.max_crashes:
            return "bury"
        with self._lock:
            now = time.monotonic()
            if self._job not in (None, job) and now < self._until:
                return "wait"
            self._job, self._until = job, now + self._patience
        return "start"

    def dismiss(self, job: object) -> None:
        """Note that a job has ended, suspect or not."""
        if self._job is None:
            return
        with self._lock:
            if self._job == job:
                self._job = None

    def pause(self) -> float:
        """Return the seconds after which a suspect that must wait comes back, a different time for each."""
        return random.uniform(0.2, 1.0)


publish(__name__, __all__)
