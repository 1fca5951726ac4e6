"""Faults in the attempts of a pool, by a seed."""

from __future__ import annotations

import types
from collections import Counter, deque
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import attrs
import trio

from .._basics.text import one_line
from .._core.retry_decision import Retry, judge
from .._model.text import label
from .._policies import validate
from .._policies.retry import ResourceBroken
from .._runtime.job_runner import Failure, run_job
from ._flaky import check_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .._api.pool import BasePool
    from .._model.handles import Job
    from .._model.records import Run, WorkerRecord

    Steps: TypeAlias = Generator[Any, Any, Any]

_MOST_KEPT = 20  # how many incidents are kept
_MOST_FAILURES = 10  # how many failures of one job are injected; otherwise a job might be tried again forever
_MOST_TURNS = 3  # how many times an attempt lets other tasks go first at the same instant
_MOST_DOUBLED = 5  # a worker is lost before one of the first 2 ** 4 steps of the function, mostly of the first few
_SHARE_OF_TIME = 0.1  # how much of the time until the attempt's deadline a delay may take


class InjectedError(Exception):
    """The error of attempts that `chaos` or `explore` fails, unless another error is given."""


@attrs.define(eq=False)
class Faults:
    """What `chaos` has done so far.

    Attributes:
      delayed: attempts that started later.
      failed: attempts that failed before their functions were called.
      broken: attempts that failed likewise, with `trio_pool.ResourceBroken`.
      lost: workers that were removed.
    """

    delayed: int = attrs.field(default=0, init=False)
    failed: int = attrs.field(default=0, init=False)
    broken: int = attrs.field(default=0, init=False)
    lost: int = attrs.field(default=0, init=False)
    _incidents: deque[str] = attrs.field(factory=lambda: deque[str](maxlen=_MOST_KEPT), init=False, repr=False)

    @property
    def incidents(self) -> tuple[str, ...]:
        """The last twenty of these events in words, without delays."""
        return tuple(self._incidents)

    def _note(self, words: str) -> None:
        self._incidents.append(f"{trio.current_time():.6g}: {words}")


def _probability(name: str, value: object) -> None:
    if validate.seconds(name, value) > 1:
        raise ValueError(f"{name} must be at most 1, {validate.got(value)}")


def _makes_errors(name: str, value: object) -> None:
    check_error(name, value)
    kind: Any = value
    if isinstance(kind, type):
        try:
            kind()
        except TypeError:
            raise TypeError(f"{name} must be an exception if its type takes arguments, {validate.got(value)}") from None


@attrs.frozen(kw_only=True)
class FaultRates:
    """How often each kind of fault occurs: the arguments of `chaos` and `explore`, checked."""

    failures: float = attrs.field(validator=validate.by(_probability))
    delays: float = attrs.field(validator=validate.by(validate.seconds, finite=True))
    breaking: float = attrs.field(validator=validate.by(_probability))
    losing_workers: float = attrs.field(validator=validate.by(_probability))
    error: Exception | type[Exception] = attrs.field(validator=validate.by(_makes_errors))
    fatal: bool = attrs.field(validator=validate.by(validate.instance, kind=bool))

    def new_error(self) -> Exception:
        return self.error() if isinstance(self.error, type) else self.error.with_traceback(None)


class StartFaults:
    """The faults of one start of a job.

    They depend only on the seed, the job's number and how often the job has been started before. So they are the same
    in whatever order Trio runs the tasks.
    """

    __slots__ = ("breaks", "fails", "loses_at", "pause", "turns")

    def __init__(self, rng: Random, rates: FaultRates) -> None:
        # All numbers are always drawn, so that one rate doesn't change the effect of the others.
        kind, pause, turns = rng.random(), rng.random() * rates.delays, rng.randint(1, _MOST_TURNS)
        is_delayed = rates.delays > 0
        self.turns = turns if is_delayed and kind < 2 / 3 else 0
        self.pause = pause if is_delayed and kind < 1 / 3 else 0.0
        self.fails = rng.random() < rates.failures
        self.breaks = rng.random() < rates.breaking
        loses, step = rng.random() < rates.losing_workers, rng.randrange(2 ** rng.randrange(_MOST_DOUBLED))
        self.loses_at = step if loses else None


