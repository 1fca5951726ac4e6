"""The description of a resource, and of how many there are to be."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs

from .._basics.text import shown
from . import validate
from .circuit_breaker import CircuitBreaker
from .rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LEAST_AGE = 0.001
"""Seconds. What is too old as soon as it is open would be reopened for ever, in between two runs of anything else."""

MOST_WORKERS = 1_000_000
"""Of those that are opened with a pool. Each has a Trio task of its own."""

R_co = TypeVar("R_co", covariant=True)


def _check_age(name: str, value: object) -> None:
    if value is not None and validate.seconds(name, value) < LEAST_AGE:
        raise ValueError(f"{name} must be at least {LEAST_AGE} s, {validate.got(value)}")


def _as_name(value: str | None) -> str | None:
    return validate.text("name", value)


def _as_tags(value: Iterable[str]) -> frozenset[str]:
    return validate.tags("tags", value)


@attrs.frozen
class Resource(Generic[R_co]):
    """A resource and what the pool should know about it.

    Arguments:
      value: what the worker holds: any object.
      name: what the worker is called; made from its number by default.
      tags: what jobs may ask for by ``requires``.
      rate_limit: how often attempts may start on it; a `RateLimit`.
      breaker: when it is kept from jobs because it fails them; the pool's `CircuitBreaker`
          by default.
      max_jobs: attempts after which its lifespan is left and entered anew, before the next one.
      max_age: seconds after which it is, as soon as no attempt is under way; at least 0.001. Each time
          up to a tenth is taken off at random, so that resources which were opened together
          are not all opened anew together.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type, such as a
          string for ``tags``.
    """

    value: R_co = attrs.field(repr=shown)
    name: str | None = attrs.field(default=None, kw_only=True, converter=_as_name)
    tags: frozenset[str] = attrs.field(factory=frozenset[str], kw_only=True, converter=_as_tags)
    rate_limit: RateLimit | None = attrs.field(
        default=None, kw_only=True, validator=validate.by(validate.optional, RateLimit)
    )
    breaker: CircuitBreaker | None = attrs.field(
        default=None, kw_only=True, validator=validate.by(validate.optional, CircuitBreaker)
    )
    max_jobs: float | None = attrs.field(default=None, kw_only=True, validator=validate.by(validate.bound, least=1))
    max_age: float | None = attrs.field(default=None, kw_only=True, validator=validate.by(_check_age))


def _check_factory(name: str, value: object) -> None:
    # One made by a function of contextlib can be called, but to decorate a function.
    if isinstance(value, AbstractAsyncContextManager):
        got = validate.got(cast("object", value))
        raise TypeError(f"{name} must return async context managers, not be one, {got}")
    validate.context_maker(name, value)


def _check_min(name: str, value: object) -> None:
    least = validate.count(name, value, least=0)
    if least > MOST_WORKERS:
        raise ValueError(f"{name} must be at most {MOST_WORKERS}, {validate.got(least)}")


def _check_max(elastic: Elastic[Any], attribute: attrs.Attribute[Any], value: object) -> None:
    most = validate.count(attribute.name, value, least=1)
    if most < elastic.min:
        raise ValueError(f"max must be at least min ({elastic.min}), {validate.got(most)}")


def _check_rest(elastic: Elastic[Any], _: object, __: object) -> None:
    elastic._describe()  # checks the rest as that of any other resource


@attrs.frozen
class Elastic(Generic[R_co]):
    """Workers that are opened and retired with the load, instead of a list of resources.

    A worker is opened when a job waits that it may take and no idle one may; never more at once
    than jobs wait. When for ``idle_timeout`` seconds there have been idle workers all the
    time, as many as there were are retired, the longest idle first.

    Arguments:
      factory: a function without arguments that gives an async context manager, which yields the
          resource. Entered when a worker is opened, left when it goes.
      min: workers that are opened with the pool and always kept; zero or more.
      max: workers that there are at most; at least 1.
      idle_timeout: seconds; ``inf`` or ``None`` to retire none.
      tags, rate_limit, breaker, max_jobs, max_age: of each worker, as for `Resource`.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    factory: Callable[[], AbstractAsyncContextManager[R_co]] = attrs.field(
        validator=validate.by(_check_factory), repr=shown
    )
    min: int = attrs.field(default=0, validator=validate.by(_check_min), kw_only=True)
    max: int = attrs.field(validator=_check_max, kw_only=True)
    idle_timeout: float = attrs.field(
        default=60.0, converter=validate.no_bound_if_none, validator=validate.by(validate.seconds), kw_only=True
    )
    tags: frozenset[str] = attrs.field(factory=frozenset[str], converter=_as_tags, kw_only=True)
    rate_limit: RateLimit | None = attrs.field(default=None, kw_only=True)
    breaker: CircuitBreaker | None = attrs.field(default=None, kw_only=True)
    max_jobs: float | None = attrs.field(default=None, kw_only=True)
    max_age: float | None = attrs.field(default=None, validator=_check_rest, kw_only=True)

    def _describe(self) -> Resource[None]:
        """What is known of a worker's resource before it is opened."""
        return Resource(
            None,
            tags=self.tags,
            rate_limit=self.rate_limit,
            breaker=self.breaker,
            max_jobs=self.max_jobs,
            max_age=self.max_age,
        )
