"""A worker pool for Trio: exclusive resources, many jobs, nothing lost.

The public names, and nothing else.
"""

from ._api.graph import Node
from ._api.job_group import JobGroup, SlotJobGroup
from ._api.lease import Lease
from ._api.logged import Logged, LogLevels
from ._api.open_pool import open_pool
from ._api.pool import Instrument, Pool, SlotPool
from ._basics.public_names import publish
from ._model.dead_letters import DeadLetters
from ._model.errors import (
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
from ._model.handles import Job, Worker
from ._model.job_extra import Progress
from ._model.job_options import JobOptions, StreamOptions
from ._model.states import Attempt, DeadReason, JobState, Transition, WorkerState
from ._model.statistics import KeyStatistics, PoolStatistics, WorkerStatistics
from ._policies.circuit_breaker import CircuitBreaker
from ._policies.health_check import HealthCheck
from ._policies.hedge import Hedge
from ._policies.per_key import PerKey
from ._policies.rate_limit import RateLimit, SharedRateLimit
from ._policies.resource import Elastic, Resource
from ._policies.retry import Discard, GiveUp, HandBack, ResourceBroken, RetryAfter, RetryPolicy
from ._policies.retry_budget import RetryBudget
from ._runtime.job_context import current_job, current_worker
from ._version import __version__

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
    "HandBack",
    "HealthCheck",
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
    "KeyStatistics",
    "Lease",
    "LogLevels",
    "Logged",
    "NoEligibleWorkerError",
    "Node",
    "PerKey",
    "Pool",
    "PoolClosedError",
    "PoolError",
    "PoolStatistics",
    "Progress",
    "RateLimit",
    "Resource",
    "ResourceBroken",
    "RetryAfter",
    "RetryBudget",
    "RetryPolicy",
    "SharedRateLimit",
    "SlotJobGroup",
    "SlotPool",
    "StreamOptions",
    "Transition",
    "Worker",
    "WorkerState",
    "WorkerStatistics",
    "__version__",
    "current_job",
    "current_worker",
    "open_pool",
]

publish(__name__, __all__)
