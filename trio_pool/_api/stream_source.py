"""The source of a stream's items."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterable
from itertools import islice
from typing import Any

import trio

# Taking an item from an instance of one of these types runs none of the program's code.
_CONTAINERS = frozenset({list, tuple, range, dict, set, frozenset, deque, str, bytes})

END = object()


class Items:
    """An iterable or async iterable, and its iterator once it is needed.

    The program's code runs here without protection, so that Ctrl-C can interrupt it as usual.

    Attributes:
      are_plain: whether taking an item runs none of the program's code.
      is_async: whether the next item may have to be awaited.
    """

    __slots__ = ("_iterator", "_source", "are_plain", "is_async")

    def __init__(self, source: object) -> None:
        self._source: Any = source
        self._iterator: Any = None
        self.is_async: bool = isinstance(source, AsyncIterable)
        self.are_plain: bool = type(source) in _CONTAINERS

    @trio.lowlevel.disable_ki_protection
    def begin(self) -> None:
        """Create the iterator."""
        self._iterator = aiter(self._source) if self.is_async else iter(self._source)

    def take_plain(self) -> Any:
        """Return the next item, or `END`, if the items are plain."""
        return next(self._iterator, END)

    @trio.lowlevel.disable_ki_protection
    async def take(self) -> Any:
        """Return the next item, or `END`."""
        if not self.is_async:
            return next(self._iterator, END)  # noqa: ASYNC910  # its caller runs checkpoints now and then
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            return END  # noqa: ASYNC910  # its caller runs checkpoints now and then

    @trio.lowlevel.disable_ki_protection
    def take_into(self, taken: list[Any], most: int) -> None:
        """Append the next ``most`` items of an iterable that is not async, or fewer at its end.

        If the iterable raises, the items before have been appended.
        """
        taken.extend(islice(self._iterator, most))

    @trio.lowlevel.disable_ki_protection
    async def close(self) -> None:  # noqa: ASYNC910  # nothing may need closing
        """Close a generator. Other iterators stay open, since the program may go on using them."""
        for each in (self._iterator, self._source):
            if inspect.isasyncgen(each):
                await each.aclose()
            elif inspect.isgenerator(each):
                each.close()
        self._iterator = self._source = None
