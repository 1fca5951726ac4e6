"""The terminal that the tests of the live view run in."""

from __future__ import annotations

import sys

import pytest

from tests.extras.rich.outputs import Attach, T


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of one kind and size, whatever the tests are run in."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "vt100", "COLUMNS": "100", "LINES": "40"}.items():
        monkeypatch.setenv(name, value)
    # On Windows rich asks the console that the tests run in, if there is one, what it can do.
    monkeypatch.setattr("rich.console.detect_legacy_windows", lambda: False)


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Attach:
    """Lets standard output and standard error go to a terminal; called by the test, since pytest captures them."""

    def attach(terminal: T) -> T:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return attach
