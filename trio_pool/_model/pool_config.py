"""The checked arguments of `open_pool`."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .._policies import validate
from .._policies.circuit_breaker import CircuitBreaker
from .._policies.health_check import HealthCheck
from .._policies.per_key import PerKey
from .._policies.rate_meters import checked_limits
from .._policies.resource import ON_CUT, OnCut
from .._policies.retry import Discard, GiveUp, ResourceBroken, RetryAfter, RetryPolicy
from .._policies.retry_budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from .._policies.rate_meters import AnyLimit, RateLimits
    from .handles import Job

Order: TypeAlias = Literal["fifo", "lifo"]
OnDead: TypeAlias = Literal["raise", "keep", "cancel"]
Pick: TypeAlias = Literal["longest_idle", "last_used", "random"]
PICKS: tuple[Pick, ...] = ("longest_idle", "last_used", "random")
NoWorker: TypeAlias = Literal["reject", "wait", "bury"]
NO_WORKER: tuple[NoWorker, ...] = ("reject", "wait", "bury")
Control: TypeAlias = RetryAfter | GiveUp | Discard | ResourceBroken
OnFailure: TypeAlias = "Callable[[Job[Any], Exception], Control | None]"
ORDERS: tuple[Order, ...] = ("fifo", "lifo")
ON_DEAD: tuple[OnDead, ...] = ("raise", "keep", "cancel")
NEVER = RetryPolicy.never()
ENDLESS = RetryPolicy.endless()


class Config:
    """The arguments of `open_pool`, in one place with their checks.

    Written by hand, since generating the class with attrs would take a large part of the package's
    import time.
    """

    __slots__ = (
        "attempt_timeout",
        "breaker",
        "check",
        "history",
        "instruments",
        "lifespan",
        "max_dead",
        "max_opening",
        "max_queue",
        "max_running",
        "metadata",
        "name",
        "no_worker",
        "on_cut",
        "on_dead",
        "on_failure",
        "order",
        "per_key",
        "pick",
        "rate_limit",
        "reopening",
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
        rate_limit: AnyLimit | Iterable[AnyLimit] | None = None,
        per_key: PerKey | None = None,
        retry_budget: RetryBudget | None = None,
        breaker: CircuitBreaker | None = None,
        lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
        max_opening: float | None = 8,
        reopening: RetryPolicy = ENDLESS,
        on_cut: OnCut = "keep",
        check: HealthCheck | None = None,
        order: Order = "fifo",
        pick: Pick = "longest_idle",
        no_worker: NoWorker = "reject",
        on_failure: OnFailure | None = None,
        on_dead: OnDead = "raise",
        max_dead: float | None = 1000,
        history: bool = True,
        show_arguments: bool = True,
        instruments: Iterable[object] = (),
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rng: Random | None = None,
    ) -> None:
        instance, optional, one_of = validate.instance, validate.optional, validate.one_of
        bound, seconds, unbounded = validate.bound, validate.seconds, validate.no_bound_if_none
        self.retry: RetryPolicy = instance("retry", retry, RetryPolicy)
        self.attempt_timeout: float = seconds("attempt_timeout", unbounded(attempt_timeout))
        self.total_timeout: float = seconds("total_timeout", unbounded(total_timeout))
        self.max_queue: float = bound("max_queue", max_queue, least=0)
        self.max_running: float = bound("max_running", max_running, least=1)
        self.rate_limit: RateLimits = checked_limits("rate_limit", rate_limit)
        self.per_key: PerKey | None = optional("per_key", per_key, PerKey)
        self.retry_budget: RetryBudget | None = optional("retry_budget", retry_budget, RetryBudget)
        self.breaker: CircuitBreaker | None = optional("breaker", breaker, CircuitBreaker)
        self.lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = lifespan
        self.reopening: RetryPolicy = instance("reopening", reopening, RetryPolicy)
        self.check: HealthCheck | None = optional("check", check, HealthCheck)
        self.max_opening: float = bound("max_opening", max_opening, least=1)
        self.on_cut: OnCut = one_of("on_cut", on_cut, ON_CUT)
        self.order: Order = one_of("order", order, ORDERS)
        self.pick: Pick = one_of("pick", pick, PICKS)
        self.no_worker: NoWorker = one_of("no_worker", no_worker, NO_WORKER)
        self.on_failure: OnFailure | None = on_failure
        self.on_dead: OnDead = one_of("on_dead", on_dead, ON_DEAD)
        self.max_dead: float = bound("max_dead", max_dead, least=0)
        self.history: bool = instance("history", history, bool)
        self.show_arguments: bool = instance("show_arguments", show_arguments, bool)
        # Their type is defined in a folder that imports this one, and is checked there.
        self.instruments: tuple[Any, ...] = _all_of("instruments", instruments)
        self.name: str | None = validate.text("name", name)
        self.metadata: dict[str, Any] = validate.metadata("metadata", metadata)
        self.rng: Random | None = optional("rng", rng, Random)
        if lifespan is not None:
            validate.context_maker("lifespan", lifespan)
        if on_failure is not None:
            validate.call("on_failure", on_failure)


def _all_of(name: str, value: Iterable[Any]) -> tuple[Any, ...]:
    try:
        return tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be an iterable, {validate.got(value)}") from None
