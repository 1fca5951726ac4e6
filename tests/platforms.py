"""Marks for tests that can't run on every system and every Python, each with its reason."""

from __future__ import annotations

import sys

import pytest

sends_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals to processes or threads")
opens_terminals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
runs_shell_scripts = pytest.mark.skipif(sys.platform == "win32", reason="Windows runs no shell scripts")
