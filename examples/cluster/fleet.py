"""What is known about the whole fleet: each worker process says how it is doing, and the table puts it together."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rules import REDELIVERED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streaq import Worker
    from streaq.task import TaskResult
    from tasks import Delivery
    from token_report import FailureCauses

    from trio_pool import PoolStatistics

MACHINES = "files:machines"
"""In Redis, the last account of each worker process, by its name."""


@dataclass(frozen=True)
class TokenAccount:
    """What has been done with one token in one process."""

    attempts: int
    succeeded: int
    failed: int
    busy_seconds: float
    state: str
    causes: dict[str, int]


@dataclass(frozen=True)
class Account:
    """What one worker process has done so far."""

    under_way: int
    handed_back: int
    tokens: dict[str, TokenAccount]


def take_account(now: PoolStatistics, causes: FailureCauses) -> Account:
    return Account(
        under_way=now.queued + now.delayed + now.running,
        handed_back=now.discarded,
        tokens={
            worker.name: TokenAccount(
                attempts=worker.attempts,
                succeeded=worker.succeeded,
                failed=worker.failed,
                busy_seconds=round(worker.busy_seconds, 3),
                state=worker.state.value,
                causes=dict(causes.by_worker[worker.name].most_common()),
            )
            for worker in now.workers
        },
    )


async def publish(engine: Worker[Any], machine: str, account: Account) -> None:
    await engine.redis.hset(MACHINES, {machine: json.dumps(asdict(account))})


async def read_redeliveries(engine: Worker[Any]) -> list[float]:
    """When jobs were started again after a crash, in POSIX seconds."""
    return [float(at) for at in (await engine.redis.hgetall(REDELIVERED)).values()]


async def read_accounts(engine: Worker[Any]) -> dict[str, Account]:
    published = await engine.redis.hgetall(MACHINES)
    return {machine: parse_account(text) for machine, text in sorted(published.items())}


def parse_account(text: str) -> Account:
    fields: dict[str, Any] = json.loads(text)
    tokens = {name: TokenAccount(**token) for name, token in fields.pop("tokens").items()}
    return Account(tokens=tokens, **fields)


def count_files(accounts: Mapping[str, Account]) -> int:
    return sum(token.succeeded for account in accounts.values() for token in account.tokens.values())


def describe_account(account: Account) -> str:
    tokens = " ".join(f"{name[-1]} {token.state}" for name, token in account.tokens.items())
    return f"{account.under_way} under way, {tokens}"


@dataclass
class FleetReport:
    """What has been done so far by all machines together.

    Attributes:
      wanted: the files to fetch.
      size: the bytes of those that have arrived.
      files: how many have arrived, by machine and token.
      lost: a line for each file that will not arrive.
      accounts: what each machine said last.
      killed_at: when machines were killed, in POSIX seconds, by their names.
      redelivered_at: when jobs were started again after a crash, in POSIX seconds.
      refused: the calls that the server has answered with 429.
    """

    wanted: int
    size: int = 0
    files: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    lost: list[str] = field(default_factory=list[str])
    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    killed_at: dict[str, float] = field(default_factory=dict[str, float])
    redelivered_at: list[float] = field(default_factory=list[float])
    refused: int | None = None
    _started_at: float = math.inf
    _ended_at: float = -math.inf

    @property
    def arrived(self) -> int:
        return sum(self.files.values())

    async def complete(self, engine: Worker[Any]) -> None:
        """Have all that the machines have said so far."""
        self.accounts = await read_accounts(engine)
        self.redelivered_at = await read_redeliveries(engine)

    def count(self, result: TaskResult[Delivery]) -> None:
        """Count the end of a job."""
        self._started_at = min(self._started_at, result.start_time / 1000)
        self._ended_at = max(self._ended_at, result.finish_time / 1000)
        if not result.success:
            self.lost.append(f"lost: {result.exception}")
            return
        delivery = result.result
        self.files[delivery["machine"], delivery["token"]] += 1
        self.size += delivery["size"]

    def progress(self) -> str:
        """How far the fleet is, in one line."""
        fleet = "   ".join(
            f"{machine}: {'killed' if machine in self.killed_at else describe_account(account)}"
            for machine, account in self.accounts.items()
        )
        fetched = count_files(self.accounts)
        return f"{self.arrived:>4}/{self.wanted} files, {fetched} fetched   {fleet}".rstrip()

    def lines(self) -> Iterator[str]:
        """The table, and what there is to say besides."""
        yield f"{'worker':<10}{'token':<10}{'files':>6}{'attempts':>10}{'failed':>8}{'busy':>10}   why they failed"
        for machine, account in self.accounts.items():
            for name, token in account.tokens.items():
                causes = ", ".join(f"{count} x {cause}" for cause, count in token.causes.items())
                yield (
                    f"{machine:<10}{name:<10}{self.files[machine, name]:>6}{token.attempts:>10}{token.failed:>8}"
                    f"{token.busy_seconds:>8.2f} s   {causes}"
                ).rstrip()
        tokens = [token for account in self.accounts.values() for token in account.tokens.values()]
        totals = {
            "bytes": self.size,
            "fetched": count_files(self.accounts),  # after Ctrl-C there are those whose results have not come in
            "attempts": sum(token.attempts for token in tokens),
            "handed back": sum(account.handed_back for account in self.accounts.values()),
            "dead": len(self.lost),
        }
        if self.refused is not None:
            totals["429s"] = self.refused
        yield ""
        yield f"{'files':<20}{self.arrived:>12} of {self.wanted}"
        for name, number in totals.items():
            yield f"{name:<20}{number:>12}"
        elapsed = max(0.0, self._ended_at - self._started_at)
        yield f"{'elapsed':<20}{elapsed:>12.2f} s   from the first start to the last end"
        yield from self._lines_on_kills()
        yield from self.lost

    def _lines_on_kills(self) -> Iterator[str]:
        for machine, killed_at in self.killed_at.items():
            yield f"{'killed':<20}{machine:>12}   (its attempts are those that it had told of)"
            waits = sorted(at - killed_at for at in self.redelivered_at)
            yield f"{'redelivered':<20}{len(waits):>12}"
            if waits:
                yield f"{'redelivery took':<20}{waits[0]:>12.2f} s to {waits[-1]:.2f} s"
