"""Exceptions as users' code may raise them: old cancellations, deep groups, such that refuse whatever they can."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

DEEP = 3000
"""Levels of nesting that no recursion gets through."""


async def stray() -> trio.Cancelled:
    """A cancellation that belongs to a scope which has been left."""
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    return kept[0]


def nested(error: BaseException, depth: int = DEEP) -> BaseExceptionGroup[BaseException]:
    """A group in a group in a group ..., with the error innermost."""
    group = BaseExceptionGroup("level 1", [error])
    for level in range(2, depth + 1):
        group = BaseExceptionGroup(f"level {level}", [group])
    return group


WAYS: dict[str, Callable[[BaseException], BaseException]] = {
    "alone": lambda error: error,
    "in a group": lambda error: BaseExceptionGroup("group", [error]),
    "in a deep group": nested,
    "beside an error": lambda error: BaseExceptionGroup("group", [ValueError("other"), error]),
    "deep beside a deep error": lambda error: BaseExceptionGroup("both", [nested(OSError()), nested(error)]),
}
"""How an exception may come along."""


@dataclass(frozen=True, eq=True)
class Refuses(Exception):
    """Refuses to be assigned to."""

    code: int = 0


class Classless(Exception):
    """Doesn't say of what class it is, as far as it is asked for that."""

    @property
    def __class__(self) -> type[Classless]:
        raise RuntimeError("no class")

    @__class__.setter
    # Declared like that of `object`, which can be assigned to.
    def __class__(self, kind: type[object]) -> None:
        raise RuntimeError("no other class")


class Unruly(Exception):
    """Raises whatever it is asked."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no ==")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError("no assignment")

    def with_traceback(self, tb: object) -> Unruly:
        raise RuntimeError("no traceback")
