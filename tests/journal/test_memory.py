"""Memory doesn't grow with what is done."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from trio_pool import open_pool
from trio_pool.journal import open_journal

if TYPE_CHECKING:
    from pathlib import Path


async def double(item: int) -> int:
    return 2 * item


async def peak_of(path: Path, items: int) -> int:
    """The most memory that a run over so many items takes, whatever comes of them."""
    gc.collect()
    tracemalloc.start()
    async with open_journal(path) as journal, open_pool(4, max_queue=50) as pool:
        async with journal.map(pool, double, iter(range(items)), step="double") as results:
            async for _ in results:
                pass
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("name", ["first", "second"])
async def test_memory_does_not_grow_with_what_is_done(tmp_path: Path, name: str) -> None:
    for run in ("first", "second")[: 1 + (name == "second")]:
        some = await peak_of(tmp_path / "some.sqlite", 4_000)
        many = await peak_of(tmp_path / "many.sqlite", 20_000)
        if run == name:
            assert many < 2 * some  # what is kept of each item would make it five times as much
