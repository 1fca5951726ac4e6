"""Bad input is told what it is about, what the rule is, and what was given."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.core.makers import make_core
from trio_pool._model.job_options import revised
from trio_pool._model.records import JobSpec


def given_to(call: str, options: Any, defaults: JobSpec | None = None) -> JobSpec:
    """The options of a job that a call was given these."""
    before = defaults or JobSpec()
    return revised(before, options, defaults=before, crew=make_core().roster, call=call)


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
        ({"worker": "first"}, TypeError, "worker must be a Worker, got 'first'; see pool.workers"),
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


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"max_running": 2}, "'async with pool.open_group(max_running=...) as group:'"),
        ({"buffer": 2}, "map() and as_completed()"),
    ],
)
def test_an_option_of_another_call_says_whose_it_is(given: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=re.escape(hint)):
        given_to("submit", given)


def test_a_worker_of_another_pool_is_told_apart() -> None:
    given: Any = {"worker": make_core().add_worker()}
    with pytest.raises(ValueError, match="worker must be a worker of this pool, got "):
        given_to("submit", given)


def test_an_option_that_is_none_is_the_default() -> None:
    given: Any = {"total_timeout": None, "name": None}
    options = given_to("submit", given, JobSpec(total_timeout=3.0))
    assert (options.total_timeout, options.name) == (3.0, None)


def test_without_options_the_defaults_are_shared() -> None:
    defaults = JobSpec(total_timeout=3.0)
    assert given_to("submit", {}, defaults) is defaults


def test_metadata_is_copied() -> None:
    metadata = {"url": "a"}
    options = given_to("submit", {"metadata": metadata})
    metadata["url"] = "b"
    assert options.metadata == {"url": "a"}
