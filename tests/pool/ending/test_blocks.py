"""What ``open_pool`` and ``open_group`` return: something to be entered once."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import works
from trio_pool import open_pool
from trio_pool._runtime.block import Block

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager


async def test_a_pool_can_be_entered_only_once() -> None:
    opening = open_pool(["a"])
    async with opening as pool:
        await pool.run(works)
        with pytest.raises(RuntimeError, match=r"what open_pool\(\) returns can be entered only once"):
            await opening.__aenter__()
    with pytest.raises(RuntimeError, match=r"what open_pool\(\) returns can be entered only once"):
        await opening.__aenter__()


async def test_a_pool_that_could_not_be_opened_can_not_be_entered_again() -> None:
    def lifespan(resource: str) -> AbstractAsyncContextManager[str]:
        raise OSError("no")

    opening = open_pool(["a"], lifespan=lifespan)
    with pytest.raises(OSError, match="no"):
        await opening.__aenter__()
    with pytest.raises(RuntimeError, match="only once"):
        await opening.__aenter__()


async def test_a_group_can_be_entered_only_once() -> None:
    async with open_pool(["a"]) as pool:
        opening = pool.open_group()
        async with opening as group:
            await group.run(works)
        with pytest.raises(RuntimeError, match=r"what open_group\(\) returns can be entered only once"):
            await opening.__aenter__()


async def test_what_is_never_entered_leaves_nothing_behind(recwarn: pytest.WarningsRecorder) -> None:
    open_pool(["a"])
    async with open_pool(["a"]) as pool:
        pool.open_group()
        await pool.run(works)
    assert not recwarn.list


async def test_its_repr_says_what_it_is_for() -> None:
    opening = open_pool(["a"])
    assert repr(opening) == "<open_pool(...), to be entered with async with>"
    async with opening:
        assert repr(opening) == "<open_pool(...), entered>"


async def test_a_copy_is_entered_like_it() -> None:
    async with copy(open_pool(["a"])) as pool:
        await pool.run(works)


@pytest.mark.parametrize("error", [ValueError("no"), None])
async def test_a_block_that_yields_twice_is_a_bug_that_is_told(error: Exception | None) -> None:
    async def twice() -> AsyncGenerator[int, BaseException | None]:
        await trio.lowlevel.checkpoint()
        yield 1
        yield 2

    generator = twice()
    block: Any = Block("twice", generator)
    assert await block.__aenter__() == 1
    with pytest.raises(AssertionError, match="yields once"):
        await block.__aexit__(None if error is None else type(error), error, None)
    await generator.aclose()
