"""Jobs of messages: their options, as declared once for all of them."""

from __future__ import annotations

import inspect
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from .._api.pool import SlotPool, checked_pool
from .._basics.logs import report
from .._model.job_options import _CHECKS as CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping
    from typing import TypeAlias

    from .._api.pool import Pool
    from .._policies.hedge import Hedge
    from .._policies.retry import RetryPolicy

    X = TypeVar("X")
    # One value for all messages, or a function of each message's arguments.
    OfMessage: TypeAlias = "X | Callable[..., X]"

_MOST = 200
"""How many messages may be under way at once, unless the program sets another number."""

_REFUSED = {
    "worker": "the worker of another process is unknown here; use requires",
    "after": "the jobs of another process are unknown here",
}


class ActorOptions(TypedDict, total=False):
    """The options of the jobs of an actor. Each can be a function of the message's arguments."""

    retry: OfMessage[RetryPolicy | None]
    """whether, when and where a job is tried again; the pool's policy by default"""
    attempt_timeout: OfMessage[float | None]
    """seconds that one attempt may take; the pool's by default"""
    total_timeout: OfMessage[float | None]
    """seconds that a job may stay in one process; the pool's by default"""
    priority: float
    """lower numbers start first, 0 by default; not a function, since dramatiq uses it too"""
    requires: OfMessage[Iterable[str]]
    """tags that a job's worker must have, none by default"""
    name: OfMessage[str | None]
    """the jobs' name in messages; the function's name by default"""
    metadata: OfMessage[Mapping[str, Any] | None]
    """any data that the program wants to keep with a job"""
    key: OfMessage[Hashable]
    """on whose behalf a job runs, such as a tenant or a host; nobody's by default"""
    hedge: OfMessage[Hedge | None]
    """when a slow attempt also starts on other workers; never by default"""
    uses: OfMessage[Mapping[str, float] | None]
    """how much of what each attempt uses, by the units of limits, nothing by default"""


class JobMaker:
    """Makes the function and the options of a job from the arguments of a message.

    Arguments:
      fn: the function of the jobs.
      options: options of the jobs; some can be functions of a message's arguments.
    """

    def __init__(self, fn: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self._fn = fn
        self._fixed: dict[str, Any] = {}
        self._by_message: dict[str, Callable[..., Any]] = {}
        for name, value in options.items():
            if name in _REFUSED:
                raise TypeError(f"{name} is no option of an actor: {_REFUSED[name]}")
            if name not in CHECKS:
                known = ", ".join(each for each in CHECKS if each not in _REFUSED)
                raise TypeError(f"actor() got an unexpected keyword argument {name!r}; the options of jobs are {known}")
            if callable(value) and name != "priority":
                if inspect.iscoroutinefunction(value):
                    raise TypeError(f"{name} must be a plain function of the message's arguments, not the async one")
                self._by_message[name] = value
            else:
                self._fixed[name] = value if value is None else CHECKS[name](name, value)

    def make(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return the function, its arguments and the options of the job of a message."""
        options = self._fixed
        if self._by_message:
            options = {**options, **{name: fn(*args, **kwargs) for name, fn in self._by_message.items()}}
        return (partial(self._fn, **kwargs) if kwargs else self._fn), args, options


def places_of(pool: Pool[Any] | SlotPool) -> float:
    """Return how many attempts the pool can run at once; inf for no bound."""
    places = sum(worker.max_running for worker in pool.workers)
    if pool.elastic is not None:
        each = max((worker.max_running for worker in pool.workers), default=1)
        places = max(places, pool.elastic.max * each)
    return places if pool.max_running is None else min(places, pool.max_running)


def at_once(pool: Pool[Any] | SlotPool) -> int:
    """Return twice the number of places, so that each place has a message at hand while the next is fetched."""
    places = places_of(pool)
    return _MOST if places == math.inf else max(2, min(_MOST, 2 * int(places)))


def mention_idle_places(pool: Pool[Any] | SlotPool, number: int, what: str) -> None:
    """Log a message if fewer messages than places can be under way at once."""
    places = places_of(pool)
    if number < places:
        report("%d %s keep at most that many of the pool's %g places busy", number, what, places, level=logging.WARNING)


def check_fit(pool: Pool[Any] | SlotPool, actors: Mapping[str, bool]) -> None:
    """Check that a pool can run the functions of actors in the calling Trio run.

    Arguments:
      pool: the pool.
      actors: by the name of each actor, whether its function takes a resource.
    """
    checked_pool(pool)
    pool._engine.check_caller()
    for name, takes_resource in actors.items():
        if takes_resource is isinstance(pool, SlotPool):
            cure = "resource=False" if takes_resource else "resource=True"
            raise TypeError(f"the actor {name!r} doesn't fit the pool: declare it with {cure}")
