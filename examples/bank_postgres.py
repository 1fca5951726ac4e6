"""The bank of ``connections.py`` in PostgreSQL, by psycopg.

It is on the server that ``PGHOST``, ``PGHOSTADDR`` or ``PGSERVICE`` in the environment names, in a schema that is
dropped at the end. Otherwise it is on a server of its own, if PostgreSQL's programs are installed: that of
``postgres_server.py``.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
import trio
from bank import Bank, BusyError, Connection, LostError, Row
from postgres_server import crash_and_restart, find_program
from psycopg.conninfo import make_conninfo
from server_process import run_server_process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SERVER = Path(__file__).with_name("postgres_server.py")


class PostgresConnection(Connection):
    """A connection to a server, by psycopg."""

    def __init__(self, name: str, conninfo: str) -> None:
        super().__init__(name)
        self._connection = psycopg.connect(conninfo, autocommit=True, application_name=name)
        self.process_id = self._connection.info.backend_pid

    def execute(self, statement: str, *values: object) -> list[Row]:
        try:
            cursor = self._connection.execute(statement.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            raise BusyError(str(error)) from error
        except psycopg.OperationalError as error:
            if self._connection.closed:
                raise LostError(str(error)) from error
            raise

    def interrupt(self) -> None:
        with suppress(psycopg.Error):  # if the server can't be asked, its own timeout ends the statement
            self._connection.cancel_safe(timeout=1.0)

    def close(self) -> None:
        self._connection.close()


class PostgresBank(Bank):
    """Accounts in a schema of their own.

    Arguments:
        conninfo: how to connect, apart from what the environment says.
    """

    def __init__(self, conninfo: str) -> None:
        super().__init__()
        self._conninfo = conninfo
        self._schema = f"connections_{os.getpid()}"
        self.description = "PostgreSQL"

    def connect(self, name: str) -> PostgresConnection:
        options = f"-c search_path={self._schema} -c lock_timeout=1s -c statement_timeout=10s"
        return PostgresConnection(name, make_conninfo(self._conninfo, connect_timeout=5, options=options))

    def kill(self, connection: Connection) -> bool:
        assert isinstance(connection, PostgresConnection)
        # By its name too, as somebody else's connection may have got the number of one that is gone.
        mine = f"pid = {connection.process_id} AND application_name = '{connection.name}'"
        with suppress(psycopg.OperationalError):  # the server is down
            return bool(self._run_apart(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))
        return False

    def go_down(self) -> None:
        for connection in list(self.connections.values()):
            self.kill(connection)

    def create_schema(self) -> None:
        with psycopg.connect(self._conninfo) as connection:
            version = connection.info.server_version
        self.description = f"PostgreSQL {version // 10000}.{version % 10000}"
        self._run_apart(f"CREATE SCHEMA {self._schema}")

    def drop_schema(self) -> None:
        self._run_apart(f"DROP SCHEMA {self._schema} CASCADE")

    def _run_apart(self, statement: str) -> list[Row]:
        """Execute a statement over a connection that the pool has nothing to do with."""
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class OwnPostgresBank(PostgresBank):
    """Accounts on a server of their own.

    Arguments:
        folder: where ``postgres_server.py`` runs it.
        port: a part of its socket's name.
    """

    def __init__(self, folder: str, port: int) -> None:
        super().__init__(make_conninfo(host=folder, port=port, user="postgres", dbname="postgres"))
        self._folder = Path(folder)

    def go_down(self) -> None:
        crash_and_restart(self._folder)


def is_there() -> bool:
    """Whether a server is named by the environment, or can be started."""
    return is_named() or find_program("initdb") is not None


def is_named() -> bool:
    return not os.environ.keys().isdisjoint(("PGHOST", "PGHOSTADDR", "PGSERVICE"))


@asynccontextmanager
async def open_postgres() -> AsyncGenerator[Bank]:
    """A bank on the server that the environment names, or on one that is started for it."""
    if is_named():
        async with open_schema(PostgresBank("")) as bank:
            yield bank
        return
    with TemporaryDirectory(prefix="connections-") as folder:
        async with (
            run_server_process(SERVER, folder, at_end=str) as port,
            open_schema(OwnPostgresBank(folder, port)) as bank,
        ):
            yield bank


@asynccontextmanager
async def open_schema(bank: PostgresBank) -> AsyncGenerator[PostgresBank]:
    await trio.to_thread.run_sync(bank.create_schema)
    try:
        yield bank
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(bank.drop_schema)
