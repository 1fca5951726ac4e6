"""What the body of a busy pool does with borrowed resources."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from tests.busy_tasks import follow, joins, ordinary_ends, runs_in_turn, shuffles_workers, works, works_a_while
from trio_pool import JobDeadlockError, JobTimeoutError, ResourceBroken

if TYPE_CHECKING:
    from tests.busy_world import Session, Task, World
    from trio_pool import Pool


async def borrows_in_turn(pool: Pool[Session], world: World) -> None:
    for number in range(4):
        with ordinary_ends(), suppress(ResourceBroken):
            async with pool.acquire(timeout=2.0 if number % 2 else None) as session:
                with session.used_by(f"block {number}"):
                    await trio.sleep(0.2)


async def borrows_and_fails(pool: Pool[Session], world: World) -> None:
    with ordinary_ends(), suppress(ValueError, ResourceBroken):
        async with pool.acquire() as session:
            with session.used_by("one that fails"):
                await trio.lowlevel.checkpoint()
                raise ValueError("failed")
    with ordinary_ends(), suppress(ResourceBroken):
        async with pool.acquire() as session:
            with session.used_by("one that breaks"):
                await trio.lowlevel.checkpoint()
                raise ResourceBroken("worn out")


async def runs_jobs_inside(pool: Pool[Session], world: World) -> None:
    with ordinary_ends(), suppress(ResourceBroken, JobTimeoutError):
        lease = pool.acquire(timeout=5.0)
        async with lease as session:
            with session.used_by("the outer block"):
                await trio.lowlevel.checkpoint()
            with suppress(JobDeadlockError):
                await pool.run(follow, "inner", (works,))
            async with lease.job.lend():
                with suppress(JobDeadlockError):
                    await pool.run(follow, "while it is lent", (works,))
            with session.used_by("the outer block again"):
                await trio.lowlevel.checkpoint()


async def borrows_another(session: Session) -> str:
    """A job that borrows."""
    pool = session.world.pool
    assert pool is not None
    with suppress(JobDeadlockError, JobTimeoutError, ResourceBroken):
        async with pool.acquire(timeout=1.0) as other:
            with other.used_by("a block in a job"):
                await trio.sleep(0.1)
    return "done"


async def runs_jobs_that_borrow(pool: Pool[Session], world: World) -> None:
    for number in range(2):
        with ordinary_ends():
            await pool.run(follow, f"borrower {number}", (borrows_another, works_a_while))


async def borrows_two_of_a_group(pool: Pool[Session], world: World) -> None:
    # If workers go, there may never be two, or none for the second block.
    with trio.move_on_after(5), ordinary_ends(), suppress(ResourceBroken, JobDeadlockError):
        async with pool.open_group(reserve=2) as group:
            world.groups.append(group)
            async with group.acquire() as one, group.acquire() as other:
                with one.used_by("one of two"), other.used_by("the other"):
                    await trio.sleep(0.2)


LEASE_TASKS: tuple[Task, ...] = (
    borrows_in_turn,
    borrows_and_fails,
    runs_jobs_inside,
    runs_jobs_that_borrow,
    borrows_two_of_a_group,
    runs_in_turn,
    shuffles_workers,
    joins,
)
