"""What an exception is made of, leaf by leaf.

What users raise is read with care: groups are walked without recursion, at whatever depth,
and nothing here calls a method of an exception.
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
"""What Trio cancels by. All that the policies and the core know of Trio, so that they need not import it."""


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group at whatever depth, in their order, or the error alone if it is none."""
    return [each for each in walk(error) if not is_a(each, BaseExceptionGroup)]


def walk(error: BaseException, whole: tuple[type, ...] = ()) -> Iterator[BaseException]:
    """An error and what it holds at whatever depth, each group once; nothing of those that are ``whole``."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        current = pending.pop()
        yield current
        if is_group(current) and not is_a(current, whole) and id(current) not in seen:
            seen.add(id(current))  # what stands in many places must not be walked in each of them
            pending += reversed(exceptions_of(current))


def is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    """Whether an exception holds others."""
    return is_a(error, BaseExceptionGroup)


def without_cancellations(error: BaseException) -> BaseException | None:
    """What is left of an exception when Trio's cancellations are taken out; None if that is nothing."""
    return without(CANCELLATIONS, error)


def without(kinds: tuple[type[BaseException], ...], error: BaseException) -> BaseException | None:
    """What is left of an exception when the leaves of these kinds are taken out; None if that is nothing.

    An exception without any is left as it is; a group of several other leaves, as a flat group
    with the message and the traceback of the one that it was.
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
    """What an exception counts as that user code has raised though nobody has cancelled it.

    A cancellation in it is none that a cancel scope around that code has asked for: one that was kept
    and raised again, say. It must not be taken for one that was.

    Arguments:
      source: whose code it is, for the message.

    Returns:
      the exception itself if there is no cancellation in it; what else there is if that is no
      `Exception`; or a `RuntimeError` with the exception as its cause.
    """
    rest = without_cancellations(error)
    if rest is not None and (rest is error or not is_a(rest, Exception)):
        return rest
    stray = RuntimeError(f"{source} raised a trio.Cancelled that no cancel scope around it has asked for")
    set_cause(stray, error)
    return stray
