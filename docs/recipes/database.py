"""A database: each worker has a connection of its own, which is used in threads, by one of them at a time."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import trio

from trio_pool import RetryPolicy, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def connect(path: Path) -> AsyncGenerator[sqlite3.Connection]:
    dial = partial(sqlite3.connect, path, timeout=10, check_same_thread=False)
    connection = await trio.to_thread.run_sync(dial)
    try:
        yield connection
    finally:
        with trio.CancelScope(shield=True):  # closed in any case
            await trio.to_thread.run_sync(connection.close)


def insert(connection: sqlite3.Connection, bird: str) -> None:
    with connection:  # a transaction
        connection.execute("INSERT INTO birds VALUES (?)", (bird,))


def count_rows(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM birds").fetchone()[0]
    return found


async def store(connection: sqlite3.Connection, bird: str) -> None:
    await trio.to_thread.run_sync(insert, connection, bird)


async def count(connection: sqlite3.Connection) -> int:
    return await trio.to_thread.run_sync(count_rows, connection)


async def main() -> None:
    locked = RetryPolicy(max_attempts=5, retry_on=sqlite3.OperationalError)  # such as "database is locked"
    with TemporaryDirectory() as folder:
        path = Path(folder, "birds.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE birds (name TEXT)")
        async with open_pool([path] * 3, lifespan=connect, retry=locked) as pool:
            async with pool.map(store, ["dunnock", "serin", "hoopoe"] * 20) as stored:
                async for _ in stored:
                    pass
            print(f"{await pool.run(count)} birds, stored over {len(pool.workers)} connections")


if __name__ == "__main__":
    trio.run(main)
