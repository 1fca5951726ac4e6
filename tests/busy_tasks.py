"""What the jobs of a busy pool do, and what the tasks of its body do with it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any

import trio

from tests.busy_world import Session, Task, World
from trio_pool import (
    Hedge,
    JobCancelledError,
    JobFailedError,
    Node,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    current_job,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

BOUNCE = RetryPolicy(max_attempts=4, base_delay=0.3, placement="other")


# What the jobs do: each attempt of a job takes the next step of its plan, the last forever.

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
    # Where all workers have been removed, it would wait for one forever.
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
