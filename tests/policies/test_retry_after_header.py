"""RetryAfter.parse takes a delay from the Retry-After header of HTTP, and nothing that isn't one."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pool import RetryAfter

# Typed as the callers that don't check their types would see it.
parse_anything: Any = RetryAfter.parse

NOVEMBER_6 = 784111777.0
"""08:49:37 on 6 November 1994, a Sunday, which the RFC has as its example."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SPELLINGS = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]

MOMENTS = st.datetimes(timezones=st.just(timezone.utc)).map(lambda moment: moment.replace(microsecond=0))
LIKE_DATES = st.from_regex(
    r"(Sun, |Sunday, |Sun )[0-3 ][0-9][ -](Feb|Nov)[ -]([0-9]{2}){1,2} [0-2][0-9]:[0-6][0-9]:[0-6][0-9]( GMT)?",
    fullmatch=True,
)
NOWS = st.floats(0.0, 4e9)
FIFTY_YEARS = timedelta(days=365 * 50)
"""Less than 50 years, as it leaves the leap days out."""


def posix(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()


def delay_of(header: str, now: float = 0.0) -> float:
    """The delay where nothing is capped."""
    return RetryAfter.parse(header, max_delay=1e300, now=now).delay


def as_rfc_850(moment: datetime) -> str:
    return f"{DAYS[moment.weekday()]}, {moment:%d-}{time.asctime(moment.timetuple())[4:7]}{moment:-%y %H:%M:%S} GMT"


# Seconds


@pytest.mark.parametrize(("header", "delay"), [("120", 120.0), ("0", 0.0), ("007", 7.0)])
def test_digits_are_seconds(header: str, delay: float) -> None:
    assert RetryAfter.parse(header).delay == delay


@pytest.mark.parametrize(("header", "delay"), [("1.5", 1.5), ("0.25", 0.25), ("30.0", 30.0), ("007.500", 7.5)])
def test_seconds_may_have_a_fraction(header: str, delay: float) -> None:
    assert RetryAfter.parse(header).delay == delay


@given(st.floats(0.0, 1e15))
def test_each_fraction_of_seconds_is_read_as_it_is(seconds: float) -> None:
    assert delay_of(f"{seconds:.20f}") == float(f"{seconds:.20f}")


@given(st.integers(0, 2**53))
def test_each_whole_number_of_seconds_is_read_as_it_is(seconds: int) -> None:
    assert delay_of(str(seconds)) == seconds


@pytest.mark.parametrize("header", [" 30", "30 ", "\t30 \r\n"])
def test_white_space_around_is_passed_over(header: str) -> None:
    assert RetryAfter.parse(header).delay == 30.0


@pytest.mark.parametrize("digits", [400, 5000, 1_000_000])
def test_a_number_of_any_length_is_capped(digits: int) -> None:
    assert RetryAfter.parse("9" * digits, max_delay=60).delay == 60.0


def test_a_number_beyond_all_floats_gives_the_largest_delay_that_is_allowed() -> None:
    assert RetryAfter.parse("9" * 1000, max_delay=sys.float_info.max).delay == sys.float_info.max


# Dates


@pytest.mark.parametrize("header", SPELLINGS)
def test_a_date_is_the_time_until_then_in_each_format_of_the_rfc(header: str) -> None:
    assert delay_of(header, NOVEMBER_6 - 90.25) == 90.25


@pytest.mark.parametrize("header", SPELLINGS)
def test_a_date_in_the_past_is_no_delay(header: str) -> None:
    assert delay_of(header, NOVEMBER_6) == 0.0
    assert delay_of(header, NOVEMBER_6 + 5000) == 0.0


@pytest.mark.parametrize("header", SPELLINGS)
def test_names_count_in_whatever_case(header: str) -> None:
    now = NOVEMBER_6 - 90
    assert delay_of(header.lower(), now) == delay_of(header.upper(), now) == 90.0


@given(MOMENTS, NOWS)
def test_what_the_standard_library_writes_is_read_back(moment: datetime, now: float) -> None:
    assert delay_of(format_datetime(moment, usegmt=True), now) == max(0.0, moment.timestamp() - now)


@given(MOMENTS, NOWS)
def test_what_asctime_writes_is_read_back(moment: datetime, now: float) -> None:
    # time.asctime() leaves out the zeros that years before 1000 begin with.
    written = f"{time.asctime(moment.timetuple())[:20]}{moment.year:04}"
    assert delay_of(written, now) == max(0.0, moment.timestamp() - now)


def test_asctime_may_have_a_zero_before_the_day() -> None:
    assert delay_of("Sun Nov 06 08:49:37 1994", NOVEMBER_6 - 90) == 90.0


@given(NOWS.map(math.floor), st.timedeltas(timedelta(), FIFTY_YEARS))
def test_two_digits_of_a_year_do_for_fifty_years_ahead(now: int, ahead: timedelta) -> None:
    moment = (EPOCH + timedelta(seconds=now) + ahead).replace(microsecond=0)
    assert delay_of(as_rfc_850(moment), now) == moment.timestamp() - now


@pytest.mark.parametrize(
    ("now", "delay"),
    [
        pytest.param(posix(2044, 11, 6, 8, 49, 37), posix(2094, 11, 6, 8, 49, 37), id="fifty years to the second"),
        pytest.param(posix(2044, 11, 6, 8, 49, 37) + 0.5, posix(2094, 11, 6, 8, 49, 37), id="a little less"),
        pytest.param(posix(2044, 11, 6, 8, 49, 36), 0.0, id="a second more, so it was 1994"),
        pytest.param(posix(2043, 12, 31), 0.0, id="in the year before"),
        pytest.param(posix(2099, 12, 31), 0.0, id="five years ago"),
        pytest.param(posix(1999, 12, 31), 0.0, id="five years ago in 1999"),
    ],
)
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(now: float, delay: float) -> None:
    assert delay_of("Sunday, 06-Nov-94 08:49:37 GMT", now) == max(0.0, delay - now)


def test_a_year_of_two_digits_may_be_in_the_next_century() -> None:
    assert delay_of("Friday, 01-Jan-00 00:00:10 GMT", posix(2099, 12, 31, 23, 59, 50)) == 20.0


def test_a_year_of_two_digits_may_be_told_on_a_leap_day() -> None:
    assert delay_of("Monday, 01-Mar-32 00:00:00 GMT", posix(2032, 2, 29)) == 24 * 60 * 60


def test_the_leap_day_of_a_year_of_two_digits_may_be_fifty_years_from_a_year_that_has_none() -> None:
    assert delay_of("Tuesday, 29-Feb-72 00:00:00 GMT", posix(2022, 3, 1)) == posix(2072, 2, 29) - posix(2022, 3, 1)


def test_a_leap_second_is_the_one_after() -> None:
    assert delay_of("Sat, 31 Dec 2016 23:59:60 GMT", posix(2016, 12, 31, 23, 59, 50)) == 10.0


def test_the_last_date_there_is_is_capped() -> None:
    assert RetryAfter.parse("Fri, 31 Dec 9999 23:59:60 GMT", now=0.0).delay == 3600.0


def test_the_first_date_there_is_is_in_the_past() -> None:
    assert RetryAfter.parse("Mon, 01 Jan 0001 00:00:00 GMT", now=0.0).delay == 0.0


def test_the_day_of_the_week_is_not_held_against_the_date() -> None:
    assert delay_of("Mon, 06 Nov 1994 08:49:37 GMT", NOVEMBER_6 - 90) == 90.0


def test_a_date_is_held_against_the_system_s_clock_by_default() -> None:
    then = math.floor(time.time()) + 1000
    before = time.time()
    pause = RetryAfter.parse(format_datetime(EPOCH + timedelta(seconds=then), usegmt=True))
    assert then - time.time() <= pause.delay <= then - before


# What is neither


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="nothing"),
        pytest.param(" \t", id="white space"),
        pytest.param("soon", id="a word"),
        pytest.param("-1", id="negative"),
        pytest.param("-0", id="negative zero"),
        pytest.param("+1", id="with a plus"),
        pytest.param("30.", id="a point"),
        pytest.param(".5", id="nothing before the point"),
        pytest.param("1.5.0", id="two points"),
        pytest.param("1,5", id="a comma for the point"),
        pytest.param("1. 5", id="a space after the point"),
        pytest.param("1.\u0665", id="a fraction in another script"),
        pytest.param("1e3", id="with an exponent"),
        pytest.param("0x10", id="hexadecimal"),
        pytest.param("1_000", id="with an underscore"),
        pytest.param("1,000", id="with a comma"),
        pytest.param("30 60", id="two numbers"),
        pytest.param("30, 60", id="two headers put together"),
        pytest.param("30s", id="with a unit"),
        pytest.param("inf", id="infinity"),
        pytest.param("nan", id="NaN"),
        pytest.param("٣٠", id="digits of another script"),
        pytest.param("3²", id="digits that are no numbers"),
        pytest.param("3\0", id="NUL"),
        pytest.param("Mon, 31 Feb 2025 00:00:00 GMT", id="31 February"),
        pytest.param("Sat, 29 Feb 2025 00:00:00 GMT", id="29 February in a common year"),
        pytest.param("Sun, 00 Nov 1994 08:49:37 GMT", id="no day"),
        pytest.param("Sat, 01 Jan 0000 00:00:00 GMT", id="the year before the first"),
        pytest.param("Monday, 31-Feb-25 00:00:00 GMT", id="31 February in the format of RFC 850"),
        pytest.param("Mon Feb 31 00:00:00 2025", id="31 February in that of asctime"),
        pytest.param("Sun, 06 Nov 1994 24:00:00 GMT", id="24 o'clock"),
        pytest.param("Sun, 06 Nov 1994 08:60:00 GMT", id="60 minutes"),
        pytest.param("Sun, 06 Nov 1994 08:49:60 GMT", id="a leap second within the day"),
        pytest.param("Sun, 06 Nov 1994 23:59:61 GMT", id="61 seconds"),
        pytest.param("Sun, 06 Nov 1994 08:49 GMT", id="without seconds"),
        pytest.param("Sun, 06 Nov 1994 08:49:37", id="without a zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 EST", id="another zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 XYZ", id="an unknown zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 +0100", id="an offset"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT+1", id="an offset from GMT"),
        pytest.param("Sun Nov  6 08:49:37 1994 GMT", id="asctime with a zone"),
        pytest.param("06 Nov 1994 08:49:37 GMT", id="without a day of the week"),
        pytest.param("Son, 06 Nov 1994 08:49:37 GMT", id="a day in German"),
        pytest.param("Sunday, 06 Nov 1994 08:49:37 GMT", id="a day in full"),
        pytest.param("Sun, 06 Okt 1994 08:49:37 GMT", id="a month in German"),
        pytest.param("\u017fun, 06 Nov 1994 08:49:37 GMT", id="a letter that is an s when folded"),
        pytest.param("Sun, 6 Nov 1994 08:49:37 GMT", id="a day of one digit"),
        pytest.param("Sun, 06 Nov 94 08:49:37 GMT", id="a year of two digits where it has four"),
        pytest.param("Sunday, 06-Nov-1994 08:49:37 GMT", id="a year of four digits where it has two"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT, 30", id="a date and more"),
        pytest.param("Sun, 06 Nov 1994  08:49:37 GMT", id="two spaces"),
        pytest.param("Sun, 06 Nov ١٩٩٤ 08:49:37 GMT", id="a year in another script"),
        pytest.param("1994-11-06T08:49:37Z", id="ISO 8601"),
    ],
)
def test_what_is_neither_seconds_nor_a_date_is_an_error_that_repeats_it(header: str) -> None:
    message = f"Retry-After must be seconds, zero or more, or an HTTP-date, got {header!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RetryAfter.parse(header)


