"""One token, and one page after another."""

import trio
from fake_api import Client

from trio_pool import open_pool


async def fetch(client: Client, path: str) -> str:
    response = await client.get(path)
    return response.body


async def main() -> None:
    async with open_pool([Client("gold")]) as pool:
        for number in range(3):
            print(await pool.run(fetch, f"/{number}"))


if __name__ == "__main__":
    trio.run(main)
