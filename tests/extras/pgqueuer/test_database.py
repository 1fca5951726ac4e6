"""What reaches the database, and what happens while that is away; with connections that stand for real ones."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from trio_pool.pgqueuer import PoolQueue, _driver, _history
from trio_pool.pgqueuer._history import History, HistoryQueries

if TYPE_CHECKING:
    from typing_extensions import Self


class Connection:
    """A connection that answers, until it is lost.

    Attributes:
      asked: the first words of all statements, with their arguments.
      breaks: how many statements are lost with the connection.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.closed = False

    def ask(self, query: str, args: Any = ()) -> list[Any]:
        self.database.asked.append((" ".join(query.split())[:30], args))
        if self.database.breaks:
            self.database.breaks -= 1
            self.closed = self.database.is_lost
            raise psycopg.OperationalError("lost")
        return self.database.answers.pop(0) if self.database.answers else []

    # As much of psycopg's as is used.

    def execute(self, query: str, args: Any = ()) -> Cursor:
        return Cursor(self, self.ask(query, args))

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


class Cursor:
    def __init__(self, connection: Connection, rows: list[Any] | None = None, **_: Any) -> None:
        self.connection = connection
        self.rows = rows or []

    def execute(self, query: str, args: Any) -> None:
        self.rows = self.connection.ask(query, args)

    def fetchall(self) -> list[Any]:
        return self.rows

    def fetchone(self) -> Any:
        return self.rows[0] if self.rows else None


class Database:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: list[list[Any]] = []
        self.connections: list[Any] = []
        self.breaks = 0
        self.is_lost = True
        self.refuses = 0
        self.listeners: list[tuple[str, Any]] = []

    def connect(self, conninfo: str, **_: Any) -> Connection:
        if self.refuses:
            self.refuses -= 1
            raise psycopg.OperationalError("refused")
        connection = Connection(self)
        self.connections.append(connection)
        return connection


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(psycopg, "connect", database.connect)
    monkeypatch.setattr(psycopg, "RawCursor", Cursor)
    return database


# Submitting


async def fetch(token: str, path: str) -> None: ...


@pytest.fixture
def actor(database: Database) -> Any:
    return PoolQueue("postgresql://").actor(fetch)


def test_jobs_are_submitted_over_one_connection(database: Database, actor: Any) -> None:
    database.answers = [[{"id": 7}], [{"id": 8}]]
    assert [actor.send("/a"), actor.send_with_options(("/b",), delay=3)] == [7, 8]
    assert len(database.connections) == 1
    assert database.asked[0][1][1:3] == (["fetch"], [b'[["/a"], {}]'])


def test_a_job_is_submitted_again_if_the_connection_was_lost_meanwhile(database: Database, actor: Any) -> None:
    database.answers = [[{"id": 7}], [{"id": 8}]]
    actor.send("/a")
    database.breaks = 1
    assert actor.send("/b") == 8
    assert len(database.connections) == 2


@pytest.mark.parametrize("is_lost", [True, False])
def test_errors_of_a_new_connection_and_those_of_a_good_one_come_out(
    database: Database, actor: Any, is_lost: bool
) -> None:
    if not is_lost:
        database.answers = [[{"id": 7}]]
        actor.send("/a")
        database.is_lost = False
    database.breaks = 1
    with pytest.raises(psycopg.OperationalError):
        actor.send("/b")
    assert len(database.connections) == 1


def test_a_job_can_be_part_of_a_transaction_of_the_program(database: Database, actor: Any) -> None:
    database.answers = [[{"id": 7}]]
    own: Any = Connection(database)
    assert actor.send_with_options(("/a",), {"depth": 1}, connection=own) == 7
    assert database.connections == []


def test_arguments_must_be_what_json_can_write(database: Database, actor: Any) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        actor.send({1})
    with pytest.raises(ValueError, match=r"^delay must "):
        actor.send_with_options(("/a",), delay=-1)


def test_closing_a_queue_closes_its_connection(database: Database) -> None:
    queue = PoolQueue("postgresql://")
    queue.close()
    database.answers = [[{"id": 7}]]
    actor: Any = queue.actor(fetch)
    actor.send("/a")
    queue.close()
    assert database.connections[0].closed


