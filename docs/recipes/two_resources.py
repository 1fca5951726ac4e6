"""Two resources at once: each copy reads from one connection and writes to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_pool import JobDeadlockError, Pool, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Connection:
    """Stands for a connection to a database."""

    async def read(self, table: str) -> AsyncGenerator[str]:
        for number in range(3):
            await trio.sleep(0.1)
            yield f"row {number} of {table}"

    async def insert(self, row: str) -> None:
        await trio.sleep(0.1)


async def copy(pool: Pool[Connection], table: str) -> None:
    async with pool.open_group(reserve=2) as group, group.acquire() as source, group.acquire() as target:
        async for row in source.read(table):
            await target.insert(row)
        print(f"with a group: {table} is copied")


async def copy_without_a_group(pool: Pool[Connection], table: str) -> None:
    try:
        async with pool.acquire() as source:
            rows = [row async for row in source.read(table)]  # meanwhile, another task takes the other connection
            async with pool.acquire() as target:
                for row in rows:
                    await target.insert(row)
                print(f"without a group: {table} is copied")
    except JobDeadlockError:
        print(f"without a group: {table} is not copied, JobDeadlockError")


async def main() -> None:
    async with open_pool([Connection(), Connection()]) as pool:
        for way in (copy_without_a_group, copy):
            async with trio.open_nursery() as nursery:
                for table in ("birds", "nests"):
                    nursery.start_soon(way, pool, table)
                    await trio.sleep(0.01)


if __name__ == "__main__":
    trio.run(main)
