"""Core: its parts put together."""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, Any

from ._deadlines import Deadlines
from ._dependencies import Dependencies
from ._dispatch import Dispatch
from ._holds import Holds
from ._ledger import Ledger
from ._loans import Loans
from ._orphans import Orphans
from ._places import Places
from ._queue import ReadyQueue
from ._reservations import Reservations
from ._scheduler import Scheduler
from ._staffing import Staffing
from ._standing import Standing
from ._waits import Waits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._dead import DeadLetters
    from ._effects import Effects
    from ._elastic import Elastic
    from ._limits import RateLimit, RetryBudget
    from ._orphans import NoWorker
    from ._roster import Roster


def make_scheduler(
    roster: Roster,
    dead: DeadLetters,
    effects: Effects,
    instruments: Sequence[object],
    *,
    max_queue: float = math.inf,
    max_running: float = math.inf,
    no_worker: NoWorker = "reject",
    rate_limit: RateLimit | None = None,
    retry_budget: RetryBudget | None = None,
    elastic: Elastic[Any] | None = None,
    lifo: bool = False,
    keep_history: bool = True,
) -> tuple[Scheduler, Ledger]:
    """Put a core together; the ledger is handed out to be read."""
    tickets = count(1)
    deadlines = Deadlines(tickets)
    dependencies = Dependencies(deadlines)
    standing = Standing()
    ledger = Ledger(effects, dead, dependencies, instruments, keep_history, standing)
    queue = ReadyQueue(roster, deadlines, tickets, lifo=lifo)
    by_taker = ReadyQueue(roster, deadlines, tickets, ranked=False)
    places = Places(ledger, max_queue, by_taker, dependencies)
    holds = Holds(ledger, deadlines)
    reservations = Reservations(roster, effects, standing)
    dispatch = Dispatch(
        roster,
        ledger,
        deadlines,
        queue,
        places,
        holds,
        dependencies,
        reservations,
        effects,
        max_running,
        rate_limit,
        retry_budget,
    )
    if elastic is not None:
        dispatch.staffing = Staffing(elastic, ledger, deadlines, queue, places, dispatch, reservations, effects)
    orphans = Orphans(roster, ledger, queue, places, effects, dispatch.staffing, no_worker)
    waits = dispatch.waits = Waits(roster, dependencies, reservations, dispatch, effects, standing)
    loans = Loans(roster, ledger, dispatch, waits, effects)
    scheduler = Scheduler(
        roster,
        ledger,
        deadlines,
        queue,
        places,
        dispatch,
        holds,
        dependencies,
        reservations,
        loans,
        waits,
        effects,
        orphans,
    )
    return scheduler, ledger
