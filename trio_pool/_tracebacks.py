"""Errors that are kept: told in one line, and freed of what their frames hold."""

from __future__ import annotations

import dis
import inspect
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from types import CodeType, TracebackType

_GENERATOR_LIKE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_RAISE = dis.opmap["RAISE_VARARGS"]
_SUSPENDING = {dis.opmap[name] for name in ("YIELD_VALUE", "YIELD_FROM") if name in dis.opmap}


def in_words(error: BaseException) -> str:
    """The error in one line, as the last line of a traceback shows it."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def clear_frames(error: BaseException) -> None:
    """Drop the local variables of every finished frame that ``error`` refers to.

    The tracebacks stay printable. Errors that this one was raised from, or in the handling
    of, and those in a group, are cleared too. As `traceback.clear_frames`, but it leaves
    suspended coroutines alone: before Python 3.13 clearing the frame of one closes it.
    """
    pending = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        _clear_traceback(current.__traceback__)
        linked = (current.__cause__, current.__context__)
        pending.extend(link for link in linked if link is not None)
        if isinstance(current, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", current)
            pending.extend(group.exceptions)


def _clear_traceback(traceback: TracebackType | None) -> None:
    # An error leaves a frame by ending it; only the frame that caught it can live on. So
    # a frame may be suspended only if it is the outermost of a stretch: the first of all,
    # or the first behind a frame that raised an error which somebody had kept.
    outermost = True
    while traceback is not None:
        frame = traceback.tb_frame
        code = frame.f_code
        if not (outermost and _may_be_suspended(code, frame.f_lasti)):
            with suppress(RuntimeError):  # it is still running, so it isn't ours to clear
                frame.clear()
        outermost = code.co_code[traceback.tb_lasti] == _RAISE
        traceback = traceback.tb_next


def _may_be_suspended(code: CodeType, last: int) -> bool:
    return bool(code.co_flags & _GENERATOR_LIKE) and code.co_code[last] in _SUSPENDING