@given(st.text() | LIKE_DATES)
def test_any_other_text_is_a_delay_or_a_value_error(header: str) -> None:
    with suppress(ValueError):
        assert 0.0 <= RetryAfter.parse(header, now=NOVEMBER_6).delay <= 3600.0


def test_an_impossible_date_is_told_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match="got 'Mon, 31 Feb") as caught:
        RetryAfter.parse("Mon, 31 Feb 2025 00:00:00 GMT")
    assert "day" in str(caught.value.__cause__)


def test_a_long_header_is_repeated_in_part() -> None:
    with pytest.raises(ValueError, match=r"got 'x{77}\.\.\.'$"):
        RetryAfter.parse("x" * 100_000)


def test_a_header_of_a_line_is_repeated_whole() -> None:
    with pytest.raises(ValueError, match=r"got 'x{80}'$"):
        RetryAfter.parse("x" * 80)


# The default


@pytest.mark.parametrize("header", [None, "", "soon", "-1", "Mon, 31 Feb 2025 00:00:00 GMT", "x" * 1000])
@pytest.mark.parametrize("default", [0, 2, 2.5])
def test_the_default_is_for_a_header_that_is_missing_or_says_nothing(header: str | None, default: float) -> None:
    assert RetryAfter.parse(header, default=default).delay == default


