"""Shell: tasks that wait for jobs, and jobs among them that would wait for ever."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import trio

from ._driver import enclosing_jobs, is_in_a_job
from ._errors import JobDeadlockError
from ._job import has_ended
from ._seat import Phase
from ._waits import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable

    from ._effects import WaitsInVain
    from ._group import Group
    from ._job import Job
    from ._scheduler import Scheduler
    from ._seat import Seat
    from ._worker import Worker


class Waiting:
    """The part of the engine that has to do with those who wait for jobs."""

    core: Scheduler
    carry_out: Callable[[], None]

    async def wait_job_started(self, job: Job[Any]) -> None:
        """Wait for the start of the job's first attempt, or its end."""
        await self.wait_for(job, _has_started)

    @trio.lowlevel.enable_ki_protection
    async def wait_for(self, job: Job[Any], reached: Callable[[Job[Any]], bool]) -> None:
        """Wait until the job has come so far. A checkpoint that leaves the job alone if cancelled."""
        if reached(job):
            await trio.lowlevel.checkpoint()
            return
        if is_in_a_job():
            with self._begun(lambda: () if reached(job) else (job,)) as wait:
                # That the job begins to wait may have led to it.
                if reached(job) or (wait is not None and wait.stuck):
                    await trio.lowlevel.checkpoint()
                else:
                    await self._wait_until(job, reached, wait)
                if wait is not None and wait.stuck and not reached(job):
                    raise _deadlock_of(wait)
        else:
            await self._wait_until(job, reached)

    async def _wait_until(self, job: Job[Any], reached: Callable[[Job[Any]], bool], wait: Wait | None = None) -> None:
        task = trio.lowlevel.current_task()

        def watch(job: Job[Any]) -> None:
            # Unless one that was told before has just cancelled the task.
            if reached(job) and job._watchers is not None and watch in job._watchers:
                del job._watchers[watch]
                trio.lowlevel.reschedule(task)

        def abandon(_: object) -> trio.lowlevel.Abort:
            assert job._watchers is not None
            del job._watchers[watch]
            return trio.lowlevel.Abort.SUCCEEDED

        def wake() -> None:
            if job._watchers is not None and watch in job._watchers:  # as above
                del job._watchers[watch]
                trio.lowlevel.reschedule(task)

        self.watch(job, watch)
        if wait is not None:
            wait.wake = wake
        await trio.lowlevel.wait_task_rescheduled(abandon)

    @contextmanager
    def waiting_for(
        self, jobs: Callable[[], Iterable[Job[Any]]], *, for_any: bool = False, group: Group | None = None
    ) -> Generator[None]:
        """If a job waits for others in this block, see that this will end; raises `JobDeadlockError`.

        What it waits for may have come before the block begins.

        Arguments:
          jobs: gives those that it waits for.
          for_any: whether one of them is enough.
          group: the one for whose workers it waits, and not for jobs.
        """
        scope = trio.CancelScope()
        with self._begun(jobs, for_any=for_any, group=group, wake=scope.cancel) as wait:
            if wait is None:
                yield
                return
            with scope:
                yield
            if scope.cancelled_caught:
                raise _deadlock_of(wait)

    @contextmanager
    def _begun(
        self,
        jobs: Callable[[], Iterable[Job[Any]]],
        *,
        for_any: bool = False,
        group: Group | None = None,
        wake: Callable[[], object] | None = None,
    ) -> Generator[Wait | None]:
        """The same for the moment at which it begins; what follows is left to whoever waits."""
        waiter = self.waiter()
        if waiter is None:
            yield None
            return
        is_shielded = waiter._cancelled and trio.current_effective_deadline() > -math.inf
        task = trio.lowlevel.current_task()
        wait = Wait(waiter, jobs, for_any=for_any, outlasts=is_shielded, group=group, task=task)
        wait.wake = wake
        if not self.core.begin_wait(wait, trio.current_time()):
            raise _deadlock_of(wait)
        try:
            self.carry_out()
            yield wait
        finally:
            self.core.waits.end(wait)

    def _on_waits_in_vain(self, effect: WaitsInVain) -> None:
        if effect.wait.wake is not None:
            effect.wait.wake()

    def see_what_outlasts(self, job: Job[Any]) -> None:
        """A job that waits has been cancelled. That ends its waits, but for those behind a shield."""
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        # The first may come before the tasks have run that the cancellation has woken up, the second can't.
        soon(soon, self._see_what_outlasts, job)

    def _see_what_outlasts(self, job: Job[Any]) -> None:
        self.core.outlasted(job, trio.current_time())
        self.carry_out()

    @asynccontextmanager
    async def stepping_aside(self, jobs: Callable[[], Iterable[Job[Any]]]) -> AsyncGenerator[None]:
        """Wait in this block for jobs that have been cancelled; one may have lent the worker of the job that waits.

        It could not end before it has that back.
        """
        waiter = self.waiter()
        if waiter is None:
            yield
            return
        wait = Wait(waiter, jobs, steps_aside=True)
        self.core.wait_for_ends(wait, trio.current_time())
        self.carry_out()
        try:
            yield
        finally:
            self.core.waits.end(wait)
            await cast("Worker", waiter._worker)._come_back(waiter)

    async def wait_for_end(self, job: Job[Any]) -> None:
        """Wait for the end of a job that has been cancelled."""
        if not job.state.is_final:
            async with self.stepping_aside(lambda: (job,)):
                await self._wait_until(job, has_ended)
        else:
            await trio.lowlevel.checkpoint()

    def waiter(self) -> Job[Any] | None:
        """The job that the caller is part of, if it holds or has lent a worker of this pool."""
        job = next(enclosing_jobs(), None)
        if (
            job is None
            or job._host is not cast("object", self)
            or job._worker is None
            or job._options.hedge is not None
        ):
            return None
        shift = cast("Worker", job._worker)._shift_of(job)
        # What a job has started outside of itself doesn't keep it from ending.
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not shift.task:
            task = None if task.parent_nursery is None else task.parent_nursery.parent_task
        return None if task is None else job

    def watch(self, job: Job[Any], watch: Callable[[Job[Any]], object]) -> None:
        """Call ``watch`` after each change of the job's state."""
        if job._watchers is None:
            job._watchers = {}
        job._watchers[watch] = None


def _names_of(jobs: Iterable[Job[Any]]) -> str:
    """Those of the jobs that have not ended."""
    awaited = [job.name for job in jobs if not job.state.is_final]
    return ", ".join(awaited[:3]) + (f" and {len(awaited) - 3} more" if len(awaited) > 3 else "")


def _deadlock_of(wait: Wait) -> JobDeadlockError:
    """The error of a job that would wait for ever."""
    wish = "workers for its group alone" if wait.group is not None else _names_of(wait.jobs())
    holders = [f"{job.name} ({_hold_of(job, job._worker)})" for job in wait.stuck if job._worker is not None]
    return JobDeadlockError(
        f"the job {wait.waiter.name} would wait for ever for {wish}: that can't end before "
        f"one of these does, which wait themselves: {', '.join(holders)}"
    )


def _hold_of(job: Job[Any], seat: Seat) -> str:
    """What a waiting job has to do with its worker."""
    if job not in seat._loans:
        return f"on {seat.name}"
    if seat._departing:
        return f"has lent {seat.name}, which is to leave"
    if seat._phase is Phase.REOPENING:
        return f"has lent {seat.name}, whose resource is broken"
    return f"has lent {seat.name}"


def _has_started(job: Job[Any]) -> bool:
    return job._started or job.state.is_final
