"""What programs raise: errors of all kinds, well-behaved or not, and the cancellations of others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, cast

import trio

from trio_pool import Discard, GiveUp, ResourceBroken, RetryAfter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

DEPTH = 700 if sys.version_info >= (3, 13) else 250
"""How deep the deepest groups are: more than Python's stack takes, walked in the plain way.

Trio's nurseries show the exceptions that end them, and before Python 3.13 the repr of deeper groups overflows
the stack.
"""


class FrozenError(Exception):
    """Refuses any assignment, that of its traceback's attribute included."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} of a FrozenError can't be assigned to")


class WordlessError(Exception):
    """Can't be printed."""

    def __str__(self) -> NoReturn:
        raise ValueError("no words")

    __repr__ = __str__


class QuarrelsomeError(Exception):
    """Can be neither compared nor hashed, and is neither true nor false."""

    def __eq__(self, other: object) -> NoReturn:
        raise ValueError("not to be compared")

    def __hash__(self) -> NoReturn:
        raise ValueError("not to be hashed")

    def __bool__(self) -> NoReturn:
        raise ValueError("not to be asked")


class RudeError(BaseException):
    """No `Exception`."""


class LeafError(ValueError):
    """A leaf of a group."""


class SecretiveGroup(ExceptionGroup[Exception]):
    """Doesn't say what it holds."""

    @property
    def exceptions(self) -> NoReturn:
        raise ValueError("not to be looked at")


def _nested(error: BaseException, depth: int) -> BaseException:
    for _ in range(depth):
        error = BaseExceptionGroup("a level", [error])
    return error


ORDINARY: dict[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("a value"),
    "os": lambda: OSError("the system"),
    "too slow": lambda: trio.TooSlowError("of its own"),
    "group": lambda: ExceptionGroup("two", [LeafError("one"), OSError("two")]),
    "nested": lambda: ExceptionGroup("outer", [ExceptionGroup("inner", [LeafError("a")]), LeafError("b")]),
}
CONTROLS: dict[str, Callable[[], BaseException]] = {
    "again": lambda: RetryAfter(0.5),
    "again at once": lambda: RetryAfter(0),
    "again for nothing": lambda: RetryAfter(0.5, counts=False),
    "rest": lambda: RetryAfter(1.0, rest=True),
    "rest elsewhere": lambda: RetryAfter(1.0, rest=True, placement="other"),
    "rest the key": lambda: RetryAfter(1.0, rest="key"),
    "again here": lambda: RetryAfter(0.5, placement="same"),
    "give up": lambda: GiveUp("enough"),
    "discard": lambda: Discard("never mind"),
    "broken": lambda: ResourceBroken("worn out"),
    "controls": lambda: ExceptionGroup("two", [RetryAfter(1), ExceptionGroup("inner", [RetryAfter(2)])]),
    "mixed controls": lambda: ExceptionGroup("two", [RetryAfter(1), LeafError("an error")]),
}
ODD: dict[str, Callable[[], BaseException]] = {
    "frozen": lambda: FrozenError("frozen"),
    "wordless": lambda: WordlessError("wordless"),
    "quarrelsome": lambda: QuarrelsomeError("quarrelsome"),
    "secretive group": lambda: SecretiveGroup("two", [LeafError("a"), QuarrelsomeError("b")]),
    "frozen group": lambda: ExceptionGroup("two", [FrozenError("a"), WordlessError("b")]),
}
DEEP: dict[str, Callable[[], BaseException]] = {
    "deep": lambda: _nested(LeafError("far down"), DEPTH),
}
RUDE: dict[str, Callable[[], BaseException]] = {
    "rude": lambda: RudeError("rude"),
    "interrupt": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "rude group": lambda: BaseExceptionGroup("two", [LeafError("a"), RudeError("b")]),
}
# The cancellation of somebody else comes in here.
STRAY: dict[str, Callable[[BaseException], BaseException]] = {
    "stray": lambda stray: stray,
    "stray group": lambda stray: _nested(stray, 1),
    "stray nested": lambda stray: BaseExceptionGroup("outer", [_nested(stray, 3), stray]),
    "stray mixed": lambda stray: BaseExceptionGroup("outer", [LeafError("a"), _nested(stray, 2)]),
    "stray control": lambda stray: BaseExceptionGroup("outer", [RetryAfter(1), stray]),
    "stray rude": lambda stray: BaseExceptionGroup("outer", [RudeError("a"), stray]),
}
DEEP_STRAY: dict[str, Callable[[BaseException], BaseException]] = {
    "stray deep": lambda stray: _nested(stray, DEPTH),
    "stray deep mixed": lambda stray: _nested(BaseExceptionGroup("far down", [LeafError("a"), stray]), DEPTH),
}


def made(kind: str, stray: BaseException) -> BaseException:
    """A new one of this kind."""
    if (plain := (ORDINARY | CONTROLS | ODD | DEEP | RUDE).get(kind)) is not None:
        return plain()
    return (STRAY | DEEP_STRAY)[kind](stray)


async def somebody_elses_cancellation() -> trio.Cancelled:
    """One that has done its work already."""
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    return kept[0]


# As the base class has it, whatever a class of its own makes of that.
_EXCEPTIONS: Any = BaseExceptionGroup.__dict__["exceptions"]
_held_by: Callable[[BaseException], Sequence[BaseException]]
_held_by = _EXCEPTIONS.__get__ if sys.version_info >= (3, 11) else _EXCEPTIONS.fget


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group at whatever depth, each once, or the error alone."""
    found: list[BaseException] = []
    pending = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, BaseExceptionGroup):
            pending += reversed(_held_by(cast("Any", each)))
        else:
            found.append(each)
    return found


def is_among(error: BaseException, others: Sequence[BaseException]) -> bool:
    """Whether it is one of these very objects; they may be quarrelsome."""
    return any(error is other for other in others)


def in_words(error: BaseException) -> str:
    """An error for a message, whatever it makes of being asked."""
    try:
        return repr(error)[:200]
    except Exception:
        return f"<a {type(error).__name__}>"
