"""The front of the core: every event in the life of jobs and workers is a call of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .attempt_events import AttemptEvents
from .autoscaling import Autoscaler
from .changes import Changes, Features
from .deadlock import DeadlockSearch
from .dispatcher import Dispatcher
from .job_events import JobEvents
from .lending import Lending
from .no_worker import UnservableJobs
from .settle import Settling
from .state import CoreSettings, PoolState
from .worker_events import WorkerEvents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.dead_letters import DeadLetters
    from .._policies.rate_limit import RateLimit
    from .._policies.resource import Elastic
    from .commands import Commands
    from .worker_index import WorkerIndex


class Core:
    """Decides which job goes to which worker, and when.

    It is called with the time; what has to be done about it, it notes as commands. It never waits and knows
    nothing of Trio. The calls are those of the events that are grouped here, without a step in between.
    """

    __slots__ = (
        "_features",
        "_jobs",
        "advance",
        "begin",
        "begin_wait",
        "cancel",
        "cancel_all",
        "cancel_group",
        "claim",
        "close",
        "close_group",
        "cut_short",
        "deadlines",
        "depart",
        "drain",
        "end_apart",
        "failed",
        "forfeit",
        "idle",
        "is_decided",
        "join",
        "key_of",
        "ledger",
        "left",
        "lend",
        "not_hired",
        "open_group",
        "opened",
        "outlasted",
        "pause",
        "reopen",
        "rest",
        "resume",
        "set_max_running",
        "set_rate_limit",
        "shut_group",
        "state",
        "submit",
        "submit_graph",
        "succeeded",
        "tell_reopening",
        "timed_out",
        "waits",
        "waits_for_place",
        "withdraw",
        "workers_of",
    )

    def __init__(
        self,
        roster: WorkerIndex,
        dead: DeadLetters,
        effects: Commands,
        instruments: Sequence[object],
        settings: CoreSettings,
        elastic: Elastic[Any] | None = None,
    ) -> None:
        self.state = state = PoolState(roster, dead, effects, instruments, settings)
        self.ledger = state.ledger
        self.deadlines = state.deadlines
        self.waits = state.waits
        scaling = None
        if elastic is not None:
            state.growth = scaling = Autoscaler(elastic, state)
        self._features = features = Features(
            Dispatcher(state), Lending(state), DeadlockSearch(state), UnservableJobs(state, settings.no_worker), scaling
        )
        changes = Changes(state, features)
        settling = Settling(state, features, changes)
        self.advance = settling.advance

        jobs = self._jobs = JobEvents(state, features, changes, settling)
        self.submit = jobs.submit
        self.submit_graph = jobs.submit_graph
        self.key_of = jobs.key_of
        self.withdraw = jobs.withdraw
        self.waits_for_place = jobs.waits_for_place
        self.close = jobs.close
        self.cancel = jobs.cancel
        self.cancel_all = jobs.cancel_all
        self.is_decided = jobs.is_decided
        self.workers_of = jobs.workers_of
        self.lend = jobs.lend
        self.claim = jobs.claim
        self.forfeit = jobs.forfeit
        self.begin_wait = jobs.begin_wait
        self.outlasted = jobs.outlasted
        self.open_group = jobs.open_group
        self.close_group = jobs.close_group
        self.shut_group = jobs.shut_group
        self.cancel_group = jobs.cancel_group
        self.idle = jobs.idle
        self.set_max_running = jobs.set_max_running
        self.set_rate_limit = jobs.set_rate_limit
        self.drain = jobs.drain

        attempts = AttemptEvents(state, features, changes, settling)
        self.succeeded = attempts.succeeded
        self.failed = attempts.failed
        self.timed_out = attempts.timed_out
        self.cut_short = attempts.cut_short
        self.end_apart = attempts.end_apart

        workers = WorkerEvents(state, features, changes, settling)
        self.join = workers.join
        self.begin = workers.begin
        self.not_hired = workers.not_hired
        self.opened = workers.opened
        self.reopen = workers.reopen
        self.tell_reopening = workers.tell_reopening
        self.pause = workers.pause
        self.resume = workers.resume
        self.rest = workers.rest
        self.depart = workers.depart
        self.left = workers.left

    @property
    def waiting(self) -> int:
        """How many submitters wait for a place."""
        return self._jobs.waiting

    @property
    def max_running(self) -> float:
        """How many attempts may be under way at once."""
        return self._jobs.max_running

    @property
    def rate_limit(self) -> RateLimit | None:
        """How often attempts may start."""
        return self._jobs.rate_limit

    @property
    def most_workers(self) -> float:
        """How many workers the pool can have, as far as it sees to that itself."""
        return self.state.most_workers
