"""What is wrong with the lives of a program is found, and what is right passes."""

from __future__ import annotations

import pytest

from tests.journal_proof.program import digest, is_flaky, is_poisoned, numbers_in_turn, value_of
from tests.journal_proof.record import Line, Record

ITEMS = 20
POISONED = 13
FLAKY = 5


def first_life(*, given: int = 8) -> list[Line]:
    """Runs 0 to 11, and gives out some of them; the last two are under way when it is killed."""
    lines: list[Line] = [["open", "0", "0"]]
    for number in range(12):
        lines.append(["start", str(number)])
        if is_flaky(number):
            lines += [["fail", str(number)], ["start", str(number)]]
        if number < 10:
            lines.append(["end", str(number)])
    return lines + [["given", "map", str(number), digest(value_of(number))] for number in range(given)]


def second_life(kept: int) -> list[Line]:
    """Runs what is missing, and gives everything out."""
    lines: list[Line] = [["open", str(kept), "0"]]
    for number in range(kept, ITEMS):
        lines += [["start", str(number)], ["fail" if is_poisoned(number) else "end", str(number)]]
    for number in numbers_in_turn(ITEMS):
        word = ["dead", "map", str(number)] if is_poisoned(number) else ["given", "map", str(number)]
        lines.append([*word, *([] if is_poisoned(number) else [digest(value_of(number))])])
    return lines


def values(*numbers: int) -> dict[int, object]:
    return {number: value_of(number) for number in numbers if not is_poisoned(number)}


def faults(first: list[Line], kept: dict[int, object], second: list[Line], at_last: dict[int, object]) -> str:
    record = Record(ITEMS)
    record.add(first, kept)
    record.add(second, at_last)
    record.finish(second)
    return "\n".join(record.faults)


WHOLE = values(*range(ITEMS))


@pytest.mark.parametrize("kept", [8, 9, 10])
def test_two_lives_in_which_all_is_right_pass_and_what_was_under_way_is_counted(kept: int) -> None:
    assert [number for number in range(ITEMS) if is_poisoned(number)] == [POISONED]
    assert [number for number in range(ITEMS) if is_flaky(number)] == [FLAKY]
    record = Record(ITEMS)
    record.add(first_life(), values(*range(kept)))
    record.add(second_life(kept), WHOLE)
    record.finish(second_life(kept))

    assert record.faults == []
    assert (record.runs, record.under_way, record.over) == (ITEMS + 12 - kept, 12 - kept, 10 - kept)


def test_a_run_that_was_cancelled_was_under_way_and_another_stream_may_run_the_item_at_once() -> None:
    record = Record(ITEMS)
    record.add([*first_life(), ["cut", "11"], ["start", "11"], ["cut", "11"]], values(*range(10)))
    record.add(second_life(10), WHOLE)
    record.finish(second_life(10))

    assert record.faults == []
    assert (record.runs, record.under_way, record.over) == (ITEMS + 3, 3, 0)


@pytest.mark.parametrize(
    ("first", "kept", "second", "at_last", "words"),
    [
        (first_life(given=9), values(*range(8)), second_life(8), WHOLE, "given out before it was committed: [8]"),
        (first_life(), values(*range(8)), second_life(7), WHOLE, "[7] ran again though kept"),
        (first_life(), values(*range(9)), second_life(9)[:-1], WHOLE, "not each item once"),
        (first_life(), values(*range(9)), second_life(9), values(*range(1, ITEMS)), "lost from the journal: [0]"),
        (first_life(), values(*range(9)), second_life(9), {**WHOLE, 3: None}, "kept wrong: [3]"),
        (first_life(), values(*range(11)), second_life(11), WHOLE, "kept without having run: [10]"),
        ([*first_life(), ["start", "0"]], values(*range(9)), second_life(9), WHOLE, "0 ran twice in one life"),
        (first_life(), values(*range(9)), [*second_life(9), ["given", "map", "1", "?"]], WHOLE, "for 1 is wrong"),
        (first_life(), values(*range(9)), [["open", "9", "1"], *second_life(9)[1:]], WHOLE, "opened with 1 dead ones"),
        (first_life(), values(*range(9)), second_life(9), values(*range(ITEMS - 1)), "18 results are kept, not those"),
        (first_life(), values(*range(9)), [*second_life(9), ["dead", "map", "2"]], WHOLE, "the dead ones are [2, 13]"),
    ],
)
def test_what_is_wrong_is_found(
    first: list[Line], kept: dict[int, object], second: list[Line], at_last: dict[int, object], words: str
) -> None:
    assert words in faults(first, kept, second, at_last)
