"""Makes a program that fails small: leaves parts out for as long as it still fails in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import attrs

from tests.programs.language import Part, Program, Statement


def shrunk(program: Program, fails: Callable[[Program], bool], *, seconds: float = 60.0) -> Program:
    """The smallest program that is found within so many seconds of real time."""
    until = time.monotonic() + seconds
    size = len(repr(program))
    while True:
        for candidate in simpler(program):
            if time.monotonic() > until:
                return program
            if len(repr(candidate)) < size and fails(candidate):
                program, size = candidate, len(repr(candidate))
                break
        else:
            return program


def signature(failure: str) -> str:
    """What failures of one kind have in common: the kind, and the first words without numbers."""
    kind, _, words = failure.partition(": ")
    return f"{kind}: {' '.join(word for word in words.split()[:5] if word.isalpha())}"


def simpler(part: Any) -> Iterator[Any]:
    """A part with one thing left out, or made plainer; what leaves out most comes first."""
    if isinstance(part, tuple):
        yield from _shorter(cast("tuple[object, ...]", part))
    elif isinstance(part, Part):
        for field in attrs.fields(cast("Any", type(part))):
            value = getattr(part, field.name)
            if field.default is not attrs.NOTHING and value != field.default:
                yield attrs.evolve(cast("Any", part), **{field.name: field.default})
        for field in attrs.fields(cast("Any", type(part))):
            for plainer in simpler(getattr(part, field.name)):
                yield attrs.evolve(cast("Any", part), **{field.name: plainer})
    elif isinstance(part, float):
        yield from (value for value in (0.0, 1.0) if value != part)
    elif isinstance(part, int) and not isinstance(part, bool) and part > 1:
        yield from dict.fromkeys((0, 1, part // 2, part - 1))


def _shorter(parts: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    size = len(parts)
    while size:
        for start in range(0, len(parts), size):
            yield parts[:start] + parts[start + size :]
        size //= 2
    for number, part in enumerate(parts):
        before, after = parts[:number], parts[number + 1 :]
        if isinstance(part, Statement):
            for block in _blocks_of(part):
                yield before + block + after
        for plainer in simpler(part):
            yield (*before, plainer, *after)


def _blocks_of(statement: Statement) -> Iterator[tuple[Any, ...]]:
    """The blocks of statements that a statement holds, those of jobs aside."""
    for field in attrs.fields(cast("Any", type(statement))):
        value = getattr(statement, field.name)
        if field.name in ("body", "each") and value:
            yield value
        elif field.name == "tasks":
            yield from value
