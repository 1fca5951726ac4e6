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
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from functools import partial
from random import Random
from typing import Any, cast
from unittest.mock import patch

import attrs
import trio
import trio.testing
from trio._core import _run as trio_run

from tests.busy_tasks import TASKS
from tests.busy_world import Book, Device, Task, World
from tests.effort import FIRST, SHARE
from trio_pool import Job, JobFailedError, JobState, ResourceBroken, Worker, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

logger = logging.getLogger("trio_pool")

LONG_ENOUGH = 10_000.0
"""Seconds on the mock clock by which every run has ended, unless it hangs."""


class HangError(Exception):
    """A run doesn't end by itself."""


async def scenario(world: World) -> None:
    """One life of a pool, from before it opens until after it is gone."""
    async with open_pool(
        world.devices[:2],
        lifespan=Device.opened,
        max_queue=2,
        attempt_timeout=20.0,
        rng=Random(1),
        instruments=[] if world.is_quiet else [Book(world)],
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
async def no_hanging(seconds: float = LONG_ENOUGH) -> AsyncGenerator[None]:
    """Crash Trio's run if the block doesn't end in so many seconds, even if what hangs in it is shielded."""
    over = False
    limit = trio.CancelScope(shield=True, deadline=trio.current_time() + seconds)

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
    is_quiet: bool = False,
) -> Disturber:
    """Run the scenario, disturb it in one moment, and check the books if there are any."""
    world = World(tasks, is_quiet)
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
    if not is_quiet:
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
