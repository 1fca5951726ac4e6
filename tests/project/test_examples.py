"""The main demo does what it says, and so does the server that it fetches from."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import httpx
import pytest

import trio_pool
from tests.platforms import opens_terminals, sends_signals
from tests.terminal import Terminal

if TYPE_CHECKING:
    import io
    from collections.abc import Generator
    from types import ModuleType

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STDLIB = Path(sysconfig.get_path("stdlib"))
PATIENCE = 120.0
"""Seconds after which a process that should have ended is taken for hung."""


@contextmanager
def running(
    script: str, *args: str, stderr: int | IO[bytes] = subprocess.PIPE, **environment: str
) -> Generator[subprocess.Popen[str]]:
    """Run an example in a process of its own, which is gone at the end of the block at the latest."""
    variables = {**os.environ, **environment}
    # It uses the library under test, whether that is installed or not.
    path = [str(Path(trio_pool.__file__).parent.parent), variables.get("PYTHONPATH")]
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / script), *args],
        env={**variables, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(pipe: IO[str] | None) -> str:
    assert pipe is not None
    return pipe.readline()


@pytest.fixture
def server() -> Generator[subprocess.Popen[str]]:
    with running("token_server.py", "--seed", "1") as process:
        yield process


@pytest.fixture
def dying_server() -> Generator[subprocess.Popen[str]]:
    with running("token_server.py", "--seed", "1", "--outage", "2", "6") as process:
        yield process


@pytest.fixture
def client(server: subprocess.Popen[str]) -> Generator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{int(first_line(server.stdout))}", trust_env=False) as client:
        yield client


@pytest.fixture
def server_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module("token_server")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def totals(table: str) -> dict[str, int]:
    """The lines of the table's second half that hold whole numbers."""
    rows = re.findall(r"^([a-z0-9]+) +(\d+)(?: of \d+)?$", table, re.MULTILINE)
    return {name: int(number) for name, number in rows}


def tokens(table: str) -> dict[str, tuple[int, int, int]]:
    """The attempts, successes and failures of each token."""
    rows = re.findall(r"^(token-[abcd]) +(\d+) +(\d+) +(\d+) +[\d.]+ s\b", table, re.MULTILINE)
    return {name: (int(attempts), int(succeeded), int(failed)) for name, attempts, succeeded, failed in rows}


def breakers(table: str) -> dict[str, tuple[int, int, int]]:
    """The attempts of each token while its breaker was closed, while it was open, and as its probes."""
    rows = re.findall(r"^(token-[abcd])(?: +[\d.]+){4} s +(\d+) +(\d+) +(\d+)\b", table, re.MULTILINE)
    return {name: (int(closed), int(opened), int(probes)) for name, closed, opened, probes in rows}


def causes(table: str) -> Counter[str]:
    """How often attempts failed, by why they did."""
    counts: Counter[str] = Counter()
    for count, cause in re.findall(r"(\d+) x (\w+)", table):
        counts[cause] += int(count)
    return counts


def test_demo_fetches_every_file_whole_and_its_table_adds_up() -> None:
    with running("api_tokens.py", "--files", "60", "--seed", "1") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    total = totals(table)
    assert total["files"] == 60
    assert total["dead"] == 0
    assert total["retries"] == total["attempts"] - 60
    rows = tokens(table).values()
    assert [sum(column) for column in zip(*rows, strict=True)] == [total["attempts"], 60, total["retries"]]
    assert all(attempts == succeeded + failed for attempts, succeeded, failed in rows)
    assert total["retries"] > 0
    assert total["429s"] == causes(table)["429"]
    assert "/60 files" in progress


def test_demo_that_respects_the_quotas_is_never_refused_and_keeps_away_from_a_dead_token() -> None:
    with running("api_tokens.py", "--files", "200", "--respect-quotas") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    assert totals(table)["files"] == 200
    assert totals(table)["429s"] == 0
    attempts = {name: row[0] for name, row in tokens(table).items()}
    states = breakers(table)
    assert {name: sum(row) for name, row in states.items()} == attempts
    assert [opened for _, opened, _ in states.values()] == [0, 0, 0, 0]
    assert states["token-d"][2] > 0  # probes
    assert causes(table).keys() <= {"500", "timeout"}


