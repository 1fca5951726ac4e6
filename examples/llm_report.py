"""What ``llm_batch.py`` shows: a line of progress while it works, and a table of what was done at its end."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_server import KEYS, MINUTE, ORGANIZATIONS, SHORTEST_ANSWER, Quota
from progress_line import progress_line

from trio_pool import Instrument, Pool, SlotPool, Worker, WorkerStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(eq=False)
class Report(Instrument):
    """What has been done so far, which can be asked for whenever and however the work ends.

    Attributes:
        wanted: The number of prompts.
        known: The number of answers that were in the journal at the start.
        answered: The number of answers that have been written.
        accounts: What each key has done, by the server's own account at its end.
    """

    wanted: int
    known: int = 0
    answered: int = 0
    accounts: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    _pool: Pool[Any] | SlotPool | None = None
    _workers: tuple[Worker, ...] = ()
    _opened_at: float = 0.0
    _elapsed: float = 0.0

    def note_accounts(self, line: str) -> None:
        self.accounts = json.loads(line)

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        self._pool = pool
        self._workers = pool.workers  # to be asked also when they have gone
        self._opened_at = time.perf_counter()

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        self._elapsed = time.perf_counter() - self._opened_at

    def lines(self) -> Iterator[str]:
        if not self.accounts or self._pool is None:
            yield "stopped before the pool was open"
            return
        keys = [worker.statistics() for worker in self._workers]
        yield f"{'key':<10}{'calls':>8}{'tokens':>10}{'refused':>9}{'failed':>8}{'busy':>11}"
        for key in keys:
            yield self._line(key.name, [key], [self.accounts[key.name]])
        yield self._line("all", keys, list(self.accounts.values()))
        yield ""
        yield f"{'prompts':<10}{self.answered:>10} of {self.wanted}"
        if self.known:
            yield f"{'known':<10}{self.known:>10}     from the journal"
        yield f"{'elapsed':<10}{self._elapsed:>10.2f} s"
        yield from self._lines_on_theory()
        yield ""
        yield self._pool.explain()

    def _line(self, name: str, keys: list[WorkerStatistics], accounts: list[dict[str, int]]) -> str:
        calls = sum(key.attempts for key in keys)
        tokens = sum(int(key.used.get("tokens", 0)) for key in keys)
        refused, failed = (sum(account[field] for account in accounts) for field in ("refused", "failed"))
        busy = sum(key.busy_seconds for key in keys)
        return f"{name:<10}{calls:>8}{tokens:>10}{refused:>9}{failed:>8}{busy:>9.1f} s"

    def _lines_on_theory(self) -> Iterator[str]:
        quota, (requests, tokens), least = whole_quota(), count_used(self.accounts), least_time(self.accounts)
        yield (
            f"{'in theory':<10}{least:>10.2f} s   for {requests} requests and {tokens} tokens: "
            f"{quota.requests} and {quota.tokens} at once, then as many each {MINUTE:g} s"
        )
        yield f"{'ratio':<10}{self._elapsed / least:>10.3f}"


def count_used(accounts: dict[str, dict[str, int]]) -> tuple[int, int]:
    """The requests and the tokens that count against the quotas: of calls that were not refused."""
    requests = sum(account["calls"] - account["refused"] for account in accounts.values())
    return requests, sum(account["tokens"] for account in accounts.values())


def least_time(accounts: dict[str, dict[str, int]], minute: float = MINUTE) -> float:
    """The least seconds for what was used, if nothing but the quotas counts and all are used up."""
    quota, (requests, tokens) = whole_quota(), count_used(accounts)
    minutes = max(requests / quota.requests, tokens / quota.tokens) - 1  # a first one is there at once
    return max(0.0, minutes) * minute + SHORTEST_ANSWER


def whole_quota() -> Quota:
    """What all keys together may use in a minute."""
    quotas = [key.quota for key in KEYS.values() if key.organization is None]
    for name, shared in ORGANIZATIONS.items():
        members = [key.quota for key in KEYS.values() if key.organization == name]
        requests, tokens = (sum(each) for each in zip(*((key.requests, key.tokens) for key in members), strict=True))
        quotas.append(Quota(min(shared.requests, requests), min(shared.tokens, tokens)))
    return Quota(sum(quota.requests for quota in quotas), sum(quota.tokens for quota in quotas))


async def show_progress(pool: Pool[Any], wanted: int) -> None:
    with progress_line() as show:
        async for now in pool.snapshots(show.interval):
            keys = "  ".join(f"{worker.name} {worker.running:>2}/{worker.max_running:g}" for worker in now.workers)
            show(f"{now.succeeded:>4}/{wanted} prompts  {now.retries:>4} retries  {keys}")
