"""What the body of a disturbed run does with streams; see ``tests.harness``."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from tests.busy_tasks import (
    BOUNCE,
    fails,
    flaky_item,
    follow,
    joins,
    needs_rest,
    ordinary_ends,
    other_item,
    shuffles_workers,
    works,
    works_a_while,
)
from tests.busy_world import Session, Task, World
from trio_pool import Pool, current_job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator


@contextmanager
def items_may_fail() -> Generator[None]:
    """Let pass what the items of these streams end with, besides the ordinary."""
    with ordinary_ends():
        try:
            yield
        except RuntimeError as error:
            if "the items of a stream were cancelled" not in str(error):
                raise
        except OSError as error:
            if str(error) != "no more items":
                raise


async def with_a_timeout() -> AsyncGenerator[int]:
    number = 0
    with trio.move_on_after(1.0):
        while True:
            yield number
            number += 1


async def in_a_nursery() -> AsyncGenerator[int]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 3.0)
        for number in range(4):
            await trio.sleep(0.1)
            yield number


def failing() -> Iterator[int]:
    yield from range(3)
    raise OSError("no more items")


async def slow_first(session: Session, number: int) -> str:
    return await follow(session, f"slow {number}", (works if number else works_a_while,))


async def in_a_group(session: Session, number: int) -> str:
    return await follow(session, f"grouped {number}", (works,))


async def back_off(session: Session, number: int) -> str:
    return await follow(session, f"back {number}", (fails, needs_rest, works))


async def times_out(pool: Pool[Session], world: World) -> None:
    with items_may_fail():
        async with pool.map(slow_first, with_a_timeout(), buffer=3) as results:
            async for _ in results:
                await trio.sleep(0.3)
    assert not any(at_work for key, at_work in world.at_work.items() if key.startswith("slow"))


async def leaves_early(pool: Pool[Session], world: World) -> None:
    with items_may_fail():
        async with pool.as_completed(other_item, in_a_nursery(), name=lambda number: f"item {number}") as jobs:
            async for _ in jobs:
                break
    assert all(job.state.is_final for job in world.jobs if job.name.startswith("item"))


async def sets_aside(pool: Pool[Session], world: World) -> None:
    with items_may_fail():
        async with pool.map(back_off, range(6), buffer=2, retry=BOUNCE) as results:
            async for _ in results:
                pass
    assert not any(at_work for key, at_work in world.at_work.items() if key.startswith("back"))


async def reads_what_fails(pool: Pool[Session], world: World) -> None:
    with items_may_fail():
        async with pool.as_completed(flaky_item, failing(), retry=lambda _: BOUNCE) as jobs:
            async for job in jobs:
                assert job.state.is_final


async def has_a_stream(session: Session) -> str:
    pool = session.world.pool
    assert pool is not None
    with items_may_fail():
        async with current_job().lend(), pool.map(other_item, iter(range(10, 13)), buffer=1) as results:
            async for _ in results:
                pass
    return "done"


async def reads_in_jobs_and_groups(pool: Pool[Session], world: World) -> None:
    with items_may_fail():
        async with pool.open_group(max_running=1) as group:
            world.groups.append(group)
            await group.submit(follow, "reads", (has_a_stream,))
            async with group.as_completed(in_a_group, range(1, 4)) as jobs, trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(partial(_read, jobs))
    assert not any(at_work for key, at_work in world.at_work.items() if key.startswith("grouped"))


async def _read(jobs: Any) -> None:
    with items_may_fail():
        async for job in jobs:
            assert job.state.is_final


STREAM_TASKS: tuple[Task, ...] = (
    times_out,
    leaves_early,
    sets_aside,
    reads_what_fails,
    reads_in_jobs_and_groups,
    shuffles_workers,
    joins,
)
