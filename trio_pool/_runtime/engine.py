"""The engine of a pool: carries out the core's decisions, and ends the pool."""

from __future__ import annotations

from collections import deque
from contextvars import Context
from functools import partial
from random import Random
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import trio

from .._core.commands import (
    ADMITTED,
    CHANGED,
    DIED,
    GROUP_QUIET,
    INTERRUPT,
    MOVED,
    QUIET,
    RECALL,
    REFUSED,
    REGAIN,
    RESERVED,
    START,
    TELL,
    TELL_OF_POOL,
    TURNED_AWAY,
    WAITS_IN_VAIN,
)
from .._core.core import Core
from .._core.state import CoreSettings
from .._core.worker_index import WorkerIndex
from .._model.dead_letters import DeadLetters
from .._model.errors import JobNotFinishedError, PoolClosedError
from .._model.job_extra import Progress
from .._model.states import JobState
from .clock import Clock
from .job_context import run_inside
from .lend_block import LendBlock
from .notify import notify
from .outcomes import failure_of, shortfall_of
from .submitters import Submitters
from .waiting import Waiting, has_ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .._core.commands import Command
    from .._core.deadlines import Deadlines
    from .._core.lifecycle import Lifecycle
    from .._core.stream_window import StreamWindow
    from .._model.handles import Job, Worker
    from .._model.job_options import JobOptions
    from .._model.pool_config import Config
    from .._model.records import Group, Run
    from .._policies.rate_meter import Amount
    from .._policies.resource import Elastic
    from .home import Home

V = TypeVar("V")

SUCCEEDED = JobState.SUCCEEDED  # read for every result, and slow to access through the enum


_CALL_FROM_THREAD = (
    "from here, call run_from_thread() or submit_from_thread() for jobs, "
    "and trio.from_thread.run_sync(..., trio_token=...) for anything else"
)


class OpenGroup(Protocol):
    """The notifications of the engine to a group whose block has been entered."""

    _stopping: bool

    def _note_quiet(self) -> None: ...
    def _note_staffed(self) -> None: ...
    def _note_turned_away(self) -> None: ...
    def _note_death(self, job: Job[Any]) -> None: ...


class ItemSource(Protocol):
    """The source of a stream's jobs, which takes the items."""

    def look(self) -> None: ...
    def stop(self) -> None: ...
    def stop_with(self, group: object) -> None: ...


