"""How the live view puts names, errors, times and rates into words."""

from __future__ import annotations

import math

from rich.cells import cell_len

from . import _shown
from ._error_words import in_words

LONGEST = 300
"""Characters of a name or an error that are looked at; no terminal shows more of it in a line."""


def one_line(text: str) -> str:
    """The text as it can stand in a line of a terminal, whatever is in it.

    White space is one blank each. What can't be printed, such as the escape that begins a
    command to the terminal, is shown as Python writes it: ``\\x1b``.
    """
    return _shown.one_line(text[:LONGEST], LONGEST)


def encodable(text: str, encoding: str) -> str:
    """The text with question marks for what the encoding doesn't have, as wide as that is."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        if len(text) == 1:
            return "?" * cell_len(text)
        return "".join(encodable(char, encoding) for char in text)
    return text


def error_in_words(error: BaseException) -> str:
    """The error in one line."""
    return one_line(in_words(error))


def span(seconds: float, digits: int = 1) -> str:
    """A time in seven characters or little more: ``3.2 s``, ``12:34``, ``1:02:03``, ``4 d 5 h``."""
    if seconds == math.inf:
        return "no end"
    # Compared as it would be shown, or 59.97 would be 60.0 s.
    if round(seconds, digits) < 60:
        return f"{seconds:.{digits}f} s"
    whole = int(seconds)
    if whole < 86400:
        return clock(whole)
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def clock(seconds: float) -> str:
    """A time as a clock shows it: ``0:07``, ``12:34``, ``26:02:03``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def pace(rate: float | None) -> str:
    """A rate in at most eight characters, with the unit in which there is something to see."""
    if rate is None:
        return ""
    if rate == 0 or rate >= 0.1:
        return f"{rate:.{1 if 0 < rate < 1000 else 0}f}/s"
    if rate * 60 >= 1:
        return f"{rate * 60:.1f}/min"
    return f"{rate * 3600:.1f}/h"
