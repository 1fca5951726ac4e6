"""How users' objects look in messages: asked for their text with care, and told in short.

An argument, a resource, an item or an error may do anything when it is asked what it is: raise whatever
it likes, return what is no string, or be a hundred megabytes. None of that may change what the pool does,
so nothing else in the package calls ``repr`` or ``str`` of an object that is not its own. Only a
`KeyboardInterrupt` goes on.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .attributes import Entered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST = 200
"""Characters of a text, unless somebody says otherwise."""
MOST_OF_ARGUMENTS = 40
"""Characters between the parentheses of a call."""

_DEEPEST = 5  # containers in containers
_BITS_SHOWN = 1024  # of an integer: beyond some thousand digits Python refuses, and is slow before that


def one_line(text: str, most: int = MOST, *, raw: bool = False) -> str:
    """The text in one line of ``most`` characters at most, all of them printable unless ``raw``."""
    head = text[: 4 * most]  # the rest isn't looked at, however much it is
    line = " ".join(head.split())
    if not (raw or line.isprintable()):
        line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    return line if len(line) <= most and len(head) == len(text) else f"{line[: most - 1]}…"


def shown(value: object, most: int = MOST) -> str:
    """The object's repr in one line of ``most`` characters at most, or what there is to be said where that fails.

    Of the built-in containers and strings no more is put into words than can be shown.
    """
    text = _repr(value, most, 0)
    if not text.isprintable():
        return one_line(text, most)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def said(value: object, most: int = MOST, *, raw: bool = False) -> str:
    """The same of what ``str`` gives; ``raw`` if it may hold what can't be printed."""
    try:
        return one_line(_str(value, most), most, raw=raw)
    except KeyboardInterrupt:
        raise
    except BaseException:  # it is about something that has failed already, which this must not hide
        return "<its text can't be had>"


def type_name(value: object) -> str:
    """The name of the object's class."""
    return _NAME(type(value))


def qualified_type_name(value: object) -> str:
    """The name of the object's class within its module."""
    return _QUALIFIED_NAME(type(value))


def full_type_name(value: object) -> str:
    """The same with the module's name before it, but for what is built in."""
    bases = map(vars, type(value).__mro__)
    module: object = next((base["__module__"] for base in bases if "__module__" in base), None)
    name = qualified_type_name(value)
    return f"{module}.{name}" if type(module) is str and module != "builtins" else name


def call_name(fn: object) -> str:
    """A function's name as a reader would look for it."""
    while issubclass(type(fn), partial):
        fn = _PARTIAL_FUNC(fn)
    return own_text(fn, "__qualname__") or qualified_type_name(fn)


def own_text(thing: object, attribute: str) -> str:
    """What the object has for an attribute if that is a string, or an empty one."""
    try:
        found: object = getattr(thing, attribute, None)
    except KeyboardInterrupt:
        raise
    except BaseException:  # its attributes are made by code of the program's
        return ""
    return str.__str__(found) if isinstance(found, str) else ""


def call_arguments(fn: object, args: Iterable[object]) -> str:
    """What a function is called with, as far as it can be shown, those of a `functools.partial` included."""
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
    """What is shown of it; of a pool or a group, which says as well what is in it, only what it is."""
    return f"<{type_name(value)}>" if issubclass(type(value), Entered) else shown(value, most)


def _slot(kind: type[Any], name: str) -> Any:
    """What reads a field of a built-in class, which what derives from it can't hide."""
    return kind.__dict__[name].__get__


_NAME: Callable[[type], str] = _slot(type, "__name__")
_QUALIFIED_NAME: Callable[[type], str] = _slot(type, "__qualname__")
_PARTIAL_FUNC: Callable[[object], object] = _slot(partial, "func")
_PARTIAL_ARGS: Callable[[object], tuple[object, ...]] = _slot(partial, "args")
_PARTIAL_KEYWORDS: Callable[[object], dict[str, object]] = _slot(partial, "keywords")
_EXCEPTION_ARGS: Callable[[object], tuple[object, ...]] = _slot(BaseException, "args")


class _Brackets(NamedTuple):
    """A built-in class of containers, and what stands around what is in one."""

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
# By how they show themselves, so that what derives from them and has a repr of its own is asked for that.
_BRACKETS: dict[object, _Brackets] = {each.kind.__repr__: each for each in _CONTAINERS}
_QUOTED: dict[object, tuple[Any, tuple[Any, Any]]] = {
    str.__repr__: (str, ("'", '"')),
    bytes.__repr__: (bytes, (b"'", b'"')),
    bytearray.__repr__: (bytearray, (b"'", b'"')),
}


def _repr(value: object, most: int, depth: int) -> str:
    """The object's repr; where it is longer than ``most``, perhaps only its beginning."""
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
    except BaseException:  # as above
        return f"<{type_name(value)}: its repr can't be had>"


def _beginning(value: object, kind: Any, quotes: tuple[Any, Any], most: int) -> Any:
    """What there is to see of a long text, with all the quotation marks that it holds: they decide about its own."""
    if kind.__len__(value) <= most:
        return value
    beginning = kind.__getitem__(value, slice(0, most))
    for quote in quotes:
        if kind.__contains__(value, quote):
            beginning += quote  # past what is shown
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
        # What Python makes of them, but of a huge argument no more than is shown.
        args = _EXCEPTION_ARGS(value)
        if len(args) == 1:
            return _str(args[0], most) if how is BaseException.__str__ else _repr(args[0], most, 0)
        return _repr(args, most, 0) if args else ""
    return str.__str__(str(value))
