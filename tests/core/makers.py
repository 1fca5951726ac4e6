"""Makes jobs and workers as the core sees them, and a core without a shell."""

from __future__ import annotations

import gc
import math
import sys
from collections import deque
from contextvars import Context
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from tests.core.commands import WaitsInVain, of_kind
from trio_pool._basics.frozen_mapping import FrozenMapping
from trio_pool._core.core import Core as Scheduler
from trio_pool._core.state import CoreSettings
from trio_pool._core.worker_index import WorkerIndex
from trio_pool._model.dead_letters import DeadLetters
from trio_pool._model.handles import Job
from trio_pool._model.records import Group, JobRecord, JobSpec, Run, WorkerRecord
from trio_pool._policies.draws import NO_USES
from trio_pool._policies.worker_limits import WorkerLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from trio_pool import CircuitBreaker, PerKey, RetryBudget, SharedRateLimit
    from trio_pool._core.commands import Command
    from trio_pool._core.lane_index import Index
    from trio_pool._core.lifecycle import Lifecycle
    from trio_pool._core.ready_queue import ReadyQueue
    from trio_pool._core.retry_decision import Verdict
    from trio_pool._core.waits import Wait
    from trio_pool._model.job_options import JobOptions
    from trio_pool._model.pool_config import NoWorker, Pick
    from trio_pool._policies.hedge import Hedge
    from trio_pool._policies.rate_limit import Share
    from trio_pool._policies.rate_meter import Amount
    from trio_pool._policies.rate_meters import RateLimits
    from trio_pool._policies.resource import Elastic

V = TypeVar("V")


class NoHost:
    """The host of jobs whose handles nobody uses."""

    def check_caller(self) -> None:
        raise AssertionError

    def cancel_job(self, job: Job[Any]) -> None:
        raise AssertionError(job)

    def result_of(self, job: Job[V]) -> V:
        raise AssertionError(job)

    async def wait_job(self, job: Job[V]) -> V:
        raise AssertionError(job)

    async def wait_job_started(self, job: Job[Any]) -> None:
        raise AssertionError(job)

    def lend_worker(self, job: Job[Any]) -> AbstractAsyncContextManager[None]:
        raise AssertionError(job)


async def work() -> None:
    """What the jobs of these tests would do, were there anybody to run them."""


_job_ids = count(1)


def make_job(
    *,
    now: float = 0.0,
    priority: float = 0,
    requires: Iterable[str] = (),
    worker: WorkerRecord | None = None,
    total_timeout: float = math.inf,
    attempt_timeout: float = math.inf,
    hedge: Hedge | None = None,
    name: str | None = None,
    after: Iterable[Job[Any]] = (),
    group: Group | None = None,
    uses: Mapping[str, Amount] = NO_USES,
    key: Hashable = None,
    is_lease: bool = False,
) -> Job[Any]:
    """A job that has not been submitted yet."""
    options = JobSpec(
        attempt_timeout=attempt_timeout,
        total_timeout=total_timeout,
        priority=priority,
        requires=frozenset(requires),
        worker=worker,
        hedge=hedge,
        name=name,
        after=tuple(after),
        group=group,
        uses=FrozenMapping(uses),
        key=key,
        is_lease=is_lease,
    )
    return Job(NoHost(), next(_job_ids), work, (), options, now, now + total_timeout, Context())


def no_requeueing(job: Job[Any], options: JobOptions) -> Job[Any]:
    """For dead letters that nobody is to queue again."""
    raise AssertionError(job)


class NoSharer:
    """The pool of workers without shared limits."""

    def share_of(self, shared: SharedRateLimit) -> Share:
        raise AssertionError(shared)

    def wake(self, share: Share, at: float = -math.inf) -> None:
        raise AssertionError(share)


class NoSpread(Random):
    """Draws the upper end of every range, so that it is known beforehand."""

    def uniform(self, a: float, b: float) -> float:
        del a
        return b


def make_limits(
    *,
    rate_limit: RateLimits = None,
    breaker: CircuitBreaker | None = None,
    max_jobs: int | None = None,
    max_age: float | None = None,
    rng: Random | None = None,
) -> WorkerLimits:
    """What holds a worker to these limits; its resource lasts all of ``max_age``."""
    return WorkerLimits(rate_limit, breaker, max_jobs, max_age, NoSpread() if rng is None else rng, NoSharer())


