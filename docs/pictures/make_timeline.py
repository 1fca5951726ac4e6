"""Makes the pictures of a timeline: ``python docs/pictures/make_timeline.py``.

Four tokens fetch pages from an API that fails in the ways that APIs do, as in ``examples/api_tokens.py``, on a clock
that costs no time, so that each run gives the same picture. It needs the dependency group ``browser`` and a Chromium.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Literal

import trio
import trio.testing
from playwright.sync_api import sync_playwright

from trio_pool import CircuitBreaker, GiveUp, Resource, RetryAfter, RetryPolicy, open_pool
from trio_pool.timeline import Timeline

FOLDER = Path(__file__).parent
PICTURES: dict[Literal["light", "dark"], str] = {"light": "timeline.png", "dark": "timeline-dark.png"}
PAGES = 84
SEED = 2  # of those tried, the one with the most to see


class Token:
    """One of the API's tokens, which may make so many calls until it has to rest."""

    def __init__(
        self, quota: int, *, failing: float = 0.0, slow: float = 0.0, down: tuple[float, float] = (0, 0)
    ) -> None:
        self.quota = self.left = quota
        self.failing = failing
        self.slow = slow
        self.down = down


class ServerError(Exception):
    """The API is in trouble."""


async def fetch(token: Token, rng: Random, page: int) -> None:
    """One call of the API."""
    if token.left == 0:
        token.left = token.quota
        await trio.sleep(0.02)
        raise RetryAfter(0.45, rest=True, counts=False)
    token.left -= 1
    await trio.sleep(4.0 if rng.random() < token.slow else rng.uniform(0.06, 0.26))
    if token.down[0] < trio.current_time() < token.down[1]:
        raise ServerError("503 Service Unavailable")
    if rng.random() < token.failing:
        raise ServerError("500 Internal Server Error")
    if page == 52:
        raise GiveUp("404 Not Found")


async def record(seed: int) -> Timeline:
    """Fetch all pages."""
    timeline = Timeline()
    rng = Random(seed)
    tokens = {
        "token-a": Token(14),
        "token-b": Token(10, failing=0.2),
        "token-c": Token(8, slow=0.08),
        "token-d": Token(9, down=(1.0, 2.6)),
    }
    async with open_pool(
        [Resource(token, name=name) for name, token in tokens.items()],
        retry=RetryPolicy(max_attempts=8, base_delay=0.3, placement="other", front=True),
        breaker=CircuitBreaker(failures=3, reset_after=0.5, max_reset_after=2.0),
        attempt_timeout=0.5,
        on_dead="keep",
        instruments=[timeline],
        name="four tokens",
        rng=rng,
    ) as pool:
        for page in range(PAGES):
            await pool.submit(fetch, rng, page, name=f"p{page}")
        await pool.join()
        pool.dead.pop_all()
    return timeline


def most_tried(timeline: Timeline) -> tuple[str, int]:
    """The job with the most attempts, and the last of them but one."""
    attempts = [event["args"] for event in timeline.trace()["traceEvents"] if event.get("cat") == "attempt"]
    last = max(attempts, key=lambda arguments: arguments["attempt"])
    return last["name"], last["attempt"] - 1


def take(page_file: Path, job: str, attempt: int, executable: str) -> None:
    """Open the page, move the mouse to an attempt, and take a picture in each color scheme."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--disable-gpu", "--disable-quic"])
        for scheme, name in PICTURES.items():
            page = browser.new_page(viewport={"width": 1000, "height": 600}, color_scheme=scheme, device_scale_factor=2)
            page.goto(page_file.as_uri())
            page.locator("#overview > summary").click()
            place = page.evaluate("([name, number]) => locate(name, number)", [job, attempt])
            page.mouse.move(place["x"], place["y"])
            page.get_by_role("status").wait_for()
            page.screenshot(path=FOLDER / name)
        browser.close()


def main() -> None:
    """Make them."""
    executable = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if executable is None:
        sys.exit("There is no chromium on the PATH; CHROMIUM can name another browser of its kind.")
    timeline = trio.run(partial(record, SEED), clock=trio.testing.MockClock(autojump_threshold=0))
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / "timeline.html"
        timeline.write_html(file)
        take(file, *most_tried(timeline), executable)


if __name__ == "__main__":
    main()
