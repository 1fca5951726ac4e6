"""Marks for tests that can't run on every system and every Python, each with its reason."""

from __future__ import annotations

import sys

import pytest

sends_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to processes or threads")
opens_terminals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
runs_shell_scripts = pytest.mark.skipif(sys.platform == "win32", reason="Windows runs no shell scripts")

IS_PYPY = sys.implementation.name == "pypy"
frees_at_once = pytest.mark.skipif(
    IS_PYPY, reason="PyPy frees objects some time later, and keeps what is in the frames of coroutines"
)
adds_notes = pytest.mark.skipif(IS_PYPY, reason="PyPy's add_note() goes past the property __notes__ of a class")
shows_huge_numbers = pytest.mark.skipif(IS_PYPY, reason="PyPy's exceptions ask a number of any size for its text")
asks_for_no_length = pytest.mark.skipif(IS_PYPY, reason="PyPy's list() asks what it is given for its length first")
