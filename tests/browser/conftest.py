"""The browser for the tests in this folder, which ``nox -s browser`` runs and a plain ``pytest`` leaves out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Generator
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio
from playwright.sync_api import Browser, Page, sync_playwright
from trio.testing import MockClock

if TYPE_CHECKING:
    from pathlib import Path

Open: TypeAlias = Callable[[Callable[[], Awaitable[str]]], Page]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = """These tests need Chromium or Chrome, and there is no {}.
Install it, on Debian with "apt-get install chromium", or set CHROMIUM to the path of one."""


def find_browser() -> str:
    """The path of the browser that is installed."""
    given = os.environ.get("CHROMIUM")
    names = [given] if given else NAMES
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.exit(MISSING.format(", ".join(names)), returncode=1)
    return found


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """One browser for all tests, without a window, that asks nobody for anything."""
    with sync_playwright() as playwright:
        quiet = ["--disable-gpu", "--disable-quic", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=find_browser(), args=quiet)
        yield browser
        browser.close()


@cache
def page_of(load: Callable[[], Awaitable[str]]) -> str:
    """The page of such a load."""
    return trio.run(load, clock=MockClock(autojump_threshold=0))


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Generator[Open]:
    """Opens the page of a load from a file; nothing may go wrong in it, and it may ask for nothing else."""
    wrong: list[str] = []
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 1000, "height": 500})
    file = tmp_path / "page.html"

    def open_it(load: Callable[[], Awaitable[str]]) -> Page:
        file.write_text(page_of(load), encoding="utf-8")
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_it
    context.close()
    assert wrong == []
    assert set(asked) == {file.as_uri()}
