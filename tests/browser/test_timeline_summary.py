"""The summary above the chart of a timeline's page, in a browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
from playwright.sync_api import Locator, Page, expect

from trio_pool import Resource, open_pool
from trio_pool.timeline import Timeline

Open: TypeAlias = Callable[[Callable[[], Awaitable[str]]], Page]

NASTY = "</script><b>'\"&lt;<!--"


async def nap(resource: object, seconds: float) -> None:
    """What all jobs do."""
    await trio.sleep(seconds)


async def two_workers() -> str:
    """One worker is busy for three of four seconds and then leaves, the other rests for one."""
    timeline = Timeline()
    upstairs, downstairs = Resource("a", name=f"upstairs {NASTY}"), Resource("b", name="downstairs")
    async with open_pool([upstairs, downstairs], instruments=[timeline], name="printers") as pool:
        first, second = pool.workers
        await pool.submit(nap, 3, worker=first)
        second.rest(1)
        await trio.sleep(4)
        await first.remove()
        return timeline.html()


async def two_pools() -> str:
    """Two pools at once."""
    timeline = Timeline()
    async with (
        open_pool(1, instruments=[timeline], name=f"one {NASTY}") as one,
        open_pool(2, instruments=[timeline], name="two"),
    ):
        await one.run(trio.sleep, 1)
    return timeline.html()


async def many_workers() -> str:
    """More workers than bars."""
    timeline = Timeline()
    async with open_pool(300, instruments=[timeline]):
        await trio.sleep(1)
    return timeline.html()


async def never_used() -> str:
    """A timeline of no pool."""
    return Timeline().html()


def unfold(page: Page) -> Page:
    """Open the summary, which is folded in a low window."""
    page.locator("#overview > summary").press("Enter")
    expect(page.locator("#pools")).to_be_visible()
    return page


def bar(page: Page, name: str) -> Locator:
    """The bar of a worker."""
    return page.locator(".bars > div").filter(has_text=name)


def tip_lines(page: Page) -> dict[str, str]:
    """The lines of the tooltip that is shown."""
    tip = page.get_by_role("status")
    expect(tip).to_be_visible()
    return dict(zip(tip.locator("dt").all_inner_texts(), tip.locator("dd").all_inner_texts(), strict=True))


def test_the_folded_summary_names_the_bottleneck(open_page: Open) -> None:
    page = open_page(two_workers)
    expect(page.locator("#pools")).to_be_hidden()
    expect(page.locator("#bottleneck")).to_have_text(
        "Bottleneck: the jobs. The places had nothing to run for 50 % of the time."
    )


def test_the_summary_is_open_in_a_high_window_and_leaves_room_for_the_chart(open_page: Open) -> None:
    page = open_page(many_workers)
    page.set_viewport_size({"width": 1000, "height": 800})
    page.reload()
    expect(page.locator("#pools")).to_be_visible()
    box = page.locator("#scroller").bounding_box()
    assert box is not None
    assert box["height"] > 200
    assert box["y"] + box["height"] <= 800


def test_each_worker_has_a_bar_and_the_legend_has_the_shares(open_page: Open) -> None:
    page = unfold(open_page(two_workers))
    legend = page.get_by_role("list", name="Causes").get_by_role("listitem")
    assert legend.all_inner_texts() == ["running 38 %", "resting 13 %", "idle 50 %"]
    names = [each.split("\n")[0] for each in page.locator(".bars > div").all_inner_texts()]
    assert names == ["all workers", "downstairs", f"upstairs {NASTY}"]
    expect(bar(page, "downstairs")).to_have_attribute("aria-label", "downstairs: resting 25 %, idle 75 %, 4.000 s")


def test_the_tooltip_of_a_bar_has_the_seconds_and_the_shares(open_page: Open) -> None:
    page = unfold(open_page(two_workers))
    bar(page, "upstairs").locator("i").first.hover()
    expect(page.get_by_role("status").locator("strong")).to_have_text(f"upstairs {NASTY}")
    assert tip_lines(page) == {"running": "3.000 s, 75 %", "idle": "1.000 s, 25 %", "the worker": "has left"}
    expect(page.get_by_role("status").locator("dt.pointed")).to_have_text("running")
    page.mouse.move(5, 5)
    expect(page.get_by_role("status")).to_be_hidden()


def test_the_parts_of_a_bar_are_as_long_as_their_shares(open_page: Open) -> None:
    page = unfold(open_page(two_workers))
    parts = [part.bounding_box() for part in bar(page, "downstairs").locator("i").all()]
    rest, idle = (part["width"] for part in parts if part is not None)
    assert idle / rest == pytest.approx(3, rel=0.02)


def test_the_arrow_keys_lead_from_bar_to_bar(open_page: Open) -> None:
    page = unfold(open_page(two_workers))
    shown_range = page.locator("#range").inner_text()
    page.keyboard.press("+")
    zoomed = page.locator("#range").inner_text()
    assert zoomed != shown_range
    page.keyboard.press("Tab")
    title = page.get_by_role("status").locator("strong")
    for key, name in (
        (None, "all workers"),
        ("ArrowUp", "all workers"),
        ("ArrowDown", "downstairs"),
        ("End", f"upstairs {NASTY}"),
        ("ArrowDown", f"upstairs {NASTY}"),
        ("ArrowLeft", f"upstairs {NASTY}"),
        ("Home", "all workers"),
    ):
        if key is not None:
            page.keyboard.press(key)
        expect(title).to_have_text(name)
        expect(page.get_by_role("status")).to_be_visible()
    expect(page.locator("#range")).to_have_text(zoomed)


def test_the_table_has_the_waiting_and_running_times(open_page: Open) -> None:
    page = unfold(open_page(two_pools))
    rows = page.locator("table").first.locator("tr")
    assert [row.split("\t") for row in rows.all_inner_texts()] == [
        ["", "p50", "p90", "p99", "max", "number"],
        ["waiting", "0 s", "0 s", "0 s", "0 s", "1"],
        ["running", "1.000 s", "1.000 s", "1.000 s", "1.000 s", "1"],
    ]


def test_the_explanation_can_be_unfolded(open_page: Open) -> None:
    page = unfold(open_page(two_workers))
    expect(page.locator("pre")).to_be_hidden()
    page.get_by_text("Explanation").click()
    expect(page.locator("pre")).to_contain_text("Of 8.0 seconds of all places together")


def test_each_of_several_pools_has_a_block(open_page: Open) -> None:
    page = unfold(open_page(two_pools))
    expect(page.locator("#bottleneck")).to_have_text("of 2 pools")
    assert page.locator("#pools h2").all_inner_texts() == [f"one {NASTY}", "two"]
    assert page.locator("#pools section > p").all_inner_texts() == [
        "Bottleneck: the number of places, 100 % of the time.",
        "Bottleneck: the jobs. The places had nothing to run for 100 % of the time.",
    ]


def test_of_very_many_workers_the_last_share_a_bar(open_page: Open) -> None:
    page = unfold(open_page(many_workers))
    bars = page.locator(".bars > div")
    expect(bars).to_have_count(202)
    expect(bars.last).to_contain_text("and 100 more")
    bars.first.focus()
    page.keyboard.press("End")
    expect(bars.last).to_be_in_viewport()


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_is_wider_than_the_window(open_page: Open, width: int) -> None:
    page = open_page(two_pools)
    page.set_viewport_size({"width": width, "height": 800})
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('#pools').scrollWidth <= document.querySelector('#pools').clientWidth")


def test_a_timeline_of_no_pool_has_no_summary(open_page: Open) -> None:
    expect(open_page(never_used).locator("#overview")).to_be_hidden()
