"""The front of the core: each event of jobs and workers is a call of `Core`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .attempt_events import AttemptEvents
from .autoscaling import Autoscaler
from .changes import Changes, Features
from .deadlock import DeadlockSearch
from .dispatcher import Dispatcher
from .headroom import Headroom
from .job_events import JobEvents
from .lending import Lending
from .metering import Metering
from .no_worker import UnservableJobs
from .pool_events import PoolEvents
from .settle import Settling
from .state import CoreSettings, PoolState
from .straight_way import StraightWay
from .worker_events import WorkerEvents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.dead_letters import DeadLetters
    from .._policies.rate_meters import RateLimits
    from .._policies.resource import Elastic
    from .commands import Commands
    from .deadlines import Deadlines
    from .keys import Keys
    from .lifecycle import Lifecycle
    from .pool_hold import PoolHold
    from .time_accounts import TimeAccounts
    from .waits import Waits
    from .worker_index import WorkerIndex


class Core:
    """Decides which job goes to which worker, and when.

    Each call gets the time. The core records its decisions as commands, never waits, and doesn't
    use Trio. The calls are the methods of the event classes, bound directly to avoid an extra step.
    """

    __slots__ = (
        "_features",
        "_settling",
        "accounts",
        "advance",
        "begin",
        "begin_check",
        "begin_wait",
        "cancel",
        "cancel_all",
        "cancel_group",
        "checked",
        "claim",
        "close",
        "close_group",
        "cut_short",
        "deadlines",
        "depart",
        "drain",
        "failed",
        "forfeit",
        "free",
        "join",
        "key_of",
        "keys",
        "left",
        "lend",
        "lifecycle",
        "may_read",
        "metering",
        "not_hired",
        "open_group",
        "opened",
        "outlasted",
        "pause",
        "pause_pool",
        "reopen",
        "report",
        "reset_breaker",
        "rest",
        "rest_pool",
        "resume",
        "resume_pool",
        "set_elastic",
        "set_group_max_running",
        "set_max_running",
        "set_places",
        "set_rate_limit",
        "set_used",
        "shut_group",
        "state",
        "submit",
        "submit_graph",
        "submit_straight",
        "succeeded",
        "tell_reopening",
        "timed_out",
        "waits",
        "waits_for_place",
        "withdraw",
    )

    def __init__(
        self,
        roster: WorkerIndex,
        dead: DeadLetters,
        commands: Commands,
        instruments: Sequence[object],
        settings: CoreSettings,
        elastic: Elastic[Any] | None = None,
    ) -> None:
        self.state: PoolState = PoolState(roster, dead, commands, instruments, settings)
        state = self.state
        self.lifecycle: Lifecycle = state.lifecycle
        self.accounts: TimeAccounts = state.accounts
        self.deadlines: Deadlines = state.deadlines
        self.waits: Waits = state.waits
        self.keys: Keys | None = state.keys
        self.metering: Metering = Metering(state, settings.rate_limit)
        metering = self.metering
        scaling = None
        if elastic is not None:
            state.growth = scaling = Autoscaler(elastic, state, Headroom(state, metering, elastic.rate_limit))
            state.note_special()
        self._features = features = Features(
            metering,
            Dispatcher(state, metering),
            Lending(state),
            DeadlockSearch(state),
            UnservableJobs(state, settings.no_worker),
            scaling,
        )
        changes = Changes(state, features)
        self._settling = settling = Settling(state, features, changes)
        self.advance: Final = settling.advance

        jobs = JobEvents(state, features, changes, settling)
        self.submit: Final = jobs.submit
        self.submit_graph: Final = jobs.submit_graph
        self.key_of: Final = jobs.key_of
        self.withdraw: Final = jobs.withdraw
        self.waits_for_place: Final = jobs.waits_for_place
        self.close: Final = jobs.close
        self.cancel: Final = jobs.cancel
        self.cancel_all: Final = jobs.cancel_all
        self.lend: Final = jobs.lend
        self.claim: Final = jobs.claim
        self.forfeit: Final = jobs.forfeit
        self.begin_wait: Final = jobs.begin_wait
        self.may_read: Final = jobs.may_read
        self.outlasted: Final = jobs.outlasted
        self.open_group: Final = jobs.open_group
        self.close_group: Final = jobs.close_group
        self.shut_group: Final = jobs.shut_group
        self.cancel_group: Final = jobs.cancel_group
        self.free: Final = jobs.free
        self.set_max_running: Final = jobs.set_max_running
        self.set_rate_limit: Final = jobs.set_rate_limit
        self.drain: Final = jobs.drain

        pool = PoolEvents(state, features, changes, settling)
        self.pause_pool: Final = pool.pause_pool
        self.resume_pool: Final = pool.resume_pool
        self.rest_pool: Final = pool.rest_pool
        self.set_elastic: Final = pool.set_elastic
        self.set_group_max_running: Final = pool.set_group_max_running

        attempts = AttemptEvents(state, features, changes, settling)
        self.failed: Final = attempts.failed
        self.timed_out: Final = attempts.timed_out
        self.cut_short: Final = attempts.cut_short
        self.set_used: Final = attempts.set_used
        self.report: Final = attempts.report

        straight_way = StraightWay(state, features.dispatcher, settling, attempts)
        self.submit_straight: Final = straight_way.submit
        self.succeeded: Final = straight_way.succeeded

        workers = WorkerEvents(state, features, changes, settling)
        self.join: Final = workers.join
        self.begin: Final = workers.begin
        self.not_hired: Final = workers.not_hired
        self.opened: Final = workers.opened
        self.reopen: Final = workers.reopen
        self.tell_reopening: Final = workers.tell_reopening
        self.pause: Final = workers.pause
        self.resume: Final = workers.resume
        self.rest: Final = workers.rest
        self.reset_breaker: Final = workers.reset_breaker
        self.set_places: Final = workers.set_places
        self.begin_check: Final = workers.begin_check
        self.checked: Final = workers.checked
        self.depart: Final = workers.depart
        self.left: Final = workers.left

    @property
    def waiting(self) -> int:
        """How many submitters wait for a place."""
        return len(self.state.waiting_line)

    @property
    def hold(self) -> PoolHold:
        """The pause and the rest of the pool."""
        return self.state.limits.hold

    @property
    def max_running(self) -> float:
        """How many attempts may run at once."""
        return self.state.limits.max_running

    @property
    def rate_limit(self) -> RateLimits:
        """How often attempts may start."""
        return self.state.limits.meters.limits

    @property
    def most_places(self) -> float:
        """How many places the workers of the pool can have without workers added by the program."""
        return self.state.most_places
