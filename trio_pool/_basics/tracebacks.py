"""Stored errors: access to their links, and removal of the objects in their frames."""

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


# A user's exception class can refuse assignments or define attributes with these names. The slots
# of the base class, which Python itself uses, are always accessible. The types of the slots aren't
# declared.
_SLOTS: dict[str, Any] = {name: BaseException.__dict__[name] for name in ("__traceback__", "__context__", "__cause__")}
traceback_of: Callable[[BaseException], TracebackType | None] = _SLOTS["__traceback__"].__get__
context_of: Callable[[BaseException], BaseException | None] = _SLOTS["__context__"].__get__
cause_of: Callable[[BaseException], BaseException | None] = _SLOTS["__cause__"].__get__
set_traceback: Callable[[BaseException, TracebackType | None], None] = _SLOTS["__traceback__"].__set__
set_context: Callable[[BaseException, BaseException | None], None] = _SLOTS["__context__"].__set__
set_cause: Callable[[BaseException, BaseException | None], None] = _SLOTS["__cause__"].__set__

# The exceptions in a group, likewise through the base class.
_EXCEPTIONS: Any = BaseExceptionGroup.__dict__["exceptions"]
exceptions_of: Callable[[BaseExceptionGroup[BaseException]], tuple[BaseException, ...]]
exceptions_of = _EXCEPTIONS.__get__ if sys.version_info >= (3, 11) else _EXCEPTIONS.fget


def clear_frames(error: BaseException, strangers: tuple[type[BaseException], ...] = ()) -> None:
    """Drop the local variables of every finished frame that ``error`` refers to.

    The tracebacks stay printable. The error's causes, contexts and the errors in a group are
    cleared too. Like `traceback.clear_frames`, but without touching suspended coroutines: before
    Python 3.13, clearing the frame of a suspended coroutine closes it. Interpreters other than
    CPython may do so too, and offer no way to detect it: there, frames of coroutines and generators
    are left unchanged.

    Arguments:
      error: the error.
      strangers: types of errors whose context is unrelated to ``error``; their context is removed.
    """
    is_group = issubclass(type(error), BaseExceptionGroup)  # as `is_a` does
    if not is_group and cause_of(error) is None and context_of(error) is None:
        # A shorter path for most errors, with the same effect.
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
        try:  # noqa: SIM105  # suppress() takes longer than the block itself
            frame.clear()
        except RuntimeError:
            pass  # still running, or suspended since Python 3.13


if sys.version_info >= (3, 11):

    def _has_ended(frame: FrameType) -> bool:
        # While the generator exists, the generator and not the frame object owns the frame's
        # contents, so the frame object refers to nothing.
        return frame.f_code in gc.get_referents(frame)


if sys.version_info < (3, 11):

    def _has_ended(frame: FrameType) -> bool:
        # A frame suspended in an await is right before the instruction that retries the await. A
        # frame ended by an error thrown in at a yield looks the same.
        code, last = frame.f_code.co_code, frame.f_lasti
        return code[last] != _YIELD_VALUE and code[last + 2 : last + 3] != _YIELD_FROM
