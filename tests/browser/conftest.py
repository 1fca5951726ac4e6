"""The browser for the tests in this folder, which ``nox -s browser`` runs and a plain ``pytest`` leaves out."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Generator

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
