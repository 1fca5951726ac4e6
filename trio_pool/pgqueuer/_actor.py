"""Actors whose jobs PgQueuer delivers to a pool."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import psycopg
from pgqueuer.queries import SyncQueries
from psycopg.rows import dict_row

from .._basics.attributes import FixedAttributes
from .._basics.text import shown
from .._policies import validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..engines._jobs import JobMaker

P = ParamSpec("P")
V = TypeVar("V")


class Submitter:
    """Enqueues jobs over a connection that is opened when it is first needed. Thread-safe.

    Arguments:
      conninfo: the connection string.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def enqueue(self, name: str, payload: bytes, priority: int, delay: float) -> int:
        """Enqueue a job; try once more over a new connection if the old one is lost."""
        with self._lock:
            was_open = self._connection is not None
            try:
                return enqueue(self._open(), name, payload, priority, delay)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not was_open or self._connection is None or not self._connection.closed:
                    raise
            return enqueue(self._open(), name, payload, priority, delay)

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._conninfo, autocommit=True)
        return self._connection

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class _Asking:
    """The driver of `SyncQueries` over any connection, even one in a transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        cursor: Any = psycopg.RawCursor(self._connection, row_factory=dict_row)
        cursor.execute(query, args)
        rows: list[dict[str, object]] = cursor.fetchall()
        return rows


def enqueue(connection: psycopg.Connection[Any], name: str, payload: bytes, priority: int, delay: float) -> int:
    """Enqueue a job over a connection, as part of its transaction if it is in one."""
    [job] = SyncQueries(_Asking(connection)).enqueue(name, payload, priority, timedelta(seconds=delay))
    return int(job)


class PoolActor(FixedAttributes, Generic[P, V]):
    """A function whose calls become jobs in PostgreSQL, and then in a pool. Made by `PoolQueue.actor`.

    Attributes:
      name: the name of PgQueuer's entrypoint, the same in all processes.
      fn: the function of the jobs.
    """

    __slots__ = ("_jobs", "_priority", "_submitter", "_takes_resource", "fn", "name")

    def __init__(
        self,
        name: str,
        fn: Callable[..., Awaitable[V]],
        *,
        jobs: JobMaker,
        priority: int,
        takes_resource: bool,
        submitter: Submitter,
    ) -> None:
        self.name: str = name
        self.fn: Callable[..., Awaitable[V]] = fn
        self._jobs = jobs
        self._priority = priority
        self._takes_resource = takes_resource
        self._submitter = submitter

    def __repr__(self) -> str:
        return f"<PoolActor {self.name!r} of {shown(self.fn)}>"

    def send(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """Submit a job. The call blocks while it waits for the database, so Trio programs make it in a thread.

        Arguments:
          *args: the function's arguments without the resource; JSON must be able to store them.
          **kwargs: the function's keyword arguments.

        Returns:
          int: PgQueuer's identifier of the job.

        Raises:
          TypeError: if JSON can't store an argument.
          Exception: an error of psycopg, if the database can't be reached or has no tables of PgQueuer.
        """
        return self.send_with_options(args, kwargs)

    def send_with_options(
        self,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        delay: float = 0.0,
        connection: psycopg.Connection[Any] | None = None,
    ) -> int:
        """Submit a job like `send`, later or as part of a transaction.

        Arguments:
          args: the function's arguments without the resource.
          kwargs: the function's keyword arguments.
          delay: seconds until the job may start.
          connection: a connection of the program's: the job is there when its transaction is committed.

        Returns:
          int: PgQueuer's identifier of the job.

        Raises:
          ValueError, TypeError: if ``delay`` is out of its range or an argument of the wrong type.
          Exception: an error of psycopg, if the database can't be reached or has no tables of PgQueuer.
        """
        seconds = validate.seconds("delay", delay, finite=True)
        payload = json.dumps([list(args), kwargs or {}]).encode()
        if connection is not None:
            return enqueue(connection, self.name, payload, -self._priority, seconds)
        return self._submitter.enqueue(self.name, payload, -self._priority, seconds)


def decoded(payload: bytes | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read the arguments of a job.

    Raises:
      Exception: if they have not been written by an actor.
    """
    args, kwargs = json.loads(payload or b"")
    return tuple(args), dict(kwargs)


def letter_of(job_id: int, name: str, payload: bytes | None, reason: str) -> bytes:
    """Return the payload of a dead letter: the job as a dict, and the reason of its death."""
    message: dict[str, Any] = {"id": job_id, "actor_name": name}
    try:
        args, kwargs = decoded(payload)
        message |= {"args": args, "kwargs": kwargs}
    except Exception:  # not written by an actor
        message |= {"payload": (payload or b"").decode(errors="replace")}
    return json.dumps([[message, reason], {}]).encode()
