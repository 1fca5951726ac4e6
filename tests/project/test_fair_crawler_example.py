"""The example that crawls many hosts: polite to each, fair to all, and told by what the hosts themselves have seen."""

from __future__ import annotations

import importlib
import json
import re
import signal
import sys
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.platforms import sends_signals
from tests.project.test_examples import EXAMPLES, PATIENCE, first_line, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of the examples by its name."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module


@pytest.fixture
def report_module(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("hosts_report")


@pytest.fixture
def server_module(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("hosts_server")


def rows(table: str) -> list[tuple[str, int, int, int]]:
    """Of each host its kind, the pages that were read and those that there are, and the most requests at once."""
    found = re.findall(r"^127\.0\.0\.1:\d+ +(\w+) +(\d+)/(\d+) +[\d-]+ +(\d+) of 2 ", table, re.MULTILINE)
    return [(kind, int(read), int(pages), int(at_once)) for kind, read, pages, at_once in found]


# The program.


def test_each_page_of_each_host_is_read_once_within_the_bounds_and_in_fair_turns() -> None:
    with running("fair_crawler.py", "--hosts", "4", "--pages", "6", "--seed", "1") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, table + progress
    kinds = [("big", 60, 60), ("slow", 6, 6), ("small", 6, 6), ("small", 6, 6)]
    assert [row[:3] for row in rows(table)] == kinds
    assert max(row[3] for row in rows(table)) == 2
    assert re.search(r"^pages read +78$", table, re.MULTILINE)
    assert table.rstrip().endswith("\neach page once, politely, and in fair turns")
    assert "/1 pages  1+0" in progress


def test_without_keys_it_finds_that_the_hosts_were_not_treated_well() -> None:
    with running("fair_crawler.py", "--hosts", "4", "--pages", "6", "--unfair") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1, table + progress
    assert rows(table)[0][:3] == ("big", 60, 60)
    assert "had 4 requests at once, and not 2 at most" in table
    assert table.rstrip().endswith("\nthe crawl was not as it should be")


@sends_signals
def test_ctrl_c_leaves_in_good_order_and_shows_what_was_read() -> None:
    with running("fair_crawler.py", "--hosts", "3", "--pages", "1000") as process:
        progress = [first_line(process.stderr) for _ in range(2)]  # by the second some are read
        process.send_signal(signal.SIGINT)
        table, rest = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130, table + rest
    assert "Traceback" not in "".join([*progress, rest])
    assert [(kind, pages) for kind, _, pages, _ in rows(table)] == [("big", 10_000), ("slow", 1000), ("small", 1000)]
    assert all(0 < read < pages for kind, read, pages, _ in rows(table) if kind == "big")


def test_lines_of_the_live_view_are_printed_if_asked_for_where_there_is_no_terminal() -> None:
    with running("fair_crawler.py", "--hosts", "3", "--pages", "2", "--live") as process:
        table, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, table + progress
    assert progress.startswith("fair crawler 0:0")


@pytest.mark.parametrize(
    ("option", "number"), [("--hosts", "2"), ("--hosts", "21"), ("--pages", "1"), ("--pages", "a")]
)
def test_a_number_that_makes_no_sense_is_refused(option: str, number: str) -> None:
    with running("fair_crawler.py", option, number) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert option in errors


def test_the_exit_code_is_1_and_the_page_is_named_if_one_can_not_be_read(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = load("fair_crawler")
    find_links = program.find_links

    def find_one_more(html: str, url: str) -> list[str]:
        return [*find_links(html, url), url.replace("/19", "/missing")]

    monkeypatch.setattr(program, "find_links", find_one_more)
    options = Namespace(hosts=3, pages=2, seed=0, unfair=False, live=False)

    assert program.run(options) == 1
    assert re.search(r"^127\.0\.0\.1:\d+/missing: GiveUp\('404 Not Found'\)$", capsys.readouterr().out, re.MULTILINE)


# What is checked.


@pytest.fixture
def report(report_module: ModuleType) -> Any:
    """A crawl of three hosts in which nothing is wrong."""
    report = report_module.Report(most_at_once=2, most_per_second=5)
    report.hosts = [
        report_module.Host(name="b", kind="big", pages=6, requests=6, found=6, at_once=2, busiest=5),
        report_module.Host(name="l", kind="slow", pages=2, requests=2, found=2, at_once=1, busiest=2),
        report_module.Host(name="s", kind="small", pages=2, requests=2, found=2, at_once=2, busiest=2),
    ]
    report.order = list("bsblsbbblb")
    return report


def test_nothing_is_wrong_if_each_page_was_read_once_within_the_bounds_and_in_turn(report: Any) -> None:
    assert list(report.faults()) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"requests": 3}, "s was asked for 2 pages by 3 requests"),
        ({"found": 1, "requests": 1}, "s has 2 pages: 1 were asked for, 2 read"),
        ({"pages": 3}, "s has 3 pages: 2 were asked for, 2 read"),
        ({"at_once": 3}, "s had 3 requests at once, and not 2 at most"),
        ({"busiest": 6}, "s had 6 requests in a second, and not 5 at most"),
    ],
)
def test_what_a_host_has_seen_and_should_not_is_a_fault(report: Any, changes: dict[str, int], fault: str) -> None:
    report.hosts[2] = replace(report.hosts[2], **changes)

    assert list(report.faults()) == [fault]


