"""What a pool was opened with, checked."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from . import _validate
from ._instrument import Instrument
from ._kinds import PICKS, Pick
from ._limits import CircuitBreaker, RateLimit, RetryBudget
from ._orphans import NO_WORKER, NoWorker
from ._retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from ._verdict import OnFailure

T = TypeVar("T")

Order: TypeAlias = Literal["fifo", "lifo"]
OnDead: TypeAlias = Literal["raise", "keep", "cancel"]
ORDERS: tuple[Order, ...] = ("fifo", "lifo")
ON_DEAD: tuple[OnDead, ...] = ("raise", "keep", "cancel")
NEVER = RetryPolicy.never()


class Config:
    """The arguments of `open_pool`, in one place with their checks.

    Written out: to have it generated is a good part of what importing the package would take.
    """

    __slots__ = (
        "attempt_timeout",
        "breaker",
        "history",
        "instruments",
        "lifespan",
        "max_dead",
        "max_queue",
        "max_running",
        "name",
        "no_worker",
        "on_dead",
        "on_failure",
        "order",
        "pick",
        "rate_limit",
        "retry",
        "retry_budget",
        "rng",
        "show_arguments",
        "total_timeout",
    )

    def __init__(
        self,
        *,
        retry: RetryPolicy = NEVER,
        attempt_timeout: float | None = None,
        total_timeout: float | None = None,
        max_queue: float | None = 1000,
        max_running: float | None = None,
        rate_limit: RateLimit | None = None,
        retry_budget: RetryBudget | None = None,
        breaker: CircuitBreaker | None = None,
        lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
        order: Order = "fifo",
        pick: Pick = "longest_idle",
        no_worker: NoWorker = "reject",
        on_failure: OnFailure | None = None,
        on_dead: OnDead = "raise",
        max_dead: float | None = 1000,
        history: bool = True,
        show_arguments: bool = True,
        instruments: Iterable[Instrument] = (),
        name: str | None = None,
        rng: Random | None = None,
    ) -> None:
        instance, seconds, bound, one_of = _validate.instance, _validate.seconds, _validate.bound, _validate.one_of
        self.retry: RetryPolicy = instance("retry", retry, RetryPolicy)
        self.attempt_timeout: float = (
            math.inf if attempt_timeout is None else seconds("attempt_timeout", attempt_timeout)
        )
        self.total_timeout: float = math.inf if total_timeout is None else seconds("total_timeout", total_timeout)
        self.max_queue: float = bound("max_queue", max_queue, least=0)
        self.max_running: float = bound("max_running", max_running, least=1)
        self.rate_limit: RateLimit | None = _none_or("rate_limit", rate_limit, RateLimit)
        self.retry_budget: RetryBudget | None = _none_or("retry_budget", retry_budget, RetryBudget)
        self.breaker: CircuitBreaker | None = _none_or("breaker", breaker, CircuitBreaker)
        self.lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = lifespan
        self.order: Order = one_of("order", order, ORDERS)
        self.pick: Pick = one_of("pick", pick, PICKS)
        self.no_worker: NoWorker = one_of("no_worker", no_worker, NO_WORKER)
        self.on_failure: OnFailure | None = on_failure
        self.on_dead: OnDead = one_of("on_dead", on_dead, ON_DEAD)
        self.max_dead: float = bound("max_dead", max_dead, least=0)
        self.history: bool = instance("history", history, bool)
        self.show_arguments: bool = instance("show_arguments", show_arguments, bool)
        self.instruments: tuple[Instrument, ...] = _instruments(instruments)
        self.name: str | None = _validate.text("name", name)
        self.rng: Random | None = _none_or("rng", rng, Random)
        if lifespan is not None:
            _validate.context_maker("lifespan", lifespan)
        if on_failure is not None:
            _validate.call("on_failure", on_failure)


def _none_or(name: str, value: T | None, kind: type[T]) -> T | None:
    return None if value is None else _validate.instance(name, value, kind)


def _instruments(value: Iterable[Instrument]) -> tuple[Instrument, ...]:
    try:
        found = tuple(value)
    except TypeError:
        raise TypeError(f"instruments must be an iterable, {_validate.got(value)}") from None
    for instrument in found:
        _validate.instance("instruments", instrument, Instrument)
    return found