@pytest.mark.parametrize(("header", "delay"), [("120", 120.0), ("0", 0.0), ("1.5", 1.5)])
def test_a_header_that_says_something_goes_before_the_default(header: str, delay: float) -> None:
    assert RetryAfter.parse(header, default=7).delay == delay


def test_the_default_is_the_program_s_own_so_it_may_exceed_max_delay() -> None:
    assert RetryAfter.parse(None, default=7200).delay == 7200.0


def test_what_else_a_retry_after_takes_is_passed_on_with_the_default_too() -> None:
    pause = RetryAfter.parse(None, default=1, rest=True, placement="other", counts=False)
    assert (pause.rest, pause.placement, pause.counts) == (True, "other", False)


@pytest.mark.parametrize("header", [30, 1.5, b"120", ["120"]])
def test_a_header_that_is_no_text_is_a_type_error_with_a_default_too(header: Any) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(f'value must be a str, got {header!r}')}$"):
        parse_anything(header, default=1)


@pytest.mark.parametrize("header", [None, 30, 1.5, b"120", ["120"]])
def test_a_header_that_is_no_text_is_a_type_error(header: Any) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(f'value must be a str, got {header!r}')}$"):
        parse_anything(header)


# The other arguments


def test_no_delay_exceeds_an_hour_by_default() -> None:
    assert RetryAfter.parse("3600").delay == RetryAfter.parse("3601").delay == 3600.0


