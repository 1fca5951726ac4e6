"""What a pool was opened with, checked."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from . import _validate
from ._instrument import Instrument
from ._limits import CircuitBreaker, RateLimit, RetryBudget
from ._orphans import NO_WORKER, NoWorker
from ._retry import RetryPolicy
from ._roster import PICKS, Pick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from ._verdict import OnFailure

Order: TypeAlias = Literal["fifo", "lifo"]
OnDead: TypeAlias = Literal["raise", "keep", "cancel"]
ORDERS: tuple[Order, ...] = ("fifo", "lifo")
ON_DEAD: tuple[OnDead, ...] = ("raise", "keep", "cancel")


def _instance_of(kind: type) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        _validate.instance(attribute.name, value, kind)

    return check


def _none_or(kind: type) -> Any:
    return attrs.validators.optional(_instance_of(kind))


def _one_of(choices: tuple[str, ...]) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        _validate.one_of(attribute.name, value, choices)

    return check


def _callable_or_none(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _validate.call(attribute.name, value)


def _text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _validate.text(attribute.name, value)


def _seconds(value: object, field: attrs.Attribute[Any]) -> float:
    return math.inf if value is None else _validate.seconds(field.name, value)


def _at_least_0(value: object, field: attrs.Attribute[Any]) -> float:
    return _validate.bound(field.name, value, least=0)


def _at_least_1(value: object, field: attrs.Attribute[Any]) -> float:
    return _validate.bound(field.name, value, least=1)


def _instruments(value: Iterable[Instrument]) -> tuple[Instrument, ...]:
    try:
        found = tuple(value)
    except TypeError:
        raise TypeError(f"instruments must be an iterable, got {value!r}") from None
    for instrument in found:
        _validate.instance("instruments", instrument, Instrument)
    return found


def _converted(convert: Any, **field: Any) -> Any:
    return attrs.field(converter=attrs.Converter(convert, takes_field=True), **field)


@attrs.frozen(kw_only=True)
class Config:
    """The arguments of `open_pool`, in one place with their checks."""

    retry: RetryPolicy = attrs.field(factory=RetryPolicy.never, validator=_instance_of(RetryPolicy))
    attempt_timeout: float = _converted(_seconds, default=math.inf)
    total_timeout: float = _converted(_seconds, default=math.inf)
    max_queue: float = _converted(_at_least_0, default=1000)
    max_running: float = _converted(_at_least_1, default=None)
    rate_limit: RateLimit | None = attrs.field(default=None, validator=_none_or(RateLimit))
    retry_budget: RetryBudget | None = attrs.field(default=None, validator=_none_or(RetryBudget))
    breaker: CircuitBreaker | None = attrs.field(default=None, validator=_none_or(CircuitBreaker))
    lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = attrs.field(
        default=None, validator=_callable_or_none
    )
    order: Order = attrs.field(default="fifo", validator=_one_of(ORDERS))
    pick: Pick = attrs.field(default="longest_idle", validator=_one_of(PICKS))
    no_worker: NoWorker = attrs.field(default="reject", validator=_one_of(NO_WORKER))
    on_failure: OnFailure | None = attrs.field(default=None, validator=_callable_or_none)
    on_dead: OnDead = attrs.field(default="raise", validator=_one_of(ON_DEAD))
    max_dead: float = _converted(_at_least_0, default=1000)
    history: bool = attrs.field(default=True, validator=_instance_of(bool))
    instruments: tuple[Instrument, ...] = attrs.field(default=(), converter=_instruments)
    name: str | None = attrs.field(default=None, validator=_text)
    rng: Random | None = attrs.field(default=None, validator=_none_or(Random))
