"""Limits are values: checked when made, compared, printed and kept in sets."""

from __future__ import annotations

import math
import re
from typing import Any

import attrs
import pytest

from trio_pool._policies.circuit_breaker import CircuitBreaker
from trio_pool._policies.hedge import Hedge
from trio_pool._policies.rate_limit import RateLimit
from trio_pool._policies.retry_budget import RetryBudget

NAN, INF = math.nan, math.inf

# Typed as the callers that don't check their types would see them.
any_limit: Any = RateLimit
any_budget: Any = RetryBudget
any_breaker: Any = CircuitBreaker
any_hedge: Any = Hedge

# What makes each a good one, for tests of one field at a time.
GOOD: dict[Any, dict[str, Any]] = {any_limit: {"count": 1}, any_budget: {}, any_breaker: {}, any_hedge: {"after": 1}}


def says(message: str) -> str:
    """A pattern for ``match`` that fits a message with exactly this at its beginning."""
    return "^" + re.escape(message)


def check_turned_away(make: Any, field: str, value: Any, kind: type[Exception], message: str) -> None:
    fields: dict[str, Any] = GOOD[make] | {field: value}
    with pytest.raises(kind, match=says(message)):
        make(**fields)


REAL = [
    (any_limit, "count"),
    (any_limit, "per"),
    (any_budget, "ratio"),
    (any_budget, "window"),
    (any_breaker, "reset_after"),
    (any_hedge, "after"),
]
BAD_REAL = [
    pytest.param(-1, ValueError, "must not be negative, got -1", id="negative"),
    pytest.param(-INF, ValueError, "must not be negative, got -inf", id="minus infinity"),
    pytest.param(INF, ValueError, "must be finite, got inf", id="infinity"),
    pytest.param(NAN, ValueError, "must not be NaN", id="NaN"),
    pytest.param(10**400, ValueError, "must not be so large", id="huge"),
    pytest.param("5", TypeError, "must be a number, got '5'", id="str"),
    pytest.param(None, TypeError, "must be a number, got None", id="None"),
    pytest.param(True, TypeError, "must be a number, got True", id="bool"),
]


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_REAL)
@pytest.mark.parametrize(("make", "field"), REAL)
def test_a_bad_number(make: Any, field: str, value: Any, kind: type[Exception], rule: str) -> None:
    check_turned_away(make, field, value, kind, f"{field} {rule}")


@pytest.mark.parametrize("value", [0, 0.0, -0.0])
@pytest.mark.parametrize(
    ("make", "field"),
    [(any_limit, "count"), (any_limit, "per"), (any_budget, "window"), (any_breaker, "reset_after")],
)
def test_a_zero_where_there_must_be_something(make: Any, field: str, value: float) -> None:
    check_turned_away(make, field, value, ValueError, f"{field} must be more than 0, got {value!r}")


WHOLE = [(any_limit, "burst", 1), (any_budget, "minimum", 0), (any_breaker, "failures", 1), (any_hedge, "extra", 1)]
BAD_WHOLE = [
    pytest.param(2.5, "must be an int, got 2.5", id="a fraction"),
    pytest.param(2.0, "must be an int, got 2.0", id="a float"),
    pytest.param(NAN, "must be an int, got nan", id="NaN"),
    pytest.param(INF, "must be an int, got inf", id="infinity"),
    pytest.param("3", "must be an int, got '3'", id="str"),
    pytest.param(None, "must be an int, got None", id="None"),
    pytest.param(True, "must be an int, got True", id="bool"),
]


@pytest.mark.parametrize(("value", "rule"), BAD_WHOLE)
@pytest.mark.parametrize(("make", "field", "least"), WHOLE)
def test_a_bad_whole_number(make: Any, field: str, least: int, value: Any, rule: str) -> None:
    check_turned_away(make, field, value, TypeError, f"{field} {rule}")


@pytest.mark.parametrize(("make", "field", "least"), WHOLE)
def test_too_few(make: Any, field: str, least: int) -> None:
    check_turned_away(make, field, least - 1, ValueError, f"{field} must be at least {least}, got {least - 1}")


