"""Actors whose messages become jobs of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

import dramatiq

from .._basics.text import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import NoReturn

    from ..engines._jobs import JobMaker

P = ParamSpec("P")
V = TypeVar("V")

_OWNED = ("max_retries", "min_backoff", "max_backoff", "retry_when", "throws", "time_limit")
"""Dramatiq's options for attempts and timeouts, which the pool handles instead."""


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
    """Make an actor. The signature is that of an actor class, since dramatiq calls this in place of one."""
    actor: Any = cast("Any", PoolActor).__new__(PoolActor)
    actor._perform, actor._takes_resource, actor._jobs = perform, takes_resource, jobs
    actor.__init__(fn, **registration)
    # The base class has wrapped the function for asyncio.
    actor.fn = fn
    return cast("PoolActor[Any, Any]", actor)
