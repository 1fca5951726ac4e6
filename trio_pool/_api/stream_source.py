"""What the items of a stream are taken from."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterable
from typing import Any

import trio

# To take from one of these runs no code of the program.
_CONTAINERS = frozenset({list, tuple, range, dict, set, frozenset, deque, str, bytes})

END = object()


class Items:
    """An iterable or async iterable, and its iterator once that is needed.

    Code of the program runs here, which Ctrl-C may strike as ever.

    Attributes:
      are_plain: whether none does.
    """

    __slots__ = ("_is_async", "_iterator", "_source", "are_plain")

    def __init__(self, source: object) -> None:
        self._source: Any = source
        self._iterator: Any = None
        self._is_async = isinstance(source, AsyncIterable)
        self.are_plain: bool = type(source) in _CONTAINERS

    @trio.lowlevel.disable_ki_protection
    def begin(self) -> None:
        """Ask for the iterator."""
        self._iterator = aiter(self._source) if self._is_async else iter(self._source)

    def take_plain(self) -> Any:
        """The next one of items that are plain, or `END`."""
        return next(self._iterator, END)

    @trio.lowlevel.disable_ki_protection
    async def take(self) -> Any:
        """The next one, or `END`."""
        if not self._is_async:
            return next(self._iterator, END)  # noqa: ASYNC910  # who calls this lets others run now and then
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            return END  # noqa: ASYNC910  # as above

    @trio.lowlevel.disable_ki_protection
    async def close(self) -> None:  # noqa: ASYNC910  # there may be nothing to close
        """Close a generator. Nothing else is closed: others may go on using it."""
        for each in (self._iterator, self._source):
            if inspect.isasyncgen(each):
                await each.aclose()
            elif inspect.isgenerator(each):
                each.close()
        self._iterator = self._source = None