def test_a_burst_too_large_to_count_fractions_of() -> None:
    check_turned_away(any_limit, "burst", 10**400, ValueError, "burst must not be so large")


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (4.5, ValueError, "max_reset_after must be at least reset_after (5), got 4.5"),
        (-1, ValueError, "max_reset_after must not be negative, got -1"),
        (NAN, ValueError, "max_reset_after must not be NaN"),
        (10**400, ValueError, "max_reset_after must not be so large"),
        ("9", TypeError, "max_reset_after must be a number, got '9'"),
        (True, TypeError, "max_reset_after must be a number, got True"),
    ],
)
def test_a_bad_longest_time_until_a_probe(value: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=says(message)):
        any_breaker(reset_after=5, max_reset_after=value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "counts must be an exception type, a tuple of them, or a function of the error, got 5"),
        (None, "counts must be an exception type, a tuple of them, or a function of the error, got None"),
        ((OSError, 5), "counts must be an exception type, a tuple of them, or a function of the error, got (<"),
        ((OSError, print), "counts must be an exception type, a tuple of them, or a function of the error, got (<"),
        ([OSError], "counts must be an exception type, a tuple of them, or a function of the error, got [<"),
        (int, "counts must name subclasses of Exception, got <class 'int'>"),
        (KeyboardInterrupt, "counts must name subclasses of Exception, got <class 'KeyboardInterrupt'>"),
        ((OSError, SystemExit), "counts must name subclasses of Exception, got <class 'SystemExit'>"),
    ],
)
def test_a_bad_rule_of_what_counts(value: Any, message: str) -> None:
    check_turned_away(any_breaker, "counts", value, TypeError, message)


@pytest.mark.parametrize("make", [any_limit, any_budget, any_breaker, any_hedge])
def test_an_unknown_field(make: Any) -> None:
    with pytest.raises(TypeError, match="rate"):
        make(**GOOD[make], rate=3)


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (any_limit, {"count": 5e-324, "per": 1e308, "burst": 10**300}),
        (any_limit, {"count": 10**300, "per": 5e-324, "burst": 1}),
        (any_budget, {"ratio": 0, "minimum": 0, "window": 5e-324}),
        (any_budget, {"ratio": 1e308, "minimum": 10**400, "window": 1e308}),
        (any_breaker, {"failures": 1, "reset_after": 5, "max_reset_after": 5, "counts": ()}),
        (any_breaker, {"failures": 10**400, "reset_after": 1e308, "max_reset_after": INF, "counts": callable}),
        (any_hedge, {"after": 0, "extra": 1}),
        (any_hedge, {"after": 1e308, "extra": 10**400}),
    ],
)
def test_the_extremes_of_what_is_allowed_are_kept_as_they_are(make: Any, fields: dict[str, Any]) -> None:
    value = make(**fields)
    assert {name: getattr(value, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("by_position", "by_name"),
    [
        (RateLimit(5, 60.0, 2), RateLimit(count=5, per=60.0, burst=2)),
        (RetryBudget(0.5, 1, 10.0), RetryBudget(ratio=0.5, minimum=1, window=10.0)),
        (
            CircuitBreaker(3, 1.0, 8.0, OSError),
            CircuitBreaker(failures=3, reset_after=1.0, max_reset_after=8.0, counts=OSError),
        ),
        (Hedge(0.5, 2), Hedge(after=0.5, extra=2)),
    ],
)
def test_fields_are_given_by_position_or_by_name(by_position: object, by_name: object) -> None:
    assert by_position == by_name


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (RateLimit(5), "RateLimit(count=5, per=1.0, burst=1)"),
        (RetryBudget(), "RetryBudget(ratio=0.2, minimum=3, window=60.0)"),
        (
            CircuitBreaker(),
            "CircuitBreaker(failures=5, reset_after=30.0, max_reset_after=None, counts=<class 'Exception'>)",
        ),
        (Hedge(2.5), "Hedge(after=2.5, extra=1)"),
    ],
)
def test_a_limit_prints_its_fields_with_what_they_are_by_default(value: object, printed: str) -> None:
    assert repr(value) == printed


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (RateLimit(5), RateLimit(5), RateLimit(6)),
        (RetryBudget(), RetryBudget(), RetryBudget(0.3)),
        (CircuitBreaker(), CircuitBreaker(), CircuitBreaker(counts=OSError)),
        (Hedge(1.0), Hedge(1.0), Hedge(1.0, 2)),
    ],
)
def test_limits_are_told_apart_by_their_fields_alone(one: object, same: object, other: object) -> None:
    assert {one, same, other} == {one, other}
    assert one != other


@pytest.mark.parametrize(
    ("value", "field"),
    [(RateLimit(5), "count"), (RetryBudget(), "ratio"), (CircuitBreaker(), "failures"), (Hedge(1.0), "extra")],
)
def test_a_limit_is_not_changed_once_it_is_made(value: object, field: str) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, field, 7)
