"""Where a pool lives, and how other threads of the process get there."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Home:
    """Where a pool lives: the Trio run and the thread that have entered its block.

    As long as it lives, there is no other Trio run in that thread.

    Attributes:
      thread: the thread's identifier, to be compared with that of a caller.
      clock: that of the Trio run, which any thread may read.
    """

    __slots__ = ("_process", "_token", "clock", "thread")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._process = os.getpid()
        self.thread: int = threading.get_ident()
        self.clock: trio.abc.Clock = trio.lowlevel.current_clock()

    def is_here(self) -> bool:
        """Whether the caller is in the pool's own thread."""
        return threading.get_ident() == self.thread

    def is_left_behind(self) -> bool:
        """Whether the caller is in a process that was forked from the pool's: nothing runs there."""
        return os.getpid() != self._process

    def call_soon(self, fn: Callable[[], object]) -> None:
        """Call ``fn`` in the pool's thread, after what was to be called there before."""
        self._token.run_sync_soon(fn)


def through_host(home: Home, fn: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    """Have the task that waits for this thread await ``fn()``, if there is one in the pool's Trio run.

    So it is cancelled with that task, and is found where a job would wait for itself by way of
    a thread. Returns whether there is such a task, and the value.
    """
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:  # it is none of the threads of `trio.to_thread.run_sync`
        return False, None
    return trio.from_thread.run(_await_at_home, home, fn)


async def _await_at_home(home: Home, fn: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    if home.is_here():
        return True, await fn()
    await trio.lowlevel.checkpoint()
    return False, None
