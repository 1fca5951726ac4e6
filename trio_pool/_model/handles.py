"""The public handles of jobs and workers, and the calls that they need from their pool."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from .._basics.text import one_line
from .._policies import validate
from .._policies.draws import NOTHING, checked_uses
from .history import transitions
from .records import JobRecord, WorkerRecord
from .states import DeadReason, JobState, Transition
from .text import counted, doings, label, shortcomings

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from .._policies.rate_meter import Amount
    from .._policies.rate_meters import AnyLimit, RateLimits
    from .job_extra import Progress
    from .owners import Crew
    from .statistics import WorkerStatistics


V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class JobHost(Protocol):
    """The calls that a job's handle needs from its pool."""

    def check_caller(self) -> None: ...
    def cancel_job(self, job: Job[Any]) -> None: ...
    def result_of(self, job: Job[V]) -> V: ...
    async def wait_job(self, job: Job[V]) -> V: ...
    async def wait_job_started(self, job: Job[Any]) -> None: ...
    def lend_worker(self, job: Job[Any]) -> AbstractAsyncContextManager[None]: ...
    def set_used(self, job: Job[Any], amounts: Mapping[str, Amount]) -> None: ...
    def report(self, job: Job[Any], done: float, total: float | None, note: str) -> None: ...


class WorkerHost(Protocol):
    """The calls that a worker's handle needs from its pool."""

    def current_time(self) -> float: ...
    def worker_statistics(self, worker: Worker) -> WorkerStatistics: ...
    def pause_worker(self, worker: Worker) -> None: ...
    def resume_worker(self, worker: Worker) -> None: ...
    def rest_worker(self, worker: Worker, seconds: float) -> None: ...
    def reopen_worker(self, worker: Worker) -> None: ...
    def reset_breaker_of(self, worker: Worker) -> None: ...
    def set_places(self, worker: Worker, limit: float) -> None: ...
    def set_rate_limit(self, worker: Worker, limits: object) -> None: ...
    async def remove_worker(self, worker: Worker, *, cancel: bool) -> None: ...


