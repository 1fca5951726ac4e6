"""The formatting of names, errors, times and rates in the live view."""

from __future__ import annotations

import math

from rich.cells import cell_len

from .._basics.error_text import in_words
from .._basics.text import one_line as _one_line

LONGEST = 300
"""The number of characters of a name or an error that are processed; no terminal shows more in one line."""

PREFIXES = ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
PERIODS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def one_line(text: str) -> str:
    """Make any text printable in one line of a terminal.

    Each run of white space becomes one blank. Characters that can't be printed are escaped like in
    Python, such as ``\\x1b`` for the character that begins a command to the terminal.
    """
    return _one_line(text[:LONGEST], LONGEST)


def encodable(text: str, encoding: str) -> str:
    """Replace characters that the encoding doesn't have with question marks of the same width."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        if len(text) == 1:
            return "?" * cell_len(text)
        return "".join(encodable(char, encoding) for char in text)
    return text


def error_in_words(error: BaseException) -> str:
    """Format the error in one line."""
    return one_line(in_words(error))


def span(seconds: float, digits: int = 1) -> str:
    """Format a duration in about seven characters: ``3.2 s``, ``12:34``, ``1:02:03``, ``4 d 5 h``."""
    if seconds == math.inf:
        return "no end"
    # The rounded number is compared, so that 59.97 isn't shown as 60.0 s.
    if round(seconds, digits) < 60:
        return f"{seconds:.{digits}f} s"
    whole = int(seconds)
    if whole < 86400:
        return clock(whole)
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def clock(seconds: float) -> str:
    """Format a time like a clock: ``0:07``, ``12:34``, ``26:02:03``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def pace(rate: float | None) -> str:
    """Format a rate in at most eight characters, with a unit that suits its size."""
    if rate is None:
        return ""
    if rate == 0 or rate >= 0.1:
        return f"{rate:.{1 if 0 < rate < 1000 else 0}f}/s"
    if rate * 60 >= 1:
        return f"{rate * 60:.1f}/min"
    return f"{rate * 3600:.1f}/h"


def short(amount: float) -> str:
    """Format an amount in three digits and at most five characters: ``712``, ``71.2k``, ``1.23M``."""
    rounded = float(f"{amount:.2e}")  # first, so that 999,990 becomes 1M and not 1000k
    if rounded == 0 or 0.001 <= rounded < 1:
        return f"{rounded:.3f}".rstrip("0").rstrip(".")
    for size, prefix in PREFIXES:
        if 1 <= rounded / size < 1000:
            return f"{rounded / size:.3g}{prefix}"
    return f"{rounded:.0e}"


def per_period(seconds: float) -> str:
    """Format the period of a limit, as it follows an amount: ``/min``, ``/3 s``."""
    for size, name in PERIODS:
        if seconds >= size and seconds % size == 0:
            return f"/{name}" if seconds == size else f"/{seconds / size:g} {name}"
    return f"/{seconds:g} s"
