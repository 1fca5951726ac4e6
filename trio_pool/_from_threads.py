"""Shell: how other threads of the process hand jobs to a pool."""

from __future__ import annotations

import os
import threading
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ._driver import is_in_a_job, leave_job
from ._errors import PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from ._job_future import JobFuture
    from ._options import JobOptions, Options
    from ._submitting import Submitting


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


def submit_from_thread(
    submitting: Submitting, fn: Callable[..., Any], args: tuple[Any, ...], options: JobOptions
) -> JobFuture[Any]:
    """What the method of that name does."""
    call = "submit_from_thread"
    resolved = submitting._resolve(options, call)
    future = _new_future(submitting, _check(submitting, fn, resolved, call))
    future.send(fn, args, resolved, _context_of_job())
    return future


def run_from_thread(submitting: Submitting, fn: Callable[..., Any], args: tuple[Any, ...], options: JobOptions) -> Any:
    """What the method of that name does."""
    call = "run_from_thread"
    resolved = submitting._resolve(options, call)
    home = _check(submitting, fn, resolved, call)
    ran, value = through_host(home, partial(submitting._run, fn, args, resolved))
    if ran:
        return value
    future = _new_future(submitting, home)
    try:
        # In here too, as the job may start, and a Ctrl-C strike, before this returns.
        future.send(fn, args, resolved, _context_of_job())
        return future.result()
    except BaseException:
        future.stop()
        raise


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


def _check(submitting: Submitting, fn: object, options: Options, call: str) -> Home:
    """Check what can be checked outside the pool's thread; returns where that is."""
    submitting._check_call(fn, options)
    submitting._check_open(inside=_is_part_of_job() and submitting._is_inside())
    home = submitting._engine.home
    if home.is_left_behind():
        raise PoolClosedError("the pool has stayed in the process that this one was forked from")
    if home.is_here():
        name = call.removesuffix("_from_thread")
        raise RuntimeError(f"{call}() is for other threads than the pool's own; there it is: await {name}()")
    return home


def _is_part_of_job() -> bool:
    """Whether a job may be waiting for this thread.

    To have the context of one is not enough: any thread may have a copy, and in some builds of Python
    threads begin with one.
    """
    if not is_in_a_job():
        return False
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return False
    except trio.Cancelled:
        pass  # it is for others to say so
    return True


def _context_of_job() -> Context:
    """The context for a job that this thread submits."""
    context = copy_context()
    if not _is_part_of_job():
        context.run(leave_job)
    return context


def _new_future(submitting: Submitting, home: Home) -> JobFuture[Any]:
    # Not at the top, since few programs need it, and what it is made of takes long to import.
    from ._job_future import JobFuture

    return JobFuture(submitting, home)
