"""What would otherwise be lost goes to the log; nothing that the log makes of it changes anything."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._error_words import in_words
from ._tracebacks import traceback_of

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("trio_pool")

MOST_TOLD = 10
"""Dead jobs that are logged with their tracebacks, since a server that is down may leave thousands."""


def report(words: str, *args: object, error: BaseException | None = None, level: int = logging.ERROR) -> None:
    """Log something, an error with its traceback.

    Where that fails, since the error is a group nested too deep for Python's own way to show it, say, or a
    handler is at fault, it is logged in one line; and if not even that is possible, it isn't.
    """
    if _log(level, words, args, error) or error is None:
        return
    if any(arg is error for arg in args):
        _log(level, words, args, None)
    else:
        _log(level, f"{words}: %s", (*args, in_words(error)), None)


def _log(level: int, words: str, args: tuple[object, ...], error: BaseException | None) -> bool:
    """Log it; returns whether that went well."""
    # Not the error itself, which would be asked for its truth.
    exc_info = None if error is None else (type(error), error, traceback_of(error))
    try:
        logger.log(level, words, *args, exc_info=exc_info)
    except KeyboardInterrupt:
        raise
    except BaseException:  # handlers are the program's, and to show an error is to ask it for its text
        return False
    return True


def report_deaths(deaths: Sequence[Exception]) -> None:
    """Log the deaths of jobs that nobody has dealt with, the first ones with their tracebacks."""
    rest = deaths[MOST_TOLD:]
    if rest:
        words = "%d jobs died that nobody has dealt with: the first %d follow, the others at the level DEBUG"
        report(words, len(deaths), MOST_TOLD)
    for death in deaths[:MOST_TOLD]:
        report("%s", death, error=death)
    if logger.isEnabledFor(logging.DEBUG):
        for death in rest:
            report("%s", death, level=logging.DEBUG)