def test_no_delay_exceeds_max_delay() -> None:
    assert RetryAfter.parse("31", max_delay=30).delay == 30.0
    assert RetryAfter.parse(SPELLINGS[0], max_delay=30, now=0).delay == 30.0


def test_with_a_max_delay_of_zero_there_is_none() -> None:
    assert RetryAfter.parse("31", max_delay=0).delay == 0.0


def test_what_else_a_retry_after_takes_is_passed_on() -> None:
    pause = RetryAfter.parse("30", rest=True, placement="other", counts=False)
    assert (pause.rest, pause.placement, pause.counts) == (True, "other", False)


def test_what_else_a_retry_after_takes_has_the_same_defaults() -> None:
    assert vars(RetryAfter.parse("30")) == vars(RetryAfter(30))


def test_a_subclass_makes_its_own() -> None:
    class Throttled(RetryAfter):
        """A pause of the program's own."""

    assert type(Throttled.parse("30")) is Throttled


@pytest.mark.parametrize("header", ["30", SPELLINGS[0]])
@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"max_delay": -1}, ValueError, "max_delay must not be negative, got -1"),
        ({"max_delay": math.inf}, ValueError, "max_delay must be finite, got inf"),
        ({"max_delay": math.nan}, ValueError, "max_delay must not be NaN"),
        ({"max_delay": "60"}, TypeError, "max_delay must be a number, got '60'"),
        ({"max_delay": None}, TypeError, "max_delay must be a number, got None"),
        ({"now": -1}, ValueError, "now must not be negative, got -1"),
        ({"now": math.inf}, ValueError, "now must be finite, got inf"),
        ({"now": math.nan}, ValueError, "now must not be NaN"),
        ({"now": EPOCH}, TypeError, "now must be a number, got datetime.datetime(1970"),
        ({"now": 1.7e12}, ValueError, "now must be POSIX seconds before the year 5138, got 1700000000000.0"),
        ({"default": -1}, ValueError, "default must not be negative, got -1"),
        ({"default": math.inf}, ValueError, "default must be finite, got inf"),
        ({"default": "60"}, TypeError, "default must be a number, got '60'"),
        ({"default": True}, TypeError, "default must be a number, got True"),
        ({"rest": 1}, TypeError, "rest must be a bool or 'key', got 1"),
        ({"placement": "next"}, ValueError, "placement must be one of 'any', 'same', 'other', got 'next'"),
        ({"counts": None}, TypeError, "counts must be a bool, got None"),
    ],
)
def test_a_bad_argument_is_named_whatever_the_header_says(
    header: str, arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        parse_anything(header, **arguments)


def test_all_but_the_header_go_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        parse_anything("30", 60.0)


def test_the_package_does_not_import_what_reads_the_header() -> None:
    program = "import sys, trio_pool; sys.exit('trio_pool._policies.retry_after_header' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)
