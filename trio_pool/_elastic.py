"""How many workers there are to be, as a value."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs

from . import _validate
from ._limits import CircuitBreaker, RateLimit
from ._resource import Resource, as_tags
from ._shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WORKERS = 1_000_000
"""Of those that are opened with a pool. Each has a Trio task of its own."""

R_co = TypeVar("R_co", covariant=True)


def _check_factory(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    # One made by a function of contextlib can be called, but to decorate a function.
    if isinstance(value, AbstractAsyncContextManager):
        got = _validate.got(cast("object", value))
        raise TypeError(f"{attribute.name} must return async context managers, not be one, {got}")
    _validate.context_maker(attribute.name, value)


def _check_min(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    least = _validate.count(attribute.name, value, least=0)
    if least > MOST_WORKERS:
        raise ValueError(f"{attribute.name} must be at most {MOST_WORKERS}, {_validate.got(least)}")


def _check_max(elastic: Elastic[Any], attribute: attrs.Attribute[Any], value: object) -> None:
    most = _validate.count(attribute.name, value, least=1)
    if most < elastic.min:
        raise ValueError(f"max must be at least min ({elastic.min}), {_validate.got(most)}")


def _check_timeout(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _validate.seconds(attribute.name, value)


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

    factory: Callable[[], AbstractAsyncContextManager[R_co]] = attrs.field(validator=_check_factory, repr=shown)
    min: int = attrs.field(default=0, validator=_check_min, kw_only=True)
    max: int = attrs.field(validator=_check_max, kw_only=True)
    idle_timeout: float = attrs.field(
        default=60.0, converter=_validate.no_bound_if_none, validator=_check_timeout, kw_only=True
    )
    tags: frozenset[str] = attrs.field(factory=frozenset[str], converter=as_tags, kw_only=True)
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
