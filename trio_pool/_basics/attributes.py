"""Helpful errors for wrong uses of public objects."""

from __future__ import annotations

from typing import TYPE_CHECKING


class FixedAttributes:
    """A base that refuses to set undeclared attributes, with an error that names the assignable ones.

    A class with slots refuses them anyway, but an error that lists the names helps with a mistake
    such as ``pool.max_queue = 3``. Use it only for objects with few assignments, since these become
    several times slower.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if not _is_assignable(getattr(type(self), name, None)):
            own = type(self)
            known = sorted(each for each in dir(own) if each[0] != "_" and _is_assignable(getattr(own, each)))
            others = f"; what can be: {', '.join(known)}" if known else ""
            raise AttributeError(f"{own.__name__}.{name} can't be assigned{others}")
        object.__setattr__(self, name, value)


def _is_assignable(member: object) -> bool:
    """Whether a member of a class is a slot, or a property with a setter."""
    return member.fset is not None if isinstance(member, property) else hasattr(type(member), "__set__")


class OnlyAsync:
    """A base of async context managers with a helpful error if one is used with a plain ``with``, or awaited."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker reports the missing methods by itself

        def __await__(self) -> None:
            raise TypeError("use 'async with', not 'await'")

        def __enter__(self) -> None:
            raise TypeError("use 'async with', not 'with'")

        def __exit__(self, *_: object) -> None:
            """Never called, but Python looks it up first."""


class Entered:
    """A base of objects that a block yields, with a helpful error if one is itself used with ``async with``."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker reports the missing methods by itself

        async def __aenter__(self) -> None:
            name = type(self).__name__
            raise TypeError(f"this {name} is open already; 'async with' is for what the call that opens one returns")

        async def __aexit__(self, *_: object) -> None:
            """Never called, but Python looks it up first."""
