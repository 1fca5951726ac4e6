"""The whole state of the core, and the marks for consequences that have not been handled yet."""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .admission import WaitingLine
from .availability import Availability
from .deadlines import Deadlines
from .dependencies import Dependencies
from .given_up import GivenUp
from .health import Health
from .hedging import Hedging
from .keys import Keys
from .lifecycle import Lifecycle
from .pool_hold import PoolHold
from .pool_limits import PoolLimits
from .ready_queue import ReadyQueue
from .reservations import Reservations
from .time_accounts import TimeAccounts
from .waits import Waits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.dead_letters import DeadLetters
    from .._model.key_record import KeyRecord
    from .._model.pool_config import NoWorker
    from .._model.records import Run, Terms, WorkerRecord
    from .._policies.per_key import PerKey
    from .._policies.rate_limit import Share
    from .._policies.rate_meters import RateLimits
    from .._policies.retry_budget import RetryBudget
    from .commands import Commands
    from .worker_index import WorkerIndex


class CoreSettings(NamedTuple):
    """The settings of a core; the fields are arguments of `open_pool`."""

    max_queue: float = math.inf
    max_running: float = math.inf
    no_worker: NoWorker = "reject"
    rate_limit: RateLimits = None
    retry_budget: RetryBudget | None = None
    lifo: bool = False
    keep_history: bool = True
    per_key: PerKey | None = None


class Growth(Protocol):
    """The interface of an elastic pool for the other features: which workers may still be added."""

    @property
    def more_places(self) -> float: ...
    def could_open(self, terms: Terms) -> bool: ...
    def could_replace(self, terms: Terms) -> bool: ...
    def could_take(self, terms: Terms) -> bool: ...
    def will_open(self, terms: Terms) -> bool: ...
    def will_replace(self, terms: Terms) -> bool: ...
    def still_wants_one(self) -> bool: ...


class Ledger(Protocol):
    """Keeps the levels of a pool's limits after the end of the pool.

    Its methods are called when a run draws from limits, when a key may become known, and when a worker
    has joined. In the last two cases it may lower levels; ``met`` returns the time if it has changed any.
    """

    def drew(self, run: Run) -> object: ...
    def met(self, key: KeyRecord) -> float | None: ...
    def hired(self, worker: WorkerRecord) -> object: ...


