"""How other threads of the process hand jobs to a pool."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._model.errors import PoolClosedError
from .._runtime.home import Home, through_host
from .._runtime.job_runner import is_in_a_job, leave_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from .._model.job_options import JobOptions
    from .._model.records import JobSpec
    from .job_future import JobFuture
    from .submitting import Submitting


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


def _check(submitting: Submitting, fn: object, options: JobSpec, call: str) -> Home:
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
    from .job_future import JobFuture

    return JobFuture(submitting, home)
