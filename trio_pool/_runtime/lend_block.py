"""The block in which a job lends its worker to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .._basics.attributes import OnlyAsync
from .._basics.is_a import is_a
from .._basics.text import one_line
from .._policies.retry import ResourceBroken
from .deadlock_error import deadlock_of
from .job_context import is_part_of
from .notify import notify

if TYPE_CHECKING:
    from types import TracebackType

    from .._model.handles import Job
    from .._model.records import Run


class LendBlock(OnlyAsync):
    """The block that ``job.lend()`` returns; see `Job.lend`."""

    __slots__ = ("_job", "_run")

    def __init__(self, job: Job[Any]) -> None:
        _check(job)
        self._job = job
        self._run: Run | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> None:
        self._job._host.check_caller()
        if self._run is not None:
            raise RuntimeError("what lend() returns can be entered only once")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._run = run = _check(self._job)
        run.worker._task.loans.lend(run)
        self._tell("lent")
        await trio.lowlevel.cancel_shielded_checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run = self._run
        assert run is not None
        worker = run.worker
        self._tell("claimed")
        in_vain = await worker._task.loans.take_back(run)
        self._tell("returned")
        await trio.lowlevel.cancel_shielded_checkpoint()
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        if in_vain is not None and (error is None or is_a(error, Exception)):
            raise deadlock_of(in_vain)
        if error is None:
            if worker._is_leaving:
                raise ResourceBroken(f"{one_line(worker.name)} was removed while it was lent")
            if not worker._is_open:
                raise ResourceBroken(f"the resource of {one_line(worker.name)} broke while it was lent")

    def _tell(self, step: str) -> None:
        host: Any = self._job._host
        notify(host.instruments, "_lent", self._run, step)


def _check(job: Job[Any]) -> Run:
    """Return the run of a job, after checking that it may lend its place now."""
    if job.state.is_final:
        raise RuntimeError(f"a job that has ended has no worker to lend: {job!r}")
    run = job._run
    if run is None or not is_part_of(job):
        raise RuntimeError("lend() must be called inside the job's function")
    if job._options.hedge is not None:
        raise RuntimeError("a job with a hedge can't lend its worker")
    name = one_line(run.worker.name)
    if run.is_forfeited:
        raise RuntimeError(f"the job goes on without {name}, which it had lent, and has no worker to lend")
    if run.is_lent:
        raise RuntimeError(f"the job has lent {name} already")
    return run
