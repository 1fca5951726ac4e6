"""Type checks of exceptions that use only the type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from typing_extensions import TypeIs

T = TypeVar("T")


@overload
def is_a(error: object, kinds: type[T]) -> TypeIs[T]: ...


@overload
def is_a(error: object, kinds: tuple[Any, ...]) -> bool: ...


def is_a(error: object, kinds: Any) -> bool:
    """Whether an exception is an instance of these types, as in an ``except`` clause.

    `isinstance` also reads ``__class__`` of the exception, which may run code of the program that
    raises an exception.
    """
    return issubclass(type(error), kinds)