def test_more_jobs_at_once_by_the_count_of_the_pool_are_a_fault(report: Any) -> None:
    report.most_running["l"] = 3

    assert list(report.faults()) == ["l had 3 requests at once, and not 2 at most"]


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        ("sbbbbslbbl", "s was done only after 4 pages of the big host"),
        ("bsllsbbbbb", "s was done only after the slow host"),
    ],
)
def test_a_small_host_that_waited_for_another_one_is_a_fault(report: Any, order: str, fault: str) -> None:
    report.order = list(order)

    assert list(report.faults()) == [fault]


def test_after_an_interruption_pages_may_be_missing_but_not_have_been_asked_for_twice(report: Any) -> None:
    report.order = list("bb")
    assert list(report.faults(interrupted=True)) == []

    report.hosts[0] = replace(report.hosts[0], found=2, requests=3)
    assert list(report.faults(interrupted=True)) == ["b was asked for 2 pages by 3 requests"]


def test_hosts_that_say_nothing_are_a_fault(report: Any) -> None:
    report.hosts = []

    assert list(report.faults()) == ["the hosts have said nothing"]


# The hosts.


@pytest.mark.parametrize(
    ("times", "busiest"),
    [([], 0), ([1.0], 1), ([0.0, 0.9, 1.5, 1.8, 2.6], 3), ([0.0, 1.5, 3.0], 1)],
)
def test_the_busiest_second_begins_anywhere(server_module: ModuleType, times: list[float], busiest: int) -> None:
    assert server_module.busiest_second(times) == busiest


def test_hosts_say_at_their_end_what_they_were_asked_for() -> None:
    with running("hosts_server.py", "--hosts", "2", "--pages", "2") as process:
        address = f"http://127.0.0.1:{int(first_line(process.stdout))}"
        with httpx.Client(base_url=address, trust_env=False) as client:
            statuses = [client.get(path).status_code for path in ("/0", "/19", "/0", "/20")]
        output, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, errors) == (0, "")
    assert statuses == [200, 200, 200, 404]
    big, slow = json.loads(output)
    assert (big["pages"], big["requests"], big["found"], big["at_once"]) == (20, 4, 2, 1)
    assert (slow["pages"], slow["requests"], slow["busiest"]) == (2, 0, 0)


def test_pages_of_the_same_seed_link_to_the_same_pages(server_module: ModuleType) -> None:
    def links(seed: int) -> list[list[str]]:
        hosts = server_module.make_hosts(3, 4, seed)
        for host in hosts:
            host.server_close()
        numbers = {host.name: str(number) for number, host in enumerate(hosts)}
        return [
            [re.sub(r"127[^/]+", lambda match: numbers[match[0]], body.decode()) for body in host.bodies.values()]
            for host in hosts
        ]

    assert links(1) == links(1) != links(2)