class PoolState:
    """The state that several features share. Code that changes it marks it, and `Settling` does the rest.

    Attributes:
      accounts: the times of the workers' places.
      draining: whether no more jobs will come, except from jobs, and no more calls of resume().
      cancelled: whether all jobs have been cancelled, and no more will come.
      paused: the paused workers.
      has_bounced: whether jobs have ever avoided workers that they have failed on.
      evicted: for each run that is cut short because its worker is removed, the ticket that its job will get.
      tickets: the numbers of waiting jobs; with the sign changed, each is in front of those before.
      growth: the autoscaler of an elastic pool; None for any other pool.
      keys: the keys, if there are bounds for them.
      may_start: whether a job may be able to start that couldn't at the last check.
      may_reserve: whether the reservations of workers may have to change.
      may_be_stuck: whether a wait may never end now.
      special: whether the start or the end of a job may affect others, since the pool drains, is elastic, has limits
          of its own, reserves workers, is paused or rests. Otherwise most jobs can take the straight way.
    """

    __slots__ = (
        "accounts",
        "availability",
        "cancelled",
        "commands",
        "deadlines",
        "dependencies",
        "draining",
        "evicted",
        "given_up",
        "growth",
        "has_bounced",
        "health",
        "hedging",
        "keys",
        "lifecycle",
        "limits",
        "may_be_stuck",
        "may_reserve",
        "may_start",
        "paused",
        "queue",
        "reservations",
        "roster",
        "special",
        "tickets",
        "waiting_line",
        "waits",
    )

    def __init__(
        self,
        roster: WorkerIndex,
        dead: DeadLetters,
        commands: Commands,
        instruments: Sequence[object],
        settings: CoreSettings,
    ) -> None:
        self.tickets: count[int] = count(1)
        tickets = self.tickets
        self.commands: Commands = commands
        self.roster: WorkerIndex = roster
        self.deadlines: Deadlines = Deadlines(tickets)
        self.dependencies: Dependencies = Dependencies(self.deadlines)
        self.waits: Waits = Waits()
        self.lifecycle: Lifecycle = Lifecycle(
            commands, dead, self.dependencies, instruments, settings.keep_history, self.waits
        )
        self.keys: Keys | None = None
        if settings.per_key is not None:
            self.keys = self.lifecycle.keys = Keys(settings.per_key, self.deadlines, self.lifecycle.news)
            self.lifecycle.tallies += 1
        self.queue: ReadyQueue = ReadyQueue(roster, self.deadlines, tickets, lifo=settings.lifo, keys=self.keys)
        by_taker = ReadyQueue(roster, self.deadlines, tickets, ranked=False, keys=self.keys)
        self.waiting_line: WaitingLine = WaitingLine(self.lifecycle, settings.max_queue, by_taker, self.dependencies)
        self.limits: PoolLimits = PoolLimits(
            self.lifecycle,
            self.deadlines,
            PoolHold(self.deadlines, commands, instruments),
            settings.max_running,
            settings.retry_budget,
        )
        self.accounts: TimeAccounts = TimeAccounts(self.lifecycle, self.limits, roster, self.waiting_line.line)
        self.availability: Availability = Availability(self.lifecycle, self.deadlines)
        self.reservations: Reservations = Reservations(roster, commands, self.waits)
        self.health: Health = Health(self.deadlines, commands)
        self.given_up: GivenUp = GivenUp()
        self.hedging: Hedging = Hedging(roster, self.deadlines)
        self.growth: Growth | None = None
        self.draining: bool = False
        self.cancelled: bool = False
        self.paused: dict[WorkerRecord, None] = {}
        self.has_bounced: bool = False
        self.evicted: dict[Run, int] = {}
        self.may_start: bool = False
        self.may_reserve: bool = False
        self.may_be_stuck: bool = False
        self.special: bool = False
        self.note_special()

    def note_special(self) -> None:
        """Update `special` after something that it depends on has changed."""
        self.special = self.draining or self.growth is not None or self.limits.is_shared or self.reservations.has_groups

    @property
    def most_places(self) -> float:
        """How many places the workers of the pool can have without workers added by the program."""
        own, growth = self.roster.places.total, self.growth
        return own if growth is None or own == math.inf else own + growth.more_places

    @property
    def has_reserved(self) -> bool:
        """Whether workers are or may be reserved for groups: then jobs prefer the workers of their own group."""
        return self.reservations.kept > 0 or bool(self.reservations.waiting)

    def note_hold(self) -> None:
        """Record that the pool has been paused, resumed or put to rest, or that its rest is over."""
        self.limits.note_limits()
        self.note_special()
        self.may_start = True

    def note_relied_on(self) -> None:
        """Record that one more worker is available: a bounced job must try it, even while a waiting job holds it."""
        if self.has_bounced:
            self.may_be_stuck = True

    def reopen_key(self, key: KeyRecord) -> None:
        """Let the jobs of a key be found again, since the key may start jobs again."""
        assert self.keys is not None
        self.keys.reopened(key)
        self.queue.reopen_key(key)
        self.waiting_line.by_taker.reopen_key(key)

    def reopen_gate(self, gate: str | Share) -> None:
        """Let the jobs that wait for a unit or a shared limit be found again, since it allows starts again."""
        for queue in (self.queue, self.waiting_line.by_taker):
            queue.reopen_gate(gate)
        if self.queue.demand is not None:
            self.queue.demand.reopen(gate)

    def look_again(self) -> None:
        """Mark the queues for another search after availability or reservations have changed."""
        self.queue.look_again()
        self.waiting_line.by_taker.look_again()
        self.may_start = True
