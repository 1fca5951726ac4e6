"""Checks of arguments: each names the argument, the rule and the value it got."""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

S = TypeVar("S", bound=str)
T = TypeVar("T")


def got(value: object) -> str:
    """What a message says of the value."""
    return f"got {shown(value)}"


def seconds(name: str, value: object, *, finite: bool = False) -> float:
    """Return ``value`` as a float: a time in seconds, zero or more."""
    number = real(name, value)
    if number < 0:
        raise ValueError(f"{name} must not be negative, {got(value)}")
    if finite and number == math.inf:
        raise ValueError(f"{name} must be finite, {got(value)}")
    return number


def real(name: str, value: object) -> float:
    """Return ``value`` as a float that is a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, {got(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must not be so large") from None
    if math.isnan(number):
        raise ValueError(f"{name} must not be NaN")
    return number


def count(name: str, value: object, *, least: int) -> int:
    """Return ``value``: a whole number, at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, {got(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, {got(value)}")
    return value


def bound(name: str, value: object, *, least: int) -> float:
    """Return ``value``: a whole number, at least ``least``; ``None`` or inf for no bound."""
    if value is None or (isinstance(value, float) and value == math.inf):
        return math.inf
    return count(name, value, least=least)


def no_bound_if_none(value: float | None) -> float:
    """The value; inf for None, which means the same."""
    return math.inf if value is None else value


def size(name: str, value: object) -> float:
    """Return ``value``: a whole number, at least 1, or the float inf for no bound."""
    return value if isinstance(value, float) and value == math.inf else count(name, value, least=1)


def one_of(name: str, value: object, choices: Sequence[S]) -> S:
    """Return ``value``: one of the strings ``choices``."""
    plain = str.__str__(value) if isinstance(value, str) else None
    for choice in choices:
        if choice == plain:
            return choice
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"{name} must be one of {listed}, {got(value)}")


def instance(name: str, value: object, kind: type[T]) -> T:
    """Return ``value``: an instance of ``kind``."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOUaeiou" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, {got(value)}")
    return value


def call(name: str, value: object) -> None:
    """Check that ``value`` can be called, and is not async: what calls it doesn't wait."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, {got(value)}")
    if _is_async(value):
        raise TypeError(f"{name} must be a plain function, not an async one, {got(value)}")


def context_maker(name: str, value: object) -> None:
    """Check that calling ``value`` may give an async context manager."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, {got(value)}")
    if _is_async(value) or _is_one(inspect.isgeneratorfunction, value):
        how = "which contextlib.asynccontextmanager makes of an async generator function"
        raise TypeError(f"{name} must be a function that returns an async context manager, {how}, {got(value)}")


def _is_async(value: object) -> bool:
    """Whether calling it gives a coroutine or an async generator, as far as can be seen."""
    return _is_one(inspect.iscoroutinefunction, value) or _is_one(inspect.isasyncgenfunction, value)


def _is_one(is_one: Callable[[object], bool], value: object) -> bool:
    """Whether a callable is such a function, or calls one: a bound method, a partial of it, or an object's __call__."""
    if isinstance(value, partial):
        value = cast("partial[object]", value).func  # of several within each other Python makes one
    return is_one(value) or (not isinstance(value, type) and is_one(getattr(type(value), "__call__", None)))  # noqa: B004  # it is not asked whether it can be called


def answer(name: str, value: object) -> None:
    """Check that what one of the user's functions, ``name``, has returned is nothing to be awaited."""
    if inspect.isawaitable(value):
        close = getattr(value, "close", None)
        if close is not None:
            close()  # or Python warns that it was never awaited
        raise TypeError(f"{name} must be a plain function, which returned the awaitable {shown(value)}")


def text(name: str, value: object) -> str | None:
    """Return ``value``: a string, or None; of a class derived from ``str`` the plain string that it is."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, {got(value)}")
    return str.__str__(value)


def tags(name: str, value: Iterable[str]) -> frozenset[str]:
    """Return ``value`` as a set: an iterable of strings that is not itself a string."""
    # A string is an iterable of strings too, and ("gpu") for ("gpu",) is a common slip.
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be an iterable of tags, not the single {shown(value)}")
    try:
        found = tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be an iterable of tags, {got(value)}") from None
    for tag in found:
        if not isinstance(tag, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"{name} must hold strings, {got(tag)}")
    return frozenset(map(str.__str__, found))


def error_rule(name: str, value: object) -> None:
    """Check that ``value`` says which errors: a type, a tuple of types, or a function of the error."""
    given: Any = value
    is_tuple = isinstance(given, tuple)
    for kind in cast("tuple[Any, ...]", given if is_tuple else (given,)):
        if isinstance(kind, type):
            if not issubclass(kind, Exception):
                raise TypeError(f"{name} must name subclasses of Exception, {got(cast('object', kind))}")
        elif is_tuple or not callable(kind):
            raise TypeError(
                f"{name} must be an exception type, a tuple of them, or a function of the error, {got(value)}"
            )
        else:
            call(name, kind)
