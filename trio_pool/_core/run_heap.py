"""A priority queue that is fast if entries come in order."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

E = TypeVar("E", bound="tuple[object, ...]")

# Below this length, stale entries are not worth removing.
_LEAST_TO_COMPACT = 64


class RunHeap(Generic[E]):
    """A heap beside a sorted run.

    Most entries come in order, or in reverse order. These are in the run, which grows at both ends;
    taking an entry from it is very cheap. Only entries in between go into the heap. No two entries may
    be equal.
    """

    __slots__ = ("_heap", "_run")

    def __init__(self) -> None:
        self._run: deque[E] = deque()
        self._heap: list[E] = []

    def _add(self, entry: E) -> None:
        run = self._run
        if not run or run[-1] < entry:
            run.append(entry)
        elif entry < run[0]:
            run.appendleft(entry)
        else:
            heapq.heappush(self._heap, entry)

    def _first(self) -> E | None:
        run, heap = self._run, self._heap
        if heap and not (run and run[0] < heap[0]):
            return heap[0]
        return run[0] if run else None

    def _pop(self) -> E:
        """Remove the first entry; there must be one."""
        run, heap = self._run, self._heap
        if heap and not (run and run[0] < heap[0]):
            return heapq.heappop(heap)
        return run.popleft()

    def _compact(self, stale: int, is_valid: Callable[[E], bool]) -> bool:
        """Drop the stale entries if they are more than half of a large heap; return whether that was done."""
        if not stale * 2 > len(self) > _LEAST_TO_COMPACT:
            return False
        self._run = deque(filter(is_valid, self._run))
        self._heap = list(filter(is_valid, self._heap))
        heapq.heapify(self._heap)
        return True

    def __iter__(self) -> Iterator[E]:
        """Iterate over all entries in no particular order, including stale ones."""
        yield from self._run
        yield from self._heap

    def __len__(self) -> int:
        """The number of entries, including stale ones."""
        return len(self._run) + len(self._heap)