class FaultInjector:
    """Injects faults between a pool and the functions of its jobs.

    Arguments:
      pool: the pool.
      seed: the seed as text, for this pool alone.
      rates: how often there are faults.
      faults: the object in which the faults are counted.
    """

    def __init__(self, pool: BasePool, seed: str, rates: FaultRates, faults: Faults) -> None:
        self._engine = pool._engine
        self._staff = pool._staff
        self._seed = seed
        self._rates = rates
        self._faults = faults
        # By the numbers of the jobs: how often each was started, and how often it failed because of a fault.
        self._starts: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()
        self._is_over = False

    def begin(self) -> None:
        """Inject faults from now on."""
        if self._staff.perform is not run_job:
            raise RuntimeError("the pool has faults already, by chaos() or explore()")
        self._staff.perform = self._perform

    def end(self) -> None:
        """Inject no more faults, not even into running attempts."""
        self._is_over = True
        self._staff.perform = run_job

    async def _perform(self, run: Run, args: tuple[Any, ...]) -> Any:
        """Do what `run_job` does, with faults. For a lease, only what comes before its block."""
        job = run.job
        self._starts[job.id] += 1
        planned = StartFaults(Random(f"{self._seed}/{job.id}/{self._starts[job.id]}"), self._rates)
        is_lease = job._options.is_lease
        try:
            await self._delay(run, planned)
        except BaseException as cut_short:
            if is_lease:
                raise
            return Failure(cut_short)  # noqa: ASYNC910  # a cancellation, which is a checkpoint
        if is_lease:
            if planned.loses_at is not None:
                self._lose_a_worker()
            return None
        error = self._failure(run, planned)
        if error is not None:
            return Failure(error)
        if planned.loses_at is None:
            return await run_job(run, args)
        return await _interrupted(run, args, planned.loses_at, self._lose_a_worker)

    async def _delay(self, run: Run, planned: StartFaults) -> None:
        """Let others go first, at least once, so that every attempt is a checkpoint."""
        self._faults.delayed += planned.turns > 0
        await trio.lowlevel.checkpoint()
        for _ in range(1, planned.turns):
            await trio.lowlevel.checkpoint()
        # A delay alone shouldn't use up the time of an attempt.
        left = (run.deadline - trio.current_time()) * _SHARE_OF_TIME
        if planned.pause and left > 0:
            await trio.sleep(min(planned.pause, left))

    def _failure(self, run: Run, planned: StartFaults) -> Exception | None:
        """The error with which a run fails instead of calling its function, after counting it; or None."""
        faults, words = self._faults, (label(run.job), one_line(run.worker.name))
        if planned.fails and self._allows(run, error := self._rates.new_error()):
            faults.failed += 1
            faults._note(f"an attempt of {words[0]} on {words[1]} failed")
            return error
        broken = ResourceBroken("by trio_pool.testing", counts=self._rates.fatal)
        if planned.breaks and self._allows(run, broken):
            faults.broken += 1
            faults._note(f"{words[1]} broke under {words[0]}")
            return broken
        return None

    def _allows(self, run: Run, error: Exception) -> bool:
        """Whether a run may fail with an error: only if its job is tried again, unless failures may be fatal."""
        job = run.job
        if not self._rates.fatal:
            policy = self._staff.retry if job._options.retry is None else job._options.retry
            verdict = judge(cast("Job[Any]", job), error, policy=policy, on_failure=None, rng=Random(0))
            if self._failures[job.id] >= _MOST_FAILURES or not isinstance(verdict.fate, Retry):
                return False
        self._failures[job.id] += 1
        return True

    def _lose_a_worker(self) -> None:
        """Remove one of the workers that run something, and cut its attempts short, if another can take its place."""
        busy = [worker for worker in self._engine.roster.by_id.values() if worker._runs and self._can_spare(worker)]
        if self._is_over or not busy:
            return
        # Drawn here, since it isn't known earlier which workers there are.
        draw = Random(f"{self._seed}/{self._faults.lost}/{len(busy)}")
        worker = draw.choice(busy)
        self._faults.lost += 1
        jobs = ", ".join(label(run.job) for run in worker._runs)
        self._faults._note(f"{one_line(worker.name)} was lost, with {jobs}")
        self._engine.core.depart(worker, trio.current_time(), cut=True)
        self._engine.carry_out()

    def _can_spare(self, worker: WorkerRecord) -> bool:
        """Whether another worker can run all that this one can."""
        if worker._is_leaving or any(job._options.worker is worker for job in self._engine.lifecycle.live.values()):
            return False
        others = self._engine.roster.by_id.values()
        return any(other is not worker and not other._is_leaving and other.tags >= worker.tags for other in others)


@types.coroutine
def _interrupted(run: Run, args: tuple[Any, ...], step: int, interrupt: Callable[[], None]) -> Steps:
    """Run a job, and call ``interrupt`` when its function waits again after it has waited ``step`` times."""
    performing = cast("Steps", run_job(run, args))
    go_on: Callable[[Any], Any] = performing.send
    answer: Any = None
    while True:
        try:
            message = go_on(answer)
        except StopIteration as stop:
            return stop.value
        if step == 0:
            interrupt()
        step -= 1
        try:
            answer = yield message
            go_on = performing.send
        except BaseException as error:
            answer = error
            go_on = performing.throw
