"""The description of a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from . import _validate
from ._limits import CircuitBreaker, RateLimit
from ._shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

LEAST_AGE = 0.001
"""Seconds. What is too old as soon as it is open would be reopened for ever, in between two runs of anything else."""

R_co = TypeVar("R_co", covariant=True)


def _none_or(kind: type) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            _validate.instance(attribute.name, value, kind)

    return check


def _check_jobs(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _validate.bound(attribute.name, value, least=1)


def _check_age(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and _validate.seconds(attribute.name, value) < LEAST_AGE:
        raise ValueError(f"{attribute.name} must be at least {LEAST_AGE} s, {_validate.got(value)}")


def _as_name(value: str | None) -> str | None:
    return _validate.text("name", value)


def as_tags(value: Iterable[str]) -> frozenset[str]:
    """Tags as they are kept, from any iterable of them."""
    return _validate.tags("tags", value)


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
    tags: frozenset[str] = attrs.field(factory=frozenset[str], kw_only=True, converter=as_tags)
    rate_limit: RateLimit | None = attrs.field(default=None, kw_only=True, validator=_none_or(RateLimit))
    breaker: CircuitBreaker | None = attrs.field(default=None, kw_only=True, validator=_none_or(CircuitBreaker))
    max_jobs: float | None = attrs.field(default=None, kw_only=True, validator=_check_jobs)
    max_age: float | None = attrs.field(default=None, kw_only=True, validator=_check_age)
