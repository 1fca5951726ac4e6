"""A worker pool for Trio: exclusive resources, many jobs, nothing lost.

What users import, and nothing else. The layout behind it:

* The core knows nothing of Trio; it is called with the time and decides: ``_scheduler``,
  ``_attempt_events`` and ``_worker_events`` with ``_dispatch`` over ``_queue``, ``_places``,
  ``_roster``, ``_deadlines``, ``_ledger`` and ``_dead``, with ``_lanes``, ``_startable`` and
  ``_kinds`` for who may take what; ``_window`` for the jobs of a stream; ``_races`` for hedges,
  ``_dependencies``, ``_group``, ``_reservations``, ``_loans``, ``_waits`` and ``_standing`` for jobs that
  have to do with each other, ``_aftermath`` for what that leads to. ``_retry`` and
  ``_verdict`` say what becomes of a failed job, and ``_retry_after`` what a server's header
  asks for. ``_limits`` has the limits as values, ``_meters`` what is counted for them,
  ``_guard`` those of one worker, and ``_holds`` what keeps a worker from jobs for a time.
* The shell does what the core decides: ``_open`` the block, ``_submitting``, ``_calls``,
  ``_base`` and ``_pool`` the calls, ``_engine`` carries out, ``_admission`` lets jobs in,
  ``_staff`` and ``_worker`` are for the workers, ``_shift`` for what serves them, ``_driver``
  for an attempt, ``_timers`` for the clock, ``_streams`` for what iterates, with ``_feeding``,
  ``_feeding_task`` and ``_items`` for what it is made of, ``_job_group`` for groups, ``_lending``,
  ``_waiting``, ``_deadlock`` and ``_apart`` for jobs that wait for jobs, ``_outside`` for
  cancellations of the whole, ``_from_threads`` and ``_job_future`` for calls from other threads,
  ``_attributes`` for what is assigned by mistake.
* For those who watch: ``_instrument``, ``_statistics``, ``_logged``, with ``_telling`` and
  ``_words`` for how it is put; and ``otel``, imported only where it is used.
* What users read: ``_shown`` asks their objects for text, with care, ``_error_words`` puts errors
  into a line, ``_bad_calls`` says what is wrong with a function, ``_reporting`` logs, ``_portable``
  has what can be pickled, and ``_public`` gives everything here its public name.
* ``rich`` is a module of its own for users, not imported here: the live view. ``_live_reading``
  has what it knows of the pool, ``_live_frame`` and ``_live_words`` what it shows of that, and
  ``_live_display`` where. ``timeline`` likewise: what it keeps is in ``_records`` and
  ``_spans``, what it writes comes from ``_trace_events`` and ``_timeline_page``.
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
from ._graph import Node
from ._instrument import Instrument
from ._job import Attempt, DeadReason, Job, JobState, Transition
from ._job_group import JobGroup, SlotJobGroup
from ._limits import CircuitBreaker, Hedge, RateLimit, RetryBudget
from ._logged import Logged, LogLevels
from ._open import open_pool
from ._options import JobOptions, StreamOptions
from ._pool import Pool, SlotPool
from ._public import publish
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
    "JobGroup",
    "JobNotFinishedError",
    "JobOptions",
    "JobState",
    "JobTimeoutError",
    "LogLevels",
    "Logged",
    "NoEligibleWorkerError",
    "Node",
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
    "SlotJobGroup",
    "SlotPool",
    "StreamOptions",
    "Transition",
    "Worker",
    "WorkerState",
    "WorkerStatistics",
    "__version__",
    "current_job",
    "open_pool",
]

publish(__name__, __all__)
