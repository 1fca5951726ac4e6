"""What the jobs of each key may do at once, and their share of the starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import attrs

from .._basics.text import shown
from . import validate
from .rate_meters import checked_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .rate_meters import AnyLimit, RateLimits

    # What a user gives as limits.
    Limits: TypeAlias = "AnyLimit | Iterable[AnyLimit] | None"

# Turns are sums of 1 / weight. A float is precise enough to add up both ends of this range.
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-6, 1e6


def _weight(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        bounds = f"from {_LEAST_WEIGHT:g} to {_MOST_WEIGHT:g}"
        raise TypeError(f"{name} must be an int or a float {bounds}, {validate.got(value)}")
    number = validate.real(name, value)
    if not _LEAST_WEIGHT <= number <= _MOST_WEIGHT:
        raise ValueError(f"{name} must be from {_LEAST_WEIGHT:g} to {_MOST_WEIGHT:g}, {validate.got(value)}")
    return number


def _max_running(name: str, value: object) -> float:
    return validate.bound(name, value, least=1)


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "max_running": _max_running,
    "rate_limit": checked_limits,
    "weight": _weight,
}


def _checked(name: str, value: Any) -> Any:
    """Check a field; a function of the key is checked when it is called."""
    if callable(value):
        validate.call(name, value)
        return value
    return _CHECKS[name](name, value)


def _as_max_running(value: float | Callable[[Any], float | None] | None) -> float | Callable[[Any], float | None]:
    return cast("float | Callable[[Any], float | None]", _checked("max_running", value))


def _as_rate_limit(value: Limits | Callable[[Any], Limits]) -> RateLimits | Callable[[Any], Limits]:
    return cast("RateLimits | Callable[[Any], Limits]", _checked("rate_limit", value))


def _as_weight(value: float | Callable[[Any], float]) -> float | Callable[[Any], float]:
    return cast("float | Callable[[Any], float]", _checked("weight", value))


class KeyBounds(NamedTuple):
    """The bounds of one key, checked."""

    max_running: float
    rate_limit: RateLimits
    weight: float


@attrs.frozen(kw_only=True)
class PerKey:
    """Bounds for the jobs of each key by itself, and turns between the keys; for ``open_pool(per_key=)``.

    The option ``key`` of a job says on whose behalf the job runs: a tenant, a host, an account.
    Keys with jobs waiting get starts in proportion to their weights, by start-time fair queueing
    (Goyal, Vin and Cheng, "Start-time Fair Queueing: A Scheduling Algorithm for Integrated Services
    Packet Switching Networks", 1996). Jobs without a key have no bounds, and share a turn of weight
    1.

    Each field is a value for all keys, or a function of the key. The function is called when the
    key becomes known, by the call that submits the job. Such a call raises whatever the function
    raises, and ValueError or TypeError if the function returns an invalid value for the field. A key is
    forgotten when it has no job left, its limits are full again, and the other keys have had their
    turns.

    An immutable value: instances compare and print by their fields.

    Arguments:
      max_running: how many attempts of the jobs of one key may run at once; ``None`` for no bound.
          A job that lends its worker doesn't count. Each run of a job with a `Hedge` does.
      rate_limit: a `RateLimit` or `SharedRateLimit` on the starts of the jobs of one key, or an
          iterable of several that all hold. Each key keeps its own count of a `RateLimit`.
      weight: the share of the key, an int or a float from 1e-6 to 1e6: a key of weight 2 gets twice as many starts as
          one of weight 1, while both have jobs waiting.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    max_running: float | Callable[[Any], float | None] = attrs.field(default=None, converter=_as_max_running)
    rate_limit: RateLimits | Callable[[Any], Limits] = attrs.field(default=None, converter=_as_rate_limit)
    weight: float | Callable[[Any], float] = attrs.field(default=1.0, converter=_as_weight)

    def _bounds_of(self, key: object) -> KeyBounds:
        """Return the bounds of a key, calling the functions among the fields."""
        return KeyBounds(*[self._value_for(key, name) for name in KeyBounds._fields])

    def _value_for(self, key: object, name: str) -> Any:
        value: Any = getattr(self, name)
        if not callable(value):
            return value
        value = value(key)
        label = f"{name} of PerKey for the key {shown(key)}"
        validate.answer(label, value)
        return _CHECKS[name](label, value)


NO_BOUNDS = KeyBounds(max_running=math.inf, rate_limit=None, weight=1.0)
