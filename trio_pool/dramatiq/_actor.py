"""Actors whose messages become jobs of a pool."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast

import dramatiq

from .._basics.text import shown
from .._model.job_options import _CHECKS as CHECKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
    from typing import NoReturn, TypeAlias

    from typing_extensions import ParamSpec

    from .._policies.hedge import Hedge
    from .._policies.retry import RetryPolicy

    X = TypeVar("X")
    # One value for all messages, or a function of each message's arguments.
    OfMessage: TypeAlias = "X | Callable[..., X]"

    P = ParamSpec("P")
else:
    from typing import ParamSpec

    P = ParamSpec("P")

V = TypeVar("V")

_REFUSED = {
    "worker": "the worker of another process is unknown here; use requires",
    "after": "the jobs of another process are unknown here",
}
_OWNED = ("max_retries", "min_backoff", "max_backoff", "retry_when", "throws", "time_limit")
"""Options of dramatiq's whose part the pool has: attempts and timeouts."""


class ActorOptions(TypedDict, total=False):
    """The options of the jobs of an actor. Each may be a function of the message's arguments."""

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
      options: options of the jobs; some may be functions of a message's arguments.
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


class PoolActor(dramatiq.Actor[P, V], Generic[P, V]):
    """An actor of dramatiq whose messages become jobs of a pool. Made by `PoolQueue.actor`.

    ``send`` and all else are dramatiq's. Its parameters are those of the function without the
    resource.

    Attributes:
      fn: the function of the jobs.
    """

    if TYPE_CHECKING:
        fn: Callable[..., Awaitable[V]]  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]

    _perform: Callable[..., Any]
    _takes_resource: bool
    _jobs: JobMaker

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Perform a message, in a thread of a dramatiq worker inside of `PoolQueue.consume`.

        Raises:
          RuntimeError: if called anywhere else.
        """
        return self._perform(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<PoolActor {self.actor_name!r} of {shown(self.fn)}>"


def check_owned(options: Mapping[str, Any]) -> None:
    """Check the options that are passed on to dramatiq."""
    for name in _OWNED:
        if name in options:
            raise ValueError(f"broker_options must not hold {name!r}: attempts and timeouts are the pool's, see retry")


def refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"{name} is an actor for a pool: it runs inside of PoolQueue.consume(); call {name}.send() to submit a "
        f"message, or await {name}.fn(...)"
    )


def make_actor(
    fn: Callable[..., Any],
    *,
    perform: Callable[..., Any],
    takes_resource: bool,
    jobs: JobMaker,
    **registration: Any,
) -> PoolActor[Any, Any]:
    """Make an actor; with the signature of a class of actors."""
    actor: Any = cast("Any", PoolActor).__new__(PoolActor)
    actor._perform, actor._takes_resource, actor._jobs = perform, takes_resource, jobs
    actor.__init__(fn, **registration)
    # The base class has made a function of asyncio's of it.
    actor.fn = fn
    return cast("PoolActor[Any, Any]", actor)
