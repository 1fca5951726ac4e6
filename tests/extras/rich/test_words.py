"""The line of plain text, and how times, rates and texts are put in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio

from tests.actors import fails, sleeps, sleeps_forever
from tests.extras.rich.watch import A, B, Watch
from trio_pool import open_pool
from trio_pool.rich._text import LONGEST, clock, encodable, error_in_words, one_line, pace, per_period, short, span

if TYPE_CHECKING:
    from trio.testing import MockClock


# The line of plain text


async def test_a_line_says_what_has_ended_how_fast_and_what_is_left(autojump_clock: MockClock) -> None:
    async with open_pool([A, B], name="printers") as pool:
        watch = Watch(pool, total=20)
        for _ in range(9):
            await pool.submit(sleeps, 2)
        await trio.sleep(5)
        assert watch.plain() == (
            "printers 0:05  4 of 20 ended (20 %), 0.8/s, 15 s left, 2 running, 3 queued, 0 delayed; workers: 2 busy"
        )


async def test_a_line_names_rare_states_only_if_there_is_something_in_them(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool)
        await pool.submit(fails)
        (await pool.submit(sleeps_forever)).cancel()
        await pool.join()
        await trio.sleep(1)
        assert watch.plain() == (
            "0:01  2 ended, 2.0/s, 0 running, 0 queued, 0 delayed, 1 dead, 1 cancelled; workers: 1 idle"
        )


# In words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (3.24, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "0:59"),
        (60, "1:00"),
        (3599, "59:59"),
        (3723, "1:02:03"),
        (86399, "23:59:59"),
        (4 * 86400 + 5 * 3600 + 7, "4 d 5 h"),
        (math.inf, "no end"),
    ],
)
def test_a_time_takes_as_much_space_as_it_needs(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_clock_goes_on_past_a_day() -> None:
    assert [clock(seconds) for seconds in (7.9, 754, 93723)] == ["0:07", "12:34", "26:02:03"]


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (None, ""),
        (0, "0/s"),
        (123456, "123456/s"),
        (1000, "1000/s"),
        (12.34, "12.3/s"),
        (0.5, "0.5/s"),
        (0.05, "3.0/min"),
        (0.001, "3.6/h"),
    ],
)
def test_a_rate_has_the_unit_in_which_there_is_something_to_see(rate: float | None, words: str) -> None:
    assert pace(rate) == words


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0"),
        (7, "7"),
        (712, "712"),
        (999.4, "999"),
        (999.6, "1k"),
        (1000, "1k"),
        (71_234, "71.2k"),
        (999_990, "1M"),
        (1_234_567, "1.23M"),
        (2**40, "1.1T"),
        (5e9, "5G"),
        (1e15, "1e+15"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (2.5, "2.5"),
        (0.5, "0.5"),
        (0.0123, "0.012"),
        (0.00001, "1e-05"),
    ],
)
def test_an_amount_is_short(amount: float, words: str) -> None:
    assert short(amount) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "/s"),
        (3, "/3 s"),
        (0.5, "/0.5 s"),
        (60, "/min"),
        (90, "/90 s"),
        (600, "/10 min"),
        (3600, "/h"),
        (86_400, "/d"),
        (7 * 86_400, "/7 d"),
    ],
)
def test_a_period_is_in_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert per_period(seconds) == words


def test_a_text_is_cut_before_it_is_looked_at() -> None:
    assert one_line("x" * 10 * LONGEST) == "x" * LONGEST


def test_what_an_encoding_lacks_becomes_as_many_question_marks_as_it_is_wide() -> None:
    assert encodable("é東é", "latin-1") == "é??é"


def test_an_error_without_words_is_its_type() -> None:
    assert error_in_words(KeyError()) == "KeyError"
