"""Which errors a rule is about, and what an exception is made of, leaf by leaf.

What users raise is read with care: groups are walked without recursion, at whatever depth,
and nothing here calls a method of an exception.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, cast

import trio

from . import _validate
from ._tracebacks import exceptions_of, set_cause, set_traceback, traceback_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Kinds: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...]"

ErrorRule: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]"


def applies(name: str, rule: ErrorRule, error: Exception, besides: tuple[type[Exception], ...] = ()) -> bool:
    """Whether a rule, the field ``name`` of a policy, is about such an error.

    Arguments:
      besides: what a rule made of types is about in any case; a function is asked.

    Raises:
      TypeError: if it is a function and returns something else than a bool.
    """
    if isinstance(rule, (type, tuple)):
        kinds = cast("tuple[type[Exception], ...]", rule if isinstance(rule, tuple) else (rule,))
        return matches(error, kinds + besides)
    answer = rule(error)
    _validate.answer(name, answer)
    return _validate.instance(f"the result of {name}", answer, bool)


def matches(error: BaseException, kinds: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Whether ``kinds`` match the error itself, or each leaf of the group that it is.

    A group inside the group that ``kinds`` match counts as if all its leaves did.
    """
    return all(isinstance(each, (kinds, BaseExceptionGroup)) for each in _walk(error, kinds))


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group at whatever depth, in their order, or the error alone if it is none."""
    return [each for each in _walk(error) if not isinstance(each, BaseExceptionGroup)]


def _walk(error: BaseException, whole: _Kinds = ()) -> Iterator[BaseException]:
    """An error and what it holds at whatever depth, each group once; nothing of those that are ``whole``."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        current = pending.pop()
        yield current
        if is_group(current) and not isinstance(current, whole) and id(current) not in seen:
            seen.add(id(current))  # what stands in many places must not be walked in each of them
            pending += reversed(exceptions_of(current))


def is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    """Whether an exception holds others."""
    return isinstance(error, BaseExceptionGroup)


def without_cancellations(error: BaseException) -> BaseException | None:
    """What is left of an exception when Trio's cancellations are taken out; None if that is nothing."""
    return without((trio.Cancelled,), error)


def without(kinds: tuple[type[BaseException], ...], error: BaseException) -> BaseException | None:
    """What is left of an exception when the leaves of these kinds are taken out; None if that is nothing.

    An exception without any is left as it is; a group of several other leaves, as a flat group
    with the message and the traceback of the one that it was.
    """
    every = leaves(error)
    others = [leaf for leaf in every if not isinstance(leaf, kinds)]
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
    if rest is not None and (rest is error or not isinstance(rest, Exception)):
        return rest
    stray = RuntimeError(f"{source} raised a trio.Cancelled that no cancel scope around it has asked for")
    set_cause(stray, error)
    return stray
