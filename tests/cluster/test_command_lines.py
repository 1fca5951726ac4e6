"""The programs of the fleet are started by hand too, and say what is wrong with what they are told."""

from __future__ import annotations

import socket

import pytest

from tests.project.test_examples import PATIENCE, running

BROKER = ["--broker", "redis://127.0.0.1:6379"]
API = ["--api", "http://127.0.0.1:8000"]
WHO = ["--name", "west", "--tokens", "token-a"]


def complaint(program: str, *arguments: str) -> tuple[int, str]:
    """The exit code and the last line of what it says."""
    with running(f"cluster/{program}", *arguments) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    return process.returncode, errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("program", "others", "url"),
    [
        ("submit.py", [], "127.0.0.1:6379"),
        ("worker.py", [*API, *WHO], "redis://"),
        ("worker.py", [*API, *WHO], "redis://host:port"),
    ],
)
def test_a_broker_must_be_given_by_its_url(program: str, others: list[str], url: str) -> None:
    code, line = complaint(program, "--broker", url, *others)
    assert code == 2
    assert line.endswith(f"argument --broker: must be a URL such as redis://127.0.0.1:6379, not {url!r}")


def test_the_server_of_the_files_must_be_given_by_its_url() -> None:
    code, line = complaint("worker.py", *BROKER, "--api", "127.0.0.1:8000", *WHO)
    assert code == 2
    assert line.endswith("argument --api: must be a URL such as http://127.0.0.1:8000, not '127.0.0.1:8000'")


@pytest.mark.parametrize(("option", "time"), [("--longest-wait", "0"), ("--idle-timeout", "nan")])
def test_times_must_be_times(option: str, time: str) -> None:
    code, line = complaint("worker.py", *BROKER, *API, *WHO, option, time)
    assert code == 2
    assert line.endswith(f"argument {option}: must be more than 0 seconds, not {time}")


@pytest.mark.parametrize(("program", "others"), [("submit.py", ["--files", "1"]), ("worker.py", [*API, *WHO])])
def test_a_broker_that_is_not_there_is_named(program: str, others: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
    code, line = complaint(program, "--broker", url, *others)
    assert code == 1
    assert line.startswith(f"There is no broker at {url}: ")
