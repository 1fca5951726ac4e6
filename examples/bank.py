"""The bank of ``connections.py``: accounts, transfers between them, and connections to the database that has both.

All connections are used in the same way, whichever database they lead to. They block, so each statement is executed in
a thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import trio
from interruptible import run_interruptible

from trio_pool import ResourceBroken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

ACCOUNTS = 10
DEPOSIT = 1000
"""What there is in each account at the start."""

TABLES = (
    "CREATE TABLE accounts (number INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
    # A request is applied once at most, since its number can be there only once.
    "CREATE TABLE transfers (request INTEGER PRIMARY KEY, source INTEGER NOT NULL, target INTEGER NOT NULL,"
    " amount INTEGER NOT NULL)",
    "CREATE TABLE audits (number INTEGER PRIMARY KEY, total INTEGER NOT NULL)",
)
NOTE_TRANSFER = "INSERT INTO transfers VALUES (?, ?, ?, ?) ON CONFLICT (request) DO NOTHING RETURNING request"
CHANGE_BALANCE = "UPDATE accounts SET balance = balance + ? WHERE number = ?"
NOTE_AUDIT = "INSERT INTO audits VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET total = excluded.total"
TAKE_LONG = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000000)"
    " SELECT count(*) FROM numbers"
)
"""A statement that lasts for minutes, unless it is interrupted."""

Row: TypeAlias = "tuple[Any, ...]"
Hindrance: TypeAlias = Literal["slow statement", "slow service", "slow answer"]


class LostError(Exception):
    """The connection is lost. Nobody knows whether the statement under way has been executed."""


class BusyError(Exception):
    """Another transaction is in the way. It may be gone the next time."""


class Connection(ABC):
    """A connection to the bank's database, for one task at a time.

    Attributes:
        name: of the worker that it belongs to.
    """

    begin: ClassVar[str] = "BEGIN"
    """The statement that begins a transaction."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def execute(self, statement: str, *values: object) -> list[Row]:
        """Execute a statement with a value for each question mark in it; it blocks.

        Raises:
            LostError: if the connection is lost, and good for nothing any more.
            BusyError: if another transaction is in the way.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Make the statement under way in another thread fail; it blocks."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, and roll back what was not committed; it blocks."""

    async def run(self, statement: str, *values: object) -> list[Row]:
        """Execute a statement in a thread; a cancellation interrupts it."""
        try:
            return await run_interruptible(partial(self.execute, statement, *values), self.interrupt)
        except LostError as error:
            raise ResourceBroken(str(error)) from error  # the pool opens another connection in its place

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """Commit what the block has done, or roll it back if it raises an exception.

        If it is cancelled, the transaction stays open: the pool closes the connection then (``on_cut="reopen"``), and
        the database rolls it back.
        """
        await self.run(self.begin)
        try:
            yield
        except ResourceBroken:
            raise
        except Exception:
            await self.run("ROLLBACK")
            raise
        await self.run("COMMIT")


@dataclass(frozen=True)
class Request:
    """An order to move an amount from one account to another.

    Attributes:
        number: tells it from all others, however often it is sent.
        hindrance: what keeps it from being answered in time: a statement or another service in the middle of the
            transaction, or something after it, when the request has been applied.
    """

    number: int
    source: int
    target: int
    amount: int
    hindrance: Hindrance | None = None


async def transfer(connection: Connection, request: Request) -> bool:
    """Apply a request, if that has not been done already; return whether it had to be done."""
    async with connection.transaction():
        row = (request.number, request.source, request.target, request.amount)
        is_new = bool(await connection.run(NOTE_TRANSFER, *row))
        if request.hindrance == "slow statement":
            await connection.run(TAKE_LONG)
        elif request.hindrance == "slow service":
            await trio.sleep_forever()
        if is_new:
            changes = {request.source: -request.amount, request.target: request.amount}
            for account in sorted(changes):  # all lock in the same order, so that no two wait for each other
                await connection.run(CHANGE_BALANCE, changes[account], account)
    if request.hindrance == "slow answer":
        await trio.sleep_forever()
    return is_new


async def audit(connection: Connection, number: int) -> int:
    """Note the total of all accounts under a number: the function of a job, which may run more than once."""
    [(total,)] = await connection.run("SELECT sum(balance) FROM accounts")
    await connection.run(NOTE_AUDIT, number, total)
    return int(total)


async def ping(connection: Connection) -> None:
    await connection.run("SELECT 1")


class Bank(ABC):
    """Where connections are opened, and where they are killed.

    Attributes:
        connections: those that are open in the pool, by the name of their worker.
    """

    description: str

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}

    @abstractmethod
    def connect(self, name: str) -> Connection:
        """Open a connection; it blocks."""

    @abstractmethod
    def kill(self, connection: Connection) -> bool:
        """Break a connection from outside, whatever it is doing; return whether it was there. It blocks."""

    @abstractmethod
    def go_down(self) -> None:
        """Lose all connections at once, and accept none for a moment; it blocks that long."""

    @asynccontextmanager
    async def open_connection(self, name: str) -> AsyncGenerator[Connection]:
        """The lifespan of a worker: its connection."""
        connection = await trio.to_thread.run_sync(self.connect, name)
        self.connections[name] = connection
        try:
            yield connection
        finally:
            del self.connections[name]
            with trio.CancelScope(shield=True):  # it is closed in any case
                await trio.to_thread.run_sync(connection.close)

    async def create_accounts(self) -> None:
        async with self.open_connection("accounts") as connection:
            for table in TABLES:
                await connection.run(table)
            for account in range(ACCOUNTS):
                await connection.run("INSERT INTO accounts VALUES (?, ?)", account, DEPOSIT)

    async def read_books(self) -> Books:
        async with self.open_connection("books") as connection, connection.transaction():
            balances = await connection.run("SELECT number, balance FROM accounts ORDER BY number")
            transfers = await connection.run("SELECT * FROM transfers ORDER BY request")
            audits = await connection.run("SELECT total FROM audits ORDER BY number")
        return Books(dict(balances), [Request(*row) for row in transfers], [total for (total,) in audits])


@dataclass(frozen=True)
class Books:
    """What the database says at the end."""

    balances: dict[int, int]
    transfers: list[Request]
    audits: list[int]

    @property
    def total(self) -> int:
        return sum(self.balances.values())

    def faults(self, sent: dict[int, Request], answered: set[int]) -> Iterator[str]:
        """What is wrong with them, after these requests were sent and those of these numbers were answered."""
        if self.total != ACCOUNTS * DEPOSIT:
            yield f"the accounts hold {self.total}, and not {ACCOUNTS * DEPOSIT}"
        if wrong := [total for total in self.audits if total != ACCOUNTS * DEPOSIT]:
            yield f"{len(wrong)} audits found another total, such as {wrong[0]}"
        applied = Counter(request.number for request in self.transfers)
        if missing := answered - applied.keys():
            yield f"{len(missing)} requests were answered, but not applied, such as {min(missing)}"
        if repeated := [number for number, times in applied.items() if times > 1]:
            yield f"{len(repeated)} requests were applied more than once, such as {min(repeated)}"
        for request in self.transfers:
            if request != sent.get(request.number):
                yield f"nobody has sent {request}"
        due = dict.fromkeys(range(ACCOUNTS), DEPOSIT)
        for request in self.transfers:
            due[request.source] -= request.amount
            due[request.target] += request.amount
        for account, balance in due.items():
            if self.balances.get(account) != balance:
                yield f"account {account} holds {self.balances.get(account)}, but {balance} after its transfers"