@attrs.define(eq=False)
class Core:
    """A core, with all that its shell would have a hand on."""

    roster: WorkerIndex
    dead: DeadLetters
    commands: deque[Command]
    scheduler: Scheduler
    lifecycle: Lifecycle
    _worker_ids: Iterator[int] = attrs.field(factory=lambda: count(1), init=False)

    def make_worker(self, *tags: str, limits: WorkerLimits | None = None, places: float = 1) -> WorkerRecord:
        """A worker that has not joined yet."""
        number = next(self._worker_ids)
        worker = WorkerRecord(self.roster, number, f"worker {number}", frozenset(tags))
        worker._limits = limits
        worker._max_running, worker._is_exclusive = places, places == 1
        return worker

    def add_worker(
        self, *tags: str, limits: WorkerLimits | None = None, now: float = 0.0, places: float = 1
    ) -> WorkerRecord:
        """A worker whose resource is open."""
        worker = self.make_worker(*tags, limits=limits, places=places)
        self.scheduler.join(worker, now)
        self.scheduler.opened(worker, now)
        return worker

    def begin(self, now: float) -> None:
        """The functions of all that has been started begin."""
        for worker in self.roster.by_id.values():
            for run in worker._runs:
                begun(run, now)

    # Ends of the attempts on workers, by the workers; each gives the next job.

    def succeeded(self, worker: WorkerRecord, value: object, now: float) -> Job[Any] | None:
        return job_of(self.scheduler.succeeded(run_on(worker), value, now))

    def failed(self, worker: WorkerRecord, error: Exception, verdict: Verdict, now: float) -> Job[Any] | None:
        return job_of(self.scheduler.failed(run_on(worker), error, verdict, now))

    def timed_out(self, worker: WorkerRecord, error: Exception, now: float) -> Job[Any] | None:
        return job_of(self.scheduler.timed_out(run_on(worker), error, now))

    def cut_short(self, worker: WorkerRecord, error: Exception, now: float, *, begun: bool = True) -> Job[Any] | None:
        return job_of(self.scheduler.cut_short(run_on(worker), error, now, begun=begun))

    def lend(self, worker: WorkerRecord, now: float) -> Job[Any] | None:
        return job_of(self.scheduler.lend(run_on(worker), now))

    def make_group(
        self, *, max_running: float = math.inf, reserve: int = 0, must_succeed: bool = False, name: str | None = None
    ) -> Group:
        """A group that has not been opened yet."""
        return Group(name, max_running, reserve, must_succeed)

    def open_group(
        self, *, max_running: float = math.inf, reserve: int = 0, must_succeed: bool = False, now: float = 0.0
    ) -> Group:
        """A group that is open, or waits for its workers."""
        group = self.make_group(max_running=max_running, reserve=reserve, must_succeed=must_succeed)
        self.scheduler.open_group(group, now)
        return group

    def commands_of(self, kind: type[Any]) -> list[Any]:
        """The effects of one kind that have not been carried out."""
        return of_kind(kind, self.commands)

    def told(self) -> list[Wait]:
        """The waits that have been told that they would be forever, in that order."""
        return [command.wait for command in self.commands_of(WaitsInVain)]


def run_of(job: JobRecord) -> Run:
    """What a job without a hedge does on its worker."""
    assert job._run is not None
    return job._run


def begun(run: Run, now: float) -> None:
    """Do what a worker's loop does when the function of a run begins."""
    if run.draws is not None:
        run.draws.begin(now)


def run_on(worker: WorkerRecord, job: JobRecord | None = None) -> Run:
    """The one run that fills a place of a worker, or the one of them that is a job's."""
    (run,) = [run for run in worker._runs if job in (None, run.job)]
    return run


def job_on(worker: WorkerRecord) -> Job[Any] | None:
    """The job that has the place of a worker, if one does."""
    return cast("Job[Any]", run_on(worker).job) if worker._runs else None


def job_of(run: Run | None) -> Job[Any] | None:
    """The job of a worker's next run, if it has one."""
    return None if run is None else cast("Job[Any]", run.job)


def make_core(
    *,
    pick: Pick = "longest_idle",
    max_queue: float = math.inf,
    max_running: float = math.inf,
    max_dead: float = math.inf,
    no_worker: NoWorker = "reject",
    rate_limit: RateLimits = None,
    per_key: PerKey | None = None,
    retry_budget: RetryBudget | None = None,
    lifo: bool = False,
    keep_history: bool = True,
    seed: int = 0,
    elastic: Elastic[Any] | None = None,
    instruments: Sequence[object] = (object(),),
) -> Core:
    """A core that tells instruments, as if there were one, unless there are to be none."""
    roster = WorkerIndex(pick, Random(seed))
    dead = DeadLetters(max_dead, no_requeueing)
    commands: deque[Command] = deque()
    settings = CoreSettings(
        max_queue=max_queue,
        max_running=max_running,
        no_worker=no_worker,
        rate_limit=rate_limit,
        per_key=per_key,
        retry_budget=retry_budget,
        lifo=lifo,
        keep_history=keep_history,
    )
    scheduler = Scheduler(roster, dead, commands, instruments, settings, elastic)
    return Core(roster, dead, commands, scheduler, scheduler.lifecycle)


def indexes_of(queue: ReadyQueue) -> list[Index]:
    """The indexes of a queue for one family of workers each."""
    return [index for by_units in queue.indexes._families.values() for index in by_units.indexes.values()]


def calls_of(act: Callable[[], object]) -> int:
    """How many calls of Python functions it takes, each step of a generator being one.

    The garbage collector is held off meanwhile: it would call what others have it call, as hypothesis
    does, whenever the garbage of earlier tests sets it going.
    """
    calls = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    collects = gc.isenabled()
    gc.disable()
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return calls
