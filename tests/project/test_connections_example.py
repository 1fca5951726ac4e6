"""The example of database connections: the program, its handlers, and the connections that they use."""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import threading
from argparse import Namespace
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.platforms import sends_signals
from tests.project.test_examples import EXAMPLES, PATIENCE, first_line, running
from trio_pool import ResourceBroken, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path
    from types import ModuleType


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of the examples by its name."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module


@pytest.fixture
def bank_module(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("bank")


@pytest.fixture
def program(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("connections")


def rows(table: str) -> dict[str, list[int]]:
    """What the table says of each connection, and of all."""
    found = re.findall(r"^(connection-\d+|all)((?: +\d+){7})$", table, re.MULTILINE)
    return {name: [int(number) for number in numbers.split()] for name, numbers in found}


def totals(table: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"^([a-z ]+?) +(\d+)\b", table, re.MULTILINE)}


# The program.


def check_table(table: str, requests: int, connections: int) -> dict[str, int]:
    """Whether it adds up."""
    total, by_connection = totals(table), rows(table)
    everything = by_connection.pop("all")
    assert len(by_connection) == connections
    assert everything == [sum(column) for column in zip(*by_connection.values(), strict=True)]
    assert everything[0] == requests + total["audits"]  # each was served once, however often it was tried
    assert total["requests"] == total["applied"] == requests
    assert total["sent"] == requests + total["timed out"] + total["no connection"] + total["given up"]
    assert total["total"] == 10_000
    assert table.rstrip().endswith("\nthe books balance")
    return total


def test_each_request_is_applied_once_though_connections_are_killed_and_requests_time_out() -> None:
    with running("connections.py", "--sqlite", "--requests", "40", "--connections", "3") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, table + progress
    total = check_table(table, requests=40, connections=3)
    assert total["killed"] > 0
    assert total["outages"] == 1
    assert total["sent"] > 40
    assert "/40 requests" in progress


def test_nothing_is_killed_if_asked_not_to() -> None:
    with running("connections.py", "--sqlite", "--no-chaos", "--requests", "20") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, table + progress
    total = check_table(table, requests=20, connections=6)
    assert (total["killed"], total["outages"]) == (0, 0)
    assert rows(table)["all"][4] == 0  # none was broken


@sends_signals
def test_ctrl_c_leaves_in_good_order_and_the_books_balance() -> None:
    with running("connections.py", "--sqlite", "--requests", "100000") as process:
        progress = [first_line(process.stderr) for _ in range(3)]  # by the third some are answered
        process.send_signal(signal.SIGINT)
        table, rest = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert "Traceback" not in "".join([*progress, rest])
    assert 0 < totals(table)["requests"] <= totals(table)["applied"] < 100_000
    assert table.rstrip().endswith("\nthe books balance")


def test_without_psycopg_it_uses_sqlite_and_says_so(tmp_path: Path) -> None:
    # As if it were not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['psycopg'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with running("connections.py", "--requests", "1", PYTHONPATH=path) as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    assert "SQLite, as psycopg can't be used" in progress
    assert re.search(r"^database +SQLite 3\.", table, re.MULTILINE)


def test_lines_of_the_live_view_are_printed_if_asked_for_where_there_is_no_terminal() -> None:
    with running("connections.py", "--sqlite", "--requests", "5", "--live") as process:
        _, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    assert progress.startswith("connections 0:0")


@pytest.mark.parametrize("option", ["--requests", "--connections"])
@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_that_makes_no_sense_is_refused(option: str, number: str) -> None:
    with running("connections.py", option, number) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert option in errors


def test_the_exit_code_is_1_if_the_books_do_not_balance(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read_books = program.Bank.read_books

    async def lose_money(bank: Any) -> Any:
        books = await read_books(bank)
        return replace(books, balances={**books.balances, 3: 0})

    monkeypatch.setattr(program.Bank, "read_books", lose_money)
    options = Namespace(requests=1, connections=1, seed=0, sqlite=True, chaos=False, live=False)

    assert program.run(options) == 1
    assert "the books do not balance" in capsys.readouterr().out


# The books.


def find_faults(bank_module: ModuleType, **changes: Any) -> list[str]:
    """The faults of the books of two requests, which are in order but for the changes."""
    requests = [bank_module.Request(0, 1, 2, 10), bank_module.Request(1, 2, 3, 5)]
    balances = {**dict.fromkeys(range(10), 1000), 1: 990, 2: 1005, 3: 1005}
    books = bank_module.Books(balances, requests, [10_000])
    return list(replace(books, **changes).faults({request.number: request for request in requests}, {0, 1}))


def test_books_balance_if_the_transfers_explain_the_balances(bank_module: ModuleType) -> None:
    assert find_faults(bank_module) == []


def test_books_show_money_that_has_come_from_nowhere(bank_module: ModuleType) -> None:
    faults = find_faults(bank_module, balances={**dict.fromkeys(range(10), 1000), 1: 990, 2: 1005, 3: 1006})

    assert faults == ["the accounts hold 10001, and not 10000", "account 3 holds 1006, but 1005 after its transfers"]


def test_books_show_a_transfer_that_was_made_twice_and_noted_once(bank_module: ModuleType) -> None:
    faults = find_faults(bank_module, balances={**dict.fromkeys(range(10), 1000), 1: 980, 2: 1015, 3: 1005})

    assert len(faults) == 2
    assert faults[0] == "account 1 holds 980, but 990 after its transfers"


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [
        ((0,), "1 requests were answered, but not applied, such as 1"),
        ((0, 1, 1), "1 requests were applied more than once, such as 1"),
        ((0, 1, 7), "nobody has sent Request(number=7, source=2, target=3, amount=5, hindrance=None)"),
    ],
)
def test_books_show_requests_that_are_missing_repeated_or_unknown(
    bank_module: ModuleType, numbers: tuple[int, ...], fault: str
) -> None:
    transfers = [bank_module.Request(0, 1, 2, 10), *(bank_module.Request(number, 2, 3, 5) for number in numbers[1:])]

    assert find_faults(bank_module, transfers=transfers)[0] == fault


def test_books_show_an_audit_that_saw_a_transfer_half_done(bank_module: ModuleType) -> None:
    faults = find_faults(bank_module, audits=[10_000, 9_990])

    assert faults == ["1 audits found another total, such as 9990"]


# The handlers and their connections.


@pytest.fixture
async def bank(load: Callable[[str], ModuleType], tmp_path: Path) -> Any:
    bank = load("bank_sqlite").SqliteBank(tmp_path / "bank.db")
    await bank.create_accounts()
    return bank


@pytest.fixture
async def connection(bank: Any) -> AsyncGenerator[Any]:
    async with bank.open_connection("connection") as connection:
        yield connection


async def test_a_request_that_is_sent_again_is_not_applied_again(bank_module: ModuleType, connection: Any) -> None:
    request = bank_module.Request(7, 1, 2, 10)

    assert [await bank_module.transfer(connection, request) for _ in range(3)] == [True, False, False]
    assert await connection.run("SELECT balance FROM accounts WHERE number IN (1, 2)") == [(990,), (1010,)]


async def delete_accounts(connection: Any, then: Callable[[], object]) -> None:
    """Delete all accounts in a transaction, and do something in the middle of it."""
    async with connection.transaction():
        await connection.run("DELETE FROM accounts")
        then()
        await trio.lowlevel.checkpoint()


async def test_a_transaction_is_rolled_back_after_an_error(connection: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        await delete_accounts(connection, lambda: 1 / 0)

    async with connection.transaction():
        assert await connection.run("SELECT count(*) FROM accounts") == [(10,)]


async def test_a_connection_that_is_killed_in_a_transaction_is_broken_and_has_changed_nothing(
    bank: Any, connection: Any
) -> None:
    with pytest.raises(ResourceBroken):
        await delete_accounts(connection, partial(bank.kill, connection))

    assert (await bank.read_books()).total == 10_000


async def test_a_connection_that_is_killed_by_its_statement_has_executed_it_and_lost_the_answer(
    bank: Any, connection: Any
) -> None:
    connection._connection.create_function("kill", 0, connection.kill)

    with pytest.raises(ResourceBroken):
        await connection.run("INSERT INTO audits VALUES (1, coalesce(kill(), 5))")

    assert (await bank.read_books()).audits == [5]


async def test_a_bank_that_is_down_has_lost_all_connections_and_accepts_none_until_it_is_back(
    load: Callable[[str], ModuleType], bank: Any, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[float] = []

    def connect_meanwhile(seconds: float) -> None:
        with pytest.raises(ConnectionRefusedError):
            bank.connect("another")
        refused.append(seconds)

    monkeypatch.setattr(load("bank_sqlite"), "sleep", connect_meanwhile)
    bank.go_down()

    assert len(refused) == 1
    with pytest.raises(ResourceBroken):
        await connection.run("SELECT 1")
    assert (await bank.read_books()).total == 10_000


async def test_a_transaction_in_the_way_is_told_and_leaves_the_connection_as_it_is(
    load: Callable[[str], ModuleType], bank_module: ModuleType, bank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load("bank_sqlite"), "BUSY_TIMEOUT", 0)
    async with bank.open_connection("a") as one, bank.open_connection("b") as other:
        async with one.transaction():
            with pytest.raises(bank_module.BusyError):
                async with other.transaction():
                    raise AssertionError("there are two writers")
        async with other.transaction():
            await other.run("DELETE FROM audits")


async def test_a_cancellation_interrupts_the_statement_under_way(connection: Any) -> None:
    started = trio.Event()
    tell = partial(trio.from_thread.run_sync, started.set)
    connection._connection.create_function("started", 0, tell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            connection.run,
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT coalesce(started(), 0), i FROM n"
            " WHERE i = 1 OR i < 0",
        )
        await started.wait()
        nursery.cancel_scope.cancel()

    assert await connection.run("SELECT 1") == [(1,)]


async def test_an_interrupted_function_is_waited_for_and_its_result_dropped(
    load: Callable[[str], ModuleType],
) -> None:
    is_interrupted, ended = threading.Event(), False
    started = trio.Event()

    def block() -> str:
        nonlocal ended
        trio.from_thread.run_sync(started.set)
        is_interrupted.wait()
        ended = True
        return "too late"

    async def call() -> None:
        await load("interruptible").run_interruptible(block, is_interrupted.set)
        raise AssertionError("it was cancelled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await started.wait()
        nursery.cancel_scope.cancel()

    assert ended


async def test_a_transaction_that_is_cut_short_is_rolled_back_by_the_pool(bank_module: ModuleType, bank: Any) -> None:
    async with open_pool(["c"], lifespan=bank.open_connection, on_cut="reopen") as pool:
        first = bank.connections["c"]
        with trio.CancelScope() as scope:
            async with pool.acquire() as connection:
                await delete_accounts(connection, scope.cancel)
        async with pool.acquire() as connection:
            assert connection is not first
            assert await bank_module.transfer(connection, bank_module.Request(0, 1, 2, 10))

    assert (await bank.read_books()).total == 10_000


async def test_a_handler_tries_again_on_another_connection(
    load: Callable[[str], ModuleType], program: ModuleType, bank_module: ModuleType, bank: Any
) -> None:
    report = load("bank_report").Report(1)
    async with open_pool(["c"], lifespan=bank.open_connection) as pool:
        bank.kill(bank.connections["c"])

        assert await program.handle(pool, bank_module.Request(0, 1, 2, 10), report)
    assert report.counts["retried"] == 1


async def test_a_handler_gives_up_if_each_connection_is_lost(
    load: Callable[[str], ModuleType],
    program: ModuleType,
    bank_module: ModuleType,
    bank: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = load("bank_report").Report(1)
    monkeypatch.setattr(load("bank_sqlite").SqliteConnection, "begin", "SELECT kill()")
    connect = bank.connect

    def connect_badly(name: str) -> Any:
        connection = connect(name)
        connection._connection.create_function("kill", 0, connection.kill)
        return connection

    monkeypatch.setattr(bank, "connect", connect_badly)
    async with open_pool(["c"], lifespan=bank.open_connection) as pool:
        with pytest.raises(ResourceBroken):
            await program.handle(pool, bank_module.Request(0, 1, 2, 10), report)
    assert report.counts["retried"] == 2


def test_the_newest_of_debian_s_postgresql_programs_is_used(
    load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("postgres_server")
    monkeypatch.setattr(module, "INSTALLED", tmp_path)
    assert module.find_program("frobnicate") is None
    for version in ("9.6", "15", "14"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "frobnicate").touch()

    assert module.find_program("frobnicate") == tmp_path / "15" / "bin" / "frobnicate"
