"""The pools as users see them, and what watches them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from .._basics.text import one_line
from .._model.records import JobSpec
from .._model.states import JobState
from .._model.statistics import PoolStatistics, pool_statistics
from .._model.text import counted
from .._policies import validate
from .._policies.rate_limit import RateLimit
from .._policies.resource import Elastic, Resource
from .._policies.retry import RetryPolicy
from .._runtime.engine import Engine
from .._runtime.job_runner import is_in_a_job
from .._runtime.notify import is_among, remove
from .._runtime.workers import Workers
from .calls import ResourceCalls, SlotCalls
from .job_group import JobGroup, SlotJobGroup, run_group
from .snapshots import Snapshots
from .submitting import Submitting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from .._model.dead_letters import DeadLetters
    from .._model.handles import Job, Worker
    from .._model.pool_config import Config, OnFailure
    from .._model.states import Attempt
    from .._policies.circuit_breaker import CircuitBreaker

R = TypeVar("R")


class Instrument:
    """Derive from it and override what you want to be told of.

    The methods are called synchronously, each when the change is complete, in the order of
    the changes. They may call everything that doesn't wait. One that raises is logged with
    its traceback and its instrument is removed; the pool goes on.
    """

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        """All workers have started; the body of the block comes next."""

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        """All jobs have ended and all workers have stopped."""

    def job_submitted(self, job: Job[Any]) -> None:
        """A job has entered the pool."""

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        """A worker has got the job, of several the first; followed by one ``attempt_ended``."""

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        """An attempt has ended, on all of its workers; one cut short carries `JobCancelledError`."""

    def job_delayed(self, job: Job[Any], until: float) -> None:
        """A failed job backs off until then, on Trio's clock."""

    def job_finished(self, job: Job[Any]) -> None:
        """A job has reached its final state."""

    def worker_started(self, worker: Worker) -> None:
        """A worker's resource is open, for the first time or anew."""

    def worker_paused(self, worker: Worker) -> None:
        """A worker has been paused."""

    def worker_resumed(self, worker: Worker) -> None:
        """A paused worker has been resumed."""

    def worker_resting(self, worker: Worker, until: float) -> None:
        """A worker rests until then, on Trio's clock."""

    def worker_quarantined(self, worker: Worker, until: float) -> None:
        """A worker's breaker has opened until then, on Trio's clock; again so after a probe that failed."""

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        """A worker's resource is to be opened anew: it is broken, or that has failed once more.

        Without an error it is due to ``max_jobs`` or ``max_age``. What a lifespan has raised that ended is its cause.
        """

    def worker_stopped(self, worker: Worker) -> None:
        """A worker has left its lifespan and the pool."""


