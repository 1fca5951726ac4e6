"""The public groups of jobs, and their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from .._basics.text import one_line
from .._core.reservations import occupied_by_opener
from .._model.errors import JobDeadlockError, PoolClosedError
from .._model.records import Group
from .._model.statistics import pool_statistics
from .._model.text import counted, label
from .._policies import validate
from .._runtime.block import Block
from .._runtime.caller_run import end_open_blocks
from .._runtime.cancellation_watch import CancellationWatch
from .._runtime.job_context import enclosing_jobs, is_in_a_job
from .._runtime.notify import notify
from .._runtime.outcomes import come_out, failure_of, without_own_cancellation
from .calls import ResourceCalls
from .slot_calls import SlotCalls
from .submitting import Submitting, jobs_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from .._model.handles import Job, Worker
    from .._model.states import JobState
    from .._model.statistics import PoolStatistics

R = TypeVar("R")
G = TypeVar("G", bound="BaseGroup")


class BaseGroup(Submitting):
    """The common base of `JobGroup` and `SlotJobGroup`. Only ``open_group`` creates them."""

    __slots__ = (
        "_deaths",
        "_entered",
        "_is_open",
        "_left",
        "_metadata",
        "_quiet",
        "_record",
        "_scope",
        "_staffed",
        "_stopping",
        "_turned_away",
    )

    def __init__(
        self,
        pool: Submitting,
        *,
        name: str | None,
        must_succeed: bool,
        max_running: float | None,
        reserve: int,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        engine = pool._engine
        plain_name = validate.text("name", name)
        validate.instance("must_succeed", must_succeed, bool)
        bound = validate.bound("max_running", max_running, least=1)
        validate.count("reserve", reserve, least=0)
        self._metadata = validate.metadata("metadata", metadata)
        if reserve > (most := engine.core.most_places):
            raise ValueError(
                f"reserve must be at most {most:g}, all the places that the pool can have, {validate.got(reserve)}"
            )
        self._record = Group(plain_name, bound, reserve, must_succeed)
        self._record.handle = self
        super().__init__(engine, attrs.evolve(pool._defaults, group=self._record), pool._job_ids)
        self._scope = trio.CancelScope()
        self._entered = False
        self._left = False
        # Whether the body has begun and the group has not ended: only then is it among the groups of the pool.
        self._is_open = False
        # Whether the group refuses all jobs, because everything in it is being stopped.
        self._stopping = False
        self._quiet: trio.Event | None = None
        # Set when the group has its workers, or can no longer get them.
        self._staffed = trio.Event()
        self._turned_away = False
        self._deaths: list[Job[Any]] = []

    @property
    def name(self) -> str | None:
        """The name given to ``open_group``, or None."""
        return self._record.name

    @property
    def metadata(self) -> dict[str, Any]:
        """The mapping given to ``open_group``, copied into a dict, which the program can change."""
        return self._metadata

    @property
    def max_running(self) -> float | None:
        """How many attempts of the group may run at once, or None. Assign to change it.

        Attempts beyond a lower bound finish. Jobs that have lent their workers don't count.
        """
        limit = self._record.max_running
        return None if limit == float("inf") else limit

    @max_running.setter
    def max_running(self, limit: float | None) -> None:
        self._engine.check_caller()
        bound = validate.bound("max_running", limit, least=1)
        self._engine.core.set_group_max_running(self._record, bound, trio.current_time())
        self._defaults = attrs.evolve(self._defaults)  # a copy that takes the group's bound into account
        self._lease_defaults = None
        self._engine.carry_out()

    @property
    def closed(self) -> bool:
        """Whether the group refuses jobs from outside, since the group or its pool was closed, cancelled or left."""
        return self._closed or self._engine.closed

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Accept no more jobs from outside; the jobs in the group still run.

        Jobs of the group can still submit jobs to it. Callers that wait in ``submit`` for a place
        get `PoolClosedError`. Leaving the block also closes the group.
        """
        self._engine.check_caller()
        self._closed = True
        self._engine.submitters.turn_away(
            self._engine.core.shut_group(self._record, trio.current_time()), "the group was closed"
        )

    @trio.lowlevel.enable_ki_protection
    def cancel(self) -> None:
        """Stop everything in the group now: its jobs and the body of its block.

        The block then ends without an exception from the group.
        """
        self._engine.check_caller()
        if self._entered and not self._left:
            self._scope.cancel()
            self._stopping = True
            self.close()
            for feeder in list(self._engine.feeders):
                feeder.stop_with(self)
            self._engine.core.cancel_group(self._record, trio.current_time())
            self._engine.carry_out()

    @trio.lowlevel.enable_ki_protection
    async def join(self) -> None:
        """Wait until no job of the group is queued, delayed, blocked or running.

        A checkpoint. Cancelling the wait has no effect on the jobs.

        Raises:
          RuntimeError: if called inside a job of this group, which would wait for itself.
        """
        self._engine.check_caller()
        if is_in_a_job() and self._is_inside_group():
            raise RuntimeError("join() inside a job of the same group would wait forever")
        if self._record.live:
            await self._wait_until_quiet()
        else:
            await trio.lowlevel.checkpoint()

    @property
    def reserved(self) -> tuple[Worker, ...]:
        """The worker of each place that is reserved for the group; a worker with several such places is repeated."""
        return self._engine.workers_of(self._record)

    def jobs(self, *states: JobState) -> Iterator[Job[Any]]:
        """Iterate over the group's jobs that have not ended, or over those of them in one of ``states``.

        The iterator works on a copy, so jobs can be cancelled during the iteration.

        Raises:
          ValueError: if a state is final, since ended jobs are not kept.
        """
        return jobs_in(self._record.live, states)

    def statistics(self) -> PoolStatistics:
        """Take a snapshot of the group's jobs; its workers are those with places reserved for the group."""
        workers = tuple(worker.statistics() for worker in dict.fromkeys(self.reserved))
        now = self._engine.home.clock.current_time()
        return pool_statistics(self.name, self._record, len(self._record.line), workers, now)

    def __repr__(self) -> str:
        name = f" {one_line(self.name)!r}" if self.name is not None else ""
        return f"<trio_pool.{type(self).__name__}{name}: {counted(len(self._record.live), 'job')}>"

    # The methods below are for the engine and the block.

    def _open(self) -> None:
        """Record that the body begins."""
        self._is_open = True
        self._engine.lifecycle.tell("group_opened", self)
        self._engine.carry_out()

    def _leave(self) -> None:
        """Record that the group has ended."""
        engine, was_open = self._engine, self._is_open
        self._left = self._closed = True
        self._is_open = False
        del engine.groups[self._record]
        if was_open:
            engine.lifecycle.tell("group_closed", self)
        engine.core.close_group(self._record, trio.current_time())
        engine.carry_out()

    def _is_inside_group(self) -> bool:
        """Whether the calling job belongs to this group, or was submitted by a job of the group."""
        return any(job._options.group is self._record for job in enclosing_jobs())

    def _check_open(self, *, inside: bool) -> None:
        super()._check_open(inside=inside)
        if self._stopping or (self._closed and not (inside and self._is_inside_group())):
            raise PoolClosedError("the group is closed")

    def _note_quiet(self) -> None:
        """Continue ``join`` and the block, since no live job of the group is left."""
        if self._quiet is not None:
            self._quiet.set()
            self._quiet = None

    def _note_staffed(self) -> None:
        """Record that the group has all its reserved workers."""
        self._staffed.set()

    def _note_turned_away(self) -> None:
        """If the group waits for workers, record that it will never get them."""
        if not self._staffed.is_set():
            self._turned_away = True
            self._staffed.set()

    def _note_death(self, job: Job[Any]) -> None:
        """Stop the group after its first death, if ``must_succeed`` is set."""
        # A job that dies because everything is cancelled has not ended the group.
        stopped = (self._stopping or self._engine.stopping) and not self._deaths
        if self._record.must_succeed and not stopped:
            self._engine.deal_with(job)
            self._deaths.append(job)
            self.cancel()

    async def _wait_until_quiet(self, *, cancelled: bool = False) -> None:
        """Wait for the next time that no live job is left; ``cancelled`` if all of them are cancelled."""
        if self._quiet is None:
            self._quiet = trio.Event()
        quiet = self._quiet  # kept, since self._quiet may be reset before the wait begins
        waiting = self._engine.waiting.waiting_for_ends if cancelled else self._engine.waiting.waiting_for
        is_awaited = is_in_a_job()
        self._record.awaited += is_awaited
        try:
            with waiting(lambda: self._record.live):
                await quiet.wait()
        finally:
            self._record.awaited -= is_awaited

    async def _wait_for_workers(self) -> None:
        """Wait until the group has all its reserved workers."""
        record, most = self._record, self._engine.core.most_places
        opener = record.opener
        if opener is not None and most - occupied_by_opener(record) < record.reserve <= most:
            holder = f"{label(opener.job)} (on {one_line(opener.worker.name)})"
            raise JobDeadlockError(f"the job {holder} itself holds one of the workers that its group would wait for")
        with self._engine.waiting.waiting_for(tuple, group=record):
            await self._staffed.wait()
        if self._turned_away:
            raise PoolClosedError("the pool ended before the group had its workers")

    async def _finish(self) -> None:
        """Run the group's jobs to their end, after the body has ended."""
        self.close()
        await trio.lowlevel.checkpoint()
        while self._record.live:
            await self._wait_until_quiet()


