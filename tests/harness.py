"""Runs a busy pool again and again, and each time disturbs it one moment later.

The moments are the steps of Trio's tasks, which is what they do between two checkpoints, so
that there is a disturbance at every checkpoint; or else the events that the pool tells its
instruments of. The run that ends before its disturbance is due is the last. After each the
books are checked; see `check`.
"""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from functools import partial
from random import Random
from typing import Any, cast
from unittest.mock import patch

import attrs
import trio
import trio.testing
from trio._core import _run as trio_run

from tests.effort import FIRST, SHARE
from trio_pool import (
    Attempt,
    Hedge,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobGroup,
    JobState,
    Node,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

logger = logging.getLogger("trio_pool")

LONG_ENOUGH = 10_000.0
"""Seconds on the mock clock by which every run has ended, unless it hangs."""

BOUNCE = RetryPolicy(max_attempts=4, base_delay=0.3, placement="other")


class HangError(Exception):
    """A run doesn't end by itself."""


# The world that a run takes place in.


@attrs.define(eq=False)
class Session:
    """What a lifespan yields: an open device, for one attempt at a time."""

    world: World
    left: int = 0
    user: str | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @contextmanager
    def used_by(self, key: str) -> Generator[None]:
        """Mark it as in use."""
        if self.user is not None:
            raise AssertionError(f"{key} got what {self.user} is using")
        if self.left:
            raise AssertionError(f"{key} got a session that has been left")
        self.user = key
        self.world.at_work[key] += 1
        try:
            yield
        finally:
            self.world.at_work[key] -= 1
            self.user = None


@attrs.define(eq=False)
class Device:
    """A resource: it can be opened any number of times, one after another, though not always."""

    world: World
    sessions: list[Session] = attrs.field(factory=list[Session])
    failures_to_come: int = 0

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Session]:
        """The lifespan."""
        await trio.lowlevel.checkpoint()
        if self.failures_to_come:
            self.failures_to_come -= 1
            raise OSError("can't be opened just now")
        if self.sessions and not self.sessions[-1].left:
            raise AssertionError("opened twice")
        session = Session(self.world)
        self.sessions.append(session)
        try:
            with session.scope:
                yield session
        finally:
            session.left += 1
            if session.user is not None:
                raise AssertionError(f"left while {session.user} uses it")
            await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class World:
    """All that a run does and leaves behind."""

    tasks: tuple[Task, ...] = ()
    devices: list[Device] = attrs.field(init=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    pool: Pool[Session] | None = None
    nursery: trio.Nursery | None = None
    tries: Counter[str] = attrs.field(factory=Counter[str])
    at_work: Counter[str] = attrs.field(factory=Counter[str])
    jobs: list[Job[Any]] = attrs.field(factory=list[Job[Any]])
    ended: Counter[Job[Any]] = attrs.field(factory=Counter[Job[Any]])
    begun: Counter[Job[Any]] = attrs.field(factory=Counter[Job[Any]])
    attempts_ended: Counter[Job[Any]] = attrs.field(factory=Counter[Job[Any]])
    started: Counter[Worker] = attrs.field(factory=Counter[Worker])
    stopped: Counter[Worker] = attrs.field(factory=Counter[Worker])
    # What came out of the pool's block, and whether Ctrl-C was pressed.
    error: BaseException | None = None
    interrupted: bool = False
    # Called at each event that the pool tells of.
    at_event: Callable[[], None] | None = None
    groups: list[JobGroup[Session]] = attrs.field(factory=list[JobGroup[Session]])
    # Why resources were opened anew.
    reopened_for: list[Exception] = attrs.field(factory=list[Exception])

    def __attrs_post_init__(self) -> None:
        self.devices = [Device(self), Device(self), Device(self)]


@attrs.define(eq=False)
class Book(Instrument):
    """Keeps the books of a world."""

    world: World

    def job_submitted(self, job: Job[Any]) -> None:
        self.world.jobs.append(job)
        self._event()

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        self.world.begun[job] += 1
        self._event()

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        self.world.attempts_ended[job] += 1
        self._event()

    def job_delayed(self, job: Job[Any], until: float) -> None:
        self._event()

    def job_finished(self, job: Job[Any]) -> None:
        self.world.ended[job] += 1
        self._event()

    def worker_started(self, worker: Worker) -> None:
        self.world.started[worker] += 1
        self._event()

    def worker_paused(self, worker: Worker) -> None:
        self._event()

    def worker_resumed(self, worker: Worker) -> None:
        self._event()

    def worker_resting(self, worker: Worker, until: float) -> None:
        self._event()

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        if error is not None:
            self.world.reopened_for.append(error)
        self._event()

    def worker_stopped(self, worker: Worker) -> None:
        self.world.stopped[worker] += 1
        self._event()

    def _event(self) -> None:
        if self.world.at_event is not None:
            self.world.at_event()


# What the jobs do: each attempt of a job takes the next step of its plan, the last for ever.

Step = Callable[[Session], Coroutine[Any, Any, str]]
Plan = tuple[Step, ...]


async def follow(session: Session, key: str, plan: Plan) -> str:
    """A job's function."""
    with session.used_by(key):
        step = plan[min(session.world.tries[key], len(plan) - 1)]
        session.world.tries[key] += 1
        return await step(session)


async def works(session: Session) -> str:
    await trio.lowlevel.checkpoint()
    return "done"


async def works_a_while(session: Session) -> str:
    await trio.sleep(0.4)
    return "done"


async def fails(session: Session) -> str:
    await trio.lowlevel.checkpoint()
    raise ValueError("failed")


async def works_a_while_and_fails(session: Session) -> str:
    await trio.sleep(0.4)
    raise ValueError("failed")


async def dawdles(session: Session) -> str:
    await trio.sleep(50)
    return "done late"


async def is_stubborn(session: Session) -> str:
    """Returns a value although it is cancelled."""
    with trio.CancelScope(shield=True):
        await trio.sleep(1.5)
    return "done all the same"


async def sulks(session: Session) -> str:
    """Answers its cancellation with an error of its own."""
    try:
        await trio.sleep(50)
    except trio.Cancelled:
        raise RuntimeError("cancelled, so failed") from None
    return "done late"


async def breaks(session: Session) -> str:
    """Breaks its resource, which can't be opened at the first attempt then."""
    next(device for device in session.world.devices if session in device.sessions).failures_to_come = 1
    raise ResourceBroken("broken")


async def needs_rest(session: Session) -> str:
    await trio.lowlevel.checkpoint()
    raise RetryAfter(0.7, rest=True)


async def has_children(session: Session) -> str:
    """Submits to its own pool, which never makes it wait."""
    pool = session.world.pool
    assert pool is not None
    for number in range(3):
        await pool.submit(follow, f"{current_job().id}.{number}", (works,))
    return "done"


# What the body does: several tasks that use the pool in all ways that wait.

Task = Callable[[Pool[Session], World], Coroutine[Any, Any, None]]


async def runs_in_turn(pool: Pool[Session], world: World) -> None:
    plans: dict[str, Plan] = {
        "bounces": (fails, fails, works),
        "dies": (fails,),
        "too slow at first": (dawdles, works),
        "stubborn": (is_stubborn,),
    }
    for key, plan in plans.items():
        with ordinary_ends():
            try:
                await pool.run(follow, key, plan, retry=BOUNCE, attempt_timeout=1.0)
            finally:
                assert not world.at_work[key], "run() has ended before its function"


async def waits_for_handles(pool: Pool[Session], world: World) -> None:
    with ordinary_ends():
        broken = await pool.submit(follow, "breaks", (breaks, works), retry=BOUNCE)
        tired = await pool.submit(follow, "tired", (needs_rest, works), retry=BOUNCE)
        late = await pool.submit(follow, "late", (dawdles,), total_timeout=2.0)
        for job in (broken, tired, late):
            with ordinary_ends():
                await job.wait_started()
                await job.wait()


async def hedges(pool: Pool[Session], world: World) -> None:
    plans: dict[str, Plan] = {
        "hedged": (dawdles, works_a_while),
        "hedged, with a stubborn loser": (is_stubborn, dawdles, works),
        "hedged, with a sulking loser": (sulks, works),
        "hedged in vain": (works_a_while_and_fails, works_a_while_and_fails, breaks, fails),
    }
    for key, plan in plans.items():
        with ordinary_ends():
            try:
                await pool.run(follow, key, plan, retry=BOUNCE, hedge=Hedge(0.2, extra=2))
            finally:
                assert not world.at_work[key], "run() has ended before its function, which runs on several workers"


async def fills_the_queue(pool: Pool[Session], world: World) -> None:
    with ordinary_ends():
        for number in range(5):
            await pool.submit(follow, f"filler {number}", (works_a_while,), priority=number % 2)
        await pool.submit(follow, "sulks", (sulks,), attempt_timeout=0.5, total_timeout=5.0)
        await pool.submit(follow, "parent", (has_children,))


async def numbers() -> AsyncGenerator[int]:
    for number in range(4):
        await trio.lowlevel.checkpoint()
        yield number


async def flaky_item(session: Session, number: int) -> str:
    return await follow(session, f"item {number}", (fails, works))


async def narrow_item(session: Session, number: int) -> str:
    return await follow(session, f"narrow, item {number}", (fails, works))


async def other_item(session: Session, number: int) -> str:
    return await follow(session, f"other {number}", (works_a_while if number % 2 else fails,))


async def maps(pool: Pool[Session], world: World) -> None:
    with ordinary_ends():
        async with pool.map(flaky_item, range(4), retry=BOUNCE) as results:
            async for _ in results:
                pass
    assert not any(at_work for key, at_work in world.at_work.items() if key.startswith("item"))


async def completes(pool: Pool[Session], world: World) -> None:
    seen = 0
    with ordinary_ends():
        async with pool.as_completed(other_item, numbers(), buffer=2) as ended:
            async for job in ended:
                assert job.state.is_final
                seen += 1
                if seen == 3:
                    break
    assert not any(at_work for key, at_work in world.at_work.items() if key.startswith("other"))


async def shuffles_workers(pool: Pool[Session], world: World) -> None:
    with ordinary_ends():
        first = pool.workers[0]
        first.pause()
        await trio.sleep(0.2)
        first.resume()
        try:
            added = await pool.add(Resource(world.devices[2], name="the third"))
        except RuntimeError as error:
            if str(error) != "the third was removed before it had started":
                raise
            return
        added.rest(0.3)
        await trio.sleep(1.0)
        await added.remove()


async def joins(pool: Pool[Session], world: World) -> None:
    await pool.join()


TASKS: tuple[Task, ...] = (
    runs_in_turn,
    waits_for_handles,
    hedges,
    fills_the_queue,
    maps,
    completes,
    shuffles_workers,
    joins,
)


# What the body does in another run: groups, dependencies and graphs, each of which may be cut short.


async def divides(session: Session) -> str:
    """Opens a group of its own pool."""
    pool = session.world.pool
    assert pool is not None
    name = f"{current_job().id}"
    with ordinary_ends():
        async with pool.open_group(must_succeed=True) as group:
            session.world.groups.append(group)
            first = await group.submit(follow, f"{name}, first", (works_a_while,))
            await group.submit(follow, f"{name}, second", (works,), after=[first])
    return "done"


async def opens_a_narrow_group(pool: Pool[Session], world: World) -> None:
    with ordinary_ends():
        async with pool.open_group(max_running=1) as group:
            world.groups.append(group)
            first = await group.submit(follow, "narrow, first", (works_a_while,))
            second = await group.submit(follow, "narrow, second", (fails, works), after=[first], retry=BOUNCE)
            await group.submit(follow, "narrow, late", (works,), after=[second], total_timeout=0.5)
            await group.submit(follow, "narrow, parent", (divides,))
            async with group.map(narrow_item, range(3), retry=BOUNCE) as results:
                async for _ in results:
                    pass
    assert not any(at_work for key, at_work in world.at_work.items() if key.startswith("narrow, item"))


async def opens_one_that_must_succeed(pool: Pool[Session], world: World) -> None:
    with ordinary_ends():
        async with pool.open_group(must_succeed=True) as group:
            world.groups.append(group)
            await group.submit(follow, "must, stubborn", (is_stubborn,))
            bad = await group.submit(follow, "must, bad", (works_a_while, fails), retry=RetryPolicy.never())
            await group.submit(follow, "must, sulks", (sulks,), attempt_timeout=None)
            await group.submit(follow, "must, behind", (works,), after=[bad])
            dies = await group.submit(follow, "must, dies", (fails,))
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(group.submit, follow, f"must, {number}", (dawdles,))
                await dies.wait()


async def opens_one_with_a_worker_of_its_own(pool: Pool[Session], world: World) -> None:
    # Where all workers have been removed, it would wait for one for ever.
    with ordinary_ends(), trio.move_on_after(30):
        try:
            manager = pool.open_group(reserve=1)
        except ValueError as error:
            if not str(error).startswith("reserve must be at most 0"):
                raise
            return
        async with manager as group:
            world.groups.append(group)
            broken = await group.submit(follow, "own, breaks", (breaks, works), retry=BOUNCE)
            await group.submit(follow, "own, behind", (works_a_while,), after=[broken])
            with suppress(JobFailedError, JobCancelledError):
                await group.run(follow, "own, dies", (fails,))


async def submits_graphs(pool: Pool[Session], world: World) -> None:
    nodes = {
        "top": Node(follow, "graph, top", (works_a_while,)),
        "bad": Node(follow, "graph, bad", (needs_rest, fails), after=["top"], retry=BOUNCE),
        "good": Node(follow, "graph, good", (works,), after=["top"]),
        "behind": Node(follow, "graph, behind", (works,), after=["bad", "good"]),
    }
    with ordinary_ends():
        for number in range(4):
            await pool.submit(follow, f"filler {number}", (works_a_while,))
        jobs = await pool.submit_graph(nodes)
        with suppress(JobCancelledError):
            await jobs["behind"].wait()
        async with pool.open_group() as group:
            world.groups.append(group)
            await group.submit_graph(nodes, reverse=True)
        for job in pool.dead:
            pool.dead.requeue(job)


GROUP_TASKS: tuple[Task, ...] = (
    opens_a_narrow_group,
    opens_one_that_must_succeed,
    opens_one_with_a_worker_of_its_own,
    submits_graphs,
    shuffles_workers,
    joins,
)


@contextmanager
def ordinary_ends() -> Generator[None]:
    """Let pass what a caller may be told when jobs die, or are cancelled by somebody else."""
    ordinary = (JobFailedError, JobCancelledError, PoolClosedError, NoEligibleWorkerError)
    try:
        with suppress(*ordinary):
            yield
    except BaseExceptionGroup as error:
        rest = error.split(ordinary)[1]
        if rest is not None:
            raise rest from None


async def scenario(world: World) -> None:
    """One life of a pool, from before it opens until after it is gone."""
    async with open_pool(
        world.devices[:2],
        lifespan=Device.opened,
        max_queue=2,
        attempt_timeout=20.0,
        rng=Random(1),
        instruments=[Book(world)],
    ) as pool:
        world.pool = pool
        async with trio.open_nursery() as nursery:
            for task in world.tasks:
                nursery.start_soon(task, pool, world)


# The disturbances. Each is called once, in some moment, outside of all tasks.

Disturbance = Callable[[World, int], None]


def leave_alone(world: World, moment: int) -> None:
    """The run takes its course."""


def cancel_from_outside(world: World, moment: int) -> None:
    world.scope.cancel()


def cancel_the_pool(world: World, moment: int) -> None:
    if world.pool is not None:
        world.pool.cancel()


def close_the_pool(world: World, moment: int) -> None:
    if world.pool is not None:
        world.pool.close()


def cancel_a_job(world: World, moment: int) -> None:
    if world.pool is not None and (jobs := list(world.pool.jobs())):
        jobs[moment % len(jobs)].cancel()


def cancel_all_jobs(world: World, moment: int) -> None:
    for job in world.pool.jobs() if world.pool is not None else ():
        job.cancel()


def cancel_a_group(world: World, moment: int) -> None:
    if world.groups:
        world.groups[moment % len(world.groups)].cancel()


def close_all_groups(world: World, moment: int) -> None:
    for group in world.groups:
        group.close()


def remove_a_worker(world: World, moment: int) -> None:
    if world.pool is not None and (workers := world.pool.workers):
        _start_outside(world, partial(workers[moment % len(workers)].remove, cancel=True))


def remove_all_workers(world: World, moment: int) -> None:
    for worker in world.pool.workers if world.pool is not None else ():
        _start_outside(world, partial(worker.remove, cancel=True))


def pause_all_workers(world: World, moment: int) -> None:
    async def for_a_while(workers: tuple[Worker, ...]) -> None:
        await trio.sleep(3.0)
        for worker in workers:
            worker.resume()

    if world.pool is not None:
        for worker in world.pool.workers:
            worker.pause()
        _start_outside(world, partial(for_a_while, world.pool.workers))


def _start_outside(world: World, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start a task that is no part of the job, if any, in whose context this is called."""
    if world.nursery is not None:
        Context().run(world.nursery.start_soon, task)


def break_a_lifespan(world: World, moment: int) -> None:
    sessions = [session for device in world.devices for session in device.sessions[-1:]]
    if sessions:
        sessions[moment % len(sessions)].scope.cancel()


def press_ctrl_c(world: World, moment: int) -> None:
    world.interrupted = True
    signal.raise_signal(signal.SIGINT)


# Running it.


@attrs.define(eq=False)
class Disturber(trio.abc.Instrument):
    """Counts the moments of a run, and disturbs it in one of them.

    These are the steps of Trio's tasks, or, ``inside`` of the pool, the events that it
    tells its instruments of.
    """

    world: World
    disturb: Disturbance
    at: int
    inside: bool
    moments: int = 0
    armed: bool = False
    error: BaseException | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.armed and not self.inside:
            self.count()

    def count(self) -> None:
        """Another moment has come."""
        self.moments += 1
        if self.moments == self.at:
            try:
                self.disturb(self.world, self.at)
            except BaseException as error:  # it would only be logged
                self.error = error


def where_tasks_wait() -> Generator[str]:
    root = trio.lowlevel.current_root_task()
    pending = [root] if root is not None else []
    while pending:
        task = pending.pop()
        pending += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        frames = traceback.StackSummary.extract(task.iter_await_frames())
        yield f"  {task.name}: " + " > ".join(f"{frame.name}:{frame.lineno}" for frame in frames)


@asynccontextmanager
async def no_hanging() -> AsyncGenerator[None]:
    """Crash Trio's run if the block doesn't end, even if what hangs in it is shielded."""
    over = False
    limit = trio.CancelScope(shield=True, deadline=trio.current_time() + LONG_ENOUGH)

    def give_up(_: object) -> trio.lowlevel.Abort:
        if not over:
            raise HangError("\n".join(["nothing happens any more; tasks wait at:", *where_tasks_wait()]))
        return trio.lowlevel.Abort.SUCCEEDED

    async def limits() -> None:
        with limit:
            await trio.lowlevel.wait_task_rescheduled(give_up)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(limits)
        try:
            yield
        finally:
            over = True
            limit.cancel()


async def _main(world: World, disturber: Disturber) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with no_hanging(), trio.open_nursery() as nursery:
        world.nursery = nursery
        disturber.armed = True
        try:
            with world.scope:
                await scenario(world)
        except BaseException as error:
            world.error = error
        world.nursery = None
    disturber.armed = False
    left = trio.lowlevel.current_statistics().tasks_living - tasks
    assert not left, f"{left} tasks are left"


@contextmanager
def repeatable_schedule(seed: int) -> Generator[None]:
    """Let Trio's scheduler make the same choices whenever the seed is the same."""
    with (
        patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        patch.object(trio_run, "_r", Random(seed)),
    ):
        yield


def run_once(
    disturb: Disturbance,
    at: int = sys.maxsize,
    *,
    seed: int = 0,
    inside: bool = False,
    tasks: tuple[Task, ...] = TASKS,
) -> Disturber:
    """Run the scenario, disturb it in one moment, and check the books."""
    world = World(tasks)
    disturber = Disturber(world, disturb, at, inside)
    if inside:
        world.at_event = disturber.count
    clock = trio.testing.MockClock(autojump_threshold=0)
    with repeatable_schedule(seed), patch.object(logger, "disabled", True):
        try:
            trio.run(_main, world, disturber, clock=clock, instruments=[disturber])
        except (KeyboardInterrupt, BaseExceptionGroup) as error:
            world.error = error  # it struck after the pool's block
    if disturber.error is not None:
        raise disturber.error
    check(world)
    return disturber


def run_at_every_moment(
    disturb: Disturbance, *, seed: int = 0, inside: bool = False, tasks: tuple[Task, ...] = TASKS
) -> int:
    """Run the scenario, disturbed in its first, second, third ... moment, until it ends first.

    A lighter run leaves out most moments, other ones on each Python.

    Returns:
      int: the last moment in which it was disturbed.
    """
    at = 1 + FIRST
    while True:
        try:
            disturber = run_once(disturb, at, seed=seed, inside=inside, tasks=tasks)
        except Exception as error:
            reason = error.__cause__ if isinstance(error, trio.TrioInternalError) else error
            raise AssertionError(f"{disturb.__name__} in moment {at} with seed {seed}: {reason!r}") from error
        if disturber.moments < at:
            return at - SHARE
        at += SHARE


def check(world: World) -> None:
    """Check the books: every job settled, every lifespan left, nothing left over."""
    for device in world.devices:
        for session in device.sessions:
            assert session.left == 1, f"a lifespan was left {session.left} times"
            assert session.user is None, f"{session.user} still uses it"
    assert not +world.at_work, f"still at work: {+world.at_work}"
    for job in world.jobs:
        finals = [each.state for each in job.history if each.state.is_final]
        assert finals == [job.state], f"{job!r} has been {finals}"
        assert world.ended[job] == 1, f"{job!r} has ended {world.ended[job]} times"
        assert world.begun[job] == world.attempts_ended[job], f"not every attempt of {job!r} has ended"
        assert job.worker is None
    assert all(count == 1 for count in world.stopped.values())
    assert world.stopped.keys() == world.started.keys()
    for error in world.reopened_for:
        if not isinstance(error, (ResourceBroken, OSError)):
            raise error  # the pool's own
    for group in world.groups:
        of_group = group.statistics()
        assert of_group.submitters_waiting == len(of_group.workers) == 0
        ended = of_group.succeeded + of_group.dead + of_group.cancelled + of_group.discarded
        assert of_group.submitted == ended, f"{group!r} was left too early"
    undealt = _check_error(world)
    if world.pool is None:
        return
    assert not list(world.pool.jobs())
    assert not world.pool.workers
    seen = world.pool.statistics()
    assert seen.submitted == len(world.jobs)
    ends = Counter(job.state for job in world.jobs)
    assert seen.succeeded == ends[JobState.SUCCEEDED]
    assert seen.dead == ends[JobState.DEAD]
    assert seen.cancelled == ends[JobState.CANCELLED]
    assert seen.discarded == ends[JobState.DISCARDED]
    assert seen.submitted == seen.succeeded + seen.dead + seen.cancelled + seen.discarded
    assert seen.blocked == seen.queued == seen.delayed == seen.running == 0
    assert seen.submitters_waiting == 0
    assert undealt <= {job for job in world.jobs if job.state is JobState.DEAD}


def _check_error(world: World) -> set[Job[Any]]:
    """Nothing may come out of the block but the deaths that nobody dealt with, and Ctrl-C."""
    deaths: set[Job[Any]] = set()
    for error in leaves(world.error) if world.error is not None else ():
        if isinstance(error, JobFailedError):
            deaths.add(error.job)
        elif not (world.interrupted and isinstance(error, KeyboardInterrupt)):
            raise error
    return deaths


def leaves(error: BaseException) -> Generator[BaseException]:
    """The errors in a group at whatever depth, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(each)
    else:
        yield error
