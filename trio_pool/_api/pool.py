"""The public pool classes, and the instruments that observe them."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._basics.text import one_line
from .._model.explanation import explain
from .._model.records import JobSpec
from .._model.statistics import PoolStatistics, pool_statistics
from .._model.text import counted
from .._policies import validate
from .._policies.resource import Elastic, OnCut, describe
from .._runtime.notify import InnerEvents, is_among, remove
from .._runtime.rates import settle_in
from .calls import ResourceCalls
from .controls import Controls
from .job_group import JobGroup, SlotJobGroup, run_group
from .key_mapping import KeyMapping
from .slot_calls import SlotCalls
from .snapshots import Snapshots
from .submitting import jobs_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from .._model.dead_letters import DeadLetters
    from .._model.handles import Job, Worker
    from .._model.pool_config import Config
    from .._model.states import Attempt, JobState
    from .._model.statistics import KeyStatistics
    from .._policies.circuit_breaker import CircuitBreaker
    from .._policies.health_check import HealthCheck
    from .._policies.rate_meters import AnyLimit

R = TypeVar("R")


class Instrument:
    """A base class for observers of a pool: override the methods for the events to observe.

    The methods are called synchronously, each when the change is complete, in the order of the changes. A method
    can call everything that doesn't wait. If a method raises an exception, the pool logs it with its traceback,
    removes the instrument, and goes on.
    """

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        """All workers have started; the body of the block runs next."""

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        """All jobs have ended and all workers have stopped."""

    def job_submitted(self, job: Job[Any]) -> None:
        """A job has entered the pool."""

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        """A worker, or the first of several, has got the job; followed by one call of ``attempt_ended``."""

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        """An attempt has ended on all of its workers; the error of one cut short is `JobCancelledError`."""

    def job_delayed(self, job: Job[Any], until: float) -> None:
        """A failed job backs off until the given time, on Trio's clock."""

    def job_progress(self, job: Job[Any]) -> None:
        """A job's function has called `Job.report`; `Job.progress` is what it has reported."""

    def job_finished(self, job: Job[Any]) -> None:
        """A job has reached its final state."""

    def group_opened(self, group: JobGroup[Any] | SlotJobGroup) -> None:
        """A group has its reserved workers; the body of its block runs next. Followed by one ``group_closed``."""

    def group_closed(self, group: JobGroup[Any] | SlotJobGroup) -> None:
        """All jobs of a group have ended, and its block is left."""

    def pool_paused(self, pool: Pool[Any] | SlotPool) -> None:
        """The whole pool has been paused."""

    def pool_resumed(self, pool: Pool[Any] | SlotPool) -> None:
        """The whole pool has been resumed, by the program or at the end of its block."""

    def pool_resting(self, pool: Pool[Any] | SlotPool, until: float) -> None:
        """The whole pool rests until the given time, on Trio's clock."""

    def worker_started(self, worker: Worker) -> None:
        """A worker's resource has been opened or reopened."""

    def worker_paused(self, worker: Worker) -> None:
        """A worker has been paused."""

    def worker_resumed(self, worker: Worker) -> None:
        """A paused worker has been resumed."""

    def worker_resting(self, worker: Worker, until: float) -> None:
        """A worker rests until the given time, on Trio's clock."""

    def worker_quarantined(self, worker: Worker, until: float) -> None:
        """A worker's breaker has opened, or reopened after a failed probe, until the given time, on Trio's clock."""

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        """A worker's resource must be reopened: it is broken, or the previous attempt to reopen it failed.

        Without an error the reason is ``max_jobs``, ``max_age``, ``on_cut`` or `Worker.reopen`. If a lifespan ended by
        itself, the exception that it raised is the error's cause. Not called for a worker that leaves the pool, nor
        after the pool has been cancelled, since nothing is reopened then.
        """

    def worker_stopped(self, worker: Worker) -> None:
        """A worker has left its lifespan and the pool."""


