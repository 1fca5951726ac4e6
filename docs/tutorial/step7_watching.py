"""The same, with a line of progress, and a note about each token that rests."""

import trio
from fake_api import TOKENS, Client, connect

from trio_pool import GiveUp, Instrument, JobFailedError, Pool, Resource, RetryAfter, RetryPolicy, Worker, open_pool


class ServerError(Exception):
    """The server could not answer."""


class RestCounter(Instrument):
    """Counts how often each token had to rest."""

    def __init__(self) -> None:
        self.rests = dict.fromkeys(TOKENS, 0)

    def worker_resting(self, worker: Worker, until: float) -> None:
        self.rests[worker.name] += 1


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


async def show_progress(pool: Pool[Client]) -> None:
    async for now in pool.snapshots(1.0):
        print(f"{now.succeeded} pages, {now.running} under way, {now.retries} retries")


async def main() -> None:
    paths = [f"/{number}" for number in range(60)] + ["/missing"]
    counter = RestCounter()
    async with (
        trio.open_nursery() as nursery,
        open_pool(
            [Resource(name, name=name) for name in TOKENS],
            lifespan=connect,
            retry=RetryPolicy(max_attempts=4, base_delay=0.05, placement="other"),
            attempt_timeout=0.5,
            instruments=[counter],
        ) as pool,
    ):
        nursery.start_soon(show_progress, pool)
        arrived = await fetch_all(pool, paths)
    print(f"{arrived} of {len(paths)} pages arrived")
    for name, rests in counter.rests.items():
        if rests:
            print(f"{name} had to rest {rests} times")


if __name__ == "__main__":
    trio.run(main)
