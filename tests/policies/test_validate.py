"""Policies are values: checked when made, compared, printed and kept in sets."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.bad_values import BAD_SECONDS, INF, NAN, bad_counts, says
from trio_pool import Discard, GiveUp, HandBack, RetryAfter, RetryPolicy
from trio_pool._policies.circuit_breaker import CircuitBreaker
from trio_pool._policies.hedge import Hedge
from trio_pool._policies.rate_limit import RateLimit
from trio_pool._policies.retry_budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

# Typed as the callers that don't check their types would see them.
any_limit: Any = RateLimit
any_budget: Any = RetryBudget
any_breaker: Any = CircuitBreaker
any_hedge: Any = Hedge
any_policy: Any = RetryPolicy
any_pause: Any = RetryAfter

# What makes each a good one, for tests of one field at a time.
GOOD: dict[Any, dict[str, Any]] = {any_limit: {"count": 1}, any_budget: {}, any_breaker: {}, any_hedge: {"after": 1}}


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
    with pytest.raises(TypeError, match="speed"):
        make(**GOOD[make], speed=3)


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
        (RateLimit(5), "RateLimit(count=5, per=1.0, burst=1, unit=None)"),
        (RetryBudget(), "RetryBudget(ratio=0.2, minimum=3, window=60.0)"),
        (
            CircuitBreaker(),
            "CircuitBreaker(failures=5, reset_after=30.0, max_reset_after=None, counts=<class 'Exception'>, "
            "rate=None, window=60.0)",
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


# Retrying


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"max_attempts": 0}, ValueError, "max_attempts must be at least 1, got 0"),
        ({"max_attempts": 2.5}, TypeError, "max_attempts must be an int, got 2.5"),
        ({"max_attempts": True}, TypeError, "max_attempts must be an int, got True"),
        ({"max_attempts": "3"}, TypeError, "max_attempts must be an int, got '3'"),
        ({"base_delay": -1}, ValueError, "base_delay must not be negative, got -1"),
        ({"base_delay": math.nan}, ValueError, "base_delay must not be NaN"),
        ({"base_delay": math.inf}, ValueError, "base_delay must be finite, got inf"),
        ({"base_delay": "1"}, TypeError, "base_delay must be a number, got '1'"),
        ({"base_delay": None}, TypeError, "base_delay must be a number, got None"),
        ({"multiplier": 0.5}, ValueError, "multiplier must be at least 1, got 0.5"),
        ({"multiplier": math.inf}, ValueError, "multiplier must be finite, got inf"),
        ({"multiplier": math.nan}, ValueError, "multiplier must not be NaN"),
        ({"max_delay": -0.1}, ValueError, "max_delay must not be negative, got -0.1"),
        ({"max_delay": math.nan}, ValueError, "max_delay must not be NaN"),
        ({"jitter": "some"}, ValueError, "jitter must be one of 'full', 'equal', 'decorrelated', 'none', got 'some'"),
        ({"jitter": -1.0}, ValueError, "jitter must not be negative, got -1.0"),
        ({"jitter": math.inf}, ValueError, "jitter must be finite, got inf"),
        ({"jitter": None}, TypeError, "jitter must be a number, got None"),
        ({"retry_on": BaseException}, TypeError, "retry_on must name subclasses of Exception, got <class 'BaseExc"),
        ({"retry_on": (OSError, int)}, TypeError, "retry_on must name subclasses of Exception, got <class 'int'>"),
        ({"retry_on": (OSError, print)}, TypeError, "retry_on must be an exception type, a tuple of them, or a func"),
        ({"retry_on": "OSError"}, TypeError, "or a function of the error, got 'OSError'"),
        ({"placement": "next"}, ValueError, "placement must be one of 'any', 'same', 'other', got 'next'"),
        ({"front": 1}, TypeError, "front must be a bool, got 1"),
    ],
)
def test_a_policy_names_the_bad_field_its_rule_and_what_it_got(
    fields: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        RetryPolicy(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_attempts": None},
        {"max_attempts": math.inf},
        {"max_delay": math.inf},
        {"jitter": 0},
        {"retry_on": ()},
        {"base_delay": 0, "multiplier": 1},
    ],
)
def test_a_policy_takes_the_extremes_of_what_it_may_get(fields: dict[str, Any]) -> None:
    policy = RetryPolicy(**fields)
    assert {name: getattr(policy, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"delay": -1}, ValueError, "delay must not be negative, got -1"),
        ({"delay": math.nan}, ValueError, "delay must not be NaN"),
        ({"delay": math.inf}, ValueError, "delay must be finite, got inf"),
        ({"delay": "5"}, TypeError, "delay must be a number, got '5'"),
        ({"delay": 1, "placement": "next"}, ValueError, "placement must be one of 'any', 'same', 'other', got 'next'"),
        ({"delay": 1, "rest": "yes"}, TypeError, "rest must be a bool or 'key', got 'yes'"),
        ({"delay": 1, "counts": 0}, TypeError, "counts must be a bool, got 0"),
    ],
)
def test_retry_after_names_the_bad_argument(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        RetryAfter(**arguments)


@pytest.mark.parametrize(("value", "kind", "rule"), bad_counts(1))
def test_bad_max_attempts(value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"max_attempts {rule}")):
        any_policy(max_attempts=value)


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_SECONDS)
@pytest.mark.parametrize("field", ["base_delay", "max_delay", "multiplier", "jitter"])
def test_bad_numbers_of_a_policy(field: str, value: Any, kind: type[Exception], rule: str) -> None:
    if field == "jitter" and isinstance(value, str):
        kind, rule = ValueError, "must be one of 'full', 'equal', 'decorrelated', 'none', got '5'"
    with pytest.raises(kind, match=says(f"{field} {rule}")):
        any_policy(**{field: value})


@pytest.mark.parametrize("field", ["base_delay", "multiplier", "jitter"])
def test_infinite_numbers_of_a_policy(field: str) -> None:
    with pytest.raises(ValueError, match=says(f"{field} must be finite, got inf")):
        any_policy(**{field: INF})


def test_a_multiplier_below_1() -> None:
    with pytest.raises(ValueError, match=says("multiplier must be at least 1, got 0.5")):
        RetryPolicy(multiplier=0.5)


def test_an_unknown_placement() -> None:
    with pytest.raises(ValueError, match=says("placement must be one of 'any', 'same', 'other', got 'elsewhere'")):
        any_policy(placement="elsewhere")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "retry_on must be an exception type, a tuple of them, or a function of the error, got 5"),
        ((OSError, 5), "retry_on must be an exception type, a tuple of them, or a function of the error, got"),
        ([OSError], "retry_on must be an exception type, a tuple of them, or a function of the error, got"),
        (int, "retry_on must name subclasses of Exception, got <class 'int'>"),
        (KeyboardInterrupt, "retry_on must name subclasses of Exception, got <class 'KeyboardInterrupt'>"),
        ((OSError, SystemExit), "retry_on must name subclasses of Exception, got <class 'SystemExit'>"),
    ],
)
def test_a_bad_retry_on(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=says(message)):
        any_policy(retry_on=value)


class AsyncRule:
    async def __call__(self, error: Exception) -> bool:
        raise AssertionError

    async def covers(self, error: Exception) -> bool:
        raise AssertionError


async def is_worth_it(error: Exception) -> bool:
    raise AssertionError


async def each_of(errors: Any) -> AsyncGenerator[bool]:
    yield False


@pytest.mark.parametrize("value", [is_worth_it, each_of, partial(is_worth_it), AsyncRule(), AsyncRule().covers])
def test_a_rule_of_what_is_tried_again_is_no_async_function(value: Any) -> None:
    with pytest.raises(TypeError, match=says("retry_on must be a plain function, not an async one, got")):
        any_policy(retry_on=value)


def test_a_bad_front() -> None:
    with pytest.raises(TypeError, match=says("front must be a bool, got 'yes'")):
        any_policy(front="yes")


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(partial(RetryPolicy.fixed, -1), id="fixed"),
        pytest.param(partial(RetryPolicy.fixed, 1, base_delay=-1), id="fixed, by name"),
        pytest.param(partial(RetryPolicy.immediate, base_delay=-1), id="immediate"),
    ],
)
def test_the_ready_made_policies_check_their_fields(make: Callable[[], RetryPolicy]) -> None:
    with pytest.raises(ValueError, match=says("base_delay must not be negative, got -1")):
        make()


def test_an_unknown_field_of_a_policy() -> None:
    with pytest.raises(TypeError, match="retries"):
        any_policy(retries=3)


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_SECONDS)
def test_a_bad_delay_of_retry_after(value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"delay {rule}")):
        any_pause(value)


def test_an_infinite_delay_of_retry_after() -> None:
    with pytest.raises(ValueError, match=says("delay must be finite, got inf")):
        RetryAfter(INF)


def test_an_unknown_placement_of_retry_after() -> None:
    with pytest.raises(ValueError, match=says("placement must be one of 'any', 'same', 'other', got 'elsewhere'")):
        any_pause(1, placement="elsewhere")


@pytest.mark.parametrize("value", [-1, math.inf, math.nan])
def test_a_job_is_handed_back_for_a_finite_time(value: float) -> None:
    with pytest.raises(ValueError, match=r"^delay must (not )?be "):
        HandBack(value)


@pytest.mark.parametrize("kind", [GiveUp, Discard, partial(HandBack, 1)])
@pytest.mark.parametrize("value", [None, 5, ValueError("no")])
def test_a_reason_is_a_text(kind: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^reason must be a str, got "):
        kind(value)