class BasePool(Controls):
    """The common base of `Pool` and `SlotPool`. Only `open_pool` creates them."""

    __slots__ = ()

    def __init__(self, config: Config, elastic: Elastic[Any] | None = None) -> None:
        # Imported here, since this is most of the package, and a program that imports it need not open a pool.
        from .._runtime.engine import Engine
        from .._runtime.workers import Workers

        defaults = JobSpec(
            attempt_timeout=config.attempt_timeout,
            total_timeout=config.total_timeout,
            show_arguments=config.show_arguments,
        )
        engine = Engine(config, elastic, self._requeue)
        if engine.core.keys is not None:
            engine.core.keys.on_limits = partial(settle_in, engine)
        super().__init__(engine, defaults, count(1), Workers(engine, elastic))
        engine.pool = self

    @property
    def name(self) -> str | None:
        """The name given to `open_pool`, or None."""
        return self._engine.config.name

    @property
    def metadata(self) -> dict[str, Any]:
        """The mapping given to `open_pool`, copied into a dict, which the program can change."""
        return self._engine.config.metadata

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that have not left, including those still starting."""
        return cast("tuple[Worker, ...]", tuple(self._engine.roster.by_id.values()))

    @property
    def idle_workers(self) -> tuple[Worker, ...]:
        """Those of `free_workers` that run nothing, the longest idle first."""
        return tuple(worker for worker in self.free_workers if not worker._runs)

    @property
    def free_workers(self) -> tuple[Worker, ...]:
        """The workers that could start a job at once, first the one whose last start or end is longest ago.

        This excludes workers that only a rate limit holds back, their own or the pool's.
        """
        if not self._engine.roster.idle_count:
            return ()
        return cast("tuple[Worker, ...]", tuple(self._engine.core.free(self._engine.home.clock.current_time())))

    @property
    def groups(self) -> tuple[JobGroup[Any] | SlotJobGroup, ...]:
        """The open groups, in the order in which their blocks were entered.

        A group is open from the beginning of its body until its jobs have ended. One that still waits for its reserved
        workers is not.
        """
        groups = cast("tuple[JobGroup[Any] | SlotJobGroup, ...]", tuple(self._engine.groups.values()))
        return tuple(group for group in groups if group._is_open)

    @property
    def keys(self) -> Mapping[Hashable, KeyStatistics]:
        """A live view of the keys that have jobs that have not ended, as a mapping to their statistics.

        Empty without ``per_key``. Iterating goes over a copy.
        """
        return KeyMapping(self._engine.core.keys)

    @property
    def dead(self) -> DeadLetters:
        """The dead jobs that nobody has removed yet."""
        return self._engine.dead

    def jobs(self, *states: JobState) -> Iterator[Job[Any]]:
        """Iterate over the jobs that have not ended, or over those of them in one of ``states``.

        The iterator works on a copy, so jobs can be cancelled during the iteration.

        Raises:
          ValueError: if a state is final, since ended jobs are not kept.
        """
        return jobs_in(self._engine.lifecycle.live.values(), states)

    def statistics(self) -> PoolStatistics:
        """Take a snapshot of the pool's work so far and its current jobs."""
        crew = self._engine.last_crew or self.workers
        workers, now = tuple(worker.statistics() for worker in crew), self._engine.home.clock.current_time()
        core = self._engine.core
        records = self._engine.roster.by_id.values()
        time, held = core.accounts.in_all(records, now), core.accounts.held(records, now)
        return pool_statistics(self.name, core.lifecycle, core.waiting, workers, now, time, held)

    def explain(self) -> str:
        """What has kept the pool from being faster so far, in words: what its places spent their time on, in order.

        The first line names the bottleneck. The figures are those of ``statistics().time``.
        """
        return explain(self.statistics())

    def snapshots(self, interval: float) -> AsyncIterator[PoolStatistics]:
        """Iterate over snapshots: one now, one after each interval, and the last when all jobs of a closed pool ended.

        Arguments:
          interval: seconds between two snapshots, more than zero.
        """
        validate.positive("interval", interval)
        self._engine.check_caller()
        return Snapshots(interval, self.statistics, self._engine)

    def add_instrument(self, instrument: Instrument) -> None:
        """Notify an instrument from now on; has no effect if the pool does already."""
        self._engine.check_caller()
        validate.instance("instrument", instrument, Instrument)
        if not is_among(self._engine.instruments, instrument):
            if isinstance(instrument, InnerEvents):
                instrument._added(self)
            self._engine.instruments.append(instrument)

    def remove_instrument(self, instrument: Instrument) -> None:
        """Stop notifying an instrument.

        Raises:
          KeyError: if the pool doesn't notify it.
        """
        self._engine.check_caller()
        if not remove(self._engine.instruments, instrument):
            raise KeyError(instrument)

    def __repr__(self) -> str:
        name = f" {one_line(self.name)!r}" if self.name is not None else ""
        workers = counted(len(self._engine.roster.by_id), "worker")
        return f"<trio_pool.{type(self).__name__}{name}: {workers}, {counted(len(self._engine.lifecycle.live), 'job')}>"


