"""The leaves of exceptions and exception groups.

Users' exceptions are handled with care. Groups are walked without recursion, so they may be nested
at any depth, and nothing here calls a method of an exception.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

from trio import Cancelled

from .is_a import is_a
from .tracebacks import exceptions_of, set_cause, set_traceback, traceback_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

CANCELLATIONS = (Cancelled,)
"""The exception with which Trio cancels. The policies and the core use this, and so need not import Trio."""


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group at any depth, in order, or the error itself if it isn't a group."""
    return [each for each in walk(error) if not is_a(each, BaseExceptionGroup)]


def walk(error: BaseException, whole: tuple[type, ...] = ()) -> Iterator[BaseException]:
    """Yield an error and its contents at any depth, each group's once, except the contents of types in ``whole``."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        current = pending.pop()
        yield current
        if is_group(current) and not is_a(current, whole) and id(current) not in seen:
            seen.add(id(current))  # a group that occurs several times is walked only once
            pending += reversed(exceptions_of(current))


def is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    """Whether an exception is an exception group."""
    return is_a(error, BaseExceptionGroup)


def without_cancellations(error: BaseException) -> BaseException | None:
    """Return the exception without Trio's cancellations, or None if nothing is left."""
    return without(CANCELLATIONS, error)


def without(kinds: tuple[type[BaseException], ...], error: BaseException) -> BaseException | None:
    """Return the exception without the leaves of these kinds, or None if nothing is left.

    An exception without such leaves is returned unchanged. Otherwise the remaining leaves form a
    flat group with the message and the traceback of the original one.
    """
    every = leaves(error)
    others = [leaf for leaf in every if not is_a(leaf, kinds)]
    if len(others) == len(every):
        return error
    if not others:
        return None
    rest = BaseExceptionGroup(_message_of(error), others)
    set_traceback(rest, traceback_of(error))
    return rest


def _message_of(group: BaseException) -> str:
    return str(BaseException.__dict__["args"].__get__(group)[0])


def as_error(error: BaseException, source: str) -> BaseException:
    """Return what to report for an exception that user code has raised without being cancelled.

    A cancellation in it doesn't come from a cancel scope around that code: for example it was
    stored and raised again. Such a cancellation must not be mistaken for a real one.

    Arguments:
      error: the exception.
      source: the owner of the code, for the message.

    Returns:
      the exception itself if it contains no cancellation; its other leaves if these are not an
      `Exception`; otherwise a `RuntimeError` with the exception as its cause.
    """
    rest = without_cancellations(error)
    if rest is not None and (rest is error or not is_a(rest, Exception)):
        return rest
    stray = RuntimeError(f"{source} raised a trio.Cancelled that no cancel scope around it has requested")
    set_cause(stray, error)
    return stray
