"""Jobs that wait for their children, and these for theirs: whatever happens, all of it comes to an end."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_pool import (
    JobDeadlockError,
    JobFailedError,
    Resource,
    ResourceBroken,
    RetryPolicy,
    SlotPool,
    current_job,
    open_pool,
)

trees: st.SearchStrategy[list[Any]] = st.recursive(
    st.just([]), lambda children: st.lists(children, max_size=3), max_leaves=20
)


def size(tree: list[Any]) -> int:
    return 1 + sum(size(child) for child in tree)


async def grow(pool: SlotPool, tree: list[Any], by: str, *, lend: bool) -> int:
    """Counts the nodes of a tree: a job for each, which waits for its children."""

    async def children() -> int:
        if by == "run":
            return sum([await pool.run(node, child) for child in tree])
        if by == "map":
            async with pool.map(node, tree) as counts:
                return sum([count async for count in counts])
        async with pool.open_group() as group:
            jobs = [await group.submit(node, child) for child in tree]
        return sum(job.result() for job in jobs)

    async def node(below: list[Any]) -> int:
        return await grow(pool, below, by, lend=lend)

    await trio.sleep(1)
    if lend:
        async with current_job().lend():
            return 1 + await children()
    return 1 + await children()


@given(tree=trees, workers=st.integers(1, 4), by=st.sampled_from(["run", "map", "group"]), lend=st.booleans())
def test_trees_of_jobs_come_to_their_end_or_are_told_why_not(
    tree: list[Any], workers: int, by: str, lend: bool
) -> None:
    async def main() -> None:
        # On this clock a program that hangs comes to the end of that time at once.
        with trio.fail_after(10_000):
            async with open_pool(workers, retry=RetryPolicy.never(), on_dead="keep") as pool:
                root = await pool.submit(lambda: grow(pool, tree, by, lend=lend))
                try:
                    assert await root.wait() == size(tree)
                except JobFailedError as error:
                    assert not lend
                    cause: BaseException | None = error
                    while isinstance(cause, JobFailedError):
                        cause = cause.__cause__
                    assert isinstance(cause, JobDeadlockError)
                assert all(worker.job is None for worker in pool.workers)

    trio.run(main, clock=MockClock(autojump_threshold=0))


# What a node of a tree does: how it waits for its children, whether it lends its worker for that, and whether it breaks
# the resource or fails the first time that it gets there.
nodes = st.tuples(
    st.sampled_from(["run", "map", "as_completed", "group", "wait"]),
    st.booleans(),
    st.sampled_from(["", "", "break", "fail"]),
)
troubled_trees: st.SearchStrategy[Any] = st.recursive(
    st.tuples(nodes, st.just([])),
    lambda children: st.tuples(nodes, st.lists(children, max_size=3)),
    max_leaves=8,
)
troubles = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["remove", "evict", "pause", "add"]), st.integers(0, 3)), max_size=4
)


@given(
    tree=troubled_trees,
    tags=st.lists(st.sampled_from([(), ("x",)]), min_size=1, max_size=3),
    requires=st.sampled_from([(), (), ("x",)]),
    placement=st.sampled_from(["any", "same", "other"]),
    attempts=st.integers(1, 3),
    no_worker=st.sampled_from(["bury", "wait"]),
    max_running=st.sampled_from([None, None, 1, 2]),
    troubles=troubles,
)
def test_whatever_happens_to_their_workers_trees_of_jobs_come_to_an_end(
    tree: Any,
    tags: list[tuple[str, ...]],
    requires: tuple[str, ...],
    placement: Any,
    attempts: int,
    no_worker: Any,
    max_running: int | None,
    troubles: list[tuple[int, str, int]],
) -> None:
    if no_worker == "wait":
        requires = ()  # or remove() may wait for a job that waits for a worker, which may come
    policy = RetryPolicy.fixed(1, placement=placement, max_attempts=attempts)
    been: set[int] = set()
    pool: Any = None

    async def node(_: object, tree: Any) -> None:
        (by, lend, fate), children = tree
        await trio.sleep(1)
        async with current_job().lend() if lend else trio.open_nursery():
            await wait_for_children(by, children)
        if fate and id(tree) not in been:
            been.add(id(tree))
            raise ResourceBroken if fate == "break" else OSError

    async def wait_for_children(by: str, children: list[Any]) -> None:
        if by == "run":
            for child in children:
                await pool.run(node, child, requires=requires)
        elif by == "map":
            async with pool.map(node, children) as results:
                async for _ in results:
                    pass
        elif by == "as_completed":
            async with pool.as_completed(node, children) as ended:
                async for _ in ended:
                    pass
        elif by == "group":
            async with pool.open_group() as group:
                for child in children:
                    await group.submit(node, child)
        else:
            jobs = [await pool.submit(node, child) for child in children]
            for job in jobs:
                await job.wait()

    async def make_trouble(what: str, which: int) -> None:
        worker = pool.workers[which % len(pool.workers)] if pool.workers else None
        if what == "add":
            with suppress(RuntimeError):  # removed before it had started
                await pool.add("more", tags=["x"])
        elif worker is not None and what == "pause":
            worker.pause()
            await trio.sleep(3)
            worker.resume()
        elif worker is not None:
            await worker.remove(cancel=what == "evict")

    async def main() -> None:
        nonlocal pool
        resources = [Resource(number, tags=each) for number, each in enumerate(tags)]
        # On this clock a program that hangs comes to the end of that time at once.
        with trio.fail_after(10_000):
            async with open_pool(
                resources, retry=policy, on_dead="keep", no_worker=no_worker, max_running=max_running
            ) as pool:
                root = await pool.submit(node, tree)
                async with trio.open_nursery() as nursery:
                    for seconds, what, which in troubles:
                        await trio.sleep(seconds)
                        nursery.start_soon(make_trouble, what, which)
            assert root.state.is_final
        seen = pool.statistics()
        assert seen.submitted == seen.succeeded + seen.dead + seen.cancelled + seen.discarded

    logger = logging.getLogger("trio_pool")
    logger.disabled = True
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        logger.disabled = False
