"""Shell: what all pools have in common: watching, changing, closing."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, cast

import attrs
import trio

from . import _validate
from ._driver import is_in_a_job
from ._engine import Engine
from ._instrument import Instrument, is_among, remove
from ._job import Job, JobState
from ._limits import RateLimit
from ._options import Options
from ._places import Door
from ._retry import RetryPolicy
from ._shown import one_line
from ._snapshots import Snapshots
from ._staff import Staff
from ._statistics import PoolStatistics, pool_statistics
from ._submitting import Submitting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ._config import Config
    from ._dead import DeadLetters
    from ._elastic import Elastic
    from ._options import JobOptions
    from ._verdict import OnFailure
    from ._worker import Worker


def checked_pool(pool: object) -> BasePool:
    """Return ``pool``: a pool of either kind."""
    if not isinstance(pool, BasePool):
        raise TypeError(f"pool must be a Pool or a SlotPool, {_validate.got(pool)}")
    return pool


class BasePool(Submitting):
    """What `Pool` and `SlotPool` have in common. Made by `open_pool` only."""

    __slots__ = ("_staff",)

    def __init__(self, config: Config, elastic: Elastic[Any] | None = None) -> None:
        defaults = Options(
            attempt_timeout=config.attempt_timeout,
            total_timeout=config.total_timeout,
            show_arguments=config.show_arguments,
        )
        super().__init__(Engine(config, elastic, self._requeue), defaults, count(1))
        self._staff = Staff(self._engine, elastic)

    # What the program sees of the pool.

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
        return cast("tuple[Worker, ...]", tuple(self._engine.roster.seats.values()))

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
        self._staff.retry = _validate.instance("retry", policy, RetryPolicy)

    @property
    def on_failure(self) -> OnFailure | None:
        """What is asked about ordinary failures. Assign to change it."""
        return self._staff.on_failure

    @on_failure.setter
    def on_failure(self, hook: OnFailure | None) -> None:
        self._engine.check_caller()
        if hook is not None:
            _validate.call("on_failure", hook)
        self._staff.on_failure = hook

    @property
    def max_running(self) -> float | None:
        """How many attempts may be under way at once, or None. Assign to change it."""
        limit = self._engine.core.max_running
        return None if limit == float("inf") else limit

    @max_running.setter
    def max_running(self, limit: float | None) -> None:
        self._engine.check_caller()
        bound = _validate.bound("max_running", limit, least=1)
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
        if limit is not None:
            _validate.instance("rate_limit", limit, RateLimit)
        self._engine.core.set_rate_limit(limit, trio.current_time())
        self._engine.carry_out()

    def jobs(self, *states: JobState) -> Iterator[Job[Any]]:
        """The jobs that have not ended, or those of them in one of ``states``.

        The jobs are those of this moment, so that they may be cancelled while iterating.

        Raises:
          ValueError: if a state is final, since ended jobs are not kept.
        """
        for state in states:
            if _validate.instance("state", state, JobState).is_final:
                raise ValueError(f"ended jobs are not kept, so none can be {state.name}")
        live = list(self._engine.ledger.live.values())
        return iter([job for job in live if job.state in states] if states else live)

    def statistics(self) -> PoolStatistics:
        """A snapshot of what the pool has done and what is in it."""
        crew = self._staff.last_crew or self.workers
        workers = tuple(worker.statistics() for worker in crew)
        return pool_statistics(self.name, self._engine.ledger, self._engine.core.waiting, workers)

    def snapshots(self, interval: float) -> AsyncIterator[PoolStatistics]:
        """Iterate over snapshots: one now, and one after each interval.

        Ends as soon as the pool is closed and every job has ended.

        Arguments:
          interval: seconds between two of them, more than zero.
        """
        if _validate.seconds("interval", interval) == 0:
            raise ValueError("interval must be more than 0, got 0")
        self._engine.check_caller()
        return Snapshots(interval, self.statistics, self._engine)

    def add_instrument(self, instrument: Instrument) -> None:
        """Let an instrument watch from now on; no effect if it does already."""
        self._engine.check_caller()
        _validate.instance("instrument", instrument, Instrument)
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
        jobs, workers = len(self._engine.ledger.live), len(self._engine.roster.seats)
        return f"<trio_pool.{type(self).__name__}{name}: {workers} workers, {jobs} jobs>"

    # Ending.

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
        if self._engine.ledger.live:
            await self._engine.wait_until_quiet()
        else:
            await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    def _requeue(self, job: Job[Any], given: JobOptions) -> Job[Any]:
        options = job._options.replace(given, defaults=self._defaults, roster=self._engine.roster, call="requeue")
        self._engine.check_open(inside=True)
        if options.group is not None:
            group = self._engine.groups.get(options.group)
            if group is None or group._stopping:  # it takes no jobs any more
                options = attrs.evolve(options, group=None)
        fresh = self._make_job(job._fn, job._args, options)
        self._engine.let_in(fresh, Door.ALWAYS)
        return fresh
