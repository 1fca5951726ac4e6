"""Several API keys: each keeps to its quota, rests when the service says so, and another takes what one fails at."""

import httpx
import trio
from fake_service import connect

from trio_pool import GiveUp, JobFailedError, RateLimit, Resource, RetryAfter, RetryPolicy, open_pool

KEYS = [
    Resource("amber", name="amber", rate_limit=RateLimit(10, per=1, burst=2)),
    Resource("basil", name="basil"),  # of which we don't know the quota
    Resource("cedar", name="cedar", rate_limit=RateLimit(10, per=1, burst=2)),
]


async def fetch(client: httpx.AsyncClient, path: str) -> str:
    response = await client.get(path)
    if response.status_code == 429:  # the key is worn out: it rests, and another fetches the page
        raise RetryAfter.parse(response.headers.get("Retry-After"), default=1, rest=True, counts=False)
    if response.status_code == 404:  # no key will find it
        raise GiveUp("no such page")
    response.raise_for_status()  # what else goes wrong is tried again, with another key
    return response.text


async def main() -> None:
    paths = [f"/{number}" for number in range(40)] + ["/missing"]
    policy = RetryPolicy(max_attempts=4, base_delay=0.05, retry_on=httpx.HTTPError, placement="other")
    # A call that hangs is tried again too, whatever errors retry_on names.
    async with open_pool(KEYS, lifespan=connect, retry=policy, attempt_timeout=2) as pool:
        arrived = 0
        async with pool.as_completed(fetch, paths) as jobs:
            async for job in jobs:
                try:
                    job.result()
                    arrived += 1
                except JobFailedError:
                    print(f"{job.args[0]}: {job.reason}")
        print(f"{arrived} of {len(paths)} pages arrived")
        for worker in pool.statistics().workers:
            print(f"{worker.name}: {worker.succeeded} pages, {worker.failed} failures")


if __name__ == "__main__":
    trio.run(main)
