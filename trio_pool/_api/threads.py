"""Submitting jobs to a pool from other threads of the process."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._model.errors import PoolClosedError
from .._runtime.home import Home, through_host
from .._runtime.job_context import is_in_a_job, leave_job

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
    """Implement the method of the same name."""
    call = "submit_from_thread"
    resolved = submitting._resolve(options, call)
    future = _new_future(submitting, _check(submitting, fn, resolved, call))
    future.send(fn, args, resolved, _context_of_job())
    return future


def run_from_thread(submitting: Submitting, fn: Callable[..., Any], args: tuple[Any, ...], options: JobOptions) -> Any:
    """Implement the method of the same name."""
    call = "run_from_thread"
    resolved = submitting._resolve(options, call)
    home = _check(submitting, fn, resolved, call)
    ran, value = through_host(home, partial(submitting._run, fn, args, resolved))
    if ran:
        return value
    future = _new_future(submitting, home)
    try:
        # This call is inside the block too, since the job may start, and a Ctrl-C arrive, before the
        # call returns.
        future.send(fn, args, resolved, _context_of_job())
        return future.result()
    except BaseException:
        future.stop()
        raise


def _check(submitting: Submitting, fn: object, options: JobSpec, call: str) -> Home:
    """Check everything that doesn't need the pool's thread, and return the pool's home."""
    submitting._check_call(fn, options)
    submitting._check_open(inside=_is_part_of_job() and submitting._is_inside())
    home = submitting._engine.home
    if home.is_left_behind():
        raise PoolClosedError("the pool is in the process from which this one was forked")
    if home.is_here():
        name = call.removesuffix("_from_thread")
        raise RuntimeError(f"{call}() is for other threads; in the pool's own thread, use await {name}()")
    return home


def _is_part_of_job() -> bool:
    """Whether a job may be waiting for this thread.

    A job's context alone doesn't prove that: any thread may have a copy of it, and in some builds
    of Python new threads inherit the context.
    """
    if not is_in_a_job():
        return False
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return False
    except trio.Cancelled:
        pass  # left for later checks to raise
    return True


def _context_of_job() -> Context:
    """Return the context for a job that this thread submits."""
    context = copy_context()
    if not _is_part_of_job():
        context.run(leave_job)
    return context


def _new_future(submitting: Submitting, home: Home) -> JobFuture[Any]:
    # Imported here, since few programs need the module and its dependencies take long to import.
    from .job_future import JobFuture

    return JobFuture(submitting, home)