class Engine:
    """The core of one pool, its clock, the tasks that wait for its jobs, and its end."""

    def __init__(
        self,
        config: Config,
        elastic: Elastic[Any] | None,
        requeue: Callable[[Job[Any], JobOptions], Job[Any]],
    ) -> None:
        self.config: Config = config
        # The public object, for instruments; set by that object.
        self.pool: object = None
        self.rng: Random = Random() if config.rng is None else config.rng
        self.instruments: list[Any] = list(config.instruments)
        self.commands: deque[Command] = deque()
        self.roster: WorkerIndex = WorkerIndex(config.pick, self.rng)
        self.dead: DeadLetters = DeadLetters(config.max_dead, requeue, self.check_caller)
        settings = CoreSettings(
            max_queue=config.max_queue,
            max_running=config.max_running,
            no_worker=config.no_worker,
            rate_limit=config.rate_limit,
            retry_budget=config.retry_budget,
            lifo=config.order == "lifo",
            keep_history=config.history,
            per_key=config.per_key,
        )
        self.core: Core = Core(self.roster, self.dead, self.commands, self.instruments, settings, elastic)
        self.core.metering.on_wake = self._on_wake
        self.lifecycle: Lifecycle = self.core.lifecycle
        self.submitters: Submitters = Submitters(self.core, self.carry_out)
        self.waiting: Waiting = Waiting(self, self.core)
        self.timers: Clock = Clock(self._on_deadline)
        self.deadlines: Deadlines = self.core.deadlines
        # Covers the body of the block, and the rest of the block until the workers have stopped.
        self.scope: trio.CancelScope = trio.CancelScope()
        # Set while the block lasts: the nursery and the context of the pool's tasks.
        self.nursery: trio.Nursery | None = None
        self.context: Context = Context()
        # Set when the pool opens: its Trio run and thread, for calls from other threads.
        self.home: Home
        # Whether jobs from outside are refused; and whether all jobs are refused, since everything stops.
        self.closed: bool = False
        self.stopping: bool = False
        # The workers when the pool began to end, for later statistics.
        self.last_crew: tuple[Worker, ...] = ()
        self.over: trio.Event = trio.Event()
        # The errors that leave the block, besides an exception of its body.
        self.errors: list[BaseException] = []
        # The groups whose blocks have been entered and not left, by their records.
        self.groups: dict[Group, OpenGroup] = {}
        # The sources of the streams whose blocks have not been left.
        self.feeders: dict[ItemSource, None] = {}
        self._carrying_out = False
        # The functions that carry out the core's commands; `Workers` adds those about workers.
        self.carriers: dict[str, Callable[[Any], None]] = {
            START: self._on_start,
            CHANGED: self._on_changed,
            MOVED: self._on_moved,
            QUIET: self._on_quiet,
            GROUP_QUIET: self._on_group_quiet,
            RESERVED: self._on_reserved,
            TURNED_AWAY: self._on_turned_away,
            WAITS_IN_VAIN: self.waiting.on_waits_in_vain,
            TELL: self._on_tell,
            TELL_OF_POOL: self._on_tell_of_pool,
            INTERRUPT: self._on_interrupt,
            REGAIN: self._on_regain,
            RECALL: self._on_recall,
            ADMITTED: self.submitters.on_admitted,
            REFUSED: self.submitters.on_refused,
            DIED: self._on_died,
        }
        self._quiet: trio.Event | None = None

    def start_task(self, task: Callable[[], Awaitable[None]], name: str, context: Context) -> None:
        """Start one of the pool's tasks in this context."""
        self.check_open(inside=True)
        assert self.nursery is not None
        context.run(partial(self.nursery.start_soon, task, name=name))

    def check_caller(self, cure: str = _CALL_FROM_THREAD) -> None:
        """Check that the caller is in the pool's Trio run, as long as that run lasts.

        A caller in another Trio run or thread would change the pool's state while the pool uses it,
        and might be woken by the wrong scheduler, or never. Calls that only read need no check.
        """
        if get_ident() != self.home.thread and self.nursery is not None:
            raise RuntimeError(f"the pool lives in another Trio run or thread: {cure}")

    def note_places(self) -> None:
        """Notify the streams that the workers may have more places, so that the default buffer may hold more jobs."""
        for feeder in self.feeders:
            feeder.look()

    # Enqueuing jobs.

    def check_open(self, *, inside: bool) -> None:
        """Check that the pool accepts jobs from outside, or from inside a job of the pool.

        A pool that is not ``closed`` accepts both.
        """
        if self.stopping or (self.closed and not inside):
            raise PoolClosedError("the pool is closed")

    # The calls of the handles of jobs.

    @trio.lowlevel.enable_ki_protection
    def cancel_job(self, job: Job[Any], by: str = "by job.cancel()") -> None:
        """Cancel a job of this pool; ``by`` says who does so, at the end of a sentence."""
        self.check_caller()
        if not job.state.is_final:
            self.core.cancel(job, trio.current_time(), by)
            self.carry_out()

    def result_of(self, job: Job[V]) -> V:
        """Return the job's result, or raise the error that explains why there is none."""
        if job._state is SUCCEEDED:
            return cast("V", job._value)
        if not has_ended(job):
            raise JobNotFinishedError(f"{job!r} has not ended yet")
        self.deal_with(job)
        raise shortfall_of(job)

    async def wait_job(self, job: Job[V]) -> V:
        """Wait for the job's end."""
        await self.waiting.wait_for(job, has_ended)
        return self.result_of(job)

    async def wait_job_started(self, job: Job[Any]) -> None:
        """Wait for the start of the job's first attempt, or its end."""
        await self.waiting.wait_job_started(job)

    def deal_with(self, job: Job[Any]) -> None:
        """Record that a caller has received the job's outcome."""
        if job.state is JobState.DEAD:
            self.dead._deal_with(job)

    def workers_of(self, group: Group) -> tuple[Worker, ...]:
        """The worker of each place that is reserved for a group."""
        return tuple(cast("Worker", worker) for worker, places in group.workers.items() for _ in range(places))

    def lend_worker(self, job: Job[Any]) -> LendBlock:
        """Return the block in which a job lends its worker."""
        self.check_caller()
        return LendBlock(job)

    # Ending.

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Accept no more jobs from outside."""
        self.check_caller()
        self.closed = True
        self.submitters.turn_away(self.core.close(trio.current_time()), "the pool was closed")
        if not self.lifecycle.live:
            self.over.set()
        self.carry_out()

    def stop(self) -> None:
        """Accept no more jobs at all."""
        self.stopping = True
        self.last_crew = self.last_crew or cast("tuple[Worker, ...]", tuple(self.roster.by_id.values()))
        for feeder in self.feeders:
            feeder.stop()
        for group in self.groups.values():
            group._note_turned_away()

    @trio.lowlevel.enable_ki_protection
    def cancel(self) -> None:
        """Stop everything now."""
        self.check_caller()
        if self.nursery is None or self.scope.cancel_called:
            return
        # The body goes first, so that it is cancelled before it can see the ends of its jobs.
        self.scope.cancel()
        self.stop()
        self.close()
        self.core.cancel_all(trio.current_time())
        self.carry_out()
        # Otherwise workers could take any amount of time to leave, for example behind a shield, and
        # tasks would wait for them.
        for worker in cast("list[Worker]", list(self.roster.by_id.values())):
            worker._task.hurry()

    def crash(self, error: BaseException) -> None:
        """Stop everything because of an exception that is not an `Exception`."""
        self.errors.append(error)
        self.cancel()

    async def wait_until_quiet(self) -> None:
        """Wait for the next time that no live job is left."""
        if self._quiet is None:
            self._quiet = trio.Event()
        await self._quiet.wait()

    # Carrying out the core's commands.

    def _on_deadline(self) -> None:
        self.core.advance(trio.current_time())
        self.carry_out()

    def carry_out(self) -> None:
        """Carry out the core's commands, including those that follow from them."""
        commands = self.commands
        if commands and not self._carrying_out:
            self._carrying_out = True
            try:
                while commands:
                    kind, subject = commands.popleft()
                    self.carriers[kind](subject)
            finally:
                self._carrying_out = False
        if self.deadlines.soonest < self.timers.until:
            self.timers.sleep_until(self.deadlines.soonest)

    def _on_wake(self) -> None:
        if self.deadlines.soonest < self.timers.until:
            self.timers.sleep_until(self.deadlines.soonest)

    @trio.lowlevel.enable_ki_protection
    def report(self, job: Job[Any], done: float, total: float | None, note: str) -> None:
        """Record how far the current run of a job is, and notify the instruments."""
        self.check_caller()
        self.core.report(run_inside(job, "report"), Progress(done, total, note, trio.current_time()))
        self.carry_out()

    @trio.lowlevel.enable_ki_protection
    def set_used(self, job: Job[Any], amounts: Mapping[str, Amount]) -> None:
        """Set how much of these units the current run of a job has used in total."""
        self.check_caller()
        run = run_inside(job, "set_used")
        self.core.set_used(run, amounts, trio.current_time())
        notify(self.instruments, "_used", run, amounts)
        self.carry_out()

    def _on_start(self, run: Run) -> None:
        run.worker._task.send(run)

    def _on_interrupt(self, run: Run) -> None:
        run.worker._task.interrupt(run)
        if self.core.waits.is_waiting(run):
            self.waiting.see_what_outlasts(run)

    def _on_regain(self, run: Run) -> None:
        run.worker._task.loans.regain(run)

    def _on_recall(self, worker: Worker) -> None:
        worker._task.recall()

    def _on_changed(self, job: Job[Any]) -> None:
        for watch in tuple(job._watchers or ()):
            watch(job)

    def _on_moved(self, window: StreamWindow[Any]) -> None:
        window.tell()

    def _on_tell(self, told: tuple[str, tuple[object, ...]]) -> None:
        event, arguments = told
        notify(self.instruments, event, *arguments)

    def _on_tell_of_pool(self, told: tuple[str, tuple[object, ...]]) -> None:
        event, arguments = told
        notify(self.instruments, event, self.pool, *arguments)

    def _on_quiet(self, _: None) -> None:
        if self._quiet is not None:
            self._quiet.set()
            self._quiet = None
        if self.closed:
            self.over.set()

    def _on_group_quiet(self, group: Group) -> None:
        self.groups[group]._note_quiet()

    def _on_reserved(self, group: Group) -> None:
        self.groups[group]._note_staffed()

    def _on_turned_away(self, group: Group) -> None:
        self.groups[group]._note_turned_away()

    def _on_died(self, job: Job[Any]) -> None:
        group = job._options.group
        if group is not None:
            self.groups[group]._note_death(job)
        if self.config.on_dead == "cancel" and not self.scope.cancel_called:
            self.dead._deal_with(job)
            self.errors.append(failure_of(job))
            self.cancel()