class Pool(ResourceCalls[R], BasePool):
    """Workers that each hold a resource, and the jobs that they run with it.

    Created by `open_pool`. ``R`` is the type of the first argument of jobs: the resource, or what its lifespan
    yields.
    """

    __slots__ = ()

    async def add(
        self,
        resource: Any,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        max_running: float = 1,
        rate_limit: AnyLimit | Iterable[AnyLimit] | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
        on_cut: OnCut | None = None,
        check: HealthCheck | None = None,
    ) -> Worker:
        """Add a worker, and wait until it has entered its lifespan.

        A checkpoint. If the call is cancelled, there is no new worker.

        Arguments:
          resource: any object, or a `Resource`, which excludes the other arguments.
          name, tags, max_running, rate_limit, breaker, max_jobs, max_age, on_cut, check: as for `Resource`.

        Returns:
          Worker: the new worker.

        Raises:
          PoolClosedError: if the workers have been stopped.
          Exception: whatever entering the lifespan raises; then there is no new worker.
          RuntimeError: if the worker was removed before it had started.
        """
        given: dict[str, Any] = {"max_running": max_running, "rate_limit": rate_limit, "breaker": breaker}
        given |= {"max_jobs": max_jobs, "max_age": max_age, "on_cut": on_cut, "check": check}
        described = describe(resource, name=name, tags=tags, **given)
        return await self._staff.add(described, (described.value,))

    def open_group(
        self,
        *,
        name: str | None = None,
        must_succeed: bool = False,
        max_running: float | None = None,
        reserve: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[JobGroup[R]]:
        """Open a group of jobs, a scope like a nursery: its block ends when its jobs have ended.

        If the body raises an exception, or the block is cancelled, the pool cancels the group's jobs, and the
        exception propagates unchanged. A cancellation takes effect at once, even if the body is shielded.

        Entering the block is a checkpoint. The call waits until ``reserve`` workers are available; groups get
        workers in the order in which they wait. If entering is cancelled, the workers are released.

        Arguments:
          name: the group's name in statistics and messages.
          must_succeed: when the first job is dead, discard the group's waiting jobs, cancel its running jobs and
              the body, and raise an exception group with the `JobFailedError`.
          max_running: how many attempts of the group may run at once.
          reserve: how many workers to reserve for the group while it is open. Busy workers are reserved one by one
              when their attempts end. The group can use other workers too.
          metadata: any data that the program wants to keep with the group, copied.

        Returns:
          an async context manager that yields a `JobGroup`.

        Raises:
          PoolClosedError: on entering, if the pool is closed, or ends before the workers are available.
          JobDeadlockError: on entering, inside a job, if the wait for the workers would never end.
          ValueError, TypeError: if an argument is out of its range or of the wrong type, or if ``reserve`` is more
              than the pool could ever have.
        """
        return run_group(
            JobGroup[R](
                self,
                name=name,
                must_succeed=must_succeed,
                max_running=max_running,
                reserve=reserve,
                metadata=metadata,
            )
        )


class SlotPool(SlotCalls, BasePool):
    """Workers without resources: the functions get only their own arguments.

    Created by ``open_pool(n)``. All calls are those of `Pool`.
    """

    __slots__ = ()

    async def add(
        self,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        max_running: float = 1,
        rate_limit: AnyLimit | Iterable[AnyLimit] | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
        on_cut: OnCut | None = None,
        check: HealthCheck | None = None,
    ) -> Worker:
        """Add a slot. A checkpoint; the arguments are those of `Pool.add`."""
        given: dict[str, Any] = {"max_running": max_running, "rate_limit": rate_limit, "breaker": breaker}
        given |= {"max_jobs": max_jobs, "max_age": max_age, "on_cut": on_cut, "check": check}
        slot = describe(None, name=name, tags=tags, **given)
        return await self._staff.add(slot, ())

    def open_group(
        self,
        *,
        name: str | None = None,
        must_succeed: bool = False,
        max_running: float | None = None,
        reserve: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[SlotJobGroup]:
        """Open a group of jobs, like `Pool.open_group`."""
        return run_group(
            SlotJobGroup(
                self,
                name=name,
                must_succeed=must_succeed,
                max_running=max_running,
                reserve=reserve,
                metadata=metadata,
            )
        )


def checked_pool(pool: object) -> BasePool:
    """Return ``pool``, after checking that it is a pool of either kind."""
    if not isinstance(pool, BasePool):
        raise TypeError(f"pool must be a Pool or a SlotPool, {validate.got(pool)}")
    return pool
