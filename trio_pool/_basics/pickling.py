"""Pickling and copying: exceptions support it, handles refuse it."""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any, NoReturn, cast

from .text import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGS: Any = BaseException.__dict__["args"]
# Public and always available, but unknown to type checkers.
_NEW: Callable[..., Any] = cast("Any", copyreg).__newobj__


class Portable:
    """A base of exceptions that can be pickled and copied, whatever arguments a derived class takes.

    As with all exceptions, their causes, contexts and tracebacks are not copied.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[object, ...]:
        state = self._state()
        return _NEW, (type(self), *state["args"]), state

    def __setstate__(self, state: dict[str, Any] | None, /) -> None:
        attributes = dict(state or {})
        # Bypasses the class's own __setattr__, which may refuse.
        _ARGS.__set__(self, attributes.pop("args"))
        vars(self).update(attributes)

    def _state(self) -> dict[str, Any]:
        """The attributes of the exception and its arguments, as far as another process can use them."""
        return {**vars(self), "args": _ARGS.__get__(self)}


class Handle:
    """A base of handles of objects in this process: they can be neither pickled nor copied."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        name = type_name(self)
        raise TypeError(
            f"a {name} can't be pickled or copied: it belongs to a pool that runs here; "
            "take what is to go elsewhere from it, such as its name, its result or its statistics()"
        )
