"""Which job the calling code is part of, and in the blocks of which leases it is."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Generator

    from .._model.handles import Job, Worker
    from .._model.records import Run


class Held:
    """A lease in whose block the calling code is.

    Attributes:
      job: the job of the lease.
      inside: the job whose function contains the block, or None. In another job's function, which has
          inherited the context, the lease means nothing.
      outer: the lease around the block, in the same function; or None.
    """

    __slots__ = ("inside", "job", "outer")

    def __init__(self, job: Job[Any]) -> None:
        held, inside = innermost.get(), current.get()
        self.job = job
        self.inside = inside
        self.outer: Held | None = held if held is not None and held.inside is inside else None


# None in a context that was copied from a job's but is not part of the job.
current: ContextVar[Job[Any] | None] = ContextVar("trio_pool_current_job", default=None)

# The run of a job with a hedge, which may have several. The only run of any other job is stored in the job.
current_run: ContextVar[Run | None] = ContextVar("trio_pool_current_run", default=None)

# The innermost lease around the calling code.
innermost: ContextVar[Held | None] = ContextVar("trio_pool_lease", default=None)


def current_job() -> Job[Any]:
    """Return the job whose function is running.

    Works in the function itself, in everything that it calls, and in tasks and threads that it
    starts with Trio. The block of ``acquire`` changes nothing: its job is ``lease.job``.

    Raises:
      RuntimeError: if the caller is not part of a job.
    """
    job = current.get()
    if job is None:
        raise RuntimeError("current_job() must be called inside a job's function")
    return job


def current_worker() -> Worker:
    """Return the worker on which this call of the job's function runs.

    Works where `current_job` does. A job with a `Hedge` can run on several workers: each call of its function gets
    its own.

    Raises:
      RuntimeError: if the caller is not part of a running job, or its job goes on without the worker that it had
          lent, see `Job.lend`.
    """
    job = current.get()
    run = current_run.get()
    if job is not None and (run is None or run.job is not job):
        run = job._run
    if job is None or run is None:
        raise RuntimeError("current_worker() must be called inside a job's function")
    if run.is_lent and run.is_forfeited:
        raise RuntimeError(f"the job goes on without {run.worker.name}, which it had lent")
    return cast("Worker", run.worker)


def run_inside(job: Job[Any], call: str) -> Run:
    """Return the run of a job that the caller is part of; raise RuntimeError if it is not part of any run."""
    run = current_run.get()
    if run is None or run.job is not job:
        run = job._run
    if run is None or not is_part_of(job) or not (run.is_lent or run in run.worker._runs):
        raise RuntimeError(f"{call}() must be called inside the job's function, while it runs")
    return run


def leave_job() -> None:
    """Detach the current context from its job and from the leases in it."""
    current.set(None)
    innermost.set(None)


def is_in_a_job() -> bool:
    """Whether the caller may be part of a job or in the block of a lease: a quick check."""
    return current.get() is not None or innermost.get() is not None


def is_part_of(job: Job[Any]) -> bool:
    """Whether the caller is in the function of a job or, if the job is a lease's, in its block."""
    return any(each is job for each in own_jobs())


def own_jobs() -> Generator[Job[Any], None, None]:
    """Yield the jobs whose body the calling code is in: those of leases, the innermost first, then its own job.

    Ended jobs are excluded: tasks that a job leaves behind are not part of the job.
    """
    yield from _own(innermost.get(), current.get())


def enclosing_jobs() -> Generator[Job[Any], None, None]:
    """Yield the jobs whose body the calling code is in, then those of the code that submitted its job, and so on.

    Ended jobs are excluded, and so are the jobs around them.
    """
    held, job = innermost.get(), current.get()
    while True:
        yield from _own(held, job)
        context = None if job is None or job.state.is_final else job._context
        if context is None:
            return
        held, job = context.get(innermost), context.get(current)


def _own(held: Held | None, job: Job[Any] | None) -> Generator[Job[Any], None, None]:
    if held is not None and held.inside is job:
        while held is not None:
            if not held.job.state.is_final:
                yield held.job
            held = held.outer
    if job is not None and not job.state.is_final:
        yield job
