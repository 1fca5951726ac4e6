"""Kept errors hold no local variable of what failed, and end nothing that goes on."""

from __future__ import annotations

import sys
import traceback
import types
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.platforms import frees_at_once
from trio_pool._basics import tracebacks as _tracebacks
from trio_pool._basics.tracebacks import clear_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class Payload:
    """Something that a failed call had in a local variable."""


Witnesses = list["weakref.ref[Payload]"]


def remembered(witnesses: Witnesses) -> Payload:
    payload = Payload()
    witnesses.append(weakref.ref(payload))
    return payload


def fail(witnesses: Witnesses) -> None:
    payload = remembered(witnesses)
    raise ValueError("no", id(payload))


def fail_deeper(witnesses: Witnesses) -> None:
    payload = remembered(witnesses)
    fail(witnesses)
    raise AssertionError(payload)


def fail_from(witnesses: Witnesses) -> None:
    payload = remembered(witnesses)
    try:
        fail(witnesses)
    except ValueError as error:
        raise KeyError(id(payload)) from error


def fail_in_handling(witnesses: Witnesses) -> None:
    payload = remembered(witnesses)
    try:
        fail_deeper(witnesses)
    except ValueError:
        raise KeyError(id(payload))  # noqa: B904  # the context is what it is about


def fail_in_a_group(witnesses: Witnesses) -> None:
    errors = [caught(fail, witnesses), ExceptionGroup("inner", [caught(fail_from, witnesses)])]
    payload = remembered(witnesses)
    raise ExceptionGroup(f"outer {id(payload)}", errors)


async def fail_late(witnesses: Witnesses) -> None:
    payload = remembered(witnesses)
    await pause()
    raise ValueError("no", id(payload))


async def await_deep_down(witnesses: Witnesses) -> None:
    payload = remembered(witnesses)
    await fail_late(witnesses)
    raise AssertionError(payload)


async def catch_and_raise(witnesses: Witnesses) -> None:
    payload = remembered(witnesses)
    try:
        await await_deep_down(witnesses)
    except ValueError as error:
        await pause()
        raise KeyError(id(payload)) from error


def in_a_generator(witnesses: Witnesses) -> None:
    def numbers() -> Generator[int]:
        payload = remembered(witnesses)
        yield 1
        fail(witnesses)
        yield id(payload)

    for _ in numbers():
        pass


@types.coroutine
def pause() -> Generator[None]:
    """Suspend the coroutine once."""
    yield


def step_through(main: Callable[[Witnesses], Coroutine[Any, Any, None]]) -> Callable[[Witnesses], None]:
    def run(witnesses: Witnesses) -> None:
        coroutine = main(witnesses)
        while True:
            coroutine.send(None)

    run.__name__ = main.__name__
    return run


def caught(fn: Callable[[Witnesses], None], witnesses: Witnesses) -> Exception:
    try:
        fn(witnesses)
    except Exception as error:
        return error
    raise AssertionError("it didn't fail")


@pytest.mark.parametrize(
    "fn",
    [
        fail,
        fail_deeper,
        fail_from,
        fail_in_handling,
        fail_in_a_group,
        in_a_generator,
        step_through(fail_late),
        step_through(await_deep_down),
        step_through(catch_and_raise),
    ],
)
@frees_at_once
def test_what_the_failed_frames_held_is_let_go(fn: Callable[[Witnesses], None]) -> None:
    witnesses: Witnesses = []
    error = caught(fn, witnesses)
    assert any(witness() is not None for witness in witnesses)
    clear_frames(error)
    assert [witness() for witness in witnesses] == [None] * len(witnesses)


def test_the_traceback_stays_printable() -> None:
    error = caught(fail_in_handling, [])
    clear_frames(error)
    text = "".join(traceback.format_exception(error))
    assert "in fail_deeper" in text
    assert "in fail_in_handling" in text


@frees_at_once
def test_errors_that_are_each_other_s_cause_are_cleared_all_the_same() -> None:
    witnesses: Witnesses = []
    one, two = caught(fail, witnesses), caught(fail, witnesses)
    one.__cause__, two.__cause__ = two, one
    clear_frames(one)
    assert [witness() for witness in witnesses] == [None, None]


def test_a_frame_that_still_runs_is_left_alone() -> None:
    payload = Payload()
    try:
        fail([])
    except ValueError as error:
        clear_frames(error)
    assert isinstance(payload, Payload)


def test_a_suspended_coroutine_that_caught_the_error_goes_on() -> None:
    kept: list[Exception] = []
    payloads: list[Payload] = []

    async def catch_and_go_on() -> str:
        payload = Payload()
        payloads.append(payload)
        try:
            fail([])
        except ValueError as error:
            kept.append(error)
        await pause()
        return "done" if payload is payloads[0] else "robbed"

    coroutine = catch_and_go_on()
    coroutine.send(None)
    clear_frames(kept[0])
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == "done"


@frees_at_once
def test_a_suspended_coroutine_goes_on_whose_kept_error_others_raise_again() -> None:
    kept: list[Exception] = []

    async def catch_and_go_on() -> str:
        payload = Payload()
        try:
            fail([])
        except ValueError as error:
            kept.append(error)
        await pause()
        return type(payload).__name__

    def raise_again(witnesses: Witnesses) -> None:
        payload = remembered(witnesses)
        raise kept[0]
        raise AssertionError(payload)

    coroutine = catch_and_go_on()
    coroutine.send(None)
    witnesses: Witnesses = []
    error = caught(raise_again, witnesses)
    clear_frames(error)
    assert [witness() for witness in witnesses] == [None]
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == "Payload"


def test_a_suspended_generator_goes_on_too() -> None:
    kept: list[Exception] = []

    def numbers() -> Generator[int]:
        payload = Payload()
        try:
            fail([])
        except ValueError as error:
            kept.append(error)
        yield 1
        yield 2 * [payload].count(payload)

    generator = numbers()
    assert next(generator) == 1
    clear_frames(kept[0])
    assert next(generator) == 2


def test_another_interpreter_clears_no_frame_in_which_a_coroutine_may_be_suspended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_tracebacks, "_IS_CPYTHON", False)
    kept: list[Exception] = []
    suspended: Witnesses = []

    async def catch_and_go_on() -> str:
        payload = remembered(suspended)
        try:
            fail([])
        except ValueError as error:
            kept.append(error)
        await pause()
        return type(payload).__name__

    coroutine = catch_and_go_on()
    coroutine.send(None)
    clear_frames(kept[0])
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == "Payload"


@pytest.mark.parametrize("fn", [step_through(fail_late), in_a_generator])
@frees_at_once
def test_nor_one_in_which_it_has_ended_since_that_can_not_be_told_there(
    fn: Callable[[Witnesses], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tracebacks, "_IS_CPYTHON", False)
    witnesses: Witnesses = []
    error = caught(fn, witnesses)
    clear_frames(error)
    assert witnesses[0]() is not None
    monkeypatch.undo()
    clear_frames(error)
    assert witnesses[0]() is None


@pytest.mark.parametrize("fn", [fail, fail_deeper, fail_from, fail_in_handling, fail_in_a_group])
@frees_at_once
def test_frames_of_plain_functions_are_cleared_by_another_interpreter_too(
    fn: Callable[[Witnesses], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tracebacks, "_IS_CPYTHON", False)
    test_what_the_failed_frames_held_is_let_go(fn)


def test_strangers_are_cut_off_from_their_context() -> None:
    error = caught(fail_in_handling, [])
    assert error.__context__ is not None
    clear_frames(error, (KeyError,))
    assert error.__context__ is None
