"""Values that are turned away in many places, and what messages say of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from trio_pool import CircuitBreaker, RateLimit

NAN, INF = float("nan"), float("inf")

BAD_SECONDS = [
    pytest.param(-1, ValueError, "must not be negative, got -1", id="negative"),
    pytest.param(-INF, ValueError, "must not be negative, got -inf", id="minus infinity"),
    pytest.param(NAN, ValueError, "must not be NaN", id="NaN"),
    pytest.param(10**400, ValueError, "must not be so large", id="huge"),
    pytest.param("5", TypeError, "must be a number, got '5'", id="str"),
    pytest.param(True, TypeError, "must be a number, got True", id="bool"),
]


def says(message: str) -> str:
    """A pattern for ``match`` that fits a message with exactly this at its beginning."""
    return "^" + re.escape(message)


def bad_counts(least: int) -> list[Any]:
    """What is no whole number of at least ``least``."""
    below = least - 1
    return [
        pytest.param(below, ValueError, f"must be at least {least}, got {below}", id="too few"),
        pytest.param(2.5, TypeError, "must be an int, got 2.5", id="a fraction"),
        pytest.param(NAN, TypeError, "must be an int, got nan", id="NaN"),
        pytest.param("3", TypeError, "must be an int, got '3'", id="str"),
        pytest.param(True, TypeError, "must be an int, got True", id="bool"),
    ]


BAD_LIMITS_OF_A_RESOURCE = [
    *[("max_jobs", *case.values) for case in bad_counts(1)],
    *[("max_age", *case.values) for case in BAD_SECONDS],
    ("max_age", 0, ValueError, "must be at least 0.001 s, got 0"),
    ("rate_limit", 10, TypeError, "must be a RateLimit, got 10"),
    ("rate_limit", INF, TypeError, "must be a RateLimit, got inf"),
    ("breaker", CircuitBreaker, TypeError, "must be a CircuitBreaker, got <class"),
    ("breaker", RateLimit(1), TypeError, "must be a CircuitBreaker, got RateLimit("),
]
bad_limits_of_a_resource = pytest.mark.parametrize(("option", "value", "kind", "rule"), BAD_LIMITS_OF_A_RESOURCE)
