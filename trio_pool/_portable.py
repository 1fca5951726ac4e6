"""What can be pickled and copied, and what refuses to be."""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ._shown import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    State = tuple[tuple[object, ...], dict[str, object]]

_ARGS: Any = BaseException.__dict__["args"]
# Public and always there, but for type checkers.
_NEW: Callable[..., Any] = cast("Any", copyreg).__newobj__


class Portable:
    """A base of exceptions: they can be pickled and copied, whatever arguments a class derived from them takes.

    As with all exceptions, what they were raised from is left behind, and so are their tracebacks.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[object, ...]:
        args, attributes = self._state()
        return _NEW, (type(self), *args), (args, attributes)

    def __setstate__(self, state: State) -> None:
        args, attributes = state
        # Past the class's own way to assign, which may refuse.
        _ARGS.__set__(self, args)
        vars(self).update(attributes)

    def _state(self) -> State:
        """The arguments of the exception and its attributes, as far as they can go elsewhere."""
        return _ARGS.__get__(self), dict(vars(self))


class Handle:
    """A base of what stands for something of this very process: it is neither pickled nor copied."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        name = type_name(self)
        raise TypeError(
            f"a {name} can't be pickled or copied: it belongs to a pool that runs here; "
            "take what is to go elsewhere from it, such as its name, its result or its statistics()"
        )
