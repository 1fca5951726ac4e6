"""The decision about a job that came from an engine and has ended."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from .._basics.error_text import in_words
from .._model.errors import JobCancelledError, JobFailedError, NoEligibleWorkerError, PoolClosedError
from .._model.states import DeadReason, JobState

if TYPE_CHECKING:
    from .._api.pool import Pool, SlotPool


@attrs.frozen
class Ending:
    """The decision about a job that came from an engine and has ended.

    Attributes:
      kind: what the engine must do. ``"done"``: acknowledge the job. ``"dead"``: write it to the dead
          letters, then acknowledge it. ``"returned"``: deliver it again after ``delay``, as often as
          necessary. ``"overstayed"``: the process could not do the job; deliver it again after
          ``delay``, but not forever.
      result: the return value of the job's function if ``kind`` is ``"done"``.
      delay: seconds until the job may be delivered again.
      reason: why, in words; empty for a job that has returned a value.
    """

    kind: Literal["done", "dead", "returned", "overstayed"]
    result: Any = attrs.field(default=None, repr=False)
    delay: float = 0.0
    reason: str = ""

    @classmethod
    def of_error(cls, error: BaseException, pool: Pool[Any] | SlotPool, *, is_ending: bool = False) -> Ending:
        """Decide about a job by the error that ``pool.run``, or the future of ``pool.submit_from_thread``, has raised.

        ============================================ ==============================================================
        what happened                                kind
        ============================================ ==============================================================
        the job is dead                              ``dead``, with the death's words as the reason
        its ``total_timeout`` passed                 ``overstayed``
        no worker of this pool may run it            ``overstayed``
        its function raised ``HandBack``             ``returned`` after that delay
        it was discarded otherwise                   ``done``, without a result
        the pool takes no more jobs                  ``returned`` at once
        it was cancelled, as the process ends        ``returned`` at once
        it was cancelled otherwise                   ``done``, without a result
        anything else, such as an invalid option     ``dead``
        ============================================ ==============================================================

        Arguments:
          error: what was raised; an error of the pool must not be a copy.
          pool: the pool that had the job.
          is_ending: whether the engine's worker ends, so that it cancels jobs itself; a closed pool ends anyway.
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
            return cls("returned" if is_ending or pool.closed else "done", reason=str(error))
        if isinstance(error, NoEligibleWorkerError):
            return cls("overstayed", reason=str(error))
        if isinstance(error, (PoolClosedError, trio.RunFinishedError, CancelledError, trio.Cancelled)):
            return cls("returned", reason="its pool takes no more jobs")
        return cls("dead", reason=in_words(error))
