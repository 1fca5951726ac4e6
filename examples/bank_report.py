"""What ``connections.py`` shows: a line of progress while it works, and a table of what has happened at its end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bank import ACCOUNTS, DEPOSIT, Books, Connection, Request, ping
from progress_line import progress_line

from trio_pool import Instrument, Pool, ResourceBroken, SlotPool, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(eq=False)
class ConnectionCounts:
    """How often something has happened to the connections of one worker.

    Attributes:
        opened: They were opened.
        cut: A handler or a check was cancelled in the middle of using one, so it was reopened.
        broken: One was lost, or could not be opened.
        checks: An idle one was checked.
        found: A check has found one that was lost.
    """

    opened: int = 0
    cut: int = 0
    broken: int = 0
    checks: int = 0
    found: int = 0


@dataclass(eq=False)
class Report(Instrument):
    """What has happened so far.

    Attributes:
        wanted: The number of requests that are to be answered.
        database: Its name and version.
        sent: The requests that have been sent, by their numbers.
        answered: The numbers of those that have been answered.
        counts: How often something has happened to requests and connections, by what that was.
        books: What the database says at the end.
    """

    wanted: int
    database: str = ""
    sent: dict[int, Request] = field(default_factory=dict[int, Request])
    answered: set[int] = field(default_factory=set[int])
    counts: Counter[str] = field(default_factory=Counter[str])
    books: Books | None = None
    _pool: Pool[Any] | SlotPool | None = None
    _workers: tuple[Worker, ...] = ()
    _by_worker: dict[str, ConnectionCounts] = field(default_factory=dict[str, ConnectionCounts])
    _opened_at: float = 0.0
    _elapsed: float = 0.0

    async def check(self, connection: Connection) -> None:
        """Find out whether an idle connection still works: the function of the health check."""
        counts = self._by_worker[connection.name]
        counts.checks += 1
        try:
            await ping(connection)
        except ResourceBroken:
            counts.found += 1
            raise

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        self._pool = pool
        self._workers = pool.workers  # to be asked also when they have gone
        self._opened_at = time.perf_counter()

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        self._elapsed = time.perf_counter() - self._opened_at

    def worker_started(self, worker: Worker) -> None:
        self._by_worker.setdefault(worker.name, ConnectionCounts()).opened += 1

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        if error is None:
            self._by_worker[worker.name].cut += 1
        else:
            self._by_worker[worker.name].broken += 1

    def faults(self) -> list[str]:
        """Why the books don't balance."""
        if self.books is None:
            return ["nobody has read the books"]
        return list(self.books.faults(self.sent, self.answered))

    def lines(self) -> Iterator[str]:
        if self._pool is None or self.books is None:
            yield "stopped before there was anything to report"
            return
        yield in_columns("connection", "served", "failed", "opened", "cut", "broken", "checks", "found")
        for worker in self._workers:
            yield self._line(worker.name, [worker])
        yield self._line("all", list(self._workers))
        counts, faults = self.counts, self.faults()
        yield ""
        yield f"{'database':<16}{self.database}"
        yield f"{'requests':<16}{len(self.answered):>8} of {self.wanted} answered"
        yield f"{'sent':<16}{counts['sent']:>8}   each until there was an answer"
        yield f"{'timed out':<16}{counts['timed out']:>8}   by their deadlines"
        yield f"{'no connection':<16}{counts['no connection']:>8}   as none was free in time"
        yield f"{'given up':<16}{counts['given up']:>8}   after too many tries"
        yield f"{'retried':<16}{counts['retried']:>8}   as the connection was lost, or the database busy"
        yield f"{'killed':<16}{counts['killed']:>8}   connections, one at a time"
        yield f"{'outages':<16}{counts['outages']:>8}   in which all were lost"
        yield f"{'audits':<16}{len(self.books.audits):>8}   with {self._pool.statistics().retries} retries"
        yield f"{'applied':<16}{len(self.books.transfers):>8}   transfers; {counts['known']} were sent again after that"
        yield f"{'total':<16}{self.books.total:>8}   in all accounts, {ACCOUNTS * DEPOSIT} at the start"
        yield f"{'elapsed':<16}{self._elapsed:>8.2f} s"
        yield self._pool.explain()
        yield f"the books {'do not balance' if faults else 'balance'}"
        yield from faults

    def _line(self, name: str, workers: list[Worker]) -> str:
        statistics = [worker.statistics() for worker in workers]
        counts = [self._by_worker[worker.name] for worker in workers]
        return in_columns(
            name,
            sum(each.succeeded for each in statistics),
            sum(each.failed for each in statistics),
            sum(each.opened for each in counts),
            sum(each.cut for each in counts),
            sum(each.broken for each in counts),
            sum(each.checks for each in counts),
            sum(each.found for each in counts),
        )


def in_columns(name: str, *columns: object) -> str:
    return f"{name:<16}" + "".join(f"{column:>8}" for column in columns)


async def show_progress(pool: Pool[Any], report: Report) -> None:
    signs = {"IDLE": "-", "BUSY": "#"}
    with progress_line() as show:
        async for now in pool.snapshots(show.interval):
            connections = "".join(signs.get(worker.state.name, "+") for worker in now.workers)
            show(f"{len(report.answered):>4}/{report.wanted} requests  {report.counts['sent']:>4} sent  {connections}")
