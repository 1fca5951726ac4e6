"""The short ways of `json`, which journals take by default, come to the same."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pool.journal import _json

if TYPE_CHECKING:
    from collections.abc import Callable

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_values_become_the_same_text_and_the_same_values(value: Any) -> None:
    assert _json.dumps(value) == json.dumps(value)
    text = json.dumps(value)
    assert repr(_json.loads(text)) == repr(json.loads(text))


@given(st.text())
def test_texts_have_the_same_meaning_or_none(text: str) -> None:
    assert meaning_of(_json.loads, text) == meaning_of(json.loads, text)


def meaning_of(loads: Callable[[str], Any], text: str) -> str:
    try:
        return repr(loads(text))
    except json.JSONDecodeError as error:
        return str(error)


@pytest.mark.parametrize("text", [" 1", "1 ", "[1] \n", b"[1]", bytearray(b'"a"')])
def test_space_and_bytes_are_understood(text: Any) -> None:
    assert _json.loads(text) == json.loads(text)


def test_numbers_that_are_no_json_are_kept() -> None:
    assert _json.loads(_json.dumps(math.inf)) == math.inf


class Word(str):
    """A class of the program's."""


class Number(int):
    """Another one."""

    def __repr__(self) -> str:
        return "number"


def test_values_of_derived_classes_are_those_of_json() -> None:
    assert _json.dumps(Word("a")) == json.dumps(Word("a"))
    assert _json.dumps(Number(1)) == json.dumps(Number(1)) == "1"
