"""Shell: making jobs and letting them in, for pools and groups alike."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

import trio

from . import _validate
from ._driver import enclosing_jobs, is_in_a_job
from ._job import Job, JobState, has_ended
from ._places import Admission, Door
from ._streams import Mapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager
    from contextvars import Context

    from ._engine import Engine
    from ._options import JobOptions, Options


class Submitting:
    """What lets jobs in, under the calls that have types; see `ResourceCalls` and `SlotCalls`.

    Arguments:
      engine: the engine of the pool.
      defaults: the options of jobs that are given none.
      job_ids: where the jobs' numbers come from.
    """

    def __init__(self, engine: Engine, defaults: Options, job_ids: Iterator[int]) -> None:
        self._engine = engine
        self._defaults = defaults
        self._job_ids = job_ids

    def _is_inside(self) -> bool:
        """Whether the caller, who is in a job, is in one of this pool, or in one submitted by it."""
        return any(job._host is self._engine for job in enclosing_jobs())

    def _resolve(self, options: JobOptions, call: str) -> Options:
        if not options:
            return self._defaults
        return self._defaults.replace(options, defaults=self._defaults, roster=self._engine.roster, call=call)

    def _make_job(
        self, fn: Callable[..., Any], args: tuple[Any, ...], options: Options, context: Context | None = None
    ) -> Job[Any]:
        """A job that is not in the pool yet, in a copy of the caller's context unless one is given."""
        if not callable(fn):
            raise TypeError(not_callable(fn))
        now = trio.current_time()
        deadline = now + options.total_timeout
        return Job(self._engine, next(self._job_ids), fn, args, options, now, deadline, context or copy_context())

    @trio.lowlevel.enable_ki_protection
    def _submit_nowait(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        options: Options,
        idle_only: bool = False,
        context: Context | None = None,
    ) -> Job[Any]:
        job = self._make_job(fn, args, options, context)
        engine = self._engine
        inside = is_in_a_job() and self._is_inside()
        if engine.closed:
            engine.check_open(inside=inside)
        door = Door.IF_IDLE if idle_only else Door.ALWAYS if inside else Door.AT_ONCE
        if engine.let_in(job, door) is Admission.FULL:
            raise trio.WouldBlock
        return job

    @trio.lowlevel.enable_ki_protection
    async def _submit(self, fn: Callable[..., Any], args: tuple[Any, ...], options: Options) -> Job[Any]:
        # The same in the calls that have types, which do without this coroutine.
        job = self._make_job(fn, args, options)
        # First of all, so that a body that ends with its pool is told so by its cancellation.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._lines_up(job):
            await self._engine.wait_for_place(job)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return job

    def _lines_up(self, job: Job[Any]) -> bool:
        """Let a job in, or in line for a place; returns whether it is in line."""
        engine = self._engine
        inside = is_in_a_job() and self._is_inside()
        if engine.closed:
            engine.check_open(inside=inside)
        return engine.let_in(job, Door.ALWAYS if inside else Door.QUEUE_UP) is Admission.WAITING

    @trio.lowlevel.enable_ki_protection
    async def _run(self, fn: Callable[..., Any], args: tuple[Any, ...], options: Options) -> Any:
        job = await self._submit(fn, args, options)
        try:
            await self._engine.wait_for(job, has_ended)
        except BaseException:
            job.cancel()
            with trio.CancelScope(shield=True):
                await self._engine.wait_for(job, has_ended)
            if job.state in (JobState.DEAD, JobState.SUCCEEDED):
                return self._engine.result_of(job)
            raise
        return self._engine.result_of(job)

    def _map(
        self,
        kind: Callable[..., Any],
        fn: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        buffer: int | None,
        options: JobOptions,
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        name = "map" if kind is Mapped else "as_completed"
        if not callable(fn):
            raise TypeError(not_callable(fn))
        if not (hasattr(items, "__iter__") or hasattr(items, "__aiter__")):
            raise TypeError(f"items must be an iterable or an async iterable, got {items!r}")
        if buffer is not None:
            _validate.count("buffer", buffer, least=1)
        resolved = self._resolve(options, name)
        return cast("AbstractAsyncContextManager[AsyncIterator[Any]]", kind(self, fn, items, buffer, resolved))


def not_callable(fn: object) -> str:
    """What to say of something that was given for a function and can't be called."""
    if hasattr(fn, "close") and hasattr(fn, "send"):
        cast("Any", fn).close()  # or Python warns that it was never awaited
        return (
            f"the first argument must be an async function, got the coroutine {fn!r}; "
            "hand over the function and its arguments: submit(fn, arg), not submit(fn(arg))"
        )
    return f"the first argument must be an async function, got {fn!r}"
