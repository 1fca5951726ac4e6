"""A token that fails now and then: its pages go to another."""

import trio
from fake_api import Client

from trio_pool import RetryPolicy, open_pool


class ServerError(Exception):
    """The server could not answer."""


async def fetch(client: Client, path: str) -> str:
    response = await client.get(path)
    if response.status >= 500:
        raise ServerError(response.status)
    return response.body


async def main() -> None:
    tokens = [Client("gold"), Client("silver"), Client("copper")]
    policy = RetryPolicy(max_attempts=4, base_delay=0.05, placement="other")
    async with open_pool(tokens, retry=policy) as pool:
        jobs = [await pool.submit(fetch, f"/{number}") for number in range(12)]
        for job in jobs:
            page = await job.wait()
            if job.attempt_count > 1:
                print(page, [f"{each.worker_name}: {each.error or 'fine'}" for each in job.attempts])


if __name__ == "__main__":
    trio.run(main)