def test_demo_shows_the_time_it_took_beside_that_which_the_quotas_allow_in_theory() -> None:
    with running("api_tokens.py", "--files", "80", "--respect-quotas") as process:
        table, _ = process.communicate(timeout=PATIENCE)

    elapsed, theory, files, ratio = (
        float(re.findall(pattern, table, re.MULTILINE)[0])
        for pattern in (
            r"^elapsed +([\d.]+) s$",
            r"^in theory +([\d.]+) s ",
            r" for (\d+) files ",
            r"^ratio +([\d.]+)$",
        )
    )
    assert files == sum(succeeded for name, (_, succeeded, _) in tokens(table).items() if name != "token-d")
    assert theory == pytest.approx((files - 56) / 56, abs=0.01)
    assert ratio == pytest.approx(elapsed * 56 / (files - 56), rel=0.05)  # which is not rounded


def test_demo_counts_the_bytes_of_the_files_on_disk() -> None:
    with running("api_tokens.py", "--files", "1") as process:
        table, _ = process.communicate(timeout=PATIENCE)

    assert totals(table)["bytes"] == (STDLIB / "__future__.py").stat().st_size


@sends_signals
def test_demo_shows_what_was_done_at_ctrl_c_and_leaves_without_a_traceback() -> None:
    with running("api_tokens.py", "--seed", "1") as process:
        progress = [first_line(process.stderr) for _ in range(2)]  # the second comes when some files have
        process.send_signal(signal.SIGINT)
        table, rest = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert "Traceback" not in "".join([*progress, rest])
    assert 0 < totals(table)["files"] < 400
    assert tokens(table).keys() == {"token-a", "token-b", "token-c", "token-d"}
    assert "429s" in totals(table)


@opens_terminals
def test_demo_shows_a_live_view_on_a_terminal_and_then_its_table() -> None:
    master, slave = os.openpty()
    terminal = Terminal(columns=100)
    with open(master, "rb", buffering=0) as screen, open(slave, "wb", buffering=0) as stderr:
        environment = {"TERM": "vt100", "COLUMNS": "100", "LINES": "30"}
        with running("api_tokens.py", "--files", "40", stderr=stderr, **environment) as process:
            stderr.close()
            drawn = b"".join(iter(partial(read_all_there_is, screen), b""))
            table, _ = process.communicate(timeout=PATIENCE)
    terminal.write(drawn.decode())

    assert process.returncode == 0, table
    assert totals(table)["files"] == 40
    assert terminal.line("api tokens")
    assert terminal.lines[3].split()[:2] == ["40", "succeeded"]
    assert terminal.lines[3].endswith("40 of 40 (100 %)")
    assert [line.split()[0] for line in terminal.lines[7:11]] == [f"token-{name}" for name in "abcd"]
    assert terminal.shows_cursor()


def read_all_there_is(screen: io.FileIO) -> bytes:
    try:
        return screen.read(65536) or b""
    except OSError:  # so Linux tells that nobody can write to it any more
        return b""


def test_demo_prints_lines_of_the_live_view_if_asked_to_where_there_is_no_terminal() -> None:
    with running("api_tokens.py", "--files", "40", "--live") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    assert totals(table)["files"] == 40
    assert progress.startswith("api tokens 0:0")
    assert " 40 of 40 ended (100 %)" in progress


def test_demo_does_without_rich_unless_it_is_asked_for_the_live_view(tmp_path: Path) -> None:
    # As if it were not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['rich'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with running("api_tokens.py", "--files", "1", PYTHONPATH=path) as process:
        table, progress = process.communicate(timeout=PATIENCE)
    with running("api_tokens.py", "--files", "1", "--live", PYTHONPATH=path) as refused:
        _, errors = refused.communicate(timeout=PATIENCE)

    assert (process.returncode, refused.returncode) == (0, 2), progress + errors
    assert totals(table)["files"] == 1
    assert "pip install rich" in errors


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_demo_refuses_a_number_of_files_that_makes_no_sense(number: str) -> None:
    with running("api_tokens.py", "--files", number) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert "--files" in errors


def test_server_serves_the_standard_library_to_a_known_token(client: httpx.Client) -> None:
    response = client.get("/asyncio/base_events.py", headers=bearer("token-a"))

    assert response.status_code == 200
    assert response.content == (STDLIB / "asyncio" / "base_events.py").read_bytes()


