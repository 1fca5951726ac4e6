"""Checks of arguments. The message of each error names the argument, the rule and the value."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from .._basics.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import attrs

P = ParamSpec("P")
S = TypeVar("S", bound=str)
T = TypeVar("T")


def by(
    check: Callable[Concatenate[str, Any, P], object], *args: P.args, **kwargs: P.kwargs
) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Make an attrs validator of a check, which is called with the field's name, its value and the given arguments."""

    def validator(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        check(attribute.name, value, *args, **kwargs)

    return validator


def got(value: object) -> str:
    """Format the value for an error message."""
    return f"got {shown(value)}"


def seconds(name: str, value: object, *, finite: bool = False) -> float:
    """Return ``value`` as a float, after checking that it is a time in seconds, zero or more."""
    number = real(name, value)
    if number < 0:
        raise ValueError(f"{name} must not be negative, {got(value)}")
    if finite and number == math.inf:
        raise ValueError(f"{name} must be finite, {got(value)}")
    return number


def positive(name: str, value: object, *, finite: bool = False) -> float:
    """Return ``value`` as a float, after checking that it is a time in seconds or another number, more than zero."""
    number = seconds(name, value, finite=finite)
    if number == 0:
        raise ValueError(f"{name} must be more than 0, {got(value)}")
    return number


def real(name: str, value: object) -> float:
    """Return ``value`` as a float, after checking that it is a number."""
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
    """Return ``value``, after checking that it is an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, {got(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, {got(value)}")
    return value


def bound(name: str, value: object, *, least: int) -> float:
    """Return ``value``, after checking that it is an int of at least ``least``; ``None`` or inf for no bound."""
    if value is None or (isinstance(value, float) and value == math.inf):
        return math.inf
    return count(name, value, least=least)


def no_bound_if_none(value: float | None) -> float:
    """Return the value, or inf for None."""
    return math.inf if value is None else value


def size(name: str, value: object) -> float:
    """Return ``value``, after checking that it is an int of at least 1, or the float inf for no bound."""
    return value if isinstance(value, float) and value == math.inf else count(name, value, least=1)


def one_of(name: str, value: object, choices: Sequence[S]) -> S:
    """Return the one of the strings ``choices`` that equals ``value``."""
    plain = str.__str__(value) if isinstance(value, str) else None
    for choice in choices:
        if choice == plain:
            return choice
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"{name} must be one of {listed}, {got(value)}")


def instance(name: str, value: object, kind: type[T]) -> T:
    """Return ``value``, after checking that it is an instance of ``kind``."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOUaeiou" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, {got(value)}")
    return value


def optional(name: str, value: object, kind: type[T]) -> T | None:
    """Return ``value``, after checking that it is an instance of ``kind`` or None."""
    return None if value is None else instance(name, value, kind)


def call(name: str, value: object) -> None:
    """Check that ``value`` is callable and not async, since its caller doesn't await the result."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, {got(value)}")
    if _is_async(value):
        raise TypeError(f"{name} must be a plain function, not an async one, {got(value)}")


def context_maker(name: str, value: object) -> None:
    """Check that ``value`` is callable and may return an async context manager."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, {got(value)}")
    if _is_async(value) or _is_one(inspect.isgeneratorfunction, value):
        how = "which contextlib.asynccontextmanager makes of an async generator function"
        raise TypeError(f"{name} must be a function that returns an async context manager, {how}, {got(value)}")


def context_manager(name: str, value: object) -> AbstractAsyncContextManager[Any]:
    """Return ``value``, the result of ``name``, after checking that it is an async context manager."""
    if isinstance(value, AbstractAsyncContextManager):
        return cast("AbstractAsyncContextManager[Any]", value)
    answer(name, value)
    raise TypeError(f"{name} must return an async context manager, returned {shown(value)}")


def _is_async(value: object) -> bool:
    """Whether a call of ``value`` returns a coroutine or an async generator, as far as can be determined."""
    return _is_one(inspect.iscoroutinefunction, value) or _is_one(inspect.isasyncgenfunction, value)


def _is_one(is_one: Callable[[object], bool], value: object) -> bool:
    """Whether ``value`` is such a function, or a bound method, a partial or an object whose ``__call__`` is one."""
    if isinstance(value, partial):
        value = cast("partial[object]", value).func  # Python flattens nested partials
    return is_one(value) or (not isinstance(value, type) and is_one(getattr(type(value), "__call__", None)))  # noqa: B004  # this doesn't test whether it is callable


def answer(name: str, value: object) -> None:
    """Check that the result of the user's function ``name`` is not awaitable."""
    if inspect.isawaitable(value):
        close = getattr(value, "close", None)
        if close is not None:
            close()  # otherwise Python warns that the coroutine was never awaited
        raise TypeError(f"{name} must be a plain function, which returned the awaitable {shown(value)}")


def text(name: str, value: object) -> str | None:
    """Return ``value`` as a plain str, or None; an instance of a class derived from ``str`` is converted."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, {got(value)}")
    return str.__str__(value)


def word(name: str, value: object) -> str | None:
    """Return ``value`` as a plain str that is not empty, or None."""
    plain = text(name, value)
    if plain is not None and not plain:
        raise ValueError(f"{name} must not be empty")
    return plain


def mapping(name: str, value: object) -> Mapping[Any, Any]:
    """Return ``value``, after checking that it is a mapping."""
    given: Any = value
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a mapping, {got(value)}")
    return given  # pyright: ignore[reportUnknownVariableType]


def metadata(name: str, value: object) -> dict[str, Any]:
    """Return a copy of ``value``, after checking that it is a mapping; an empty dict for ``None``."""
    return {} if value is None else dict(mapping(name, value))


def tags(name: str, value: Iterable[str]) -> frozenset[str]:
    """Return ``value`` as a set, after checking that it is an iterable of strings and not itself a string."""
    # A string is an iterable of strings too, and ("gpu") instead of ("gpu",) is a common mistake.
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
    """Check that ``value`` is an exception type, a tuple of exception types, or a function of the error."""
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
