"""Checks of arguments: each names the argument, the rule and the value it got."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")


def seconds(name: str, value: object, *, finite: bool = False) -> float:
    """Return ``value`` as a float: a time in seconds, zero or more."""
    number = real(name, value)
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    if finite and number == math.inf:
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def real(name: str, value: object) -> float:
    """Return ``value`` as a float that is a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
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
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    return value


def bound(name: str, value: object, *, least: int) -> float:
    """Return ``value``: a whole number, at least ``least``; ``None`` or inf for no bound."""
    if value is None or value == math.inf:
        return math.inf
    return count(name, value, least=least)


def size(name: str, value: object) -> float:
    """Return ``value``: a whole number, at least 1, or the float inf for no bound."""
    return value if isinstance(value, float) and value == math.inf else count(name, value, least=1)


def one_of(name: str, value: object, choices: Sequence[T]) -> T:
    """Return ``value``: one of ``choices``."""
    for choice in choices:
        if value == choice:
            return choice
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"{name} must be one of {listed}, got {value!r}")


def instance(name: str, value: object, kind: type[T]) -> T:
    """Return ``value``: an instance of ``kind``."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, got {value!r}")
    return value


def call(name: str, value: object) -> None:
    """Check that ``value`` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")


def text(name: str, value: object) -> str | None:
    """Return ``value``: a string, or None."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, got {value!r}")
    return value


def tags(name: str, value: Iterable[str]) -> frozenset[str]:
    """Return ``value`` as a set: an iterable of strings that is not itself a string."""
    # A string is an iterable of strings too, and ("gpu") for ("gpu",) is a common slip.
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be an iterable of tags, not the single {value!r}")
    try:
        found = frozenset(value)
    except TypeError:
        raise TypeError(f"{name} must be an iterable of tags, got {value!r}") from None
    for tag in found:
        if not isinstance(tag, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"{name} must hold strings, got {tag!r}")
    return found


def error_rule(name: str, value: object) -> None:
    """Check that ``value`` says which errors: a type, a tuple of types, or a function of the error."""
    kinds = cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,))
    for kind in kinds:
        if isinstance(kind, type):
            if not issubclass(kind, Exception):
                raise TypeError(f"{name} must name subclasses of Exception, got {kind!r}")
        elif isinstance(value, tuple) or not callable(kind):
            raise TypeError(
                f"{name} must be an exception type, a tuple of them, or a function of the error, got {value!r}"
            )
