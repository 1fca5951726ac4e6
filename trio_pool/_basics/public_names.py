"""Public names for public objects, for tracebacks, reprs, pickles, warnings and the documentation."""

from __future__ import annotations

import sys
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable


_PACKAGE = __name__.partition(".")[0]


def publish(module: str, names: Iterable[str]) -> None:
    """Set ``__module__`` of all public objects, and of their public methods, to the public module.

    A method that public classes inherit from a private class, like ``run`` of `Pool` and
    `JobGroup`, is copied to each public class.

    Arguments:
      module: the name of the module.
      names: the public names in it.
    """
    content = vars(sys.modules[module])
    public = [thing for name in names if isinstance(thing := content[name], (type, FunctionType))]
    for thing in public:
        thing.__module__ = module
    for kind in public:
        if isinstance(kind, type):
            _name_members(kind, module)


def _name_members(kind: type, module: str) -> None:
    seen: set[str] = set()
    for base in kind.__mro__:
        is_private = base.__module__.startswith(f"{_PACKAGE}._")
        for name, member in list(vars(base).items()):
            if name not in seen and (base is kind or (is_private and _is_for_users(name))):
                named = _named(member, f"{kind.__qualname__}.{name}", module)
                if named is not member:
                    setattr(kind, name, named)
            seen.add(name)


def _is_for_users(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _named(member: Any, name: str, module: str) -> Any:
    """Return a copy of a method or property with this name, or the member itself if no copy is needed."""
    # PyPy's built-in functions are of the same type, but have no globals.
    if isinstance(member, FunctionType) and getattr(member, "__globals__", None) is not None:
        if member.__qualname__ != name:
            return _copy(member, name, module)
        member.__module__ = module
    elif isinstance(member, (classmethod, staticmethod)):
        kind: Any = type(cast("object", member))
        inner: Any = cast("Any", member).__func__
        named = _named(inner, name, module)
        return cast("Any", member) if named is inner else kind(named)
    elif isinstance(member, property):
        get, put, drop = (_named(part, name, module) for part in (member.fget, member.fset, member.fdel))
        is_new = get is not member.fget or put is not member.fset or drop is not member.fdel
        return property(get, put, drop, member.__doc__) if is_new else member
    return member


def _copy(fn: FunctionType, name: str, module: str) -> FunctionType:
    inner = vars(fn).get("__wrapped__")
    cells = fn.__closure__
    attributes = dict(vars(fn))
    if isinstance(inner, FunctionType):
        # Older versions of Trio wrap the function in a decorator; the inner function makes the
        # coroutine.
        attributes["__wrapped__"] = named = _copy(inner, name, module)
        cells = tuple(CellType(named) if cell.cell_contents is inner else cell for cell in cells or ())
    copy = FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, cells)
    for attribute in ("__kwdefaults__", "__annotations__", "__doc__"):
        setattr(copy, attribute, getattr(fn, attribute))
    vars(copy).update(attributes)
    copy.__qualname__ = name
    copy.__module__ = module
    return copy