@pytest.mark.parametrize(("found", "statements"), [(None, 3), ("pgqueuer", 2)])
def test_the_tables_are_made_unless_they_are_there(database: Database, found: str | None, statements: int) -> None:
    database.answers = [[], [[found]]]
    PoolQueue("postgresql://").install()
    assert len(database.asked) == statements


# The worker's connections


class InnerDriver:
    """Stands for PgQueuer's driver of a connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.shutdown = asyncio.Event()
        self.tm = type("Tasks", (), {"tasks": {asyncio.get_running_loop().create_task(asyncio.Event().wait())}})()

    async def fetch(self, query: str, *args: object) -> list[Any]:
        return list(self._connection.inner.ask(query, args))

    async def execute(self, query: str, *args: object) -> str:
        self._connection.inner.ask(query, args)
        return "DONE"

    async def notify(self, channel: str, payload: str) -> None:
        self._connection.inner.ask(f"NOTIFY {channel}", payload)

    async def add_listener(self, channel: str, callback: Any) -> None:
        self._connection.inner.database.listeners.append((channel, callback))


class AsyncConnection:
    def __init__(self, inner: Connection) -> None:
        self.inner = inner

    @property
    def closed(self) -> bool:
        return self.inner.closed

    async def close(self) -> None:
        self.inner.closed = True


@pytest.fixture
def driver(database: Database, monkeypatch: pytest.MonkeyPatch) -> type[_driver.Driver]:
    async def connect(conninfo: str, **options: Any) -> AsyncConnection:
        return AsyncConnection(database.connect(conninfo, **options))

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
    monkeypatch.setattr(_driver, "PsycopgDriver", InnerDriver)
    return _driver.Driver


def ignore(payload: str | bytes | bytearray) -> None:
    """A listener."""


def test_one_connection_is_asked_and_another_one_listens(database: Database, driver: type[_driver.Driver]) -> None:
    async def main() -> None:
        database.answers = [[{"x": 1}]]
        used = driver("postgresql://")
        async with used:
            assert await used.fetch("SELECT $1", 5) == [{"x": 1}]
            assert await used.execute("DELETE") == "DONE"
            await used.notify("ch", "hello")
            await used.add_listener("ch", ignore)
            await used.remove_listener("ch", ignore)
        assert not used.shutdown.is_set()
        assert used.tm.tasks == set()
        await used.close()
        assert used.shutdown.is_set()

    asyncio.run(main())
    assert database.asked == [("SELECT $1", (5,)), ("DELETE", ()), ("NOTIFY ch", "hello")]
    assert database.listeners == [("ch", ignore)]
    assert [connection.closed for connection in database.connections] == [True, True]


def test_a_lost_connection_is_made_again_and_the_call_repeated(
    database: Database, driver: type[_driver.Driver], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        used = driver("postgresql://")
        await used.add_listener("ch", ignore)
        database.breaks, database.refuses = 1, 1
        database.answers = [[{"x": 1}]]
        assert await used.fetch("SELECT 1") == [{"x": 1}]
        await used.close()

    asyncio.run(main())
    assert len(database.connections) == 4
    assert database.listeners == [("ch", ignore)] * 2
    assert "the database can't be reached: OperationalError: refused" in caplog.text


def test_an_error_on_a_good_connection_comes_out(database: Database, driver: type[_driver.Driver]) -> None:
    async def main() -> None:
        used = driver("postgresql://")
        database.breaks, database.is_lost = 1, False
        with pytest.raises(psycopg.OperationalError, match="lost"):
            await used.fetch("SELECT 1")
        await used.close()

    asyncio.run(main())


def test_what_waits_for_the_database_fails_once_it_is_given_up(
    database: Database, driver: type[_driver.Driver]
) -> None:
    async def main() -> None:
        used = driver("postgresql://")
        database.refuses = 10**6
        call = asyncio.create_task(used.fetch("SELECT 1"))
        while not used.stranded:  # noqa: ASYNC110  # nobody says so
            await asyncio.sleep(0)
        used.abandon()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            await call
        assert used.stranded == 0
        await used.close()

    asyncio.run(main())


def taken_row(number: int, *, crashes: int = 0, overstays: int = 0) -> dict[str, Any]:
    """A job in the answer to the statement that takes jobs."""
    row: dict[str, Any] = dict.fromkeys(
        ("created", "updated", "heartbeat", "execute_after"), datetime.now(timezone.utc)
    )
    row |= {"id": number, "priority": 0, "status": "picked", "entrypoint": "fetch", "payload": b"[[], {}]"}
    row |= {"attempts": 0, "queue_manager_id": None, "slot": None, "headers": None}
    return row | {"crashes": crashes, "overstays": overstays}


async def take(queries: HistoryQueries, most: int) -> list[Any]:
    """Take jobs as PgQueuer does."""
    limits: Any = {"fetch": None}
    manager: Any = uuid4()
    return list(await queries.dequeue(most, limits, manager, None, timedelta(seconds=9)))


def test_jobs_come_with_their_histories(database: Database, driver: type[_driver.Driver]) -> None:
    async def main() -> None:
        used = driver("postgresql://")
        queries = HistoryQueries(used, 8)
        database.answers = [[taken_row(3, crashes=2, overstays=1), taken_row(4)]]
        jobs = await take(queries, 2)
        assert [job.id for job in jobs] == [3, 4]
        assert [queries.history_of(number) for number in (3, 4, 3)] == [History(2, 1), History(), History()]
        await used.close()

    asyncio.run(main())


def asked_for(database: Database) -> list[object]:
    """The most jobs that each statement would have taken."""
    return [args[0] for _, args in database.asked]


async def settle() -> None:
    """Let other tasks run until each of them waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_worker_with_as_many_jobs_as_it_may_have_asks_for_more_once_one_has_ended(
    database: Database, driver: type[_driver.Driver]
) -> None:
    async def main() -> None:
        queries = HistoryQueries(driver("postgresql://"), 3)
        database.answers = [[taken_row(1), taken_row(2), taken_row(3)], [taken_row(4)]]
        await take(queries, 10)
        more = asyncio.create_task(take(queries, 10))
        await settle()
        assert asked_for(database) == [3]
        queries.let_go(2)
        assert [job.id for job in await more] == [4]
        assert asked_for(database) == [3, 1]

    asyncio.run(main())


