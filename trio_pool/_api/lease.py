"""The block in which a caller has a resource for its own use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

import trio

from .._basics.attributes import OnlyAsync
from .._basics.pickling import Handle
from .._runtime.caller_run import CallerRun
from .._runtime.job_context import Held, innermost

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from .._model.handles import Job
    from .._model.records import JobSpec
    from .submitting import Submitting

R_co = TypeVar("R_co", covariant=True)


async def acquire() -> None:
    """The function of a lease's job. It is never called: the caller of ``acquire`` executes the job."""


class Lease(OnlyAsync, Handle, Generic[R_co]):
    """A resource for the caller's own use: the async context manager that ``acquire`` returns.

    Only the pool creates leases. Each can be entered once, and must be left in the task that has entered it.
    """

    __slots__ = ("_executor", "_has_begun", "_is_over", "_job", "_options", "_submitting", "_token")

    def __init__(self, submitting: Submitting, options: JobSpec) -> None:
        self._submitting = submitting
        self._options = options
        self._job: Job[None] | None = None
        self._has_begun = False
        self._is_over = False
        self._executor: CallerRun
        self._token: Token[Held | None]

    @property
    def job(self) -> Job[None]:
        """The job whose body is the block, for `Job.lend`, `Job.set_used`, `Job.report`, `Job.cancel` or `Job.worker`.

        After a wait for a place that was given up, it is the cancelled job.

        Raises:
          RuntimeError: before the block has begun, or the wait for a place has been given up.
        """
        job = self._job
        if job is None or not (self._has_begun or job.state.is_final):
            raise RuntimeError("what acquire() returns has a job only once its block has begun, or can no longer begin")
        return job

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> R_co:
        if self._job is not None:
            raise RuntimeError("what acquire() returns can be entered only once; call acquire() again")
        submitting = self._submitting
        job = self._job = submitting._make_job(acquire, (), self._options)
        self._executor = executor = CallerRun(submitting._engine, job)
        await trio.lowlevel.checkpoint_if_cancelled()
        if not submitting._goes_straight(job) and submitting._lines_up(job):
            await submitting._engine.submitters.wait_for_place(job)
        run = await executor.begin()
        self._token = innermost.set(Held(job))
        self._has_begun = True
        leading: tuple[R_co, ...] = run.worker._task.leading
        return leading[0] if leading else cast("R_co", None)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._has_begun or self._is_over:
            raise RuntimeError("the block of acquire() is left, but not entered")
        executor = self._executor
        executor.check_task()
        self._is_over = True
        if trio.lowlevel.current_task() is executor.task:
            innermost.reset(self._token)
        if executor.left_open is not None:
            if error is None:
                raise executor.left_open
            return  # noqa: ASYNC910  # the block has been ended before
        outcome = await executor.end(error)
        if outcome is not None and outcome is not error:
            raise outcome from outcome.__cause__

    def __repr__(self) -> str:
        return (
            "<trio_pool.Lease, to be entered with async with>"
            if self._job is None
            else f"<trio_pool.Lease of {self._job!r}>"
        )
