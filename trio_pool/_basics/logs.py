"""Logging of errors that would otherwise be lost. A failure to log never affects the pool."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .error_text import in_words
from .tracebacks import traceback_of

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("trio_pool")

MOST_TOLD = 10
"""How many dead jobs are logged with their tracebacks, since a broken server may leave thousands."""


def report(words: str, *args: object, error: BaseException | None = None, level: int = logging.ERROR) -> None:
    """Log a message, with the traceback of an error.

    If that fails, the error is logged in one line. It can fail because of a failing handler, or because
    a group of errors is nested too deeply for Python to format. If the second attempt fails too, nothing
    is logged.
    """
    if _log(level, words, args, error) or error is None:
        return
    if any(arg is error for arg in args):
        _log(level, words, args, None)
    else:
        _log(level, f"{words}: %s", (*args, in_words(error)), None)


def _log(level: int, words: str, args: tuple[object, ...], error: BaseException | None) -> bool:
    """Log a message; return whether that succeeded."""
    # A tuple instead of the error, since logging would evaluate the error's truth value.
    exc_info = None if error is None else (type(error), error, traceback_of(error))
    try:
        logger.log(level, words, *args, exc_info=exc_info)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the program's handlers and the error's own methods may fail
        return False
    return True


def report_deaths(deaths: Sequence[Exception]) -> None:
    """Log the dead jobs that have not been dealt with, the first ones with their tracebacks."""
    rest = deaths[MOST_TOLD:]
    if rest:
        words = "%d jobs died that nobody has dealt with: the first %d follow, the others at the level DEBUG"
        report(words, len(deaths), MOST_TOLD)
    for death in deaths[:MOST_TOLD]:
        report("%s", death, error=death)
    if logger.isEnabledFor(logging.DEBUG):
        for death in rest:
            report("%s", death, level=logging.DEBUG)
