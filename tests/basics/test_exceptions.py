"""What an exception is made of, leaf by leaf, at whatever depth."""

from __future__ import annotations

import sys

import pytest
import trio

from tests.exceptions import Unruly, nested, stray
from trio_pool._basics.exceptions import as_error, is_group, leaves, walk, without, without_cancellations

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

ONE, TWO, THREE = ValueError("one"), OSError("two"), KeyError("three")


def test_leaves_are_in_the_order_of_the_groups() -> None:
    assert leaves(ExceptionGroup("", [ONE, ExceptionGroup("", [TWO, ONE]), THREE])) == [ONE, TWO, ONE, THREE]


@pytest.mark.parametrize("error", [ONE, Unruly()])
def test_an_error_that_is_no_group_is_its_only_leaf(error: Exception) -> None:
    [leaf] = leaves(error)
    assert leaf is error


def test_groups_are_walked_at_whatever_depth() -> None:
    assert leaves(nested(ONE)) == [ONE]


def test_a_group_that_stands_in_many_places_is_looked_into_once() -> None:
    group: ExceptionGroup[Exception] = ExceptionGroup("", [ONE])
    for _ in range(100):
        group = ExceptionGroup("", [group, group])
    assert leaves(group) == [ONE]


def test_a_walk_leaves_alone_what_is_to_stay_whole() -> None:
    class Whole(ExceptionGroup[Exception]):
        """Nobody's business what is in it."""

    whole = Whole("", [ONE])
    group = ExceptionGroup("", [whole, TWO])
    assert list(walk(group, (Whole,))) == [group, whole, TWO]


def test_what_has_none_of_the_leaves_to_take_out_stays_the_same() -> None:
    group = ExceptionGroup("", [ONE, TWO])
    assert without((KeyError,), group) is group
    assert without((KeyError,), ONE) is ONE


def test_of_what_has_nothing_else_nothing_is_left() -> None:
    assert without((ValueError, OSError), ExceptionGroup("", [ONE, TWO])) is None
    assert without((ValueError,), ONE) is None


def test_of_several_others_a_flat_group_is_left_with_message_and_traceback() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        raise ExceptionGroup("some", [ONE, ExceptionGroup("inner", [TWO, THREE])])
    rest = without((OSError,), caught.value)
    assert rest is not None
    assert is_group(rest)
    assert (rest.message, rest.exceptions) == ("some", (ONE, THREE))
    assert rest.__traceback__ is caught.value.__traceback__


async def test_cancellations_are_taken_out_at_whatever_depth() -> None:
    cancelled = await stray()
    assert without_cancellations(nested(cancelled)) is None
    rest = without_cancellations(BaseExceptionGroup("", [nested(cancelled), ONE, TWO]))
    assert rest is not None
    assert is_group(rest)
    assert rest.exceptions == (ONE, TWO)


def test_an_error_without_a_cancellation_counts_as_itself() -> None:
    group = ExceptionGroup("", [ONE])
    assert as_error(group, "it") is group


@pytest.mark.parametrize("others", [[], [ONE]])
def test_a_cancellation_that_nobody_asked_for_counts_as_an_error(others: list[Exception]) -> None:
    group = BaseExceptionGroup("", [*others, trio.run(stray)])
    error = as_error(group, "it")
    assert isinstance(error, RuntimeError)
    assert str(error) == "it raised a trio.Cancelled that no cancel scope around it has requested"
    assert error.__cause__ is group


def test_what_is_worse_than_an_error_goes_before_a_cancellation_that_nobody_asked_for() -> None:
    rest = as_error(BaseExceptionGroup("", [trio.run(stray), KeyboardInterrupt()]), "it")
    assert is_group(rest)
    assert [type(leaf) for leaf in leaves(rest)] == [KeyboardInterrupt]
