"""Adding, holding back and removing workers."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import trio

from .._basics.logs import report
from .._basics.text import one_line
from .._core.commands import CHECK, HIRE, UNCHECK
from .._core.retry_decision import Verdict, judge, judge_block
from .._model.errors import PoolClosedError
from .._model.handles import Job, Worker
from .._model.statistics import WorkerStatistics, worker_statistics
from .._policies import validate
from .._policies.resource import check_lifespan
from .._policies.retry import RetryPolicy
from .._policies.worker_limits import WorkerLimits
from .few import Few
from .job_context import enclosing_jobs
from .job_runner import call_as_part_of, run_job
from .notify import notify
from .rates import set_rate_limit, settle_in
from .worker_task import WorkerTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager
    from random import Random

    from .._core.commands import Commands
    from .._model.pool_config import OnFailure
    from .._model.records import Run
    from .._policies.resource import Elastic, Resource
    from .clock import Clock
    from .engine import Engine


class Workers:
    """The workers of a pool, and the calls that they need from it."""

    def __init__(self, engine: Engine, elastic: Elastic[Any] | None) -> None:
        self._engine = engine
        # How an elastic pool opens workers; may change while the pool runs.
        self.elastic: Elastic[Any] | None = elastic
        engine.carriers |= {HIRE: self._on_hire, CHECK: self._on_check, UNCHECK: self._on_uncheck}
        self._ids = count(1)
        # The workers, first ones or ordered by the autoscaler, that are opening their resources; those
        # that leave at the end; and how many workers have to be opened when there is room.
        self._opening = Few(engine.config.max_opening)
        self._leaving = Few(engine.config.max_opening)
        self._to_hire = 0
        # Whether the first workers are being opened; and the first error of any of them.
        self._is_starting = False
        self._first_failure: BaseException | None = None
        self.commands: Commands = engine.commands
        self.timers: Clock = engine.timers
        self.carry_out: Callable[[], None] = engine.carry_out
        self.crash: Callable[[BaseException], None] = engine.crash
        self.rng: Random = engine.rng
        self.reopening: RetryPolicy = engine.config.reopening
        # Executes runs. `trio_pool.testing` replaces `run_job` by another function to inject faults; that one is also
        # awaited before the block of a lease, without arguments.
        self.perform: Callable[[Run, tuple[Any, ...]], Awaitable[Any]] = run_job
        # The policy for failed jobs; may change while the pool runs.
        self.retry: RetryPolicy = engine.config.retry
        self.on_failure: OnFailure | None = engine.config.on_failure

    def recruit(
        self,
        resource: Resource[Any],
        leading: tuple[Any, ...],
        factory: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        *,
        ordered: bool = False,
    ) -> Worker:
        """Add a worker, which begins to open its resource, without waiting for it."""
        self._engine.check_open(inside=True)
        number = next(self._ids)
        name = resource.name or f"worker-{number}"
        worker = Worker(self._engine.roster, number, name, resource.tags, resource.value, self)
        lifespan = self._engine.config.lifespan if factory is None else _made_by(factory)
        worker._max_running = resource.max_running
        worker._is_exclusive = resource.max_running == 1
        worker._limits = self._limits_of(resource, has_lifespan=lifespan is not None)
        worker._elastic = factory is not None
        worker._task = task = WorkerTask(worker, self, self._engine.core, lifespan, leading, insists=ordered)
        self._engine.core.join(worker, trio.current_time(), ordered=ordered)
        for ledger in self._engine.core.metering.ledgers:
            ledger.hired(worker)
        # Started in the context of the pool's opener, since a worker outlives the job that added it.
        self._engine.start_task(task.run, f"<{one_line(name)}>", self._engine.context)
        self._engine.note_places()
        return worker

    def _limits_of(self, resource: Resource[Any], *, has_lifespan: bool) -> WorkerLimits | None:
        config = self._engine.config
        breaker = config.breaker if resource.breaker is None else resource.breaker
        reopens = has_lifespan and (resource.on_cut or config.on_cut) == "reopen"
        check = (resource.check or config.check) if has_lifespan else None
        limits = (resource.rate_limit, breaker, resource.max_jobs, resource.max_age)
        if not reopens and check is None and all(limit is None for limit in limits):
            return None
        settle_in(self._engine, resource.rate_limit)
        metering = self._engine.core.metering
        return WorkerLimits(*limits, self._engine.rng, metering, reopens_on_cut=reopens, check=check)

    def recruit_elastic(self, *, ordered: bool = False) -> Worker:
        """Add a worker to an elastic pool."""
        assert self.elastic is not None
        return self.recruit(self.elastic._describe(), (), self.elastic.factory, ordered=ordered)

    def _on_hire(self, _: None) -> None:
        self._to_hire += 1
        self._hire()

    def _hire(self) -> None:
        """Open the workers that the core has ordered, as many as may open at the same time."""
        growth = self._engine.core.state.growth
        while self._to_hire and (self._engine.stopping or self._opening.has_room):
            self._to_hire -= 1
            if self._engine.stopping or growth is None or not growth.still_wants_one():
                self._engine.core.not_hired()
            else:
                self._opening.add(self.recruit_elastic(ordered=True))

    def _on_check(self, worker: Worker) -> None:
        worker._task.start_check()

    def _on_uncheck(self, worker: Worker) -> None:
        worker._task.checker.cancel()

    async def open_first(self, recruits: Sequence[Callable[[], Worker]]) -> None:
        """Open the first workers, in this order, as many as may open at the same time.

        Raises:
          BaseException: the first error of a resource that can't be opened; those of others are logged.
        """
        self._is_starting = True
        try:
            for recruit in recruits:
                await self._opening.wait_for_room()
                if self._first_failure is not None:
                    break
                worker = recruit()
                self._opening.add(worker)
                await worker._task.begun.wait()  # otherwise the workers would begin in any order
            await self._opening.wait_until_empty()
        finally:
            self._is_starting = False
        if self._first_failure is not None:
            raise self._first_failure

    async def stop_all(self, workers: Iterable[Worker], *, at_once: bool) -> None:
        """Make workers leave, in this order, as many as may leave at the same time, and wait for their ends."""
        for worker in workers:
            await self._leaving.wait_for_room()
            if not worker._has_left:
                self._leaving.add(worker)
                self._let_go(worker, at_once=at_once)
                await worker._task.served.wait()  # otherwise the workers would begin in any order
        await self._leaving.wait_until_empty()

    def note_opened(self, worker: Worker, failure: BaseException | None) -> None:
        """Record that a worker has opened its resource, or will not."""
        if not self._opening.remove(worker):
            return  # the caller of add() waits for the worker, or it has been open before
        if failure is None:
            self._hire()
        elif self._is_starting and self._first_failure is None:
            self._first_failure = failure
            self._opening.release()
        else:
            report("%s can't be opened", one_line(worker.name), error=failure)

    def note_stopped(self, worker: Worker) -> None:
        """Record that a worker has stopped."""
        self._leaving.remove(worker)

    @trio.lowlevel.enable_ki_protection
    async def add(
        self,
        resource: Resource[Any],
        leading: tuple[Any, ...],
    ) -> Worker:
        """Add a worker and wait until it has opened its resource."""
        self._engine.check_caller()
        check_lifespan(self._engine.config.lifespan is not None, resource.on_cut, resource.check)
        await trio.lowlevel.checkpoint_if_cancelled()
        worker = self.recruit(resource, leading)
        try:
            await worker._task.opened.wait()
        except BaseException:
            self._let_go(worker, at_once=True)
            with trio.CancelScope(shield=True):
                await worker._task.stopped.wait()
            if worker._task.failure is not None:
                report("%s can't be opened", one_line(worker.name), error=worker._task.failure)
            raise
        if worker._task.failure is not None:
            raise worker._task.failure
        if worker._has_left and not self._engine.stopping:
            raise RuntimeError(f"{one_line(worker.name)} was removed before it had started")
        if worker._has_left:
            raise PoolClosedError("the pool was closed before the worker had started")
        return worker

    def _let_go(self, worker: Worker, *, at_once: bool) -> None:
        """Make a worker leave; with ``at_once``, cancel what it is doing."""
        self._engine.core.depart(worker, trio.current_time(), cut=at_once)
        self._engine.carry_out()
        if at_once:
            worker._task.abandon()

    @trio.lowlevel.enable_ki_protection
    async def remove_worker(self, worker: Worker, *, cancel: bool) -> None:
        """Make a worker leave and wait for its end."""
        self._engine.check_caller()
        validate.instance("cancel", cancel, bool)
        its_own = {run.job for run in (*worker._runs, *worker._lent)}
        if any(job in its_own for job in enclosing_jobs()):
            raise RuntimeError(f"{worker.name} can't be removed by the job that runs on it")
        worker._task.removers += 1
        notify(self._engine.instruments, "_removing", worker, cancel)
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

    def reopen_worker(self, worker: Worker) -> None:
        """Reopen the resource of a worker, or try to open it at once if the worker waits before the next try."""
        self._engine.check_caller()
        if worker._is_open:
            if not worker._is_leaving:
                self._engine.core.reopen(worker, None, trio.current_time())
                self._engine.carry_out()
        else:
            worker._task.reopening.end_pause()

    def reset_breaker_of(self, worker: Worker) -> None:
        """Close the circuit breaker of a worker."""
        self._engine.check_caller()
        self._engine.core.reset_breaker(worker, trio.current_time())
        self._engine.carry_out()

    def set_places(self, worker: Worker, limit: float) -> None:
        """Change how many attempts may run on a worker at once."""
        self._engine.check_caller()
        self._engine.core.set_places(worker, validate.size("max_running", limit), trio.current_time())
        self._engine.note_places()
        self._engine.carry_out()

    def set_rate_limit(self, worker: Worker, limits: object) -> None:
        """Change how often attempts may start on a worker."""
        self._engine.check_caller()
        if worker._limits is None:
            worker._limits = WorkerLimits(None, None, None, None, self._engine.rng, self._engine.core.metering)
        set_rate_limit(self._engine, limits, worker)

    def worker_statistics(self, worker: Worker) -> WorkerStatistics:
        """Take a snapshot of a worker."""
        now = self.current_time()
        return worker_statistics(worker, self._engine.core.accounts.of(worker, now), now)

    def current_time(self) -> float:
        """The time in the pool's Trio run, for callers in any thread."""
        return self._engine.home.clock.current_time()

    def judge(self, run: Run, error: Exception) -> Verdict | None:
        """Decide about the job of a run that has failed; None if the decision ended the pool."""
        verdict = self._judge(run, error)
        if verdict is not None and self._engine.instruments:
            notify(self._engine.instruments, "_judged", run, verdict)
        return verdict

    def _judge(self, run: Run, error: Exception) -> Verdict | None:
        job, worker, race = cast("Job[Any]", run.job), run.worker, run.race
        if job._options.is_lease:
            return self._judge_block(run, error)
        policy = self.retry if job._options.retry is None else job._options.retry
        on_failure, rng = self.on_failure, self._engine.rng
        breaker = None if worker._limits is None else worker._limits.breaker
        if race is not None and race.is_decided:
            # Another run has decided the attempt. An error after that cancellation is not a failure.
            policy, on_failure, breaker = RetryPolicy.never(), None, None
        try:
            if on_failure is None and breaker is None and policy._is_plain:
                return judge(job, error, policy=policy, on_failure=None, breaker=None, rng=rng)
            decide = partial(judge, job, error, policy=policy, on_failure=on_failure, breaker=breaker, rng=rng)
            return call_as_part_of(run, decide)
        except BaseException as interruption:
            self._engine.crash(interruption)
            return None

    def _judge_block(self, run: Run, error: Exception) -> Verdict | None:
        breaker = None if run.worker._limits is None else run.worker._limits.breaker
        try:
            return judge_block(error, breaker)
        except BaseException as interruption:
            self._engine.crash(interruption)
            return None

    @property
    def hurries(self) -> bool:
        """Whether everything must end at once."""
        return self._engine.scope.cancel_called

    def tell_of_session(self, worker: Worker, step: str) -> None:
        """Notify the instruments of a step of a worker's lifespan."""
        notify(self._engine.instruments, "_session", worker, step)

    def blame(self, worker: Worker, error: Exception) -> None:
        """Pass an error from leaving a lifespan to the callers of remove(), if any, or else out of the pool's block."""
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
