"""Tasks that wait for jobs, and the detection of waits inside jobs that would never end."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Protocol, cast

import trio

from .._core.race import runs_of
from .._core.waits import StreamJobs, Wait
from .deadlock_error import deadlock_of
from .job_context import current, innermost, own_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from .._core.core import Core
    from .._model.records import Group, JobRecord, Run
    from .home import Home


def has_ended(job: JobRecord) -> bool:
    """Whether the job is in a final state."""
    return job._finished_at is not None


class WaitingHost(Protocol):
    """The calls that waiting tasks need from the engine."""

    home: Home

    def carry_out(self) -> None: ...
    def check_caller(self) -> None: ...


class Waiting:
    """Lets tasks wait for jobs, and detects waits inside jobs that would never end.

    Attributes:
      on_behalf: maps each of the pool's own tasks that work for another task to that other task;
          for example, a task that takes the items of a stream.
    """

    __slots__ = ("_core", "_host", "on_behalf")

    def __init__(self, host: WaitingHost, core: Core) -> None:
        self._host = host
        self._core = core
        self.on_behalf: dict[trio.lowlevel.Task, trio.lowlevel.Task] = {}

    async def wait_job_started(self, job: JobRecord) -> None:
        """Wait for the start of the job's first attempt, or its end."""
        job._extras.is_start_awaited = True
        await self.wait_for(job, _has_started)

    @trio.lowlevel.enable_ki_protection
    async def wait_for(self, job: JobRecord, reached: Callable[[JobRecord], bool]) -> None:
        """Wait until ``reached(job)`` is true. A checkpoint; a cancellation has no effect on the job."""
        if get_ident() != self._host.home.thread:
            self._host.check_caller()
        if reached(job):
            await trio.lowlevel.checkpoint()
            return
        if current.get() is not None or innermost.get() is not None:  # it is in a job
            with self._begun(lambda: () if reached(job) else (job,)) as wait:
                # The beginning of the wait may itself have fulfilled the condition.
                if reached(job) or (wait is not None and wait.stuck):
                    await trio.lowlevel.checkpoint()
                else:
                    await self._wait_until(job, reached, wait)
                if wait is not None and wait.stuck and not reached(job):
                    raise deadlock_of(wait)
        else:
            await self._wait_until(job, reached)

    async def _wait_until(self, job: JobRecord, reached: Callable[[JobRecord], bool], wait: Wait | None = None) -> None:
        task = trio.lowlevel.current_task()

        # If the callback is no longer registered, it has woken the task, or an earlier callback has cancelled it.
        def watch(job: JobRecord) -> None:
            if watch in watchers and reached(job):
                del watchers[watch]
                trio.lowlevel.reschedule(task)

        def abandon(_: object) -> trio.lowlevel.Abort:
            del watchers[watch]
            return trio.lowlevel.Abort.SUCCEEDED

        def wake() -> None:
            if watch in watchers:
                del watchers[watch]
                trio.lowlevel.reschedule(task)

        watchers = self.watch(job, watch)
        if wait is not None:
            wait.wake = wake
        await trio.lowlevel.wait_task_rescheduled(abandon)

    @contextmanager
    def waiting_for(
        self,
        jobs: Callable[[], Iterable[JobRecord]],
        *,
        window: StreamJobs | None = None,
        group: Group | None = None,
    ) -> Generator[None]:
        """Detect a deadlock if a job waits for others inside this block; then raise `JobDeadlockError`.

        The awaited condition may already be true when the block begins.

        Arguments:
          jobs: returns the jobs that the block waits for.
          window: the window of these jobs, if one of them is enough.
          group: the group that waits for workers, instead of jobs.
        """
        scope = trio.CancelScope()
        with self._begun(jobs, window=window, group=group, wake=scope.cancel) as wait:
            if wait is None:
                yield
                return
            if wait.stuck:
                scope.cancel()
            with scope:
                yield
            if scope.cancelled_caught:
                raise deadlock_of(wait)

    @contextmanager
    def waiting_for_ends(self, jobs: Callable[[], Iterable[JobRecord]]) -> Generator[None]:
        """Register a job's wait for the ends of cancelled jobs, which must not be interrupted."""
        with self._begun(jobs, for_ends=True):
            yield

    @contextmanager
    def _begun(
        self,
        jobs: Callable[[], Iterable[JobRecord]],
        *,
        window: StreamJobs | None = None,
        for_ends: bool = False,
        group: Group | None = None,
        wake: Callable[[], object] | None = None,
    ) -> Generator[Wait | None]:
        """Register a wait of the caller's job for the duration of the block.

        If the wait would never end, it is `stuck` when the block begins.
        """
        run = self.run_of_caller()
        if run is None:
            yield None
            return
        is_shielded = run.is_cut and trio.current_effective_deadline() > -math.inf
        task = trio.lowlevel.current_task()
        awaited = jobs if group is None else group
        wait = Wait(run, task, awaited, window=window, for_ends=for_ends, outlasts=is_shielded)
        wait.wake = wake
        with ExitStack() as at_end:
            if self._core.begin_wait(wait, trio.current_time()):
                at_end.callback(self._core.waits.end, wait)
            self._host.carry_out()
            yield wait

    def begin_for(self, job: JobRecord) -> Wait | None:
        """Register, until `Waits.end`, that the caller's job, if there is one, can't end before this one."""
        run = self.run_of_caller()
        if run is None:
            return None
        wait = Wait(run, trio.lowlevel.current_task(), lambda: (job,), for_ends=True)
        self._core.begin_wait(wait, trio.current_time())
        self._host.carry_out()
        return wait

    def on_waits_in_vain(self, wait: Wait) -> None:
        if wait.wake is not None:
            wait.wake()

    def see_what_outlasts(self, run: Run) -> None:
        """Check which waits of a cancelled run go on, because they are shielded."""
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        # The first callback may come before the cancelled tasks have run; the second one can't.
        soon(soon, self._see_what_outlasts, run)

    def _see_what_outlasts(self, run: Run) -> None:
        self._core.outlasted(run, trio.current_time())
        self._host.carry_out()

    async def wait_for_end(self, job: JobRecord) -> None:
        """Wait for the end of a job that has been cancelled."""
        with self.waiting_for_ends(lambda: (job,)):
            if not has_ended(job):
                await self._wait_until(job, has_ended)
                return
        await trio.lowlevel.checkpoint()

    def run_of_caller(self) -> Run | None:
        """The run of a lease around the caller, or of its job, that holds or has lent a worker of this pool."""
        for job in own_jobs():
            if job._host is cast("object", self._host) and job._run is not None:
                run = self._run_around(job)
                if run is not None:
                    return run
        return None

    def _run_around(self, job: JobRecord) -> Run | None:
        """The run of a job if the caller is its task, or a descendant of that task inside the job."""
        runs = {run.loop.task: run for run in runs_of(job) if run.loop is not None}
        # Tasks that a job has started outside of itself don't keep it from ending.
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        nursery: trio.Nursery | None = None
        while task is not None:
            if task in runs:
                run = runs[task]
                return run if run.loop.has(nursery) else None
            if task in self.on_behalf:
                task = self.on_behalf[task]
            else:
                nursery = task.parent_nursery
                task = None if nursery is None else nursery.parent_task
        return None

    def watch(self, job: JobRecord, watch: Callable[[JobRecord], object]) -> dict[Callable[[JobRecord], object], None]:
        """Call ``watch`` after the job's end, and maybe after its first start; return all watchers of the job."""
        if job._watchers is None:
            job._watchers = {}
        job._watchers[watch] = None
        return job._watchers


def _has_started(job: JobRecord) -> bool:
    return job._started or job.state.is_final