class Job(JobRecord, Generic[V_co]):
    """A submitted call: the handle that ``submit`` returns.

    Only the pool creates jobs. Everything here can be read at any time, also after the pool's block
    has been left.
    """

    __slots__ = ()

    _host: JobHost

    if not TYPE_CHECKING:  # a type checker reports an awaited job without this method

        def __await__(self) -> None:
            raise TypeError("a job can't be awaited; use 'await job.wait()'")

    async def wait(self) -> V_co:
        """Wait for the job's end and return its result.

        A checkpoint. If the wait is cancelled, the job goes on.

        Returns:
          the return value of the job's function.

        Raises:
          JobFailedError: if the job is dead; it then counts as dealt with.
          JobCancelledError: if the job was cancelled or discarded.
        """
        return await self._host.wait_job(self)

    async def wait_started(self) -> None:
        """Wait until an attempt has started, or the job has ended before any attempt.

        A checkpoint. If the wait is cancelled, the job goes on.
        """
        await self._host.wait_job_started(self)

    def result(self) -> V_co:
        """Return the result without waiting.

        Raises:
          JobFailedError: if the job is dead; it then counts as dealt with.
          JobCancelledError: if the job was cancelled or discarded.
          JobNotFinishedError: if the job has not ended yet.
        """
        return self._host.result_of(self)

    def cancel(self) -> None:
        """Cancel the job; has no effect if the job has ended.

        A waiting job ends at once. A running job is cancelled at its next checkpoint. If its
        function returns a value anyway, the job has succeeded; if the function raises an error of
        its own, the job is dead. No further attempt starts.
        """
        self._host.cancel_job(self)

    def set_used(self, amounts: Mapping[str, float] = NOTHING, /, **more: float) -> None:
        """Report how much this call of the job's function has used in total, by units.

        For use inside the job's function: ``current_job().set_used(tokens=900)``. The amounts
        replace those of the option ``uses``, and those of earlier calls. Units that are not named
        stay as they are. The difference to what was drawn is drawn at once, or given back, in the
        limits with these units on the worker, the key and the pool.

        Arguments:
          amounts: a mapping from units to amounts, which are finite numbers, zero or more.
          **more: more of them.

        Raises:
          RuntimeError: if called outside of the job's function.
          ValueError, TypeError: if an amount is out of its range or of the wrong type.
        """
        self._host.set_used(self, {**checked_uses("amounts", amounts), **checked_uses("amounts", more)})

    def report(self, done: float, total: float | None = None, note: str = "") -> None:
        """Report how far this call of the job's function is: `progress` shows it, and instruments get ``job_progress``.

        For use inside the job's function: ``current_job().report(pages, len(book), "reading")``. In a thread of the
        function, call it by ``trio.from_thread.run_sync``; in the block of ``acquire``, call that of `Lease.job`. If
        the function runs on several workers because of a `Hedge`, the furthest of the calls that still run counts.

        Arguments:
          done: how much is done, in whatever is being counted; finite, zero or more.
          total: how much there is to do, finite, zero or more; None if that is unknown.
          note: what is being done, for people.

        Raises:
          RuntimeError: if called outside of the job's function.
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        validate.seconds("done", done, finite=True)
        if total is not None:
            validate.seconds("total", total, finite=True)
        self._host.report(self, done, total, str.__str__(validate.instance("note", note, str)))

    def lend(self) -> AbstractAsyncContextManager[None]:
        """Let other jobs use the worker while this job waits for something.

        For use inside the job's function: ``async with current_job().lend(): ...``. Until the block
        ends, the job's place is for others, and this job counts in no ``max_running``. At the end
        of the block the job gets a place of the same worker back, ahead of the queue: the first
        that falls free and isn't reserved for others. The job's timeouts go on. The worker stays in
        its lifespan.

        Entering and leaving the block are checkpoints. If the job is cancelled, leaving still
        waits, shielded, until the job has the worker back. There is one exception: if the job on
        the worker also waits, shielded, for this job's end, the wait could never end. Then this job
        goes on without a worker and must not use the resource anymore: `worker` is None.

        Raises:
          RuntimeError: if called outside of the job's function, or if the job has ended, already
              lends its worker, goes on without it, or has a `Hedge`.
          JobDeadlockError: at the end of the block, if the job goes on without its worker; an error
              of the block becomes its context, and a cancellation takes precedence.
          ResourceBroken: at the end of the block, if the resource has broken or the worker has been
              removed in the meantime.
        """
        return self._host.lend_worker(self)

    @property
    def fn(self) -> Callable[..., Any]:
        """The function."""
        return self._fn

    @property
    def args(self) -> tuple[Any, ...]:
        """The function's arguments, without the resource."""
        return self._args

    @property
    def submitted_at(self) -> float:
        """When ``submit`` was called, in seconds on Trio's clock."""
        return self._submitted_at

    @property
    def deadline(self) -> float:
        """Until when another attempt may start, in seconds on Trio's clock, or ``inf``.

        The end of the job's ``total_timeout``, or the deadline of the caller of ``run`` at the time
        of the call, whichever is sooner.
        """
        return self._deadline if self._extra is None else min(self._deadline, self._extra.caller_deadline)

    @property
    def worker(self) -> Worker | None:
        """The worker that runs the job now, or the first of several that still do, or None.

        While the job lends its worker, still that worker. None if the job goes on without it, see
        `lend`.
        """
        run = self._run
        return None if run is None or run.is_forfeited else cast("Worker", run.worker)

    @property
    def metadata(self) -> dict[str, Any]:
        """The job's own copy of the mapping given to ``submit``; the job's function can change it."""
        extra = self._extras
        if extra.metadata is None:
            extra.metadata = dict(self._options.metadata)
        return extra.metadata

    @property
    def progress(self) -> Progress | None:
        """What the job's function has last reported by `report`, or None; None again when another attempt starts."""
        return None if self._extra is None else self._extra.progress

    @property
    def group(self) -> Any | None:
        """The `JobGroup` or `SlotJobGroup` to which the job belongs, or None."""
        group = self._options.group
        return None if group is None else group.handle

    @property
    def key(self) -> Hashable:
        """The key given to ``submit``: on whose behalf the job runs; None without a key."""
        return self._options.key

    @property
    def priority(self) -> float:
        """The job's priority; lower numbers start first."""
        return self._options.priority

    @property
    def finished_at(self) -> float | None:
        """When the job ended, in seconds on Trio's clock, or None."""
        return self._finished_at

    @property
    def history(self) -> tuple[Transition, ...]:
        """The changes of state, the first 64 and the last 64; empty if the pool keeps no history."""
        return transitions(self)

    @property
    def dead_reason(self) -> DeadReason | None:
        """Why the job is dead, or None."""
        return None if self._shortfall is None else self._shortfall.reason

    @property
    def _error(self) -> Exception | None:
        """The error that made the job dead, or None."""
        return None if self._shortfall is None else self._shortfall.error

    def __repr__(self) -> str:
        state = self.state.name.lower()
        if self._state is JobState.DELAYED and self._setback is not None:
            state = f"{state} until {self.attempts[-1].ended_at + self._setback.delay:.1f}"
        elif (worker := self.worker) is not None:
            state = f"{state} on {one_line(worker.name)}"
        attempts = counted(self.attempt_count, "attempt")
        why = one_line(shortcomings(self))
        return f"<trio_pool.Job {self._id} {label(self)}, {state}, {attempts}{f': {why}' if why else ''}>"