class BasePool(Submitting):
    """What `Pool` and `SlotPool` have in common. Made by `open_pool` only."""

    __slots__ = ("_staff",)

    def __init__(self, config: Config, elastic: Elastic[Any] | None = None) -> None:
        defaults = JobSpec(
            attempt_timeout=config.attempt_timeout,
            total_timeout=config.total_timeout,
            show_arguments=config.show_arguments,
        )
        super().__init__(Engine(config, elastic, self._requeue), defaults, count(1))
        self._staff = Workers(self._engine, elastic)

    @property
    def name(self) -> str | None:
        """The name given to `open_pool`, or None."""
        return self._engine.config.name

    @property
    def closed(self) -> bool:
        """Whether jobs from outside are refused, it has been closed, cancelled or left, or its body has ended."""
        return self._engine.closed

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that have not left, those still starting included."""
        return cast("tuple[Worker, ...]", tuple(self._engine.roster.by_id.values()))

    @property
    def idle_workers(self) -> tuple[Worker, ...]:
        """The workers that could take a job at once, the longest idle first.

        A worker that only a rate limit holds back, its own or the pool's, is not among them.
        """
        if not self._engine.roster.idle_count:
            return ()
        return cast("tuple[Worker, ...]", tuple(self._engine.core.idle(self._engine.home.clock.current_time())))

    @property
    def dead(self) -> DeadLetters:
        """The dead jobs that nobody has taken yet."""
        return self._engine.dead

    @property
    def retry(self) -> RetryPolicy:
        """The policy of jobs that bring none of their own. Assign to change it."""
        return self._staff.retry

    @retry.setter
    def retry(self, policy: RetryPolicy) -> None:
        self._engine.check_caller()
        self._staff.retry = validate.instance("retry", policy, RetryPolicy)

    @property
    def on_failure(self) -> OnFailure | None:
        """What is asked about ordinary failures. Assign to change it."""
        return self._staff.on_failure

    @on_failure.setter
    def on_failure(self, hook: OnFailure | None) -> None:
        self._engine.check_caller()
        if hook is not None:
            validate.call("on_failure", hook)
        self._staff.on_failure = hook

    @property
    def max_running(self) -> float | None:
        """How many attempts may be under way at once, or None. Assign to change it."""
        limit = self._engine.core.max_running
        return None if limit == float("inf") else limit

    @max_running.setter
    def max_running(self, limit: float | None) -> None:
        self._engine.check_caller()
        bound = validate.bound("max_running", limit, least=1)
        self._engine.core.set_max_running(bound, trio.current_time())
        self._engine.carry_out()

    @property
    def rate_limit(self) -> RateLimit | None:
        """How often attempts may start in the whole pool, or None. Assign to change it.

        A new limit hands out no fresh burst: at once may start what could have started at once
        before, or the new burst if that is less.
        """
        return self._engine.core.rate_limit

    @rate_limit.setter
    def rate_limit(self, limit: RateLimit | None) -> None:
        self._engine.check_caller()
        validate.optional("rate_limit", limit, RateLimit)
        self._engine.core.set_rate_limit(limit, trio.current_time())
        self._engine.carry_out()

    def jobs(self, *states: JobState) -> Iterator[Job[Any]]:
        """The jobs that have not ended, or those of them in one of ``states``.

        The jobs are those of this moment, so that they may be cancelled while iterating.

        Raises:
          ValueError: if a state is final, since ended jobs are not kept.
        """
        for state in states:
            if validate.instance("state", state, JobState).is_final:
                raise ValueError(f"ended jobs are not kept, so none can be {state.name}")
        live = cast("list[Job[Any]]", list(self._engine.lifecycle.live.values()))
        return iter([job for job in live if job.state in states] if states else live)

    def statistics(self) -> PoolStatistics:
        """A snapshot of what the pool has done and what is in it."""
        crew = self._staff.last_crew or self.workers
        workers, now = tuple(worker.statistics() for worker in crew), self._engine.home.clock.current_time()
        return pool_statistics(self.name, self._engine.lifecycle, self._engine.core.waiting, workers, now, "pool")

    def snapshots(self, interval: float) -> AsyncIterator[PoolStatistics]:
        """Iterate over snapshots: one now, and one after each interval.

        Ends as soon as the pool is closed and every job has ended.

        Arguments:
          interval: seconds between two of them, more than zero.
        """
        validate.positive("interval", interval)
        self._engine.check_caller()
        return Snapshots(interval, self.statistics, self._engine)

    def add_instrument(self, instrument: Instrument) -> None:
        """Let an instrument watch from now on; no effect if it does already."""
        self._engine.check_caller()
        validate.instance("instrument", instrument, Instrument)
        if not is_among(self._engine.instruments, instrument):
            self._engine.instruments.append(instrument)

    def remove_instrument(self, instrument: Instrument) -> None:
        """Let an instrument watch no longer.

        Raises:
          KeyError: if it doesn't.
        """
        self._engine.check_caller()
        if not remove(self._engine.instruments, instrument):
            raise KeyError(instrument)

    def __repr__(self) -> str:
        name = f" {one_line(self.name)!r}" if self.name is not None else ""
        workers = counted(len(self._engine.roster.by_id), "worker")
        return f"<trio_pool.{type(self).__name__}{name}: {workers}, {counted(len(self._engine.lifecycle.live), 'job')}>"

    def close(self) -> None:
        """Take no more jobs from outside; what is in the pool still runs.

        Jobs may go on submitting jobs. Whoever waits in ``submit`` for a place gets
        `PoolClosedError`. Leaving the block does this too.
        """
        self._engine.close()

    def cancel(self) -> None:
        """Stop everything now: all jobs, the body of the block, the workers.

        The block then ends without an exception of the pool's. Dead jobs that nobody has
        dealt with are logged.
        """
        self._engine.cancel()

    @trio.lowlevel.enable_ki_protection
    async def join(self) -> None:
        """Wait until no job is queued, delayed, blocked or running.

        A checkpoint. Being cancelled has no effect on the jobs.

        Raises:
          RuntimeError: if called inside a job of this pool, which would wait for itself.
        """
        self._engine.check_caller()
        if is_in_a_job() and self._is_inside():
            raise RuntimeError("join() inside a job of the same pool would wait for ever")
        if self._engine.lifecycle.live:
            await self._engine.wait_until_quiet()
        else:
            await trio.lowlevel.checkpoint()


class Pool(ResourceCalls[R], BasePool):
    """Workers that each hold a resource, and the jobs that they run with it.

    Made by `open_pool`. ``R`` is what jobs get as their first argument: the resource, or
    what its lifespan yields.
    """

    __slots__ = ()

    async def add(
        self,
        resource: Any,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        rate_limit: RateLimit | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
    ) -> Worker:
        """Add a worker; wait until its lifespan has been entered.

        A checkpoint. If it is cancelled, there is no new worker.

        Arguments:
          resource: any object, or a `Resource`, which then says all.
          name, tags, rate_limit, breaker, max_jobs, max_age: as for `Resource`.

        Returns:
          Worker: the new worker.

        Raises:
          PoolClosedError: if the workers have been stopped.
          Exception: whatever entering the lifespan raises; there is no new worker then.
        """
        given: dict[str, Any] = {"rate_limit": rate_limit, "breaker": breaker, "max_jobs": max_jobs, "max_age": max_age}
        if not isinstance(resource, Resource):
            described: Resource[Any] = Resource(resource, name=name, tags=cast("frozenset[str]", tags), **given)
        elif tags or name is not None or any(value is not None for value in given.values()):
            raise ValueError("a Resource has its own name, tags and limits; give them there")
        else:
            described = cast("Any", resource)
        return await self._staff.add(described, (described.value,))

    def open_group(
        self,
        *,
        name: str | None = None,
        must_succeed: bool = False,
        max_running: float | None = None,
        reserve: int = 0,
    ) -> AbstractAsyncContextManager[JobGroup[R]]:
        """Open a group of jobs, a scope like a nursery: its block ends when its jobs have ended.

        If the body raises, or the block is cancelled, the group's jobs are cancelled, and the error comes
        out as it is; a cancellation is noticed at once, though the body may be behind a shield. To
        enter the block is a checkpoint, and waits until ``reserve`` workers can be had, first come
        first served. If it is cancelled, they are given back.

        Arguments:
          name: what the group is called in statistics and messages.
          must_succeed: with the first dead job, discard those of the group that wait, cancel those
              that run and the body, and raise a group with the `JobFailedError`.
          max_running: how many attempts of the group may be under way at once.
          reserve: how many workers the group has for itself while it is open. They are set aside
              one by one as their attempts end; the group may use others too.

        Returns:
          an async context manager that yields a `JobGroup`.

        Raises:
          PoolClosedError: on entering, if the pool is closed, or ends before there are the workers.
          JobDeadlockError: on entering, inside a job, if it would wait for ever for the workers.
          ValueError, TypeError: if an argument is out of its range or of the wrong type; if
              ``reserve`` is more than the pool could ever have.
        """
        return run_group(
            JobGroup[R](self, name=name, must_succeed=must_succeed, max_running=max_running, reserve=reserve)
        )


class SlotPool(SlotCalls, BasePool):
    """Workers without resources: the functions get nothing but their own arguments.

    Made by ``open_pool(n)``. All calls are those of `Pool`.
    """

    __slots__ = ()

    async def add(
        self,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        rate_limit: RateLimit | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
    ) -> Worker:
        """Add a slot. A checkpoint; the arguments are those of `Pool.add`."""
        given: dict[str, Any] = {"rate_limit": rate_limit, "breaker": breaker, "max_jobs": max_jobs, "max_age": max_age}
        slot = Resource(None, name=name, tags=cast("frozenset[str]", tags), **given)
        return await self._staff.add(slot, ())

    def open_group(
        self,
        *,
        name: str | None = None,
        must_succeed: bool = False,
        max_running: float | None = None,
        reserve: int = 0,
    ) -> AbstractAsyncContextManager[SlotJobGroup]:
        """As `Pool.open_group`."""
        return run_group(
            SlotJobGroup(self, name=name, must_succeed=must_succeed, max_running=max_running, reserve=reserve)
        )


def checked_pool(pool: object) -> BasePool:
    """Return ``pool``: a pool of either kind."""
    if not isinstance(pool, BasePool):
        raise TypeError(f"pool must be a Pool or a SlotPool, {validate.got(pool)}")
    return pool
