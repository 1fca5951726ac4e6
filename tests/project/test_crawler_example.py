"""The example that checks links finds every file once, and what is broken and nothing else."""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.platforms import sends_signals
from tests.project.test_examples import EXAMPLES, PATIENCE, first_line, running

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def make_site(folder: Path, pages: dict[str, str]) -> None:
    for name, html in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html)


@pytest.fixture
def broken_site(tmp_path: Path) -> Path:
    """A cycle of pages, with links of all kinds; those with "wrong" in them are broken."""
    make_site(
        tmp_path,
        {
            "index.html": """
                <h1 id="start">Start</h1>
                <a href="one.html">one</a> <a href="one.html#here">here</a> <a href="one.html#wrong">wrong</a>
                <a href="wrong.html">wrong</a> <a href="">this page</a> <a href="#top">its top</a>
                <img src="picture.png"> <link href="wrong.css"> <a href="picture.png#whatever">picture</a>
                <a href="https://example.com/#wrong">elsewhere</a> <a href="mailto:me@example.com">me</a>
                """,
            "one.html": """
                <p id="here">One</p> <a href="sub">sub</a> <a href="sub#old">sub</a> <a href="wrong.html">wrong</a>
                """,
            "sub/index.html": """
                <a name="old"></a> <a href="../index.html#start">start</a> <a href="../">start</a>
                <a href="a%20b.html#%C3%BC">a b</a> <a href="wrong/">a folder</a>
                """,
            "sub/a b.html": '<p id="ü">A B</p>',
            "sub/wrong/text.txt": "not shown",
            "picture.png": "",
            "lonely.html": '<a href="wrong.html">nobody gets here</a>',
        },
    )
    return tmp_path


BROKEN = {
    "/index.html -> /one.html#wrong: no such place in that page",
    "/index.html -> /wrong.html: given up: 404 File not found",
    "/index.html -> /wrong.css: given up: 404 File not found",
    "/one.html -> /wrong.html: given up: 404 File not found",
    "/sub/index.html -> /sub/wrong/index.html: given up: 404 File not found",
}


def totals(output: str) -> dict[str, int]:
    rows = re.findall(r"^([a-z ]+?) +(\d+)$", output, re.MULTILINE)
    return {name: int(number) for name, number in rows}


def connections(output: str) -> list[tuple[int, int]]:
    """The files of each connection, those that it got and those that it didn't."""
    rows = re.findall(r"^connection-\d+ +(\d+) +(\d+) +[\d.]+ s$", output, re.MULTILINE)
    return [(int(succeeded), int(failed)) for succeeded, failed in rows]


def broken_links(output: str) -> list[str]:
    return [line for line in output.splitlines() if " -> " in line]


def test_every_broken_link_is_listed_and_every_file_fetched_once(broken_site: Path) -> None:
    with running("crawler.py", str(broken_site)) as process:
        output, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1, errors
    listed = broken_links(output)
    assert (len(listed), set(listed)) == (5, BROKEN)
    table = totals(output)
    assert (table["files found"], table["files read"], table["pages"]) == (9, 6, 5)
    assert (table["broken links"], table["links elsewhere"]) == (5, 2)
    fetched = connections(output)
    assert len(fetched) == 4
    assert [sum(column) for column in zip(*fetched, strict=True)] == [6, 3]


def test_a_site_without_a_broken_link_is_fine(tmp_path: Path) -> None:
    make_site(tmp_path, {"index.html": '<a href="a.html">a</a>', "a.html": '<a href="index.html">back</a>'})

    with running("crawler.py", str(tmp_path), "--connections", "2") as process:
        output, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, errors
    assert totals(output)["files read"] == 2
    assert totals(output)["broken links"] == 0
    assert len(connections(output)) == 2


def test_in_a_tree_every_job_waits_for_those_that_it_submits_over_one_connection(broken_site: Path) -> None:
    with running("crawler.py", str(broken_site), "--tree") as process:
        output, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1, errors
    assert set(broken_links(output)) == BROKEN
    assert connections(output) == [(6, 3)]
    assert totals(output)["files in the tree"] == totals(output)["files read"] == 6


@sends_signals
def test_ctrl_c_leaves_in_good_order_and_with_a_table(tmp_path: Path) -> None:
    count = 1000
    links = "".join(f'<a href="{number}.html">{number}</a>' for number in range(count))
    make_site(tmp_path, {"index.html": links, **{f"{number}.html": "" for number in range(count)}})

    with running("crawler.py", str(tmp_path), "--connections", "1") as process:
        progress = [first_line(process.stderr)]
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert "Traceback" not in "".join([*progress, rest])
    assert totals(output)["files read"] < count
    assert len(connections(output)) == 1


def test_a_folder_without_a_front_page_is_refused(tmp_path: Path) -> None:
    with running("crawler.py", str(tmp_path)) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert f"there is no index.html in {tmp_path}" in errors


def test_a_folder_has_to_be_named_where_there_is_nothing_to_build_the_documentation_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['sphinx'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    with running("crawler.py") as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert "pip install sphinx" in errors


# Its parts.


@pytest.fixture
def links_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module("site_links")


@pytest.mark.parametrize(
    ("html", "links"),
    [
        ('<a href="b.html">', [("/docs/b.html", "")]),
        ('<a href="../c">', [("/c", "")]),
        ('<a href="/">', [("/index.html", "")]),
        ('<a href="http://site">', [("/index.html", "")]),
        ('<a href="http://site//host/x">', [("/host/x", "")]),
        ('<a href="#%C3%BC">', [("/docs/a.html", "ü")]),
        ('<script src="s.js?v=1">', [("/docs/s.js?v=1", "")]),
        ('<a href="b.html"> <a href="b.html"> <a href="b.html#x">', [("/docs/b.html", ""), ("/docs/b.html", "x")]),
        ('<a href="//host/x"> <a href="https://site/"> <a href="javascript:f()"> <a href>', []),
        ('<!-- <a href="b.html"> -->', []),
    ],
)
def test_links_are_told_by_the_file_and_the_place_that_they_lead_to(
    links_module: ModuleType, html: str, links: list[tuple[str, str]]
) -> None:
    assert list(links_module.read_page(html, "http://site/docs/a.html").links) == links


def test_the_server_shows_files_and_no_folders(broken_site: Path) -> None:
    with running("site_server.py", str(broken_site)) as process:
        address = first_line(process.stdout).strip()
        with httpx.Client(base_url=address, trust_env=False) as client:
            statuses = [client.get(url).status_code for url in ("/", "/picture.png", "/sub/", "/sub", "/sub/wrong/")]
        _, errors = process.communicate(timeout=PATIENCE)

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    assert statuses == [200, 200, 200, 301, 404]
    assert (process.returncode, errors) == (0, "")
