"""What would otherwise be lost goes to the log; nothing that the log makes of it changes anything."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from ._error_words import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("trio_pool")

MOST_TOLD = 10
"""Dead jobs that are logged with their tracebacks, since a server that is down may leave thousands."""


def report(words: str, *args: object, error: BaseException | None = None, level: int = logging.ERROR) -> None:
    """Log something, an error with its traceback.

    Where that fails, since its groups are nested too deep, say, or a handler is at fault, it is logged in
    one line; and if not even that is possible, it isn't.
    """
    with suppress(Exception):
        try:
            logger.log(level, words, *args, exc_info=error)
        except Exception:
            if error is not None:
                logger.log(level, f"{words}: %s", *args, in_words(error))


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
