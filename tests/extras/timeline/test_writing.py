"""The trace and the page that a timeline writes."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.actors import sleeps, works
from tests.extras.timeline.pages import A, B, Page
from tests.traces import Trace, check
from trio_pool import Resource, RetryPolicy, open_pool
from trio_pool.testing import Flaky
from trio_pool.timeline import Timeline

NASTY = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "\u2028\u2029",
    "'\"`${x}\\",
    "\ud800 \x00",
    "&lt;&amp;",
    "{the data}/* the script */",
    "ünïcödé 🚀",
]


@pytest.mark.parametrize("text", NASTY)
async def test_names_and_errors_arrive_in_the_page_whatever_is_in_them(text: str, autojump_clock: MockClock) -> None:
    timeline = Timeline()
    resource = Resource("a", name=text)
    policy = RetryPolicy.fixed(1)
    async with open_pool([resource], retry=policy, instruments=[timeline], name=text) as pool:
        await pool.run(Flaky(1, error=OSError(f"({text})")), name=text)
    page = Page(timeline)
    assert page.data["pools"] == [text]
    assert [name for _, name, *_ in page.data["rows"]] == [text]
    assert page.data["jobs"] == [[1, text]]
    assert "OSError: " + " ".join(f"({text})".split()) in page.data["attempts"][0]
    assert page.tags.count("script") == 2
    assert page.text.isascii()


async def test_the_page_holds_what_the_trace_does(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], retry=RetryPolicy.fixed(2), instruments=[timeline], name="shop") as pool:
        await pool.submit(Flaky(1, error=OSError("jammed")), name="flaky")
        await trio.sleep(1)
        pool.workers[0].rest(4)
        await pool.submit(sleeps, 9, name="long")
        await trio.sleep(3)
        data = Page(timeline).data
    assert data["end"] == 4_000_000
    assert data["rows"] == [[0, "A", 0, None], [0, "B", 0, None]]
    assert data["jobs"] == [[1, "flaky"], [2, "long"]]
    named = [[*attempt[:2], data["outcomes"][attempt[2]], *attempt[3:]] for attempt in data["attempts"]]
    assert sorted(named) == [
        [0, 0, "failed", 0, 0, 0, None, "OSError: jammed", 0, 1, [], ""],
        [1, 0, "running", 1_000_000, 4_000_000, 1, None, "", 1, 1, [], ""],
    ]
    assert data["delays"] == [[0, 0, 0, 2_000_000, 0, None, "", 0, 1]]
    assert data["holds"] == [[0, data["hindrances"].index("resting"), 1_000_000, 4_000_000, 1, 5_000_000, ""]]


async def test_attempts_that_overlap_on_one_worker_are_in_lanes_of_their_own(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        job = await pool.submit(sleeps, 3)
        await job.wait()
        [attempt] = job.attempts
        # As of one that goes on elsewhere, by a hedge.
        timeline.attempt_ended(job, attrs.evolve(attempt, started_at=1.0, ended_at=5.0))
        timeline.attempt_ended(job, attrs.evolve(attempt, started_at=3.0, ended_at=3.0))
    data = Page(timeline).data
    assert [(lane, start, end) for _, lane, _, start, end, *_ in data["attempts"]] == [
        (0, 0, 3_000_000),
        (1, 1_000_000, 5_000_000),
        (0, 3_000_000, 3_000_000),
    ]
    check(Trace(timeline))


def test_a_timeline_of_nothing_can_be_written() -> None:
    timeline = Timeline()
    trace = Trace(timeline)
    assert trace.events == []
    check(trace)
    assert Page(timeline).data["attempts"] == []


async def test_the_page_needs_nothing_from_elsewhere(autojump_clock: MockClock) -> None:
    page = Page(Timeline())
    assert not [name for name, _ in page.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", page.text)


@pytest.mark.parametrize("kind", [str, Path])
async def test_it_writes_to_a_path(kind: Any, tmp_path: Path, autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(works)
    timeline.write_trace(kind(tmp_path / "trace.json"))
    timeline.write_html(kind(tmp_path / "page.html"))
    assert json.loads((tmp_path / "trace.json").read_bytes()) == timeline.trace()
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == timeline.html()


async def test_it_writes_to_an_open_file_and_leaves_it_open(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(works)
    trace, page = StringIO(), StringIO()
    timeline.write_trace(trace)
    timeline.write_html(page)
    assert json.loads(trace.getvalue()) == timeline.trace()
    assert page.getvalue() == timeline.html()


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Timeline().write_html(tmp_path / "missing" / "page.html")
