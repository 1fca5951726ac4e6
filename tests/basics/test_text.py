"""How users' objects look in messages, whatever they do when they are asked."""

from __future__ import annotations

import enum
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms import shows_huge_numbers
from trio_pool._basics.text import (
    MOST_OF_ARGUMENTS,
    call_arguments,
    call_name,
    full_type_name,
    one_line,
    qualified_type_name,
    said,
    shown,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class FaultError(BaseException):
    """Not even an Exception."""


def fault(*_: object) -> Any:
    raise FaultError


class Refuses:
    def __repr__(self) -> str:
        raise FaultError

    __str__ = __repr__


class GivesANumber:
    __repr__ = __str__ = lambda self: 5  # type: ignore[assignment,return-value]


class Recurses:
    def __repr__(self) -> str:
        return repr(self)

    def __str__(self) -> str:
        return str(self)


class Mute(Exception):
    def __str__(self) -> str:
        raise FaultError


class Strange(str):
    """A string that refuses everything that one could ask it."""

    __repr__ = __str__ = __hash__ = __eq__ = split = isprintable = __getitem__ = __len__ = fault  # type: ignore[assignment]


class Plain(str):
    """A string like any other."""


class Level(enum.Enum):
    LOW = 1


def looped() -> list[object]:
    """A list that holds itself."""
    found: list[object] = []
    found.append(found)
    return found


# As Python has it, where that is short and well


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.5,
        10**100,
        "text",
        "it's",
        "",
        b"bytes",
        bytearray(b"bytes"),
        Plain("plain"),
        Level.LOW,
        [],
        [1, "two"],
        (),
        (1,),
        (1, 2),
        {},
        {"a": [1], 2: {}},
        set[int](),
        {1},
        frozenset[int](),
        frozenset({1}),
        deque[int](),
        deque([1, 2]),
        range(3),
        ValueError("no"),
        int,
    ],
    ids=lambda value: f"{type(value).__name__} {value!r}",
)
def test_what_is_short_is_shown_as_python_shows_it(value: object) -> None:
    assert shown(value) == repr(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.integers(2, 60),
)
def test_whatever_is_built_in_is_shown_as_python_shows_it_or_begins_so(value: Any, most: int) -> None:
    text = shown(value, most)
    assert len(text) <= most
    assert text.isprintable()
    whole = repr(value)
    assert text == whole or (text[-1] == "…" and (whole.startswith(text[:-1]) or "…" in text[:-1]))


@pytest.mark.parametrize(
    "value",
    ["000'", b"000'", bytearray(b"000'"), "000'\"", {"000'": None}],
    ids=["str", "bytes", "array", "both", "dict"],
)
def test_the_quotation_marks_are_those_of_the_whole(value: object) -> None:
    assert shown(value, 3) == f"{repr(value)[:2]}…"


# In short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("x" * 10**6, "'" + "x" * 18 + "…", id="string"),
        pytest.param(b"x" * 10**6, "b'" + "x" * 17 + "…", id="bytes"),
        pytest.param(list(range(10**6)), "[0, 1, 2, 3, 4, 5, …"[:19] + "…", id="list"),
        pytest.param(dict.fromkeys(range(10**6)), "{0: None, 1: None, …"[:19] + "…", id="dict"),
        pytest.param([[[[[[[1]]]]]]], "[[[[[[…]]]]]]", id="nested"),
        pytest.param(looped(), "[[[[[[…]]]]]]", id="looped"),
        pytest.param([""] * 10**6, "['', '', '', '', ''…", id="of nothing"),
        pytest.param(10**5000, "<an int of 16610 bi…", id="int"),
        pytest.param([Refuses(), 1], "[<Refuses: its repr…", id="with one that refuses"),
    ],
)
def test_what_is_long_is_cut_off(value: object, text: str) -> None:
    assert shown(value, 20) == text


def test_no_more_is_put_into_words_than_can_be_shown() -> None:
    asked: list[int] = []

    class Asked:
        def __init__(self, number: int) -> None:
            self.number = number

        def __repr__(self) -> str:
            asked.append(self.number)
            return str(self.number)

    shown([Asked(number) for number in range(1000)], 20)
    assert len(asked) < 10


def test_one_with_an_empty_repr_does_not_have_all_looked_at() -> None:
    asked: list[object] = []

    class Empty:
        def __repr__(self) -> str:
            asked.append(self)
            return ""

    shown([Empty() for _ in range(1000)], 20)
    assert len(asked) < 20


def test_a_container_with_a_repr_of_its_own_is_asked_for_it() -> None:
    class Mine(list[int]):
        def __repr__(self) -> str:
            return "mine"

    assert shown(Mine()) == "mine"


# What refuses


@pytest.mark.parametrize("kind", [Refuses, GivesANumber, Recurses])
def test_what_cannot_be_shown_is_called_by_its_class(kind: type[Any]) -> None:
    assert shown(kind()) == f"<{kind.__name__}: its repr can't be read>"
    assert said(kind()) in ("<its text can't be read>", shown(kind()))


