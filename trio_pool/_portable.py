"""What can be pickled and copied, and what refuses to be."""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ._shown import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGS: Any = BaseException.__dict__["args"]
# Public and always there, but for type checkers.
_NEW: Callable[..., Any] = cast("Any", copyreg).__newobj__


class Portable:
    """A base of exceptions: they can be pickled and copied, whatever arguments a class derived from them takes.

    As with all exceptions, what they were raised from is left behind, and so are their tracebacks.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[object, ...]:
        state = self._state()
        return _NEW, (type(self), *state["args"]), state

    def __setstate__(self, state: dict[str, Any] | None, /) -> None:
        attributes = dict(state or {})
        # Past the class's own ways to assign, which may refuse.
        _ARGS.__set__(self, attributes.pop("args"))
        vars(self).update(attributes)

    def _state(self) -> dict[str, Any]:
        """The attributes of the exception, its arguments among them, as far as they can go elsewhere."""
        return {**vars(self), "args": _ARGS.__get__(self)}


class Handle:
    """A base of what stands for something of this very process: it is neither pickled nor copied."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        name = type_name(self)
        raise TypeError(
            f"a {name} can't be pickled or copied: it belongs to a pool that runs here; "
            "take what is to go elsewhere from it, such as its name, its result or its statistics()"
        )
