"""An error is told in one line; an exception group by what is in it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio

from tests.exceptions import nested, stray
from trio_pool._basics.error_text import in_words, only_leaf

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

DOWN = "ConnectionError: db is down"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (ValueError("one\n  two\tthree "), "ValueError: one two three"),
        (KeyError("name"), "KeyError: 'name'"),
    ],
)
def test_an_error_is_told_in_one_line(error: Exception, words: str) -> None:
    assert in_words(error) == words


def test_an_error_whose_text_is_at_fault_is_told_without_it() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert in_words(Mute()) == "Mute: <its text can't be read>"


# Groups


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(ConnectionError("db is down"), DOWN, id="none"),
        pytest.param(nested(ConnectionError("db is down"), 1), DOWN, id="one"),
        pytest.param(nested(ConnectionError("db is down"), 3), DOWN, id="deeper"),
        pytest.param(nested(ConnectionError("db is down"), 5000), DOWN, id="very deep"),
        pytest.param(
            ExceptionGroup("x", [ConnectionError("db is down"), ValueError(), OSError()]),
            f"{DOWN} (and 2 more)",
            id="three",
        ),
        pytest.param(
            BaseExceptionGroup("x", [nested(ConnectionError("db is down"), 2), nested(ValueError(), 1)]),
            f"{DOWN} (and 1 more)",
            id="at several depths",
        ),
        pytest.param(ExceptionGroup("x", [ValueError()]), "ValueError", id="without a text"),
    ],
)
def test_a_group_is_called_by_its_first_leaf(error: BaseException, words: str) -> None:
    assert in_words(error) == words


def test_cancellations_are_not_counted_beside_errors() -> None:
    group = BaseExceptionGroup("x", [trio.run(stray), ConnectionError("db is down"), trio.run(stray)])
    assert in_words(group) == DOWN


def test_a_group_of_cancellations_is_called_by_them() -> None:
    group = BaseExceptionGroup("x", [trio.run(stray), trio.run(stray)])
    assert in_words(group).startswith("Cancelled")
    assert in_words(group).endswith("(and 1 more)")


def test_a_group_that_hides_what_is_in_it_is_looked_into_all_the_same() -> None:
    class Hidden(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> Any:
            return ()

    assert in_words(Hidden("x", [ConnectionError("db is down")])) == DOWN


def test_the_only_leaf_of_a_group_is_its_error() -> None:
    leaf = ConnectionError("db is down")
    deep: Any = nested(leaf, 3)
    several = ExceptionGroup("x", [leaf, ValueError()])
    assert only_leaf(deep) is leaf
    assert only_leaf(several) is several
    assert only_leaf(leaf) is leaf


def test_of_a_group_with_something_worse_in_it_there_is_no_such_leaf() -> None:
    group: Any = BaseExceptionGroup("x", [KeyboardInterrupt()])
    assert only_leaf(group) is group
