"""The parser of HTTP's ``Retry-After`` header: seconds, or a date (RFC 9110, section 10.2.3).

The RFC allows only whole seconds, but some servers send fractions; the parser accepts them.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LONGEST_SHOWN = 80
"""The number of characters of a header that an error message repeats."""

_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_FULL_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = f"(?P<month>{'|'.join(MONTHS)})"
# A leap second is the last one of its day.
_TIME = r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d):(?P<second>[0-5]\d|(?<=23:59:)60)"

# The formats of RFC 9110, section 5.6.7, except that case is ignored. The parsers of the
# standard library accept other formats and misread them. email.utils ignores a time zone it doesn't
# recognize, reads the year 0099 as 1999 and has another rule for years of two digits. strptime
# expects the names of days and months in the user's language.
FORMATS = [
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",  # IMF-fixdate, the current format
        rf"{_FULL_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",  # RFC 850
        rf"{_DAY} {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})",  # asctime
    )
]


def seconds_to_wait(header: str, now: float) -> float:
    """Calculate how many seconds after ``now`` the header allows another try.

    Arguments:
      header: the header's text.
      now: POSIX seconds.

    Returns:
      float: less than zero if that time has passed, inf if the number is too large for a float.

    Raises:
      ValueError: if the header is neither a number of seconds nor a date.
    """
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return float(text)  # int() refuses thousands of digits, or is slow with them
    try:
        return _timestamp(text, now) - now
    except ValueError as error:
        shown = header if len(header) <= LONGEST_SHOWN else f"{header[: LONGEST_SHOWN - 3]}..."
        raise ValueError(f"Retry-After must be seconds, zero or more, or an HTTP-date, got {shown!r}") from error


def _timestamp(text: str, now: float) -> float:
    """Return the POSIX time of an HTTP-date, which is always in UTC, with or without ``GMT``."""
    found = next(filter(None, (form.fullmatch(text) for form in FORMATS)), None)
    if found is None:
        raise ValueError("in none of the formats of RFC 9110, section 5.6.7")
    # The day of the week is not checked against the date. The day adds no information, other
    # parsers don't check it either, and the century of a two-digit year follows a rule of its own.
    month = MONTHS.index(found["month"].title()) + 1
    day, hour, minute, second = (int(found[name]) for name in ("day", "hour", "minute", "second"))
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _full_year((year, month, day, hour, minute, second), now)
    # The seconds are added separately, since a datetime has no leap seconds; POSIX counts a leap
    # second as the following second.
    return datetime(year, month, day, hour, minute, tzinfo=timezone.utc).timestamp() + second


def _full_year(date: tuple[int, ...], now: float) -> int:
    """Return the latest year with these last two digits that puts the date at most 50 years after ``now``."""
    digits, *in_year = date
    today = EPOCH + timedelta(seconds=now)
    latest = today.year + 50
    year = latest - (latest - digits) % 100
    # Compared as tuples, since 29 February may not exist 50 years earlier or later.
    is_later = (year - 50, *in_year) > today.timetuple()[:6]
    return year - 100 if is_later else year
