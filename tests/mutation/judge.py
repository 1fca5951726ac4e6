"""``python -m tests.mutation.judge FILES``: runs files of tests, one after the other, until a test fails.

Pytest by itself first imports all files, which takes longer than most mutants live.
"""

from __future__ import annotations

import importlib
import signal
import sys

import pytest

SECONDS = 15
"""A test that has computed for so long has failed; none takes a third of that."""
MEMORY = 4 << 30
"""A change can make a loop that doesn't end, and that keeps what it makes."""


class Rules:
    """How much the tests do, and how long one may take."""

    def pytest_sessionstart(self) -> None:
        """Let the tests that repeat something very often do a tenth of it; those of hypothesis do all."""
        from hypothesis import settings  # which pytest has to be the first to import

        settings.load_profile("light")
        importlib.import_module("tests.effort")  # looks at that once
        settings.load_profile("full")

    def pytest_runtest_logstart(self) -> None:
        """End the process if the test computes for too long, however busy the machine is."""
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, SECONDS)


def main(files: list[str]) -> int:
    """Run the tests in these files; 1 if any has failed."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # A test that waits for what never comes doesn't compute.
    options = ["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=120"]
    return int(any(pytest.main([*options, file], plugins=[Rules()]) for file in files))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