_number = attrgetter("number")


class Worker(WorkerRecord):
    """The loop that serves one resource, with a place for each attempt that may run on it at once.

    Only the pool creates workers: by `open_pool` and by ``pool.add``.
    """

    __slots__ = ("_host", "_resource")

    def __init__(
        self, crew: Crew, number: int, name: str, tags: frozenset[str], resource: Any, host: WorkerHost
    ) -> None:
        super().__init__(crew, number, name, tags)
        self._resource = resource
        self._host = host

    @property
    def resource(self) -> Any:
        """The resource as it was given, before its lifespan was entered.

        In an elastic pool the resource that was opened last; None before that.
        """
        return self._resource

    @property
    def jobs(self) -> tuple[Job[Any], ...]:
        """The jobs that run on the worker now, in the order of their start, without jobs that have lent it."""
        return cast("tuple[Job[Any], ...]", tuple([run.job for run in sorted(self._runs, key=_number)]))

    @property
    def job(self) -> Job[Any] | None:
        """The first of `jobs`, or None."""
        # Copied in one step, since another thread may call this.
        first = next(iter(self._runs), None) if self._in_order else min(tuple(self._runs), key=_number, default=None)
        return None if first is None else cast("Job[Any]", first.job)

    @property
    def max_running(self) -> float:
        """How many attempts may run on the worker at once, an int or ``inf``. Assign to change it.

        If more run than a lower bound allows, they end by themselves.
        """
        return self._max_running

    @max_running.setter
    def max_running(self, limit: float) -> None:
        self._host.set_places(self, limit)

    @property
    def rate_limit(self) -> RateLimits:
        """How often attempts may start on the worker, or None. Assign one limit or an iterable of several.

        New limits don't start with a fresh burst, see `Pool.rate_limit`.
        """
        return None if self._limits is None else self._limits.meters.limits

    @rate_limit.setter
    def rate_limit(self, limits: AnyLimit | Iterable[AnyLimit] | None) -> None:
        self._host.set_rate_limit(self, limits)

    def statistics(self) -> WorkerStatistics:
        """Take a snapshot of the worker's work so far."""
        return self._host.worker_statistics(self)

    def pause(self) -> None:
        """Take no more jobs until `resume`; the running attempt finishes."""
        self._host.pause_worker(self)

    def resume(self) -> None:
        """Undo `pause`. This ends neither a rest nor a quarantine."""
        self._host.resume_worker(self)

    def rest(self, seconds: float) -> None:
        """Take no more jobs for some time; the running attempt finishes.

        If two rests overlap, the later end applies.

        Arguments:
          seconds: the duration from now on; finite, zero or more.
        """
        self._host.rest_worker(self, seconds)

    def reopen(self) -> None:
        """Leave and reenter the lifespan as soon as nothing runs on the worker, before it takes another job.

        The attempts under way finish. A job that has lent the worker gets `ResourceBroken` at the end of its block, as
        if another job had broken the resource. If the resource is being reopened already and the worker waits before
        the next try, it tries at once. Has no effect on a worker that is starting or about to leave. After the pool has
        been cancelled, the worker leaves instead.
        """
        self._host.reopen_worker(self)

    def reset_breaker(self) -> None:
        """Close the worker's `CircuitBreaker`, which then counts from zero, and end the quarantine, if there is one.

        An attempt that runs as a probe goes on as any other. Has no effect without a breaker.
        """
        self._host.reset_breaker_of(self)

    async def remove(self, *, cancel: bool = False) -> None:
        """Remove the worker from the pool, and wait until it has left its lifespan.

        A checkpoint. If the wait is cancelled, the worker leaves all the same.

        Arguments:
          cancel: cancel the running attempt, and queue its job again in front of the jobs of its
              priority, instead of letting it finish.

        Raises:
          RuntimeError: if called by a job that runs on this worker.
          Exception: whatever leaving the lifespan raises.
        """
        await self._host.remove_worker(self, cancel=cancel)

    def __repr__(self) -> str:
        return f"<trio_pool.Worker {self.id} {one_line(self.name)}, {doings(self, self._host.current_time())}>"