@pytest.mark.parametrize("headers", [{}, bearer("token-x"), {"Authorization": "token-a"}])
def test_server_refuses_who_brings_no_known_token(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.get("/abc.py", headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/nothing.py", "/", "/../../../../../../etc/passwd", "/%00.py", f"/{'x' * 5000}.py"])
def test_server_has_nothing_but_source_files(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers=bearer("token-a")).status_code == 404


def test_server_answers_429_past_the_quota_and_says_when_to_come_back(client: httpx.Client) -> None:
    responses = [client.get("/abc.py", headers=bearer("token-b")) for _ in range(100)]

    assert {response.status_code for response in responses[:16]} <= {200, 500}
    refused = [response for response in responses if response.status_code == 429]
    assert refused
    assert {response.headers["Retry-After"] for response in refused} == {"1"}


def test_server_answers_500_to_some_calls_of_one_token_only(client: httpx.Client) -> None:
    def statuses(token: str) -> set[int]:
        return {client.get("/abc.py", headers=bearer(token)).status_code for _ in range(16)}

    assert statuses("token-a") == {200}
    assert statuses("token-b") == {200, 500}


def test_server_answers_500_to_all_calls_of_one_token_during_the_outage(dying_server: subprocess.Popen[str]) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{int(first_line(dying_server.stdout))}", trust_env=False) as client:
        statuses = [client.get("/abc.py", headers=bearer(f"token-{name}")).status_code for name in "dadaddd"]

    assert statuses == [200, 200, 500, 200, 500, 500, 200]


def test_server_ends_when_its_input_does(server: subprocess.Popen[str]) -> None:
    _, errors = server.communicate(timeout=PATIENCE)

    assert (server.returncode, errors) == (0, "")


def test_server_says_at_its_end_how_many_calls_it_refused(server: subprocess.Popen[str], client: httpx.Client) -> None:
    statuses = [client.get("/abc.py", headers=bearer("token-d")).status_code for _ in range(20)]

    output, _ = server.communicate(timeout=PATIENCE)

    assert int(output) == statuses.count(429) > 0


def test_server_says_nothing_about_a_client_that_hangs_up(server: subprocess.Popen[str], client: httpx.Client) -> None:
    for _ in range(8):
        with client.stream("GET", "/pydoc_data/topics.py", headers=bearer("token-a")):
            pass  # the body is still on its way

    _, errors = server.communicate(timeout=PATIENCE)

    assert errors == ""


def test_quota_lets_a_second_s_calls_through_at_once_and_then_each_as_its_time_comes(server_module: ModuleType) -> None:
    quota = server_module.Quota(2)

    assert [quota.take(now) for now in (5.0, 5.0, 5.25, 5.5, 5.5)] == [0.0, 0.0, 0.25, 0.0, 0.5]
    assert [quota.take(now) for now in (6.25, 6.25, 6.5)] == [0.0, 0.25, 0.0]


def test_quota_makes_up_for_no_more_than_a_second_of_a_pause(server_module: ModuleType) -> None:
    quota = server_module.Quota(1)

    assert [quota.take(now) for now in (0.0, 7.5, 8.25, 8.5)] == [0.0, 0.0, 0.25, 0.0]


# The elastic pool of SQLite connections.


def rows_of(table: str) -> dict[str, int]:
    """The lines of the table at the end."""
    return {name: int(number) for name, number in re.findall(r"^([a-z ]+?) +(\d+)$", table, re.MULTILINE)}


def test_elastic_demo_stores_every_row_over_workers_that_come_and_go() -> None:
    with running("elastic_sqlite.py", "--waves", "1") as process:
        output, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, errors) == (0, ""), output
    table = rows_of(output)
    assert table["rows expected"] == table["rows found"] == 250
    assert 1 < table["most at once"] <= 8
    assert 0 < table["workers retired"] < table["workers opened"]
    assert table["connections recycled"] > 0
    bars = re.findall(r"^ +[\d.]+ s +\d+  ([#+-]+) ", output, re.MULTILINE)
    assert max(map(len, bars)) > len(bars[-1]) == 1


@sends_signals
def test_elastic_demo_shows_what_was_done_at_ctrl_c_and_leaves_without_a_traceback() -> None:
    with running("elastic_sqlite.py") as process:
        picture = [first_line(process.stdout) for _ in range(6)]  # the first is the heading; then rows have come
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, errors) == (130, ""), picture
    table = rows_of(output)
    assert 0 < table["rows expected"] == table["rows found"] < 750


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_elastic_demo_refuses_a_number_of_waves_that_makes_no_sense(number: str) -> None:
    with running("elastic_sqlite.py", "--waves", number) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert "--waves" in errors
