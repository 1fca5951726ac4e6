"""Bad input is told what it is about, what the rule is, and what was given."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.core.makers import make_core
from trio_pool import Resource, RetryAfter, RetryPolicy
from trio_pool._options import Options


def given_to(call: str, options: Any, defaults: Options | None = None) -> Options:
    """The options of a job that a call was given these."""
    before = defaults or Options()
    return before.replace(options, defaults=before, roster=make_core().roster, call=call)


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
        ({"delay": 1, "rest": "yes"}, TypeError, "rest must be a bool, got 'yes'"),
        ({"delay": 1, "counts": 0}, TypeError, "counts must be a bool, got 0"),
    ],
)
def test_retry_after_names_the_bad_argument(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        RetryAfter(**arguments)


def test_retry_after_says_what_is_to_happen() -> None:
    assert str(RetryAfter(1.5)) == "try again in 1.5 s"
    assert str(RetryAfter(2, rest=True)) == "the worker rests 2 s"


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"retry": 3}, TypeError, "retry must be a RetryPolicy, got 3"),
        ({"attempt_timeout": -1}, ValueError, "attempt_timeout must not be negative, got -1"),
        ({"attempt_timeout": math.nan}, ValueError, "attempt_timeout must not be NaN"),
        ({"total_timeout": "1"}, TypeError, "total_timeout must be a number, got '1'"),
        ({"total_timeout": -0.5}, ValueError, "total_timeout must not be negative, got -0.5"),
        ({"total_timeout": 10**400}, ValueError, "total_timeout must not be so large"),
        ({"priority": math.nan}, ValueError, "priority must not be NaN"),
        ({"priority": "high"}, TypeError, "priority must be a number, got 'high'"),
        ({"requires": "gpu"}, TypeError, "requires must be an iterable of tags, not the single 'gpu'"),
        ({"requires": 3}, TypeError, "requires must be an iterable of tags, got 3"),
        ({"requires": ["gpu", 3]}, TypeError, "requires must hold strings, got 3"),
        ({"worker": "first"}, TypeError, "worker must be a Worker, got 'first'"),
        ({"name": 3}, TypeError, "name must be a str or None, got 3"),
        ({"metadata": [1]}, TypeError, "metadata must be a mapping, got [1]"),
        ({"timeout": 3}, TypeError, "submit() got an unexpected keyword argument 'timeout'; the options of a job are "),
    ],
)
def test_an_option_names_itself_its_rule_and_what_it_got(given: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        given_to("submit", given)


def test_an_unknown_option_is_told_how_a_function_gets_keyword_arguments() -> None:
    given: Any = {"verbose": True}
    with pytest.raises(TypeError, match=r"keyword arguments of the job's own function go through functools\.partial"):
        given_to("run", given)


def test_a_worker_of_another_pool_is_told_apart() -> None:
    given: Any = {"worker": make_core().add_seat()}
    with pytest.raises(ValueError, match="worker must be a worker of this pool, got "):
        given_to("submit", given)


def test_an_option_that_is_none_is_the_default() -> None:
    given: Any = {"total_timeout": None, "name": None}
    options = given_to("submit", given, Options(total_timeout=3.0))
    assert (options.total_timeout, options.name) == (3.0, None)


def test_without_options_the_defaults_are_shared() -> None:
    defaults = Options(total_timeout=3.0)
    assert given_to("submit", {}, defaults) is defaults


def test_metadata_is_copied() -> None:
    metadata = {"url": "a"}
    options = given_to("submit", {"metadata": metadata})
    metadata["url"] = "b"
    assert options.metadata == {"url": "a"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": 3}, "name must be a str or None, got 3"),
        ({"tags": "gpu"}, "tags must be an iterable of tags, not the single 'gpu'"),
        ({"tags": 3}, "tags must be an iterable of tags, got 3"),
        ({"tags": [3]}, "tags must hold strings, got 3"),
        ({"tags": [["a"]]}, "tags must hold strings, got ['a']"),
    ],
)
def test_a_resource_names_the_bad_field_its_rule_and_what_it_got(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        Resource("value", **fields)
