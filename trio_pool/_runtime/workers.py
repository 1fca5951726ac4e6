"""Adding, holding back and removing workers."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import trio

from .._basics.logs import report
from .._basics.text import one_line
from .._core.commands import HIRE
from .._core.retry_decision import Verdict, judge
from .._model.errors import PoolClosedError
from .._model.handles import Job, Worker
from .._model.statistics import WorkerStatistics, worker_statistics
from .._policies import validate
from .._policies.retry import RetryPolicy
from .._policies.worker_limits import WorkerLimits
from .job_runner import call_as_part_of, enclosing_jobs
from .worker_task import WorkerTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from .._model.pool_config import OnFailure
    from .._model.records import Run
    from .._policies.resource import Elastic, Resource
    from .engine import Engine


class Workers:
    """The workers of a pool, and the calls that they need from it."""

    def __init__(self, engine: Engine, elastic: Elastic[Any] | None) -> None:
        self._engine = engine
        # How an elastic pool opens workers; may change while the pool runs.
        self.elastic: Elastic[Any] | None = elastic
        engine.carriers[HIRE] = self._hire
        self._ids = count(1)
        # The workers when the pool began to end, for later statistics.
        self.last_crew: tuple[Worker, ...] = ()
        self.commands = engine.commands
        self.timers = engine.timers
        self.carry_out = engine.carry_out
        self.crash = engine.crash
        # The decision about failed jobs; may change while the pool runs.
        self.retry: RetryPolicy = engine.config.retry
        self.on_failure: OnFailure | None = engine.config.on_failure

    def _recruit(
        self,
        resource: Resource[Any],
        leading: tuple[Any, ...],
        factory: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        *,
        ordered: bool = False,
    ) -> Worker:
        """Add a worker, which begins to open its resource."""
        number = next(self._ids)
        name = resource.name or f"worker-{number}"
        worker = Worker(self._engine.roster, number, name, resource.tags, resource.value, self)
        lifespan = self._engine.config.lifespan if factory is None else _made_by(factory)
        worker._task = task = WorkerTask(worker, self, self._engine.core, lifespan, leading, insists=ordered)
        worker._max_running = resource.max_running
        worker._is_exclusive = resource.max_running == 1
        worker._limits = self._limits_of(resource)
        worker._elastic = factory is not None
        self._engine.core.join(worker, ordered=ordered)
        # In the context of the pool's opener, since a worker outlives the job that added it.
        self._engine.start_task(task.run, f"<{one_line(name)}>", self._engine.context)
        self._engine.note_places()
        return worker

    def _limits_of(self, resource: Resource[Any]) -> WorkerLimits | None:
        breaker = self._engine.config.breaker if resource.breaker is None else resource.breaker
        limits = (resource.rate_limit, breaker, resource.max_jobs, resource.max_age)
        return None if all(limit is None for limit in limits) else WorkerLimits(*limits, self._engine.rng)

    def _hire(self, _: None) -> None:
        """Open another worker of an elastic pool, without waiting for it."""
        assert self.elastic is not None
        if self._engine.stopping:
            self._engine.core.not_hired()
        else:
            self._recruit(self.elastic._describe(), (), self.elastic.factory, ordered=True)

    async def add_elastic(self) -> None:
        """Open one of the first workers of an elastic pool."""
        assert self.elastic is not None
        await self.add(self.elastic._describe(), (), self.elastic.factory)

    @trio.lowlevel.enable_ki_protection
    async def add(
        self,
        resource: Resource[Any],
        leading: tuple[Any, ...],
        factory: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    ) -> Worker:
        """Add a worker and wait until it has opened its resource."""
        self._engine.check_caller()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._engine.check_open(inside=True)
        worker = self._recruit(resource, leading, factory)
        try:
            await worker._task.opened.wait()
        except BaseException:
            await self.stop(worker, at_once=True)
            raise
        if worker._task.failure is not None:
            raise worker._task.failure
        if worker._has_left and not self._engine.stopping:
            raise RuntimeError(f"{one_line(worker.name)} was removed before it had started")
        if worker._has_left:
            raise PoolClosedError("the pool was closed before the worker had started")
        return worker

    async def stop(self, worker: Worker, *, at_once: bool) -> None:
        """Make a worker leave and wait for its end; with ``at_once`` this can't be cancelled."""
        self._engine.core.depart(worker, trio.current_time(), cut=at_once)
        self._engine.carry_out()
        with trio.CancelScope(shield=at_once):
            if at_once:
                worker._task.abandon()
            await worker._task.stopped.wait()

    @trio.lowlevel.enable_ki_protection
    async def remove_worker(self, worker: Worker, *, cancel: bool) -> None:
        """Make a worker leave and wait for its end."""
        self._engine.check_caller()
        validate.instance("cancel", cancel, bool)
        its_own = {run.job for run in (*worker._runs, *worker._lent)}
        if any(job in its_own for job in enclosing_jobs()):
            raise RuntimeError(f"{worker.name} can't be removed by the job that runs on it")
        worker._task.removers += 1
        try:
            self._engine.core.depart(worker, trio.current_time(), cut=cancel)
            self._engine.carry_out()
            await worker._task.stopped.wait()
        finally:
            worker._task.removers -= 1
        if worker._task.farewell is not None:
            raise worker._task.farewell

    def start_in(self, nursery: trio.Nursery, task: Callable[[], Awaitable[None]], name: str) -> None:
        """Start one of a worker's tasks, in the context of the pool's opener."""
        self._engine.context.run(partial(nursery.start_soon, task, name=name))

    def pause_worker(self, worker: Worker) -> None:
        """Pause a worker."""
        self._engine.check_caller()
        self._engine.core.pause(worker, trio.current_time())
        self._engine.carry_out()

    def resume_worker(self, worker: Worker) -> None:
        """Resume a worker."""
        self._engine.check_caller()
        self._engine.core.resume(worker, trio.current_time())
        self._engine.carry_out()

    def rest_worker(self, worker: Worker, seconds: float) -> None:
        """Let a worker rest for some time."""
        self._engine.check_caller()
        duration = validate.seconds("seconds", seconds, finite=True)
        now = trio.current_time()
        self._engine.core.rest(worker, now + duration, now)
        self._engine.carry_out()

    def set_places(self, worker: Worker, limit: float) -> None:
        """Change how many attempts may run on a worker at once."""
        self._engine.check_caller()
        self._engine.core.set_places(worker, validate.size("max_running", limit), trio.current_time())
        self._engine.note_places()
        self._engine.carry_out()

    def worker_statistics(self, worker: Worker) -> WorkerStatistics:
        """Take a snapshot of a worker."""
        return worker_statistics(worker, self.current_time())

    def current_time(self) -> float:
        """The time in the pool's Trio run, for callers in any thread."""
        return self._engine.home.clock.current_time()

    def reopening_delay(self, policy: RetryPolicy, failed: int, error: Exception) -> float:
        """How long a worker waits before its next attempt to open its resource."""
        return policy.delay(failed, error, 0.0, self._engine.rng)

    def judge(self, run: Run, error: Exception) -> Verdict | None:
        """Decide about the job of a run that has failed; None if the decision ended the pool."""
        job, worker, race = cast("Job[Any]", run.job), run.worker, run.race
        policy = self.retry if job._options.retry is None else job._options.retry
        on_failure, rng = self.on_failure, self._engine.rng
        breaker = None if worker._limits is None else worker._limits.breaker
        if race is not None and race.is_decided:
            # Another run has decided the attempt. An error after a cancellation is not a failure.
            policy, on_failure, breaker = RetryPolicy.never(), None, None
        try:
            if on_failure is None and breaker is None and policy._is_plain:
                return judge(job, error, policy=policy, on_failure=None, breaker=None, rng=rng)
            decide = partial(judge, job, error, policy=policy, on_failure=on_failure, breaker=breaker, rng=rng)
            return call_as_part_of(job, decide)
        except BaseException as interruption:
            self._engine.crash(interruption)
            return None

    @property
    def hurries(self) -> bool:
        """Whether everything must end at once."""
        return self._engine.scope.cancel_called

    def blame(self, worker: Worker, error: Exception) -> None:
        """Pass on an error from leaving a lifespan: to the callers of remove(), or else out of the pool's block."""
        if worker._is_leaving and worker._task.removers:
            worker._task.farewell = error
            return
        if not worker._is_leaving:  # logged too, since the block may end much later
            report("leaving the lifespan of %s failed", one_line(worker.name), error=error)
        self._engine.errors.append(error)


def _made_by(
    factory: Callable[[], AbstractAsyncContextManager[Any]],
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Convert a factory to a lifespan that ignores its argument."""
    return lambda _: factory()
