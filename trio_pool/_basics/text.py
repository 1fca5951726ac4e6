"""Short and safe texts of users' objects for messages.

An argument, a resource, an item or an error can misbehave when it is formatted: it may raise any
exception, return something other than a string, or be a hundred megabytes long. None of that must
change what the pool does. So nothing else in the package calls ``repr`` or ``str`` of a user's
object. Only a `KeyboardInterrupt` propagates.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .attributes import Entered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST = 200
"""The default maximum number of characters of a text."""
MOST_OF_ARGUMENTS = 40
"""The maximum number of characters between the parentheses of a call."""

_DEEPEST = 5  # how many levels of nested containers are shown
_BITS_SHOWN = 1024  # of an integer: Python refuses to format more than some thousand digits, and is slow before that


def one_line(text: str, most: int = MOST, *, raw: bool = False) -> str:
    """Format the text in one line of at most ``most`` characters, all of them printable unless ``raw``."""
    head = text[: 4 * most]  # bounds the work, however long the text is
    line = " ".join(head.split())
    if not (raw or line.isprintable()):
        line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    return line if len(line) <= most and len(head) == len(text) else f"{line[: most - 1]}…"


def shown(value: object, most: int = MOST) -> str:
    """Return the object's repr in one line of at most ``most`` characters, or a placeholder if that fails.

    Built-in containers and strings are formatted only as far as they are shown.
    """
    text = _repr(value, most, 0)
    if not text.isprintable():
        return one_line(text, most)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def said(value: object, most: int = MOST, *, raw: bool = False) -> str:
    """Return the object's ``str`` in one line of at most ``most`` characters, all of them printable unless ``raw``."""
    try:
        return one_line(_str(value, most), most, raw=raw)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the message is about an earlier failure, which this one must not hide
        return "<its text can't be read>"


def type_name(value: object) -> str:
    """The name of the object's class."""
    return _NAME(type(value))


def qualified_type_name(value: object) -> str:
    """The qualified name of the object's class."""
    return _QUALIFIED_NAME(type(value))


def full_type_name(value: object) -> str:
    """The qualified name of the object's class, with the module's name in front unless the class is built in."""
    bases = map(vars, type(value).__mro__)
    module: object = next((base["__module__"] for base in bases if "__module__" in base), None)
    name = qualified_type_name(value)
    return f"{module}.{name}" if type(module) is str and module != "builtins" else name


def call_name(fn: object) -> str:
    """The qualified name of a function, or of the function inside a partial."""
    while issubclass(type(fn), partial):
        fn = _PARTIAL_FUNC(fn)
    return own_text(fn, "__qualname__") or qualified_type_name(fn)


def own_text(thing: object, attribute: str) -> str:
    """The object's attribute if that is a string, otherwise an empty string."""
    try:
        found: object = getattr(thing, attribute, None)
    except KeyboardInterrupt:
        raise
    except BaseException:  # reading the attribute may run code of the program
        return ""
    return str.__str__(found) if isinstance(found, str) else ""


def call_arguments(fn: object, args: Iterable[object]) -> str:
    """Format a call's arguments, including those of a `functools.partial`, as far as there is room."""
    before: tuple[object, ...] = ()
    keywords: dict[str, object] = {}
    if issubclass(type(fn), partial):
        before, keywords = _PARTIAL_ARGS(fn), _PARTIAL_KEYWORDS(fn)
    text = ""
    for part in _parts(before, args, keywords):
        text = f"{text}, {part}" if text else part
        if len(text) > MOST_OF_ARGUMENTS:
            return f"{text[: MOST_OF_ARGUMENTS - 1]}…"
    return text


def _parts(before: Iterable[object], args: Iterable[object], keywords: dict[str, object]) -> Iterator[str]:
    most = MOST_OF_ARGUMENTS + 1
    for values in (before, args):
        for value in values:
            yield _argument(value, most)
    for name, value in keywords.items():
        yield f"{one_line(name, most)}={_argument(value, most)}"


def _argument(value: object, most: int) -> str:
    """Format an argument. A pool or a group is reduced to its type, since its repr includes the jobs in it."""
    return f"<{type_name(value)}>" if issubclass(type(value), Entered) else shown(value, most)


