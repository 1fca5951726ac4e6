"""What happens to a program from outside, and by its instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import trio

from tests.programs.language import Disturbance
from tests.programs.raising import in_words
from trio_pool import Instrument, Worker

if TYPE_CHECKING:
    from tests.programs.world import World

MOST_REMOVALS = 6
"""So many workers are removed at most."""


def cancel_from_outside(world: World) -> None:
    """Cancel all that the pool is in."""
    world.ends("it was cancelled from outside")
    world.outside.cancel()


def cancel_pool(world: World) -> None:
    """Cancel the whole pool."""
    if world.pool is not None:
        world.pool_cancelled = True
        world.ends("the pool was cancelled")
        world.pool.cancel()


def pause(world: World, worker: Worker | None, seconds: float) -> None:
    """Pause a worker, or the whole pool, for a while."""
    held = world.pool if worker is None else worker

    async def resume() -> None:
        await trio.sleep(seconds)
        if trio.current_time() >= world.paused[worker][1]:
            held.resume()

    _hold(world.paused, worker, seconds)
    held.pause()
    world.start_outside(resume)


def rest(world: World, worker: Worker | None, seconds: float) -> None:
    """Put a worker to rest, or the whole pool."""
    _hold(world.resting, worker, seconds)
    held = world.pool if worker is None else worker
    held.rest(seconds)


def _hold(held: dict[Worker | None, tuple[float, float]], worker: Worker | None, seconds: float) -> None:
    """Note since and until when nothing is to start on it."""
    now = trio.current_time()
    since, until = held.get(worker, (now, now))
    held[worker] = (since if now < until else now, max(until, now + seconds))


def remove(world: World, worker: Worker, *, cancel: bool) -> None:
    """Let somebody remove a worker."""

    async def removing() -> None:
        try:
            await worker.remove(cancel=cancel)
        except BaseException as error:
            if not isinstance(error, trio.Cancelled) and not world.has_raised(error):
                world.fail(f"unforeseen: remove raised {in_words(error)}")
            if isinstance(error, trio.Cancelled):
                raise

    # Or a job that removes its own worker would go on forever.
    if len(world.removed) < MOST_REMOVALS:
        world.removed[worker] = None
        world.breakages += 1
        world.start_outside(removing)


def break_a_lifespan(world: World, which: int) -> None:
    """Let a lifespan end by itself."""
    usables = [usable for usable in world.usables if not usable.left]
    if usables:
        world.breakages += 1
        usables[which % len(usables)].scope.cancel()


@attrs.define(eq=False, repr=False)
class Disturber(trio.abc.Instrument):
    """Counts the steps of Trio's tasks, and disturbs the program at some of them."""

    world: World
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step."""
        if self.world.armed:
            self.steps += 1
            for disturbance in self.world.program.disturbances:
                if disturbance.step == self.steps:
                    try:
                        disturb(self.world, disturbance)
                    except BaseException as error:  # it would only be logged
                        self.world.fail(f"unforeseen: {disturbance} raised {in_words(error)}")


def disturb(world: World, disturbance: Disturbance) -> None:
    """Let something happen to it."""
    which, pool = disturbance.which, world.pool
    world.cancellations += 1
    if disturbance.what == "cancel outside":
        cancel_from_outside(world)
    elif disturbance.what == "cancel a scope":
        if world.scopes:
            world.scopes[which % len(world.scopes)].cancel()
    elif disturbance.what == "break":
        break_a_lifespan(world, which)
    elif pool is None or world.pool_closed:
        pass
    elif disturbance.what == "cancel":
        cancel_pool(world)
    elif disturbance.what == "close":
        pool.close()
    elif disturbance.what == "cancel a job":
        jobs = list(pool.jobs())
        if jobs:
            jobs[which % len(jobs)].cancel()
    elif disturbance.what in ("cancel a group", "close a group"):
        groups = [each.handle for each in world.groups if not each.is_over]
        if groups:
            group = groups[which % len(groups)]
            group.cancel() if disturbance.what == "cancel a group" else group.close()
    elif disturbance.what == "pause pool":
        pause(world, None, 2.0)
    elif disturbance.what == "rest pool":
        rest(world, None, 2.0)
    elif pool.workers:
        worker = pool.workers[which % len(pool.workers)]
        if disturbance.what == "remove":
            remove(world, worker, cancel=bool(which % 2))
        elif disturbance.what == "pause":
            pause(world, worker, 2.0)
        else:
            rest(world, worker, 2.0)


@attrs.define(eq=False, repr=False)
class AtEvents(Instrument):
    """Does something at the n-th event that it is told of."""

    world: World
    at: int
    seen: int = 0

    def act(self) -> None:
        """Do it."""

    if not TYPE_CHECKING:

        def _event(self, *_: object) -> None:
            self.seen += 1
            if self.seen == self.at:
                self.act()

        pool_opened = pool_closed = job_submitted = attempt_started = attempt_ended = job_delayed = _event
        job_finished = worker_started = worker_paused = worker_resumed = worker_resting = _event
        worker_quarantined = worker_reopening = worker_stopped = _event
        pool_paused = pool_resumed = pool_resting = job_progress = group_opened = group_closed = _event


@attrs.define(eq=False, repr=False)
class Raising(AtEvents):
    """An instrument that raises."""

    def act(self) -> NoReturn:
        """Raise."""
        raise self.world.raising("rude" if self.at % 2 else "frozen")


@attrs.define(eq=False, repr=False)
class Calling(AtEvents):
    """An instrument that calls back into the pool."""

    calls: str = ""

    def act(self) -> None:
        """Call back."""
        if self.world.pool is not None:
            what: Any = self.calls
            disturb(self.world, Disturbance(0, what, self.at))
