"""One command starts the whole fleet, shows what it does, and leaves nothing behind however it ends."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from tests.project.test_examples import first_line, running

if TYPE_CHECKING:
    import subprocess

LONG = 120.0
"""Seconds after which a run of the fleet is taken for hung."""


def number(table: str, name: str) -> int:
    [found] = re.findall(rf"^{name} +(\d+)", table, re.MULTILINE)
    return int(found)


def rows(table: str) -> dict[tuple[str, str], tuple[int, int, int]]:
    """The files, attempts and failures by worker and token."""
    found = re.findall(r"^(worker-\d) +(token-\w) +(\d+) +(\d+) +(\d+)", table, re.MULTILINE)
    return {(worker, token): (int(files), int(tried), int(failed)) for worker, token, files, tried, failed in found}


FLEET = {("worker-1", "token-a"), ("worker-1", "token-d"), ("worker-2", "token-b"), ("worker-2", "token-c")}


def wait_for_files(process: subprocess.Popen[str]) -> list[str]:
    """Read what it shows until files have arrived."""
    shown = [first_line(process.stderr)]
    while re.match(r" *0/", shown[-1]):
        shown.append(first_line(process.stderr))
    return shown


def test_a_run_ends_with_a_table_by_worker_and_token_that_adds_up() -> None:
    with running("cluster/run.py", "--files", "50", "--seed", "1") as process:
        table, progress = process.communicate(timeout=LONG)

    assert process.returncode == 0, progress
    assert number(table, "files") == 50
    assert number(table, "dead") == 0
    fleet = rows(table)
    assert fleet.keys() == FLEET
    files, attempts, failed = (sum(column) for column in zip(*fleet.values(), strict=True))
    assert (files, attempts) == (50, number(table, "attempts"))
    assert attempts - failed == 50  # so none was done twice
    assert " 50/50 files, 50 fetched   worker-1: " in progress


def test_a_run_in_which_a_worker_is_killed_has_every_file_all_the_same_and_says_how_long_that_took() -> None:
    with running("cluster/run.py", "--files", "120", "--kill") as process:
        table, progress = process.communicate(timeout=LONG)

    assert process.returncode == 0, progress
    assert number(table, "files") == 120
    assert rows(table).keys() == FLEET
    assert re.search(r"^killed +worker-2", table, re.MULTILINE)
    assert re.search(r"^ 120/120 files, \d+ fetched   worker-1: .*   worker-2: killed$", progress, re.MULTILINE)
    assert number(table, "redelivered") > 0
    assert re.search(r"^redelivery took +[\d.]+ s to [\d.]+ s$", table, re.MULTILINE)


def test_a_run_shows_what_was_done_at_ctrl_c_and_leaves_without_a_traceback() -> None:
    with running("cluster/run.py") as process:
        progress = wait_for_files(process)
        process.send_signal(signal.SIGINT)
        table, rest = process.communicate(timeout=LONG)

    assert process.returncode == 130
    assert "Traceback" not in "".join([*progress, rest])
    assert 0 < number(table, "files") < 400
    assert rows(table).keys() == FLEET


def test_a_run_that_is_killed_leaves_nothing_behind() -> None:
    with running("cluster/run.py") as process:
        wait_for_files(process)
        process.kill()
        # The fixture that watches over all of these tests sees to the rest.
        assert process.wait(LONG) == -signal.SIGKILL
