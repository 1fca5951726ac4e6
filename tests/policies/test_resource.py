"""Resources and elastic workers are described by values, which check what they are given."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_values import BAD_SECONDS, INF, bad_counts, bad_limits_of_a_resource, says
from trio_pool import Elastic, Resource, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

# Typed as the callers that don't check their types would see them.
any_resource: Any = Resource
any_elastic: Any = Elastic


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


@bad_limits_of_a_resource
def test_bad_limits_of_a_resource(option: str, value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"{option} {rule}")):
        any_resource("a", **{option: value})


@pytest.mark.parametrize("age", [0.0009, 1e-9, 1e-300, 0])
def test_what_would_be_reopened_for_ever_is_an_error(age: float) -> None:
    with pytest.raises(ValueError, match=rf"^max_age must be at least 0\.001 s, got {age!r}$"):
        Resource("a", max_age=age)
    with pytest.raises(ValueError, match=r"^max_age must be at least 0\.001 s"):
        Elastic(lambda: open_pool(1), max=1, max_age=age)


def test_only_what_a_worker_holds_is_given_without_its_name() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        any_resource("a", None)


# Elastic


@asynccontextmanager
async def mint() -> AsyncGenerator[str]:
    yield "a"


@pytest.mark.parametrize("factory", [None, 3, "mint"])
def test_a_factory_that_cannot_be_called(factory: Any) -> None:
    with pytest.raises(TypeError, match=says(f"factory must be callable, got {factory!r}")):
        any_elastic(factory, max=1)


def test_a_factory_that_has_been_called_already() -> None:
    opening = mint()
    with pytest.raises(TypeError, match=says("factory must return async context managers, not be one, got <")):
        any_elastic(opening, max=1)


def test_an_elastic_pool_needs_a_factory_and_a_most() -> None:
    with pytest.raises(TypeError, match="factory"):
        any_elastic(max=1)
    with pytest.raises(TypeError, match="max"):
        any_elastic(mint)


def test_only_the_factory_is_given_without_its_name() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        any_elastic(mint, 1, max=2)


@pytest.mark.parametrize(("value", "kind", "rule"), bad_counts(0))
def test_a_bad_least_number_of_elastic_workers(value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"min {rule}")):
        any_elastic(mint, min=value, max=5)


@pytest.mark.parametrize(("value", "kind", "rule"), [*bad_counts(1), (INF, TypeError, "must be an int, got inf")])
def test_a_bad_most_number_of_elastic_workers(value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"max {rule}")):
        any_elastic(mint, max=value)


def test_the_most_that_an_elastic_pool_may_open_at_first() -> None:
    assert Elastic(mint, min=1_000_000, max=1_000_000).min == 1_000_000
    with pytest.raises(ValueError, match=says("min must be at most 1000000, got 1000001")):
        any_elastic(mint, min=1_000_001, max=1_000_001)


def test_more_elastic_workers_at_least_than_at_most() -> None:
    with pytest.raises(ValueError, match=says("max must be at least min (3), got 2")):
        any_elastic(mint, min=3, max=2)


@pytest.mark.parametrize(("value", "kind", "rule"), BAD_SECONDS)
def test_a_bad_idle_timeout(value: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=says(f"idle_timeout {rule}")):
        any_elastic(mint, max=1, idle_timeout=value)


@pytest.mark.parametrize(
    ("field", "value", "kind", "message"),
    [
        ("tags", "gpu", TypeError, "tags must be an iterable of tags, not the single 'gpu'"),
        ("rate_limit", 5, TypeError, "rate_limit must be a RateLimit, got 5"),
        ("breaker", 5, TypeError, "breaker must be a CircuitBreaker, got 5"),
        ("max_jobs", 0, ValueError, "max_jobs must be at least 1, got 0"),
        ("max_age", 1e-9, ValueError, "max_age must be at least 0.001 s, got 1e-09"),
    ],
)
def test_what_every_elastic_worker_has_is_checked_as_for_a_resource(
    field: str, value: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=says(message)):
        any_elastic(mint, max=1, **{field: value})
    with pytest.raises(kind, match=says(message)):
        any_resource("a", **{field: value})


def test_elastic_is_a_value() -> None:
    one, other = Elastic(mint, max=2, tags=["gpu"]), Elastic(mint, max=2, tags=("gpu",))
    assert one == other != Elastic(mint, max=3, tags=["gpu"])
    assert hash(one) == hash(other)
    with pytest.raises(AttributeError):
        any_elastic(mint, max=2).max = 3


def test_a_factory_can_be_called() -> None:
    with pytest.raises(TypeError, match=r"^factory must be callable, got 5$"):
        any_elastic(5, max=1)
