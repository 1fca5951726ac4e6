"""Makes tests of the examples in README.rst and docs/, and lets those of hypothesis take their time."""

from __future__ import annotations

import ast
import gc
import inspect
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sybil import Sybil
from sybil.parsers.rest import CodeBlockParser, SkipParser

if TYPE_CHECKING:
    from collections.abc import Generator

    from sybil.example import Example


# Some tests press Ctrl-C. A shell that runs them in the background has it ignored from the start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about what else the machine does than about the code.
# Each run draws the same; "nox -s fuzz" draws something else each time.
settings.register_profile(
    "full", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
# With it the other tests that repeat something very often do a tenth too; see tests/effort.py.
settings.register_profile("light", settings.get_profile("full"), max_examples=10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "full"))


class PythonBlock(CodeBlockParser):
    """A Python block, which may use ``await`` at its top level, as a Trio program does in ``main``."""

    language = "python"

    def evaluate(self, example: Example) -> None:
        """Run the block in the names that the earlier blocks of the file left; it may wait at no cost."""
        # Empty lines in front make its line numbers in a traceback those of the file.
        source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
        code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        example.namespace["__file__"] = example.path  # the package itself may be installed elsewhere
        outcome = eval(code, example.namespace)
        if inspect.iscoroutine(outcome):
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(lambda: outcome, clock=clock)


pytest_collect_file = Sybil(
    parsers=[PythonBlock(), SkipParser()],
    patterns=["README.rst", "docs/*.rst"],
).pytest()


@given(st.none())
def draw_once(_: None) -> None:
    """Draw something."""


def pytest_collection_finish() -> None:
    """Leave the tests themselves out of each later search for garbage: there are very many."""
    # Its first test makes hypothesis look for what refers to its random numbers, which is not found once frozen.
    draw_once()
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy has no such thing
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Put ? for what can't be encoded: tests log such names, and parallel workers of pytest send what was logged."""
    return json.loads(json.dumps((yield), ensure_ascii=False).encode(errors="replace"))
