"""The page that `Timeline` writes, in a browser: what is seen, hovered, zoomed and moved."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import pytest
import trio
from playwright.sync_api import Locator, Page, expect

from trio_pool import Resource, RetryAfter, RetryPolicy, current_job, open_pool
from trio_pool.testing import Flaky
from trio_pool.timeline import Timeline

Open: TypeAlias = Callable[[Callable[[], Awaitable[str]]], Page]

NASTY = "</script><b>'\"&lt;<!--"
UPSTAIRS, DOWNSTAIRS = Resource("a", name="upstairs"), Resource("b", name="downstairs")


async def nap(resource: object, seconds: float) -> None:
    """What most jobs do."""
    await trio.sleep(seconds)


async def jam(resource: object) -> None:
    """Fails after a while."""
    await trio.sleep(1)
    raise OSError(f"jammed {NASTY}")


# What is shown: each lets a pool work on a clock that costs no time, and returns a page.


async def printers() -> str:
    """All that there is to see, in ten seconds; it is not over then."""
    timeline = Timeline(keep=6)
    policy = RetryPolicy.fixed(1, placement="other", max_attempts=2)
    async with open_pool(
        [UPSTAIRS, DOWNSTAIRS], retry=policy, on_dead="keep", instruments=[timeline], name=f"printers {NASTY}"
    ) as pool:
        upstairs, downstairs = pool.workers
        await pool.run(nap, 0, name="dropped")
        downstairs.pause()
        await pool.submit(jam, name=f"report {NASTY}")
        await trio.sleep(1)
        downstairs.resume()
        await trio.sleep(3)
        poster = Flaky(1, error=RetryAfter(3, rest=True, counts=False))
        await pool.submit(poster, name="poster", worker=upstairs)
        await trio.sleep(5)
        job = await pool.submit(nap, 30, name="book", worker=upstairs)
        downstairs.rest(60)
        await trio.sleep(1)
        page = timeline.html()
        job.cancel()
        pool.cancel()
    return page


async def two_pools() -> str:
    """Two pools at once."""
    timeline = Timeline()
    async with (
        open_pool([UPSTAIRS], instruments=[timeline], name="printers") as one,
        open_pool([UPSTAIRS], instruments=[timeline], name="scanners") as other,
    ):
        await one.submit(nap, 5, name="letter")
        await other.submit(nap, 5, name="photo")
    return timeline.html()


async def a_report() -> str:
    """A group with two jobs, one of which says how far it is."""
    timeline = Timeline()

    async def write(resource: object) -> None:
        current_job().report(3, 4, "writing")
        await trio.sleep(5)

    async with open_pool([UPSTAIRS], instruments=[timeline]) as pool, pool.open_group(name=f"report {NASTY}") as group:
        await group.submit(write, name="chapter")
        await group.submit(nap, 5, name="index")
    return timeline.html()


async def one_fails(workers: int, jobs: int, which: int, words: str) -> str:
    """Jobs of a second each, one of which fails."""
    timeline = Timeline()
    async with open_pool(workers, history=False, on_dead="keep", instruments=[timeline]) as pool:

        async def work(number: int) -> None:
            await trio.sleep(1)
            if number == which:
                raise OSError(words)

        async with pool.as_completed(work, range(jobs)) as ended:
            async for _ in ended:
                pass
    return timeline.html()


async def crowd() -> str:
    """Twenty thousand attempts on sixty workers, one of which fails."""
    return await one_fails(60, 20_000, 12_345, "lost in the crowd")


async def one_early_failure() -> str:
    """A hundred jobs one after the other, of which one of the first fails."""
    return await one_fails(1, 100, 3, "early")


async def nothing() -> str:
    """A timeline that was never used."""
    return Timeline().html()


def locate(page: Page, name: str, number: int = 1) -> tuple[float, float]:
    """Where the middle of an attempt is in the window."""
    place: dict[str, float] = page.evaluate("([name, number]) => locate(name, number)", [name, number])
    return place["x"], place["y"]


def tip_of(page: Page) -> Locator:
    """The tooltip."""
    return page.get_by_role("status")


def tip_lines(page: Page) -> dict[str, str]:
    """The lines of the tooltip that is shown."""
    tip = tip_of(page)
    expect(tip).to_be_visible()
    return dict(zip(tip.locator("dt").all_inner_texts(), tip.locator("dd").all_inner_texts(), strict=True))


def hover(page: Page, name: str, number: int = 1) -> dict[str, str]:
    """Move the mouse to an attempt; returns the lines of its tooltip."""
    page.mouse.move(*locate(page, name, number))
    expect(tip_of(page).locator("strong")).to_have_text(name)
    return tip_lines(page)


def shown_range(page: Page) -> tuple[float, float]:
    """From when to when the chart goes, in seconds, as the page says."""
    text = page.locator("#range").inner_text()
    match = re.fullmatch(r"([\d.]+) (ms|s) to ([\d.]+) (ms|s)", text)
    assert match is not None, text
    units = {"ms": 1e-3, "s": 1.0}
    return float(match[1]) * units[match[2]], float(match[3]) * units[match[4]]


# Looking.


def test_the_tooltip_of_a_bar_names_the_job_the_worker_and_the_error(open_page: Open) -> None:
    page = open_page(printers)
    assert hover(page, f"report {NASTY}", 1) == {
        "job": "2",
        "worker": "upstairs",
        "attempt": "1, failed",
        "took": "1.000 s",
        "began at": "0 s",
        "error": f"OSError: jammed {NASTY}",
    }
    page.mouse.move(5, 5)
    expect(tip_of(page)).to_be_hidden()


def test_the_tooltip_of_the_last_attempt_says_that_the_job_has_failed_for_good(open_page: Open) -> None:
    lines = hover(open_page(printers), f"report {NASTY}", 2)
    assert (lines["worker"], lines["attempt"]) == ("downstairs", "2, failed for good")


def test_the_tooltip_of_what_is_not_over_says_so(open_page: Open) -> None:
    lines = hover(open_page(printers), "book")
    assert (lines["attempt"], lines["so far"]) == ("1, running", "1.000 s")


def test_the_tooltip_of_a_rest_names_the_worker_and_how_long_it_was(open_page: Open) -> None:
    page = open_page(printers)
    x, y = locate(page, "poster")
    page.mouse.move(x + 50, y)
    expect(tip_of(page).locator("strong")).to_have_text("resting")
    assert tip_lines(page) == {"worker": "upstairs", "took": "3.000 s", "began at": "4.000 s"}
    x, _ = locate(page, "book")
    _, y = locate(page, f"report {NASTY}", 2)
    page.mouse.move(x, y)
    lines = {"worker": "downstairs", "so far": "1.000 s", "began at": "9.000 s", "until": "1 min 9.0 s"}
    expect(tip_of(page).locator("dd").nth(3)).to_have_text(lines["until"])
    assert tip_lines(page) == lines


def test_the_tooltip_of_a_delay_names_the_job(open_page: Open) -> None:
    page = open_page(printers)
    left, _ = locate(page, f"report {NASTY}", 1)
    right, _ = locate(page, f"report {NASTY}", 2)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move((left + right) / 2, box["y"] + box["height"] - 10)
    expect(tip_of(page).locator("strong")).to_have_text(f"report {NASTY}")
    assert tip_lines(page) == {"job": "2", "backs off": "after attempt 1", "took": "1.000 s", "began at": "1.000 s"}


def test_the_tooltip_of_a_band_names_the_group_and_counts_its_jobs(open_page: Open) -> None:
    page = open_page(a_report)
    x, y = locate(page, "chapter")
    page.mouse.move(x, y - 30)
    expect(tip_of(page).locator("strong")).to_have_text(f"report {NASTY}")
    assert tip_lines(page) == {"jobs": "2 jobs: 2 succeeded", "took": "10.000 s", "began at": "0 s"}
    assert "group 1" in page.get_by_role("list", name="Legend").inner_text()


def test_the_tooltip_of_a_bar_tells_how_far_the_job_came(open_page: Open) -> None:
    page = open_page(a_report)
    assert hover(page, "chapter")["progress"] == "3 of 4 (75 %), writing"
    assert "progress" not in hover(page, "index")


def test_the_tooltip_of_a_workers_name_tells_what_it_has_done(open_page: Open) -> None:
    page = open_page(printers)
    _, y = locate(page, "poster")
    page.mouse.move(40, y)
    expect(tip_of(page).locator("strong")).to_have_text("upstairs")
    lines = tip_lines(page)
    assert (lines["attempts"], lines["busy"]) == ("4, 1 of them failed", "2.000 s, 20 % of its time")


def test_the_header_and_the_legend_say_what_is_shown(open_page: Open) -> None:
    page = open_page(printers)
    expect(page).to_have_title(f"Timeline: printers {NASTY}")
    expect(page.get_by_role("heading")).to_have_text(f"Timeline: printers {NASTY}")
    expect(page.locator("#summary")).to_have_text("5 attempts of 3 jobs by 2 workers in 10.000 s")
    expect(page.locator("#dropped")).to_have_text("1 older record dropped")
    assert page.get_by_role("listitem").all_inner_texts() == [
        "succeeded 1",
        "failed 1",
        "failed for good 1",
        "put off 1",
        "running 1",
        "resting 2",
        "paused 1",
        "backing off 1",
    ]


def test_the_tooltip_says_which_pool_if_there_are_several(open_page: Open) -> None:
    page = open_page(two_pools)
    assert hover(page, "letter")["worker"] == "upstairs in printers"
    assert hover(page, "photo")["worker"] == "upstairs in scanners"


def test_an_empty_timeline_has_an_empty_chart(open_page: Open) -> None:
    page = open_page(nothing)
    expect(page.locator("#summary")).to_have_text("0 attempts of 0 jobs by 0 workers in 0 s")
    expect(page.get_by_role("button", name="Next failure")).to_be_hidden()
    page.keyboard.press("n")
    page.mouse.move(500, 110)
    page.mouse.wheel(0, -500)
    expect(tip_of(page)).to_be_hidden()


@pytest.mark.parametrize(
    ("scheme", "of_page", "of_bar"),
    [("light", "rgb(255, 255, 255)", "200 71 12"), ("dark", "rgb(14, 17, 22)", "255 138 76")],
)
def test_it_follows_the_color_scheme(
    open_page: Open, scheme: Literal["light", "dark"], of_page: str, of_bar: str
) -> None:
    page = open_page(printers)
    x, y = locate(page, f"report {NASTY}")
    page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    page.emulate_media(color_scheme=scheme)
    # The canvas is drawn anew with the next frame or the one after it; if not, this times out.
    page.wait_for_function(
        """([x, y, expected]) => {
            const canvas = document.querySelector("canvas"), { left, top } = canvas.getBoundingClientRect();
            const [red, green, blue] = canvas.getContext("2d").getImageData(x - left, y - top + 7, 1, 1).data;
            return `${red} ${green} ${blue}` === expected;
        }""",
        arg=[x, y, of_bar],
    )
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == of_page


# Moving.


def test_the_wheel_zooms_and_what_is_under_the_mouse_stays_there(open_page: Open) -> None:
    page = open_page(printers)
    before = shown_range(page)
    x, y = locate(page, f"report {NASTY}", 2)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    expect(page.locator("#range")).not_to_have_text("0 s to 10.000 s")
    after = shown_range(page)
    assert after[1] - after[0] == pytest.approx((before[1] - before[0]) * 0.45, rel=0.02)
    assert locate(page, f"report {NASTY}", 2) == pytest.approx((x, y), abs=0.5)
    page.mouse.wheel(0, 4000)
    expect(page.locator("#range")).to_have_text("0 s to 10.000 s")


def test_the_wheel_moves_sideways_with_shift(open_page: Open) -> None:
    page = open_page(printers)
    page.keyboard.press("+")
    start, end = shown_range(page)
    page.mouse.move(500, 200)
    page.keyboard.down("Shift")
    page.mouse.wheel(0, 100)
    page.keyboard.up("Shift")
    expect(page.locator("#range")).not_to_have_text(f"{start:.3f} s to {end:.3f} s")
    moved = shown_range(page)
    assert moved[0] - start == pytest.approx(moved[1] - end, abs=0.002)
    assert moved[0] - start == pytest.approx((end - start) / 10, rel=0.05)


def test_dragging_moves_the_chart(open_page: Open) -> None:
    page = open_page(printers)
    for _ in range(3):
        page.keyboard.press("+")
    x, y = locate(page, "poster")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 80, y, steps=3)
    page.mouse.up()
    assert locate(page, "poster") == pytest.approx((x - 80, y), abs=0.5)
    page.mouse.move(x + 100, y)
    assert locate(page, "poster") == pytest.approx((x - 80, y), abs=0.5)


def test_the_keyboard_zooms_and_moves(open_page: Open) -> None:
    page = open_page(printers)
    whole = shown_range(page)
    page.keyboard.press("+")
    start, end = shown_range(page)
    assert whole[0] < start < end < whole[1]
    page.keyboard.press("ArrowRight")
    assert shown_range(page)[0] > start
    page.keyboard.press("ArrowLeft")
    assert shown_range(page) == pytest.approx((start, end), abs=0.001)
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert shown_range(page) == whole
    page.keyboard.press("=")
    page.keyboard.press("0")
    assert shown_range(page) == whole


def test_the_buttons_do_the_same(open_page: Open) -> None:
    page = open_page(printers)
    whole = shown_range(page)
    page.get_by_title("Zoom in").click()
    zoomed = shown_range(page)
    assert zoomed[1] - zoomed[0] < whole[1] - whole[0]
    page.get_by_title("Zoom out").click()
    assert shown_range(page) == whole
    page.get_by_title("Zoom in").click()
    page.get_by_role("button", name="Fit").click()
    assert shown_range(page) == whole


def test_keys_lead_from_failure_to_failure(open_page: Open) -> None:
    page = open_page(printers)
    for key, attempt in (("n", 1), ("n", 2), ("n", 1), ("p", 2), ("p", 1)):
        page.keyboard.press(key)
        expect(tip_of(page).locator("dd").nth(2)).to_have_text(re.compile(f"^{attempt}, failed"))
    page.keyboard.press("Escape")
    expect(tip_of(page)).to_be_hidden()
    page.keyboard.press("p")
    assert tip_lines(page)["attempt"] == "2, failed for good"


def test_keys_of_the_browser_are_left_to_it(open_page: Open) -> None:
    page = open_page(printers)
    before = page.locator("#range").inner_text()
    page.keyboard.press("Alt+-")
    page.keyboard.press("x")
    expect(page.locator("#range")).to_have_text(before)


def test_one_failure_in_a_crowd_is_found_far_down(open_page: Open) -> None:
    page = open_page(crowd)
    expect(page.locator("#summary")).to_have_text("20,000 attempts of 20,000 jobs by 60 workers in 5 min 34.0 s")
    page.get_by_role("button", name="Next failure").click()
    lines = tip_lines(page)
    assert (lines["job"], lines["error"]) == ("12346", "OSError: lost in the crowd")
    above = "document.getElementById('scroller').scrollTop"
    down: float = page.evaluate(above)
    assert down > 0
    page.keyboard.press("ArrowUp")
    page.wait_for_function(f"{above} < {down}")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"{above} == {down}")


def test_a_window_of_another_size_is_filled(open_page: Open) -> None:
    page = open_page(printers)
    before = locate(page, "book")
    page.set_viewport_size({"width": 600, "height": 400})
    page.wait_for_function("() => document.querySelector('canvas').getBoundingClientRect().width < 600")
    assert locate(page, "book")[0] < before[0]
    assert hover(page, "book")["worker"] == "upstairs"


def test_a_failure_that_is_gone_to_can_be_zoomed_into(open_page: Open) -> None:
    page = open_page(one_early_failure)
    page.keyboard.press("n")
    for _ in range(8):
        page.keyboard.press("+")
    start, end = shown_range(page)
    assert start < 3.5 < end < 10
    assert tip_lines(page)["error"] == "OSError: early"


def test_what_is_pointed_at_is_so_no_longer_when_keys_have_moved_it_out_of_view(open_page: Open) -> None:
    page = open_page(one_early_failure)
    page.keyboard.press("n")
    for _ in range(8):
        page.keyboard.press("+")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    expect(tip_of(page)).to_be_hidden()


async def half_a_day() -> str:
    """One long job."""
    timeline = Timeline()
    async with open_pool([UPSTAIRS], instruments=[timeline]) as pool:
        await pool.run(nap, 11 * 3600 + 5 * 60, name="long")
    return timeline.html()


def test_long_times_are_in_hours_and_minutes(open_page: Open) -> None:
    page = open_page(half_a_day)
    expect(page.locator("#summary")).to_have_text("1 attempt of 1 job by 1 worker in 11 h 5 min")
    assert hover(page, "long")["took"] == "11 h 5 min"
