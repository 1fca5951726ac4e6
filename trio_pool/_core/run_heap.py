"""Entries in order, cheap where they come in order."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

E = TypeVar("E", bound="tuple[object, ...]")

# Below this length stale entries aren't worth a thought.
_LEAST_TO_COMPACT = 64


class RunHeap(Generic[E]):
    """A heap beside a sorted run.

    Most entries come in their order, or in the reverse of it: these stand in the run, which
    grows at its ends and costs next to nothing to take from. Only what comes in between goes
    into the heap. No two entries may be equal.
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
        """Take out the first entry; there must be one."""
        run, heap = self._run, self._heap
        if heap and not (run and run[0] < heap[0]):
            return heapq.heappop(heap)
        return run.popleft()

    def _compact(self, stale: int, is_valid: Callable[[E], bool]) -> bool:
        """Drop what is stale if that is more than half, and not too little; returns whether."""
        if not stale * 2 > len(self) > _LEAST_TO_COMPACT:
            return False
        self._run = deque(filter(is_valid, self._run))
        self._heap = list(filter(is_valid, self._heap))
        heapq.heapify(self._heap)
        return True

    def __iter__(self) -> Iterator[E]:
        """All entries in no order, stale ones included."""
        yield from self._run
        yield from self._heap

    def __len__(self) -> int:
        """How many entries there are, stale ones included."""
        return len(self._run) + len(self._heap)