class JobGroup(BaseGroup, ResourceCalls[R]):
    """A scope for jobs, like a nursery for tasks: its block ends when its jobs have ended.

    Created by `Pool.open_group`. A group submits jobs like the pool.
    """

    __slots__ = ()


class SlotJobGroup(BaseGroup, SlotCalls):
    """A scope for jobs in a `SlotPool`: its block ends when its jobs have ended.

    Created by `SlotPool.open_group`. A group submits jobs like the pool.
    """

    __slots__ = ()


def run_group(group: G) -> Block[G]:
    """Return the group's block."""
    return Block("open_group", _run(group))


@trio.lowlevel.enable_ki_protection
async def _run(group: G) -> AsyncGenerator[G, BaseException | None]:  # noqa: ASYNC911  # of a body that raises
    engine, record = group._engine, group._record
    engine.check_caller()
    await trio.lowlevel.checkpoint_if_cancelled()
    engine.check_open(inside=is_in_a_job() and group._is_inside())
    group._entered = True
    engine.groups[record] = group
    record.opener, record.task = engine.waiting.run_of_caller(), trio.lowlevel.current_task()
    engine.core.open_group(record, trio.current_time())
    engine.carry_out()
    notify(engine.instruments, "_group", record, "entering")
    error: BaseException | None = None
    watch = CancellationWatch(group.cancel)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            with group._scope:
                try:
                    if record.reserve:
                        await group._wait_for_workers()
                    else:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    group._open()
                    error = yield group
                    notify(engine.instruments, "_group", record, "leaving")
                    left_open = await end_open_blocks(engine, "open_group", record)
                    error = left_open if error is None else error
                    if error is None:
                        await group._finish()
                except BaseException as exc:
                    error = exc
            error = without_own_cancellation(group._scope, error)
            if error is not None or group._scope.cancel_called:
                group.cancel()
                while record.live:
                    try:
                        with trio.CancelScope(shield=True):
                            await group._wait_until_quiet(cancelled=True)
                    except KeyboardInterrupt as interrupt:
                        error = interrupt if error is None else error
            group._stopping = True  # a job requeued while the watch ends no longer belongs to the group
            watch.stop()
    finally:  # even if a Ctrl-C comes while the nursery waits for the watch
        group._leave()
    name = "the group" if group.name is None else f"the group {one_line(group.name)!r}"
    come_out(name, watch.outcome(error), [failure_of(job) for job in group._deaths])
