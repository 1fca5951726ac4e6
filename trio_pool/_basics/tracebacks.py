"""Errors that are kept: freed of what their frames hold, whatever they make of being assigned to."""

from __future__ import annotations

import dis
import gc
import inspect
import sys
from typing import TYPE_CHECKING, Any

from .is_a import is_a

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_GENERATOR_LIKE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_IS_CPYTHON = sys.implementation.name == "cpython"
_CLEARS_SUSPENDED = sys.version_info < (3, 13)
_YIELD_VALUE = dis.opmap["YIELD_VALUE"]
_YIELD_FROM = bytes([dis.opmap.get("YIELD_FROM", 0)])  # up to Python 3.10


# What users raise may refuse to be assigned to, or have attributes of its own by these names: what
# Python itself reads and sets is reached by the base class. The types of these are not declared.
_SLOTS: dict[str, Any] = {name: BaseException.__dict__[name] for name in ("__traceback__", "__context__", "__cause__")}
traceback_of: Callable[[BaseException], TracebackType | None] = _SLOTS["__traceback__"].__get__
context_of: Callable[[BaseException], BaseException | None] = _SLOTS["__context__"].__get__
cause_of: Callable[[BaseException], BaseException | None] = _SLOTS["__cause__"].__get__
set_traceback: Callable[[BaseException, TracebackType | None], None] = _SLOTS["__traceback__"].__set__
set_context: Callable[[BaseException, BaseException | None], None] = _SLOTS["__context__"].__set__
set_cause: Callable[[BaseException, BaseException | None], None] = _SLOTS["__cause__"].__set__

# Likewise what a group holds.
_EXCEPTIONS: Any = BaseExceptionGroup.__dict__["exceptions"]
exceptions_of: Callable[[BaseExceptionGroup[BaseException]], tuple[BaseException, ...]]
exceptions_of = _EXCEPTIONS.__get__ if sys.version_info >= (3, 11) else _EXCEPTIONS.fget


def clear_frames(error: BaseException, strangers: tuple[type[BaseException], ...] = ()) -> None:
    """Drop the local variables of every finished frame that ``error`` refers to.

    The tracebacks stay printable. Errors that this one was raised from, or in the handling
    of, and those in a group, are cleared too. As `traceback.clear_frames`, but it leaves
    suspended coroutines alone: before Python 3.13 clearing the frame of one closes it. Other
    interpreters than CPython may do so too, and don't tell which are suspended: there frames of
    coroutines and generators are left as they are.

    Arguments:
      strangers: types of errors whose context is none of this error's business; they are
          cut off from it.
    """
    if cause_of(error) is None and context_of(error) is None and not is_a(error, BaseExceptionGroup):
        # What the rest comes to for most errors.
        _clear_traceback(traceback_of(error))
        return
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if is_a(current, strangers):
            set_context(current, None)
        _clear_traceback(traceback_of(current))
        linked = (cause_of(current), context_of(current))
        pending.extend(link for link in linked if link is not None)
        if is_a(current, BaseExceptionGroup):
            pending.extend(exceptions_of(current))


def _clear_traceback(traceback: TracebackType | None) -> None:
    while traceback is not None:
        frame = traceback.tb_frame
        traceback = traceback.tb_next
        is_in_doubt = (_CLEARS_SUSPENDED or not _IS_CPYTHON) and frame.f_code.co_flags & _GENERATOR_LIKE
        if is_in_doubt and not (_IS_CPYTHON and _has_ended(frame)):
            continue
        try:  # noqa: SIM105  # with suppress() takes longer than what it holds
            frame.clear()
        except RuntimeError:
            pass  # it is still running, or since Python 3.13 suspended: it isn't ours to clear


if sys.version_info >= (3, 11):

    def _has_ended(frame: FrameType) -> bool:
        # As long as there is the generator, it and not the frame object owns what is in
        # the frame, so the frame object refers to nothing.
        return frame.f_code in gc.get_referents(frame)


if sys.version_info < (3, 11):

    def _has_ended(frame: FrameType) -> bool:
        # Suspended in an await, it stands before the instruction that will try once more.
        # One that was ended by an error thrown in where it yielded looks just the same.
        code, last = frame.f_code.co_code, frame.f_lasti
        return code[last] != _YIELD_VALUE and code[last + 2 : last + 3] != _YIELD_FROM
