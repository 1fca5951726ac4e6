"""How much the tests do that run something very often or over very many jobs."""

from __future__ import annotations

import sys

from hypothesis import settings

SHARE = 100 // settings().max_examples
"""One in so many is run: one in one, unless conftest.py was asked for less."""

FIRST = sys.version_info.minor % SHARE
"""The first of those, another one on each Python."""


def part_of(number: int) -> int:
    """So many, or in a lighter run that share of them."""
    return -(-number // SHARE)
