"""Move money between accounts over a few database connections, which are killed while they are used.

Request handlers borrow a connection by ``async with pool.acquire(timeout=...)``, as those of a web server would. Each
request is a transaction: it notes its number, which is unique, and changes two balances. Requests have deadlines, and
some take too long: what is cut short in the middle of a transaction leaves a connection that is closed and reopened
(``on_cut="reopen"``). Connections are killed: the handler raises ``ResourceBroken``, the worker opens another one, and
the request is tried again. In the middle the whole database goes down for a moment. Idle connections are checked.
Clients send what was not answered again, under the same number. Meanwhile jobs of the pool, which are tried again by
its retry policy, audit the accounts.

At the end the books must balance: no money has come or gone, and each request was applied exactly once.

    python connections.py --requests 500 --connections 8
    python connections.py --sqlite --no-chaos

The database is PostgreSQL if psycopg is installed and there is a server: one that ``PGHOST``, ``PGHOSTADDR`` or
``PGSERVICE`` names, or else one of its own, for which PostgreSQL's programs must be installed. Otherwise, and with
``--sqlite``, it is a file of SQLite's. With ``--no-chaos`` nothing is killed and nothing takes too long.

On a terminal, and if rich is installed, it shows what the pool does while it works; with ``--no-live`` a line of
progress instead.

The exit code is 0 if the books balance, 1 if they don't, and 130 after Ctrl-C if they do.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import trio
from bank import ACCOUNTS, Bank, BusyError, Connection, Hindrance, Request, audit, transfer
from bank_report import Report, show_progress
from bank_sqlite import open_sqlite
from ctrl_c import run_until_interrupted

from trio_pool import HealthCheck, JobTimeoutError, Pool, Resource, ResourceBroken, RetryPolicy, open_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    BankOpener: TypeAlias = Callable[[], AbstractAsyncContextManager[Bank]]

HAS_RICH = find_spec("rich") is not None
GAP = 0.008
"""The seconds between two requests, on average."""
MAX_WAIT = 0.25
"""The seconds for which a handler waits for a connection."""
PATIENCE = 0.5
"""The seconds for which a client waits for the answer when it sends a request for the first time."""
TRIES = 3
"""How often a handler tries a request before it gives up."""
AUDIT_INTERVAL = 0.05


class Options(argparse.Namespace):
    """What the command line says."""

    requests: int
    connections: int
    seed: int
    sqlite: bool
    chaos: bool
    live: bool


async def handle(pool: Pool[Connection], request: Request, report: Report) -> bool:
    """Apply a request: what a web server would call for it.

    Returns:
        Whether it had not been applied before.
    """
    tries = 0
    while True:
        tries += 1
        try:
            async with pool.acquire(timeout=MAX_WAIT, name=f"transfer {request.number}") as connection:
                return await transfer(connection, request)
        except (ResourceBroken, BusyError):
            # What was under way may have been committed or not. Its number tells the next try.
            if tries == TRIES:
                raise
            report.counts["retried"] += 1


async def send(pool: Pool[Connection], request: Request, report: Report, rng: Random) -> None:
    """Send a request until it is answered: what a client does."""
    patience = PATIENCE
    report.sent[request.number] = replace(request, hindrance=None)
    while True:
        report.counts["sent"] += 1
        try:
            with trio.fail_after(patience):
                is_new = await handle(pool, request, report)
        except JobTimeoutError:  # of acquire()
            report.counts["no connection"] += 1
        except trio.TooSlowError:
            report.counts["timed out"] += 1
        except (ResourceBroken, BusyError):
            report.counts["given up"] += 1
        else:
            report.answered.add(request.number)
            report.counts["known"] += not is_new
            return
        await trio.sleep(rng.uniform(0, patience))
        patience *= 2
        request = replace(request, hindrance=None)


async def send_all(pool: Pool[Connection], bank: Bank, options: Options, report: Report) -> None:
    """Send requests as they come, each by a client of its own, and wait for all answers."""
    rng = Random(f"{options.seed} clients")
    async with trio.open_nursery() as clients:
        for request in make_requests(options):
            clients.start_soon(send, pool, request, report, rng)
            if options.chaos and request.number % 10 == 5:
                clients.start_soon(kill_one, pool, bank, report, rng)
            if options.chaos and request.number == options.requests // 2:
                clients.start_soon(take_down, bank, report)
            await trio.sleep(rng.expovariate(1 / GAP))


async def kill_one(pool: Pool[Connection], bank: Bank, report: Report, rng: Random) -> None:
    """Kill a connection in a moment: one that is being used, or sometimes any."""
    await trio.sleep(rng.uniform(0, GAP))
    in_use = [worker.name for worker in pool.workers if worker.job is not None and worker.name in bank.connections]
    names = in_use if rng.random() < 0.6 else []
    if names := names or list(bank.connections):
        report.counts["killed"] += await trio.to_thread.run_sync(bank.kill, bank.connections[rng.choice(names)])


async def take_down(bank: Bank, report: Report) -> None:
    await trio.to_thread.run_sync(bank.go_down)
    report.counts["outages"] += 1


async def keep_auditing(pool: Pool[Connection], report: Report) -> None:
    """Audit the accounts as long as there are requests."""
    for number in count():
        await pool.run(audit, number)
        if len(report.answered) == report.wanted:
            break
        await trio.sleep(AUDIT_INTERVAL)


async def run_bank(options: Options, report: Report, open_bank: BankOpener) -> None:
    async with open_bank() as bank:
        report.database = bank.description
        await bank.create_accounts()
        try:
            await serve(options, report, bank)
        finally:
            with trio.CancelScope(shield=True):  # the books are read after Ctrl-C, too
                report.books = await bank.read_books()


async def serve(options: Options, report: Report, bank: Bank) -> None:
    async with (
        trio.open_nursery() as nursery,
        open_pool(
            [Resource(name, name=name) for name in map("connection-{}".format, range(1, options.connections + 1))],
            lifespan=bank.open_connection,
            on_cut="reopen",
            check=HealthCheck(report.check, every=0.1, timeout=0.5),
            reopening=RetryPolicy.endless(base_delay=0.05, max_delay=1.0),
            retry=RetryPolicy.endless(base_delay=0.02, max_delay=1.0, placement="other", retry_on=BusyError),
            attempt_timeout=2.0,
            pick="last_used",  # those that the load does not need stay idle, and are checked
            instruments=[report],
            name="connections",
            rng=Random(options.seed),
        ) as pool,
    ):
        view: AbstractAsyncContextManager[None] = nullcontext()
        if options.live:
            from trio_pool.rich import live  # not at the top, since rich may be missing

            view = live(pool)
        else:
            nursery.start_soon(show_progress, pool, report)
        async with view, trio.open_nursery() as work:
            work.start_soon(keep_auditing, pool, report)
            work.start_soon(send_all, pool, bank, options, report)


def make_requests(options: Options) -> Iterator[Request]:
    rng = Random(f"{options.seed} requests")
    hindrances: tuple[Hindrance, ...] = ("slow statement", "slow service", "slow answer")
    for number in range(options.requests):
        source, target = rng.sample(range(ACCOUNTS), 2)
        amount = rng.randint(1, 20)
        is_hindered = options.chaos and number % 25 == 12
        yield Request(number, source, target, amount, rng.choice(hindrances) if is_hindered else None)


def choose_database(options: Options) -> BankOpener:
    """PostgreSQL if it is there, and else SQLite; says why."""
    if not options.sqlite:
        try:
            import bank_postgres
        except ImportError as error:  # of psycopg, or of the library that it uses
            print(f"SQLite, as psycopg can't be used: {error}", file=sys.stderr)
        else:
            if bank_postgres.is_there():
                return bank_postgres.open_postgres
            print("SQLite, as PGHOST names no PostgreSQL, and its programs are not installed", file=sys.stderr)
    return open_sqlite


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def run(options: Options) -> int:
    """Have all requests answered, print the report and return the exit code."""
    logging.getLogger("trio_pool").setLevel(logging.ERROR)  # that connections can't be opened is a part of it
    report = Report(options.requests)
    work = partial(run_bank, options, report, choose_database(options))
    interrupted = trio.run(run_until_interrupted, work)
    print(*report.lines(), sep="\n")
    if interrupted and report.books is None:
        return 130
    if report.faults():
        return 1
    return 130 if interrupted else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Move money over database connections that are killed meanwhile.")
    parser.add_argument("--requests", type=positive, default=500, help="how many requests to answer (default: 500)")
    parser.add_argument("--connections", type=positive, default=6, help="how many connections to open (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="repeats the requests (default: 0)")
    parser.add_argument("--sqlite", action="store_true", help="use SQLite, even if there is PostgreSQL")
    parser.add_argument(
        "--chaos",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="kill connections, and let some requests take too long; done by default",
    )
    parser.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        default=HAS_RICH and sys.stderr.isatty(),
        help="show what the pool does, drawn with rich; done anyway on a terminal, if rich is installed",
    )
    options = parser.parse_args(namespace=Options())
    if options.live and not HAS_RICH:
        parser.error("--live needs rich. Install it with: python -m pip install rich")
    try:
        return run(options)
    except KeyboardInterrupt:  # before there is anything to report
        return 130


if __name__ == "__main__":
    sys.exit(main())
