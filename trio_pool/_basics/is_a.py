"""What an exception is, by its type alone."""

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
    """Whether an exception is of these types, as an ``except`` clause sees it.

    `isinstance` asks the exception for its ``__class__`` as well, and that may be code of the program's that raises.
    """
    return issubclass(type(error), kinds)