def test_a_keyboard_interrupt_goes_on() -> None:
    class Stopped:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

        __str__ = __repr__

    class Named:
        def __getattr__(self, name: str) -> str:
            raise KeyboardInterrupt

    for call, value in ((shown, Stopped()), (shown, [Stopped()]), (said, Stopped()), (said, ValueError(Stopped()))):
        with pytest.raises(KeyboardInterrupt):
            call(value)
    with pytest.raises(KeyboardInterrupt):
        call_name(Named())


# What is said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(ValueError(), "", id="nothing"),
        pytest.param(ValueError("no"), "no", id="a text"),
        pytest.param(ValueError(" one\n  two\t"), "one two", id="lines"),
        pytest.param(ValueError("\x1b[1m"), r"\x1b[1m", id="an escape"),
        pytest.param(ValueError(1, 2), "(1, 2)", id="two"),
        pytest.param(ValueError([1]), "[1]", id="a list"),
        pytest.param(ValueError(ValueError("inner")), "inner", id="another error"),
        pytest.param(ValueError(10**5000), "<an int of 16610 bits>", id="a huge int", marks=shows_huge_numbers),
        pytest.param(ValueError(Plain("x")), "x", id="a string like any other"),
        pytest.param(KeyError("name"), "'name'", id="a key"),
        pytest.param(KeyError(), "", id="no key"),
        pytest.param(KeyError(1, 2), "(1, 2)", id="two keys"),
        pytest.param(OSError(2, "no such thing"), "[Errno 2] no such thing", id="an OSError"),
        pytest.param("text", "text", id="str"),
        pytest.param(["x"], "['x']", id="list"),
    ],
)
def test_a_text_is_that_of_str_in_one_line(value: object, text: str) -> None:
    assert said(value) == text


@pytest.mark.parametrize(
    "make", [Mute, partial(Strange, "x"), lambda: ValueError(Strange("x"))], ids=["error", "string", "argument"]
)
def test_a_text_that_cannot_be_had_is_said_to_be_none(make: Callable[[], object]) -> None:
    assert said(make()) == "<its text can't be read>"


def test_what_cannot_be_printed_is_left_where_that_is_wanted() -> None:
    assert said(ValueError("\x00  \x1b"), raw=True) == "\x00 \x1b"


def test_of_a_huge_argument_of_an_error_no_more_is_put_into_words_than_is_shown() -> None:
    assert said(ValueError(["x" * 10**6] * 1000), 20) == "['" + "x" * 17 + "…"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
        (" " * 1000 + "x", "…"),
        ("one\r\n two", "one two"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_line_is_of_some_length(text: str, line: str) -> None:
    assert one_line(text, 10) == line


# Names


class Class:
    async def method(self) -> None:
        """Does nothing."""

    async def __call__(self) -> None:
        """The same."""


METHOD: Any = Class.method


class Unnamed:
    __getattr__ = fault


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        pytest.param(Class.method, "Class.method", id="function of a class"),
        pytest.param(Class().method, "Class.method", id="bound method"),
        pytest.param(Class(), "Class", id="callable"),
        pytest.param(Class, "Class", id="class"),
        pytest.param(partial(partial(METHOD, 1), 2), "Class.method", id="partial"),
        pytest.param(partial(Class()), "Class", id="partial of a callable"),
        pytest.param(print, "print", id="built in"),
    ],
)
def test_a_function_is_called_as_a_reader_would_look_for_it(fn: object, name: str) -> None:
    assert call_name(fn) == name


def test_a_function_that_does_not_tell_its_name_is_called_by_its_class() -> None:
    assert call_name(Unnamed()) == "Unnamed"


def test_a_name_that_is_no_string_is_none() -> None:
    class Misnamed:
        def __init__(self) -> None:
            vars(self)["__qualname__"] = 5

    assert call_name(Misnamed()).endswith("<locals>.Misnamed")


def test_a_class_is_named_whatever_its_metaclass_says() -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise FaultError

    class Thing(metaclass=Meta):
        pass

    assert type_name(Thing()) == "Thing"
    assert qualified_type_name(Thing()).endswith(".<locals>.Thing")


def test_the_full_name_of_a_class_has_its_module_unless_that_is_built_in() -> None:
    assert full_type_name(ValueError()) == "ValueError"
    assert full_type_name(Class()) == f"{__name__}.Class"

    class Nowhere:
        pass

    Nowhere.__module__ = 5  # type: ignore[assignment]
    assert full_type_name(Nowhere()).endswith("<locals>.Nowhere")
    assert not full_type_name(Nowhere()).startswith("5")


# Arguments


@given(st.lists(st.integers() | st.text()))
def test_arguments_take_no_more_room_than_they_have(args: list[object]) -> None:
    text = call_arguments(print, args)
    assert len(text) <= MOST_OF_ARGUMENTS
    whole = ", ".join(map(repr, args))
    assert text == whole or text[-1] == "…" or not whole.isprintable()


class Several:
    def __repr__(self) -> str:
        return "<several\nlines>"


def test_a_repr_of_several_lines_is_shown_in_one() -> None:
    assert shown(Several()) == "<several lines>"
