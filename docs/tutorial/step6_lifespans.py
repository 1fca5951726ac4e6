"""Tokens that have to log in and out, and what each of them has done."""

import trio
from fake_api import TOKENS, Client, connect

from trio_pool import GiveUp, JobFailedError, Pool, Resource, RetryAfter, RetryPolicy, open_pool


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


async def fetch_all(pool: Pool[Client], paths: list[str]) -> int:
    arrived = 0
    async with pool.as_completed(fetch, paths) as jobs:
        async for job in jobs:
            try:
                job.result()
                arrived += 1
            except JobFailedError:
                print(f"{job.args[0]}: {job.reason}")
    return arrived


def print_table(pool: Pool[Client]) -> None:
    for worker in pool.statistics().workers:
        done = f"{worker.succeeded:>4} served {worker.failed:>4} failed"
        print(f"{worker.name:<8}{done} {worker.busy_seconds:>6.1f} s busy")


async def main() -> None:
    paths = [f"/{number}" for number in range(60)] + ["/missing"]
    async with open_pool(
        [Resource(name, name=name) for name in TOKENS],
        lifespan=connect,
        retry=RetryPolicy(max_attempts=4, base_delay=0.05, placement="other"),
        attempt_timeout=0.5,
    ) as pool:
        arrived = await fetch_all(pool, paths)
        print_table(pool)
    print(f"{arrived} of {len(paths)} pages arrived")


if __name__ == "__main__":
    trio.run(main)
