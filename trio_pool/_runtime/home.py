"""The Trio run and thread of a pool, and the access to them from other threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Home:
    """The Trio run and the thread that have entered the pool's block.

    As long as that Trio run lasts, its thread has no other one.

    Attributes:
      thread: the thread's identifier, to compare with a caller's.
      clock: the clock of the Trio run, which any thread may read.
    """

    __slots__ = ("_calls", "_is_waking", "_lock", "_process", "_token", "clock", "thread")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._process = os.getpid()
        # The calls that other threads have scheduled, and whether the Trio run has been woken for them. Waking it is a
        # system call, which costs more than everything else here.
        self._calls: deque[Callable[[], object]] = deque()
        self._is_waking = False
        # Reentrant, since a signal handler or a finalizer can schedule a call while the lock is held.
        self._lock = threading.RLock()
        self.thread: int = threading.get_ident()
        self.clock: trio.abc.Clock = trio.lowlevel.current_clock()

    def is_here(self) -> bool:
        """Whether the caller is in the pool's own thread."""
        return threading.get_ident() == self.thread

    def current_time(self) -> float:
        """The time in the Trio run, in seconds on its clock."""
        return self.clock.current_time()

    def is_own_run(self) -> bool:
        """Whether the caller is in the pool's own thread, and in no other Trio run."""
        if not self.is_here():
            return False
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:  # in no Trio run, such as in a callback of the host loop in guest mode
            return True

    def is_same_run(self, other: object) -> bool:
        """Whether another home is in the same Trio run."""
        return isinstance(other, Home) and other._token is self._token

    def is_left_behind(self) -> bool:
        """Whether the caller is in a forked process, where the pool doesn't run."""
        return os.getpid() != self._process

    def call_soon(self, fn: Callable[[], object]) -> None:
        """Call ``fn`` in the pool's thread, after the calls that were scheduled there before."""
        with self._lock:
            self._calls.append(fn)
            if not self._is_waking:
                self._is_waking = True
                try:
                    self._token.run_sync_soon(self._run_calls)
                except trio.RunFinishedError:
                    self._is_waking = False
                    self._calls.clear()
                    raise

    def _run_calls(self) -> None:
        # Calls that are scheduled from here on wake the Trio run again.
        self._is_waking = False
        for _ in range(len(self._calls)):
            self._calls.popleft()()


def through_host(home: Home, fn: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    """Await ``fn()`` in the task that waits for this thread, if there is one in the pool's Trio run.

    This way, the call is cancelled with that task, and a job that would wait for itself through a
    thread is detected.

    Returns:
      whether there is such a task, and the value of the call.
    """
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:  # not a thread of `trio.to_thread.run_sync`
        return False, None
    return trio.from_thread.run(_await_at_home, home, fn)


async def _await_at_home(home: Home, fn: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    if home.is_here():
        return True, await fn()
    await trio.lowlevel.checkpoint()
    return False, None
