"""Fill a table over SQLite connections that are opened when there is much to do, and closed when there is not.

Rows come in waves. Each needs a little computing, is inserted in a transaction of its own, and blocks the thread that
does it for a few milliseconds. An elastic pool opens one more connection, up to eight, whenever rows wait that no
connection is free for, and retires those that the load no longer needs. A worker whose connection has served twenty
rows recycles it: closes it and opens a fresh one.

    python elastic_sqlite.py --waves 3

It prints a picture of the workers while it goes on, and a table at the end. The exit code is 0 if the table has
exactly the rows that were to be inserted, 1 if it has not, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import trio
from ctrl_c import run_until_interrupted

from trio_pool import Elastic, Instrument, Pool, PoolStatistics, RetryPolicy, Worker, WorkerState, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

MAX_WORKERS = 8
ROWS_PER_WAVE = 250
SECONDS_PER_WAVE = 2.0
ROUNDS = 10_000
"""How much there is to compute for a row: some milliseconds' worth."""
BUSY_TIMEOUT = 30.0
"""Seconds that SQLite waits while another connection writes."""


# What is done with a connection. These functions block, so each is called in a thread.


def create_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # kept in the file, so all connections have it
        connection.execute("CREATE TABLE results (number INTEGER PRIMARY KEY, digest TEXT NOT NULL)")


def connect(path: Path) -> sqlite3.Connection:
    # It moves from thread to thread, which SQLite allows as long as there is one at a time; and the pool sees to that.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, check_same_thread=False)


def insert_row(connection: sqlite3.Connection, number: int) -> None:
    digest = hashlib.pbkdf2_hmac("sha256", b"%d" % number, b"salt", ROUNDS).hex()
    with connection:  # a transaction: committed at the end, rolled back after an error
        connection.execute("INSERT INTO results VALUES (?, ?)", (number, digest))


def count_rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM results").fetchone()[0]
        return found


# What the pool is given: how to open a connection, and what to do with one.


@asynccontextmanager
async def open_connection(path: Path) -> AsyncGenerator[sqlite3.Connection]:
    """The life of a worker's connection: the pool enters this when it opens a worker, and leaves it to retire one."""
    connection = await trio.to_thread.run_sync(connect, path)
    try:
        yield connection
    finally:
        with trio.CancelScope(shield=True):  # it is to be closed after Ctrl-C too
            await trio.to_thread.run_sync(connection.close)


async def store_row(connection: sqlite3.Connection, number: int) -> None:
    """Insert one row: the function of every job. The pool fills in the connection."""
    # A thread can't be cancelled, so Trio waits for its end, and the worker stays busy until then.
    await trio.to_thread.run_sync(insert_row, connection, number)


async def store_all(path: Path, waves: int, report: Report) -> None:
    async with (
        trio.open_nursery() as nursery,
        open_pool(
            Elastic(partial(open_connection, path), min=1, max=MAX_WORKERS, idle_timeout=0.3, max_jobs=20),
            retry=RetryPolicy(retry_on=sqlite3.OperationalError),  # such as "database is locked"
            on_dead="keep",  # the count of rows will tell
            instruments=[report],
        ) as pool,
    ):
        report.pool = pool
        nursery.start_soon(show_workers, pool, report)
        await send_waves(pool, waves)
        await pool.join()
        await trio.sleep(SECONDS_PER_WAVE / 2)  # the calm after the storm: one worker is kept


async def send_waves(pool: Pool[sqlite3.Connection], waves: int) -> None:
    """Submit a row for each number, slowly at first, then faster, then slowly again; and that ``waves`` times."""
    rows = waves * ROWS_PER_WAVE
    seconds = waves * SECONDS_PER_WAVE
    start = trio.current_time()
    sent = 0
    while sent < rows:
        await trio.sleep(0.05)
        elapsed = min(1.0, (trio.current_time() - start) / seconds)
        # The integral of a sine curve between 0 and 2: so much of all is to be sent by now.
        turns = 2 * math.pi * waves
        due = round(rows * (elapsed - math.sin(turns * elapsed) / turns))
        while sent < due:
            await pool.submit(store_row, sent)
            sent += 1


# What is shown.


class Report(Instrument):
    """Watches the workers come and go.

    Attributes:
        pool: The pool, once it is open.
        opened: The numbers of all workers that were opened.
        most: How many of them there were at once.
        recycled: How often a connection was reopened because it had served its rows.
    """

    def __init__(self) -> None:
        self.pool: Pool[sqlite3.Connection] | None = None
        self.opened: set[int] = set()
        self.most = 0
        self.recycled = 0
        self._there: set[int] = set()

    def worker_started(self, worker: Worker) -> None:
        self.opened.add(worker.id)  # a recycled one starts once more, but is the same worker
        self._there.add(worker.id)
        self.most = max(self.most, len(self._there))

    def worker_stopped(self, worker: Worker) -> None:
        self._there.discard(worker.id)

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        if error is None:  # nothing was wrong with it
            self.recycled += 1

    def retired(self, now: PoolStatistics) -> int:
        """How many workers have left. Once the pool ends, ``now`` has those that were there to the end."""
        return len(self.opened - {worker.id for worker in now.workers})

    def lines(self, now: PoolStatistics, found: int) -> Iterator[str]:
        yield ""
        yield f"{'workers opened':<20}{len(self.opened):>8}"
        yield f"{'workers retired':<20}{self.retired(now):>8}"
        yield f"{'most at once':<20}{self.most:>8}"
        yield f"{'connections recycled':<20}{self.recycled:>8}"
        yield f"{'rows expected':<20}{expected_rows(now):>8}"
        yield f"{'rows found':<20}{found:>8}"


def expected_rows(now: PoolStatistics) -> int:
    """A row for each job, except for those that Ctrl-C has cancelled."""
    return now.submitted - now.cancelled


async def show_workers(pool: Pool[sqlite3.Connection], report: Report) -> None:
    """Print a line now and then, with a sign for each worker: busy, idle, or with no connection at the moment."""
    signs = {WorkerState.BUSY: "#", WorkerState.IDLE: "-"}
    print(f"   time  queued  {'workers':<{MAX_WORKERS}}  opened  retired  recycled   (# busy, - idle, + being opened)")
    start = trio.current_time()
    async for now in pool.snapshots(0.2):
        bar = "".join(signs.get(worker.state, "+") for worker in now.workers)
        print(
            f"{trio.current_time() - start:>5.1f} s{now.queued:>8}  {bar:<{MAX_WORKERS}}"
            f"{len(report.opened):>8}{report.retired(now):>9}{report.recycled:>10}",
            flush=True,
        )


# The program around it.


def run(waves: int) -> int:
    """Store the rows, print the table and return the exit code."""
    report = Report()
    with TemporaryDirectory() as folder:
        path = Path(folder, "results.db")
        create_table(path)
        interrupted = trio.run(run_until_interrupted, partial(store_all, path, waves, report))
        found = count_rows(path)
    if report.pool is None:
        print("stopped before the pool was open")
        return 130
    totals = report.pool.statistics()
    print(*report.lines(totals, found), sep="\n")
    if interrupted:
        return 130
    return 0 if found == expected_rows(totals) == waves * ROWS_PER_WAVE else 1


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description="Fill an SQLite table with as many connections as the load needs.")
    parser.add_argument("--waves", type=positive, default=3, help="how often the load swells and ebbs (default: 3)")
    try:
        return run(parser.parse_args().waves)
    except KeyboardInterrupt:  # before there is anything to report
        return 130


if __name__ == "__main__":
    sys.exit(main())
