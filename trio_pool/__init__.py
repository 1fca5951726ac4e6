"""A worker pool for Trio: exclusive resources, many jobs, nothing lost.

What users import, and nothing else. The layout behind it:

* The core knows nothing of Trio; it is called with the time and decides: ``_scheduler``,
  ``_attempt_events`` and ``_worker_events`` with ``_dispatch`` over ``_queue``, ``_places``,
  ``_roster``, ``_deadlines``, ``_ledger`` and ``_dead``, and ``_races`` for attempts that run on
  several workers; ``_retry`` and ``_verdict`` say what becomes of a failed job, and
  ``_retry_after`` what a server's header asks for. ``_limits`` has the limits as values,
  ``_meters`` what is counted for them, ``_guard`` those of one worker, and ``_holds`` what
  keeps a worker from jobs for a time.
* The shell does what the core decides: ``_open`` the block, ``_base`` and ``_pool`` the
  calls, ``_engine`` carries out, ``_staff`` and ``_worker`` are for the workers,
  ``_driver`` for an attempt, ``_timers`` for the clock, ``_streams`` for what iterates.
"""

from ._dead import DeadLetters
from ._driver import current_job
from ._elastic import Elastic
from ._errors import (
    AttemptTimeoutError,
    GraphError,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobNotFinishedError,
    JobTimeoutError,
    NoEligibleWorkerError,
    PoolClosedError,
    PoolError,
)
from ._instrument import Instrument
from ._job import Attempt, DeadReason, Job, JobState, Transition
from ._limits import CircuitBreaker, Hedge, RateLimit, RetryBudget
from ._open import open_pool
from ._options import JobOptions
from ._pool import Pool, SlotPool
from ._resource import Resource
from ._retry import Discard, GiveUp, ResourceBroken, RetryAfter, RetryPolicy
from ._seat import WorkerState
from ._statistics import PoolStatistics, WorkerStatistics
from ._version import __version__
from ._worker import Worker

__all__ = [
    "Attempt",
    "AttemptTimeoutError",
    "CircuitBreaker",
    "DeadLetters",
    "DeadReason",
    "Discard",
    "Elastic",
    "GiveUp",
    "GraphError",
    "Hedge",
    "Instrument",
    "Job",
    "JobCancelledError",
    "JobDeadlockError",
    "JobFailedError",
    "JobNotFinishedError",
    "JobOptions",
    "JobState",
    "JobTimeoutError",
    "NoEligibleWorkerError",
    "Pool",
    "PoolClosedError",
    "PoolError",
    "PoolStatistics",
    "RateLimit",
    "Resource",
    "ResourceBroken",
    "RetryAfter",
    "RetryBudget",
    "RetryPolicy",
    "SlotPool",
    "Transition",
    "Worker",
    "WorkerState",
    "WorkerStatistics",
    "__version__",
    "current_job",
    "open_pool",
]
