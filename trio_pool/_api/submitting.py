"""Creating and enqueuing jobs, for pools and groups alike."""

from __future__ import annotations

import math
from contextvars import copy_context
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import trio

from .._basics.attributes import Entered, FixedAttributes
from .._basics.pickling import Handle
from .._basics.text import said
from .._core.admission import Admission, Door
from .._model.errors import NoEligibleWorkerError
from .._model.handles import Job
from .._model.job_options import revised
from .._model.states import JobState
from .._policies import validate
from .._runtime.bad_calls import not_callable
from .._runtime.job_context import enclosing_jobs, is_in_a_job
from .._runtime.notify import notify
from .._runtime.waiting import has_ended
from .graph import about_node, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from contextvars import Context

    from .._model.job_options import JobOptions, NodeOptions
    from .._model.records import JobRecord, JobSpec
    from .._runtime.engine import Engine
    from .graph import Node


K = TypeVar("K")

NO_TAGS: tuple[str, ...] = ()
# The values of options that a call for a lease leaves out. Compared by identity: equality is the caller's code.
_NOT_GIVEN: dict[str, object] = {
    "requires": NO_TAGS,
    "worker": None,
    "priority": 0,
    "key": None,
    "uses": None,
    "name": None,
    "metadata": None,
}


class Submitting(Handle, FixedAttributes, Entered):
    """The untyped base of the calls that submit jobs; see `ResourceCalls` and `SlotCalls`.

    Arguments:
      engine: the engine of the pool.
      defaults: the options of jobs without options of their own.
      job_ids: the source of the jobs' numbers.
    """

    __slots__ = ("__weakref__", "_closed", "_defaults", "_engine", "_job_ids", "_lease_defaults")

    def __init__(self, engine: Engine, defaults: JobSpec, job_ids: Iterator[int]) -> None:
        self._engine = engine
        self._defaults = defaults
        # The options of leases without options of their own, once there has been one.
        self._lease_defaults: JobSpec | None = None
        self._job_ids = job_ids
        # Whether a group has been closed while its pool is open.
        self._closed = False

    @trio.lowlevel.enable_ki_protection
    async def submit_graph(self, nodes: Mapping[K, Node], *, reverse: bool = False) -> dict[K, Job[Any]]:
        """Queue a graph of jobs; each job starts when the jobs before it have succeeded.

        All or nothing: the graph is checked first. If the queue is full, the graph waits for one
        place and then enters as a whole. A job whose ``total_timeout`` passes in the meantime is
        dead at once, and the rest goes on waiting. If a job doesn't succeed, the jobs that depend
        on it are discarded as soon as that is known.

        A checkpoint. If the call is cancelled, there are no jobs except those that ended while it
        waited.

        Arguments:
          nodes: the nodes by their keys.
          reverse: reverse the edges: each node's ``after`` names the nodes that start after it.

        Returns:
          dict: the handles of the jobs by the keys of their nodes, in an order in which they can
              run.

        Raises:
          GraphError: if there is a cycle, an unknown key, or a duplicate edge.
          PoolClosedError: if the pool is closed, or is closed in the meantime.
          NoEligibleWorkerError: if no worker can run one of the jobs, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type; the message
              names the key of the node.
        """
        self._engine.check_caller()
        jobs: dict[K, Job[Any]] = {}
        for key, before in in_order(nodes, reverse=reverse).items():
            jobs[key] = self._make_job_of_graph(key, nodes[key], tuple(jobs[other] for other in before))
        await trio.lowlevel.checkpoint_if_cancelled()
        inside = is_in_a_job() and self._is_inside()
        self._check_open(inside=inside)
        if jobs:
            await self._let_graph_in(jobs, Door.ALWAYS if inside else Door.QUEUE_UP)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return jobs

    def _make_job_of_graph(self, key: object, node: Node, after: tuple[Job[Any], ...]) -> Job[Any]:
        """Create the job of a node; an error names the node."""
        try:
            resolved = self._resolve(node.options, "Node")
            resolved = attrs.evolve(resolved, after=after, name=resolved.name or _name_of(key))
            return self._make_job(node.fn, node.args, resolved)
        except (TypeError, ValueError) as error:
            if type(error) not in (TypeError, ValueError):
                raise  # raised by a program's own iterable or mapping; the class may not accept a message
            raise about_node(key, error) from error

    async def _let_graph_in(  # noqa: ASYNC910  # its caller has a checkpoint
        self, by_key: Mapping[K, Job[Any]], door: Door
    ) -> None:
        engine = self._engine
        jobs = list(by_key.values())
        key = engine.core.key_of(jobs)
        try:
            if engine.submitters.let_in(key, door, jobs) is Admission.WAITING:
                for job in jobs:
                    notify(engine.instruments, "_lined_up", job)
                await engine.submitters.wait_for_place(key)
        except NoEligibleWorkerError as error:
            of_node = next(name for name, job in by_key.items() if job is key)
            if key.name == _name_of(of_node):
                raise  # the message names the node already
            raise about_node(of_node, error) from None

    def _check_open(self, *, inside: bool) -> None:
        """Check that the pool accepts jobs from outside, or from inside a job of the pool."""
        self._engine.check_open(inside=inside)

    def _is_inside(self) -> bool:
        """Whether the calling job belongs to this pool, or was submitted by a job of the pool."""
        return any(job._host is self._engine for job in enclosing_jobs())

    def _resolve(self, options: JobOptions | NodeOptions, call: str) -> JobSpec:
        if not options:
            return self._defaults
        return revised(self._defaults, options, defaults=self._defaults, crew=self._engine.roster, call=call)

    def _make_job(
        self, fn: Callable[..., Any], args: tuple[Any, ...], options: JobSpec, context: Context | None = None
    ) -> Job[Any]:
        """Create a job outside the pool, in a copy of the caller's context unless one is given."""
        if options.after or not callable(fn):
            self._check_call(fn, options)
        home = self._engine.home
        if get_ident() != home.thread:
            self._engine.check_caller()
        now = home.clock.current_time()
        deadline = math.inf if options.total_timeout == math.inf else now + options.total_timeout
        number, context = next(self._job_ids), context or copy_context()
        job: Job[Any] = Job(self._engine, number, fn, args, options, now, deadline, context)
        if self._engine.core.keys is not None:
            job._key = self._engine.core.keys.of(options.key)
        if options.after:
            notify(self._engine.instruments, "_depends", job, options.after)
        return job

    def _lease_options(self, timeout: float | None, **given: object) -> JobSpec:
        """Return the options of a lease's job; its block can be entered only in the pool's own Trio run."""
        self._engine.check_caller(
            "here no block of acquire() can be entered; let an async function in the pool's run do that, "
            "with trio.from_thread.run(..., trio_token=...)"
        )
        defaults = self._lease_defaults
        if defaults is None:
            inf = math.inf
            defaults = attrs.evolve(self._defaults, attempt_timeout=inf, total_timeout=inf, is_lease=True)
            self._lease_defaults = defaults
        changes = {option: value for option, value in given.items() if value is not _NOT_GIVEN[option]}
        if timeout is not None:
            changes["total_timeout"] = validate.seconds("timeout", timeout)  # for a lease, until the job runs
        return revised(defaults, changes, defaults=defaults, crew=self._engine.roster, call="acquire")

    def _check_call(self, fn: object, options: JobSpec) -> None:
        """Check the function together with its options."""
        if not callable(fn):
            raise TypeError(not_callable(fn))
        if any(other._host is not self._engine for other in options.after):
            raise ValueError("after must hold jobs of this pool")

    @trio.lowlevel.enable_ki_protection
    def _submit_nowait(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        options: JobSpec,
        idle_only: bool = False,
        context: Context | None = None,
    ) -> Job[Any]:
        if idle_only is not False:
            validate.instance("idle_only", idle_only, bool)
        job = self._make_job(fn, args, options, context)
        if not idle_only and self._goes_straight(job):
            return job
        engine = self._engine
        inside = is_in_a_job() and self._is_inside()
        if engine.closed or self._closed:
            self._check_open(inside=inside)
        door = Door.IF_IDLE if idle_only else Door.ALWAYS if inside else Door.AT_ONCE
        if engine.submitters.let_in(job, door) is Admission.FULL:
            raise trio.WouldBlock
        return job

    def _lines_up(self, job: Job[Any], *, outside: bool = False) -> bool:
        """Enqueue a job, or put it in line for a place in the queue; return whether it is in line.

        Arguments:
          outside: whether the job comes from outside, whatever the calling task is.
        """
        engine = self._engine
        inside = not outside and is_in_a_job() and self._is_inside()
        if engine.closed or self._closed:
            self._check_open(inside=inside)
        waits = engine.submitters.let_in(job, Door.ALWAYS if inside else Door.QUEUE_UP) is Admission.WAITING
        if waits and engine.instruments:
            notify(engine.instruments, "_lined_up", job)
        return waits

    def _goes_straight(self, job: Job[Any]) -> bool:
        """Start or queue a job by the straight way, if possible; return whether that was done."""
        engine = self._engine
        if engine.closed or self._closed:
            return False
        done = engine.core.submit_straight(job, job._submitted_at)
        if done is False:
            return False
        if done is not True:
            task = done.worker._task
            if task.free_loops and not job._options.is_lease:  # as `WorkerTask.send` does, without the call
                task.free_loops -= 1
                task.runs.send_nowait(done)
            else:
                task.send(done)
        if engine.commands or engine.deadlines.soonest < engine.timers.until:
            engine.carry_out()
        return True

    @trio.lowlevel.enable_ki_protection
    async def _run(self, fn: Callable[..., Any], args: tuple[Any, ...], options: JobSpec) -> Any:
        job = self._make_job(fn, args, options)
        deadline = trio.current_effective_deadline()
        if deadline != math.inf:
            job._extras.caller_deadline = deadline
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            if not self._goes_straight(job) and self._lines_up(job):
                await self._engine.submitters.wait_for_place(job)
            await self._engine.waiting.wait_for(job, has_ended)
        except BaseException as error:
            if job._state is None:
                raise  # the job has never been in the pool
            self._engine.cancel_job(job, "with its caller")
            with trio.CancelScope(shield=True):
                await self._engine.waiting.wait_for_end(job)
            # A Ctrl-C must not get lost, whatever the outcome of the job.
            if job.state in (JobState.DEAD, JobState.SUCCEEDED) and not isinstance(error, KeyboardInterrupt):
                return self._engine.result_of(job)
            raise
        return self._engine.result_of(job)

    @trio.lowlevel.enable_ki_protection
    def _requeue(self, job: Job[Any], given: JobOptions) -> Job[Any]:
        if job._extra is not None and job._extra.metadata is not None:  # as the job's function has left it
            given = {"metadata": job._extra.metadata, **given}
        options = revised(job._options, given, defaults=self._defaults, crew=self._engine.roster, call="requeue")
        self._engine.check_open(inside=True)
        if options.group is not None:
            group = self._engine.groups.get(options.group)
            if group is None or group._stopping:  # the group accepts no more jobs
                options = attrs.evolve(options, group=None)
        fresh = self._make_job(job._fn, job._args, options)
        self._engine.submitters.let_in(fresh, Door.ALWAYS)
        return fresh


def _name_of(key: object) -> str:
    """Return the name of a graph's job that has no name of its own."""
    return str.__str__(key) if isinstance(key, str) else said(key)


def jobs_in(live: Iterable[JobRecord], states: Collection[JobState]) -> Iterator[Job[Any]]:
    """Iterate over a copy of these jobs, or over those of them in one of ``states``."""
    for state in states:
        if validate.instance("state", state, JobState).is_final:
            raise ValueError(f"ended jobs are not kept, so none can be {state.name}")
    jobs = cast("list[Job[Any]]", list(live))
    return iter([job for job in jobs if job.state in states] if states else jobs)
