"""Two tokens that work side by side."""

import trio
from fake_api import Client

from trio_pool import open_pool


async def fetch(client: Client, path: str) -> str:
    response = await client.get(path)
    return f"{response.body}, with {client.name}"


async def main() -> None:
    paths = [f"/{number}" for number in range(6)]
    async with open_pool([Client("gold"), Client("silver")]) as pool:
        started_at = trio.current_time()
        async with pool.map(fetch, paths) as pages:
            async for page in pages:
                print(page)
        print(f"{trio.current_time() - started_at:.1f} seconds")


if __name__ == "__main__":
    trio.run(main)