def _slot(kind: type[Any], name: str) -> Any:
    """Return the getter of a field of a built-in class, which derived classes can't override."""
    return kind.__dict__[name].__get__


_NAME: Callable[[type], str] = _slot(type, "__name__")
_QUALIFIED_NAME: Callable[[type], str] = _slot(type, "__qualname__")
_PARTIAL_FUNC: Callable[[object], object] = _slot(partial, "func")
_PARTIAL_ARGS: Callable[[object], tuple[object, ...]] = _slot(partial, "args")
_PARTIAL_KEYWORDS: Callable[[object], dict[str, object]] = _slot(partial, "keywords")
_EXCEPTION_ARGS: Callable[[object], tuple[object, ...]] = _slot(BaseException, "args")


class _Brackets(NamedTuple):
    """A built-in container class, and the brackets of its repr."""

    kind: Any
    opening: str
    closing: str
    empty: str
    is_mapping: bool = False


_CONTAINERS = (
    _Brackets(list, "[", "]", "[]"),
    _Brackets(tuple, "(", ")", "()"),
    _Brackets(dict, "{", "}", "{}", is_mapping=True),
    _Brackets(set, "{", "}", "set()"),
    _Brackets(frozenset, "frozenset({", "})", "frozenset()"),
    _Brackets(deque, "deque([", "])", "deque([])"),
)
# By their ``__repr__`` methods, so that a derived class with its own is formatted by that.
_BRACKETS: dict[object, _Brackets] = {each.kind.__repr__: each for each in _CONTAINERS}
_QUOTED: dict[object, tuple[Any, tuple[Any, Any]]] = {
    str.__repr__: (str, ("'", '"')),
    bytes.__repr__: (bytes, (b"'", b'"')),
    bytearray.__repr__: (bytearray, (b"'", b'"')),
}


def _repr(value: object, most: int, depth: int) -> str:
    """Return the object's repr; if it is longer than ``most``, it may be incomplete."""
    try:
        how: object = type(value).__repr__
        if how in _QUOTED:
            return repr(_beginning(value, *_QUOTED[how], most))
        if how in _BRACKETS:
            return _container(value, _BRACKETS[how], most, depth)
        if how is int.__repr__ and (bits := int.bit_length(cast("int", value))) > _BITS_SHOWN:
            return f"<an int of {bits} bits>"
        return str.__str__(repr(value))
    except KeyboardInterrupt:
        raise
    except BaseException:  # the message is about an earlier failure, which this one must not hide
        return f"<{type_name(value)}: its repr can't be read>"


def _beginning(value: object, kind: Any, quotes: tuple[Any, Any], most: int) -> Any:
    """Return the shown part of a long string, plus the kinds of quotes in it, which determine the repr's quotes."""
    if kind.__len__(value) <= most:
        return value
    beginning = kind.__getitem__(value, slice(0, most))
    for quote in quotes:
        if kind.__contains__(value, quote):
            beginning += quote  # beyond the shown part
    return beginning


def _container(value: object, brackets: _Brackets, most: int, depth: int) -> str:
    kind, opening, closing, empty, is_mapping = brackets
    if depth == _DEEPEST:
        return f"{opening}…{closing}"
    parts: list[str] = []
    left = most
    for item in kind.items(value) if is_mapping else kind.__iter__(value):
        part = ": ".join([_repr(each, most, depth + 1) for each in (item if is_mapping else (item,))])
        parts.append(part)
        left -= len(part) + len(", ")
        if left < 0:
            break
    if len(parts) == 1 and kind is tuple:
        closing = ",)"
    return f"{opening}{', '.join(parts)}{closing}" if parts else empty


def _str(value: object, most: int) -> str:
    how: object = type(value).__str__
    if how is str.__str__:
        return str.__str__(cast("str", value))
    if how is object.__str__:
        return _repr(value, most, 0)
    if how is BaseException.__str__ or how is KeyError.__str__:
        # Like Python, but without formatting more of a huge argument than is shown.
        args = _EXCEPTION_ARGS(value)
        if len(args) == 1:
            return _str(args[0], most) if how is BaseException.__str__ else _repr(args[0], most, 0)
        return _repr(args, most, 0) if args else ""
    return str.__str__(str(value))
