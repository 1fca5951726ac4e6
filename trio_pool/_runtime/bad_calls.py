"""Error messages, with advice, for jobs' functions that can't be called."""

from __future__ import annotations

import types
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from .._basics.text import call_name, one_line, said, shown, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def wrong_arguments(fn: Callable[..., Any], leading: Sequence[object], error: TypeError) -> str:
    """The message for a call that Python has rejected.

    Arguments:
      fn: the job's function.
      leading: the arguments before the job's own: the resource, or none.
      error: Python's error.
    """
    given = "the" if leading else "no"
    words = f"{_name(fn)} can't be called like this, with {given} resource before its arguments: {said(error)}"
    if leading and type(_bound_to(fn)) is type(leading[0]):
        return f"{words}. {_cure_of_bound(fn, leading[0])}"
    return words if leading else f"{words}. A pool of slots passes no resource; open_pool([...]) does"


def bound_already(fn: Callable[..., Any], resource: object) -> str:
    """The message for a method that is already bound to the resource that would be passed to it."""
    return f"{_name(fn)} can't be called like this. {_cure_of_bound(fn, resource)}"


def _cure_of_bound(fn: Callable[..., Any], resource: object) -> str:
    kind = one_line(type_name(resource))
    return (
        f"It is bound to one {kind} already; pass the function of the class, {_name(fn)}, "
        f"and the pool fills in the {kind} of the worker"
    )


def not_async(fn: Callable[..., Any], made: object) -> str:
    """The message for a call that returned no coroutine."""
    name = _name(fn)
    if isinstance(made, types.AsyncGeneratorType):
        return (
            f"{name} is an async generator function; a job's function must not yield: "
            "let it return a list, or send what it finds through a memory channel"
        )
    if hasattr(type(made), "__await__"):
        return f"{name} is not an async function: pass one that awaits what it returned, {shown(made)}"
    return (
        f"{name} is not an async function: calling it returned {shown(made)}, not a coroutine; "
        "use async def, and await trio.to_thread.run_sync(...) for what blocks"
    )


def not_callable(fn: object) -> str:
    """The message for an argument that should be a function but can't be called."""
    if isinstance(fn, Coroutine):
        fn.close()  # otherwise Python warns that the coroutine was never awaited
        return (
            f"the first argument must be an async function, got the coroutine {shown(cast('object', fn))}; "
            "pass the function and its arguments: (fn, arg), not (fn(arg))"
        )
    return f"the first argument must be an async function, got {shown(fn)}"


def _name(fn: object) -> str:
    return one_line(call_name(fn))


def _bound_to(fn: object) -> object:
    """The object of a bound method; None for any other callable."""
    while isinstance(fn, partial):
        fn = cast("Any", fn).func
    return fn.__self__ if isinstance(fn, types.MethodType) else None
