"""A token with a small quota, and a page that isn't there."""

import trio
from fake_api import Client

from trio_pool import GiveUp, JobFailedError, RetryAfter, RetryPolicy, open_pool


class ServerError(Exception):
    """The server could not answer."""


async def fetch(client: Client, path: str) -> str:
    response = await client.get(path)
    if response.status == 429:
        raise RetryAfter(response.retry_after, rest=True, counts=False)
    if response.status == 404:
        raise GiveUp("no such page")
    if response.status >= 500:
        raise ServerError(response.status)
    return response.body


async def main() -> None:
    paths = [f"/{number}" for number in range(30)] + ["/missing"]
    tokens = [Client("gold"), Client("silver"), Client("copper"), Client("tin")]
    policy = RetryPolicy(max_attempts=4, base_delay=0.05, placement="other")
    async with open_pool(tokens, retry=policy) as pool:
        arrived = 0
        async with pool.as_completed(fetch, paths) as jobs:
            async for job in jobs:
                try:
                    job.result()
                    arrived += 1
                except JobFailedError:
                    print(f"{job.args[0]}: {job.reason}")
        print(f"{arrived} of {len(paths)} pages arrived")


if __name__ == "__main__":
    trio.run(main)