def test_it_asks_at_once_when_half_of_them_have_ended(
    database: Database, driver: type[_driver.Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_history, "_MOMENT", 3600.0)

    async def main() -> None:
        queries = HistoryQueries(driver("postgresql://"), 4)
        database.answers = [[taken_row(1), taken_row(2), taken_row(3), taken_row(4)], [taken_row(5)]]
        await take(queries, 10)
        more = asyncio.create_task(take(queries, 10))
        queries.let_go(2)
        await settle()
        assert asked_for(database) == [4]
        queries.let_go(3)
        await more
        assert asked_for(database) == [4, 2]

    asyncio.run(main())


def test_a_job_that_is_written_as_ended_without_having_been_started_makes_room(
    database: Database, driver: type[_driver.Driver]
) -> None:
    async def main() -> None:
        queries = HistoryQueries(driver("postgresql://"), 1)
        database.answers = [[taken_row(1)], [], [taken_row(2)]]
        [job] = await take(queries, 10)
        more = asyncio.create_task(take(queries, 10))
        await settle()
        await queries.log_jobs([(job, "canceled", None)])
        assert [job.id for job in await more] == [2]

    asyncio.run(main())


def test_a_worker_that_ends_takes_no_more_jobs(database: Database, driver: type[_driver.Driver]) -> None:
    async def main() -> None:
        queries = HistoryQueries(driver("postgresql://"), 1)
        database.answers = [[taken_row(1)]]
        await take(queries, 10)
        more = asyncio.create_task(take(queries, 10))
        await settle()
        queries.stop()
        assert await more == []
        assert await take(queries, 10) == []
        assert asked_for(database) == [1]

    asyncio.run(main())


def test_a_statement_of_another_version_is_refused() -> None:
    anything: Any = None
    with pytest.raises(RuntimeError, match="this version of PgQueuer is unknown"):
        HistoryQueries(anything, 8)._with_history("SELECT 1")


def test_a_queue_opens_its_own_driver() -> None:
    async def main() -> None:
        assert isinstance(PoolQueue("postgresql://")._open_queries(8).driver, _driver.Driver)

    asyncio.run(main())
