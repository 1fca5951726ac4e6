"""One command starts a whole fleet, shows what it does, and leaves nothing behind however it ends."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.project.test_examples import first_line, running

if TYPE_CHECKING:
    import subprocess

LONG = 120.0
"""Seconds after which a run of the fleet is taken for hung."""

FLEET = {("worker-1", "token-a"), ("worker-1", "token-d"), ("worker-2", "token-b"), ("worker-2", "token-c")}


both = pytest.mark.parametrize("engine", ["dramatiq", "pgqueuer"], indirect=True)


@pytest.fixture
def options(engine: str) -> list[str]:
    return ["--postgres"] if engine == "pgqueuer" else []


def number(table: str, name: str) -> int:
    [found] = re.findall(rf"^{name} +(\d+)", table, re.MULTILINE)
    return int(found)


def rows(table: str) -> dict[tuple[str, str], tuple[int, int, int]]:
    """The files, attempts and failures by worker and token."""
    found = re.findall(r"^(worker-\d) +(token-\w) +(\d+) +(\d+) +(\d+)", table, re.MULTILINE)
    return {(worker, token): (int(files), int(tried), int(failed)) for worker, token, files, tried, failed in found}


def wait_for_files(process: subprocess.Popen[str]) -> None:
    """Read what it shows until files have arrived."""
    while re.match(r" *0/", line := first_line(process.stderr)):
        assert line


@both
def test_a_run_ends_with_a_table_by_worker_and_token_that_adds_up(options: list[str]) -> None:
    with running("cluster/run.py", "--files", "50", "--seed", "1", *options) as process:
        table, progress = process.communicate(timeout=LONG)

    assert process.returncode == 0, progress
    assert (number(table, "files"), number(table, "dead"), number(table, "done again")) == (50, 0, 0)
    fleet = rows(table)
    assert fleet.keys() == FLEET
    files, attempts, failed = (sum(column) for column in zip(*fleet.values(), strict=True))
    assert files == attempts - failed == 50
    assert "  50/50 files   worker-1: " in progress


@both
def test_a_run_in_which_a_worker_is_killed_has_every_file_all_the_same(options: list[str]) -> None:
    with running("cluster/run.py", "--files", "60", "--kill", *options) as process:
        table, progress = process.communicate(timeout=LONG)

    assert process.returncode == 0, progress
    assert (number(table, "files"), number(table, "dead")) == (60, 0)
    assert re.search(r"^killed +worker-2 ", table, re.MULTILINE)
    assert "worker-2: killed" in progress


@pytest.mark.parametrize("engine", ["dramatiq"], indirect=True)
def test_after_ctrl_c_there_is_a_table_of_what_was_done(engine: str) -> None:
    with running("cluster/run.py", "--files", "300") as process:
        wait_for_files(process)
        process.send_signal(signal.SIGINT)
        table, progress = process.communicate(timeout=LONG)

    assert process.returncode == 130, progress
    assert 0 < number(table, "files") < 300
    assert rows(table).keys() == FLEET


@pytest.mark.parametrize("engine", ["pgqueuer"], indirect=True)
def test_a_run_that_is_killed_leaves_nothing_behind(options: list[str]) -> None:
    with running("cluster/run.py", "--files", "300", *options) as process:
        wait_for_files(process)
        process.kill()
