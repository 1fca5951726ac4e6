"""The description of a resource, and of how many workers an elastic pool opens."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast

import attrs

from .._basics.text import shown
from . import validate
from .circuit_breaker import CircuitBreaker
from .health_check import HealthCheck
from .rate_meters import checked_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .rate_meters import AnyLimit, RateLimits

LEAST_AGE = 0.001
"""Seconds. With less, a resource could be too old as soon as it opens, and reopen forever before other tasks run."""

MOST_WORKERS = 1_000_000
"""The limit on ``min``, the workers that open with a pool. Each worker has a Trio task of its own."""

OnCut: TypeAlias = Literal["keep", "reopen"]
ON_CUT: tuple[OnCut, ...] = ("keep", "reopen")

R_co = TypeVar("R_co", covariant=True)


def _check_age(name: str, value: object) -> None:
    if value is not None and validate.seconds(name, value) < LEAST_AGE:
        raise ValueError(f"{name} must be at least {LEAST_AGE} s, {validate.got(value)}")


def _check_on_cut(name: str, value: object) -> None:
    if value is not None:
        validate.one_of(name, value, ON_CUT)


def _as_name(value: str | None) -> str | None:
    return validate.text("name", value)


def _as_limits(value: AnyLimit | Iterable[AnyLimit] | None) -> RateLimits:
    return checked_limits("rate_limit", value)


def _as_tags(value: Iterable[str]) -> frozenset[str]:
    return validate.tags("tags", value)


@attrs.frozen
class Resource(Generic[R_co]):
    """A resource and its settings in the pool.

    Arguments:
      value: the resource that the worker holds: any object.
      name: the worker's name; derived from its number by default.
      tags: what jobs can require by ``requires``.
      max_running: how many attempts may run on the resource at once: an int of at least 1, or
          ``inf``.
      rate_limit: a `RateLimit` or `SharedRateLimit` on how often attempts start on the worker, or
          an iterable of several that all hold.
      breaker: a `CircuitBreaker` that quarantines the worker if it fails jobs; the pool's by
          default.
      max_jobs: the number of attempts after which the worker leaves and reenters its lifespan,
          before the next attempt.
      max_age: seconds after which the worker leaves and reenters its lifespan, as soon as no
          attempt runs; at least 0.001. Each time a random part of up to a tenth is subtracted, so
          that resources opened together are not all reopened together.
      on_cut: what happens to the resource after an attempt that was cancelled before it returned a
          value: ``"keep"`` to use it as it is, ``"reopen"`` to leave and reenter the lifespan
          before anything else runs on it; the pool's by default.
      check: a `HealthCheck` of the worker while it is idle; the pool's by default.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type, such as a
          string for ``tags``.
    """

    value: R_co = attrs.field(repr=shown)
    name: str | None = attrs.field(default=None, kw_only=True, converter=_as_name)
    tags: frozenset[str] = attrs.field(factory=frozenset[str], kw_only=True, converter=_as_tags)
    max_running: float = attrs.field(default=1, kw_only=True, validator=validate.by(validate.size))
    rate_limit: RateLimits = attrs.field(default=None, kw_only=True, converter=_as_limits)
    breaker: CircuitBreaker | None = attrs.field(
        default=None, kw_only=True, validator=validate.by(validate.optional, CircuitBreaker)
    )
    max_jobs: float | None = attrs.field(default=None, kw_only=True, validator=validate.by(validate.bound, least=1))
    max_age: float | None = attrs.field(default=None, kw_only=True, validator=validate.by(_check_age))
    on_cut: OnCut | None = attrs.field(default=None, kw_only=True, validator=validate.by(_check_on_cut))
    check: HealthCheck | None = attrs.field(
        default=None, kw_only=True, validator=validate.by(validate.optional, HealthCheck)
    )


def describe(resource: Any, **given: Any) -> Resource[Any]:
    """Describe a resource, unless it is a `Resource` already, which excludes further arguments."""
    if not isinstance(resource, Resource):
        return Resource(resource, **given)
    if given.pop("tags") or given.pop("max_running") != 1 or any(value is not None for value in given.values()):
        raise ValueError("a Resource has its own name, tags and limits; give them there")
    return resource  # pyright: ignore[reportUnknownVariableType]  # whatever it holds


def check_lifespan(has_lifespan: bool, on_cut: OnCut | None, check: HealthCheck | None) -> None:
    """Check that there is a lifespan if these settings require reentering it."""
    if not has_lifespan and check is not None:
        raise ValueError("check needs a lifespan, or an Elastic, whose factory gives one")
    if not has_lifespan and on_cut == "reopen":
        raise ValueError("on_cut='reopen' needs a lifespan, or an Elastic, whose factory gives one")


def _check_factory(name: str, value: object) -> None:
    # A context manager made by contextlib is callable, but only to decorate a function.
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
    elastic._describe()  # validates the remaining fields as those of a Resource


@attrs.frozen
class Elastic(Generic[R_co]):
    """Workers that the pool opens and retires with the load, instead of a fixed list of resources.

    The pool opens a worker when a job waits that no free worker can run and a new worker can. The
    pool never opens more workers at once than jobs wait. If some workers have been idle at every
    moment of the last ``idle_timeout`` seconds, the pool retires that many workers, the longest
    idle first.

    Arguments:
      factory: a function without arguments that returns an async context manager, which yields the
          resource. Entered when a worker opens, left when it retires.
      min: the number of workers that open with the pool and always stay; zero or more.
      max: the maximum number of workers; at least 1.
      idle_timeout: seconds; ``inf`` or ``None`` to never retire a worker.
      open_after: seconds that a job has to wait for nothing but a worker before one is opened for it;
          finite, 0 to open one at once. A few tenths of a second keep a short burst from opening
          workers that are no longer needed a moment later.
      tags, max_running, rate_limit, breaker, max_jobs, max_age, on_cut, check: of each worker, as for `Resource`.

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
    open_after: float = attrs.field(default=0.0, validator=validate.by(validate.seconds, finite=True), kw_only=True)
    tags: frozenset[str] = attrs.field(factory=frozenset[str], converter=_as_tags, kw_only=True)
    max_running: float = attrs.field(default=1, kw_only=True)
    rate_limit: RateLimits = attrs.field(default=None, kw_only=True, converter=_as_limits)
    breaker: CircuitBreaker | None = attrs.field(default=None, kw_only=True)
    max_jobs: float | None = attrs.field(default=None, kw_only=True)
    max_age: float | None = attrs.field(default=None, kw_only=True)
    on_cut: OnCut | None = attrs.field(default=None, kw_only=True)
    check: HealthCheck | None = attrs.field(default=None, validator=_check_rest, kw_only=True)

    def _changed(self, other: Elastic[Any]) -> list[str]:
        """The names of the fields that differ, except those that may change while a pool runs."""
        return [
            field.name
            for field in attrs.fields(Elastic)
            if field.name not in CHANGEABLE and not _is_same(getattr(self, field.name), getattr(other, field.name))
        ]

    def _describe(self) -> Resource[None]:
        """The settings of a worker whose resource is not open yet."""
        return Resource(
            None,
            tags=self.tags,
            max_running=self.max_running,
            rate_limit=self.rate_limit,
            breaker=self.breaker,
            max_jobs=self.max_jobs,
            max_age=self.max_age,
            on_cut=self.on_cut,
            check=self.check,
        )


CHANGEABLE = ("min", "max", "idle_timeout", "open_after")
"""The fields of an `Elastic` that may change while a pool runs."""


def _is_same(one: object, other: object) -> bool:
    # Functions are compared by identity, except bound methods: each access makes another one.
    if isinstance(one, MethodType):
        return isinstance(other, MethodType) and one == other
    return one is other or (type(one) is type(other) and not callable(one) and one == other)
