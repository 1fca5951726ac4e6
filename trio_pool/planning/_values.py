"""The policies and limits of a pool as plain values for JSON, and back."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from .._basics.text import said
from .._policies.circuit_breaker import CircuitBreaker
from .._policies.hedge import Hedge
from .._policies.per_key import PerKey
from .._policies.rate_limit import RateLimit, SharedRateLimit
from .._policies.rate_meters import checked_limits, several
from .._policies.retry import RetryPolicy
from .._policies.retry_budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from .._policies.rate_meter import Amount
    from .._policies.rate_meters import AnyLimit

T = TypeVar("T")
Plain = dict[str, Any]

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (RetryPolicy, RetryBudget, CircuitBreaker, Hedge, RateLimit)
}
DIGITS = 9
"""The digits of seconds in the file: more would only show how floats are rounded."""


def seconds(value: float) -> float:
    """A time for the file."""
    return round(value, DIGITS)


def plain_number(value: float | None) -> float | str | None:
    """A number for JSON, which has no infinity."""
    return "inf" if value == math.inf else value


def number(value: float | str | None) -> float | None:
    """Undo `plain_number`."""
    return math.inf if value == "inf" else cast("float | None", value)


def plain(policy: object) -> Plain | None:
    """A policy as its type's name and its fields; functions in it, and types of errors, by their names."""
    if policy is None:
        return None
    name = next(each for each, kind in KINDS.items() if isinstance(policy, kind))
    fields = {field.name: getattr(policy, field.name) for field in attrs.fields(KINDS[name])}
    return {"type": name, **{field: _plain_field(value) for field, value in fields.items()}}


def _plain_field(value: object) -> object:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return plain_number(value)
    if isinstance(value, tuple):
        return [error_name(each) for each in cast("tuple[object, ...]", value)]
    return error_name(value)


def error_name(kind: object) -> str:
    """The name of a type of errors, or of a function."""
    module, name = getattr(kind, "__module__", None), getattr(kind, "__qualname__", None)
    return f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else said(kind)


def policy_of(data: Plain | None) -> Any:
    """Undo `plain`. The errors to which the policy applies are not recorded; they become `Exception`."""
    if data is None:
        return None
    kind = KINDS[data["type"]]
    fields = {field.name: data[field.name] for field in attrs.fields(kind) if field.name in data}
    for about_errors in ("retry_on", "counts"):
        fields.pop(about_errors, None)
    return kind(**{name: math.inf if value == "inf" else value for name, value in fields.items()})


class SharedLimits:
    """Assigns numbers to shared limits, so that each remains a single limit for all its holders."""

    def __init__(self) -> None:
        self._numbers: dict[SharedRateLimit, int] = {}

    def plain(self, limits: Any) -> list[Plain]:
        """The limits of one holder."""
        return [self._plain(limit) for limit in several(limits)]

    def _plain(self, limit: AnyLimit) -> Plain:
        if not isinstance(limit, SharedRateLimit):
            return cast("Plain", plain(limit))
        shared = self._numbers.setdefault(limit, len(self._numbers) + 1)
        return {**cast("Plain", plain(limit.limit)), "shared": shared, "name": limit.name}


class FreshLimits:
    """Limits for one replay, with levels of their own.

    A shared limit, recorded or given by the caller, is also a single limit here.
    """

    def __init__(self) -> None:
        self._shared: dict[object, SharedRateLimit] = {}

    def of(self, data: Iterable[Plain]) -> tuple[AnyLimit, ...] | None:
        """The recorded limits of one holder."""
        return tuple(self._of(each) for each in data) or None

    def _of(self, data: Plain) -> AnyLimit:
        limit: RateLimit = policy_of(data)
        return limit if "shared" not in data else self._one(data["shared"], limit, data["name"])

    def _one(self, key: object, limit: RateLimit, name: str | None) -> SharedRateLimit:
        if key not in self._shared:
            self._shared[key] = limit.shared(name=name)
        return self._shared[key]

    def given(self, limits: Any) -> tuple[AnyLimit, ...] | None:
        """Limits that the caller has given. Shared ones are replaced, since they belong to the caller's Trio run."""
        found = [
            self._one(limit, limit.limit, limit.name) if isinstance(limit, SharedRateLimit) else limit
            for limit in several(checked_limits("rate_limit", limits))
        ]
        return tuple(found) or None

    def _given_by(self, function: Callable[[object], Any], key: object) -> tuple[AnyLimit, ...] | None:
        return self.given(function(key))

    def per_key(self, given: PerKey | None) -> PerKey | None:
        """Do what `given` does, for the limits of keys."""
        if given is None or given.rate_limit is None:
            return given
        limits: Any = given.rate_limit
        if callable(limits):
            return attrs.evolve(given, rate_limit=partial(self._given_by, limits))
        return attrs.evolve(given, rate_limit=self.given(limits))


def plain_amounts(amounts: Mapping[str, Amount | float]) -> dict[str, float]:
    """What a job uses, for JSON: a meter may store an amount as a fraction."""
    return {unit: amount if isinstance(amount, int) else float(amount) for unit, amount in amounts.items()}


def plain_key(key: Hashable) -> Any:
    """A key of jobs for JSON: its value if JSON can store that, otherwise its text."""
    if key is None or isinstance(key, (str, bool, int)) or (isinstance(key, float) and math.isfinite(key)):
        return key
    if type(key) is tuple:
        return [plain_key(each) for each in cast("tuple[Hashable, ...]", key)]
    return said(key)


def key_of(data: Any) -> Hashable:
    """Undo `plain_key`: a list was a tuple."""
    return tuple(key_of(each) for each in cast("list[object]", data)) if isinstance(data, list) else data
