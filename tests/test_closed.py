"""3.2 and 4.9: ``closed`` of pools and groups says whether ``submit`` from outside is refused."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.openers import OpenPool, both
from trio_pool import Pool, PoolClosedError, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


def refuses_jobs(closeable: Any) -> bool:
    """Whether a job from outside is refused by a pool or a group."""
    try:
        closeable.submit_nowait(works)
    except PoolClosedError:
        return True
    return False


def check(closeable: Any, closed: bool) -> None:
    assert closeable.closed is closed
    assert refuses_jobs(closeable) is closed


async def raise_in(block: AbstractAsyncContextManager[Any], seen: list[Any]) -> None:
    async with block as closeable:
        seen.append(closeable)
        raise KeyError


async def test_a_pool_is_open_until_it_is_closed() -> None:
    async with open_pool(["a"]) as pool:
        check(pool, False)
        pool.close()
        check(pool, True)


async def test_a_pool_that_was_left_is_closed() -> None:
    async with open_pool(["a"]) as pool:
        pass
    check(pool, True)


async def test_a_pool_whose_body_raised_is_closed() -> None:
    pools: list[Pool[str]] = []
    with pytest.raises(KeyError):
        await raise_in(open_pool(["a"]), pools)
    check(pools[0], True)


async def test_a_cancelled_pool_is_closed_at_once() -> None:
    async with open_pool(["a"]) as pool:
        pool.cancel()
        check(pool, True)


async def test_a_pool_cancelled_from_outside_is_closed(autojump_clock: MockClock) -> None:
    pools: list[Pool[str]] = []
    with trio.move_on_after(1):
        async with open_pool(["a"]) as pool:
            pools.append(pool)
            await trio.sleep_forever()
    check(pools[0], True)


async def test_a_pool_is_closed_once_its_body_has_ended(autojump_clock: MockClock) -> None:
    seen: list[tuple[bool, bool]] = []

    async def watches_the_end(pool: Any) -> None:
        for _ in range(2):
            seen.append((pool.closed, refuses_jobs(pool)))
            await trio.sleep(2)

    async with trio.open_nursery() as nursery, open_pool(["a"]) as pool:
        nursery.start_soon(watches_the_end, pool)
        await trio.sleep(1)
        await pool.submit(sleeps, 5)
    assert seen == [(False, False), (True, True)]


@both
async def test_a_group_is_open_until_it_is_closed(opened: OpenPool) -> None:
    async with opened() as pool:
        async with pool.open_group() as group:
            assert not group.closed
            group.close()
            assert group.closed
        assert group.closed
        assert not pool.closed


async def test_a_group_says_what_its_submit_does() -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        check(group, False)
        group.close()
        check(group, True)


async def test_a_group_that_was_left_is_closed() -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            pass
        check(group, True)


async def test_a_group_whose_body_raised_is_closed() -> None:
    async with open_pool(["a"]) as pool:
        groups: list[Any] = []
        with pytest.raises(KeyError):
            await raise_in(pool.open_group(), groups)
        check(groups[0], True)


async def test_a_cancelled_group_is_closed_at_once() -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        group.cancel()
        check(group, True)


async def test_a_group_of_which_a_job_died_that_must_not_is_closed(autojump_clock: MockClock) -> None:
    groups: list[Any] = []
    closed: list[bool] = []

    async def lets_one_die(pool: Pool[str]) -> None:
        async with pool.open_group(must_succeed=True) as group:
            groups.append(group)
            await group.submit(fails)
            try:
                await trio.sleep_forever()
            finally:
                closed.append(group.closed)

    async with open_pool(["a"]) as pool:
        with pytest.raises(ExceptionGroup, match="ended with errors"):
            await lets_one_die(pool)
        check(groups[0], True)
    assert closed == [True]


@pytest.mark.parametrize("call", ["close", "cancel"])
async def test_a_group_of_a_closed_pool_is_closed(call: str) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        await group.submit(sleeps_forever)
        getattr(pool, call)()
        check(group, True)
        group.cancel()


async def test_a_group_of_a_job_is_closed_to_outside_once_the_body_of_the_pool_has_ended(
    autojump_clock: MockClock,
) -> None:
    seen: list[tuple[bool, bool]] = []
    groups: list[Any] = []

    async def looks_from_outside() -> None:
        for _ in range(2):
            await trio.sleep(2)
            seen.append((groups[0].closed, refuses_jobs(groups[0])))

    async with trio.open_nursery() as nursery, open_pool(["a", "b"]) as pool:

        async def opens_a_group(_: object) -> str:
            async with pool.open_group() as group:
                groups.append(group)
                await trio.sleep(5)
                return await group.run(works)  # from inside it goes on

        nursery.start_soon(looks_from_outside)
        job = await pool.submit(opens_a_group)
        await trio.sleep(3)
    assert seen == [(False, False), (True, True)]
    assert job.result() == "done"
