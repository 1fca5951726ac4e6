"""A token that hangs every other time: an attempt may take half a second."""

import trio
from fake_api import Client

from trio_pool import AttemptTimeoutError, GiveUp, JobFailedError, RetryAfter, RetryPolicy, open_pool


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
    tokens = [Client(name) for name in ("gold", "silver", "copper", "tin", "lead")]
    policy = RetryPolicy(max_attempts=4, base_delay=0.05, placement="other")
    async with open_pool(tokens, retry=policy, attempt_timeout=0.5) as pool:
        arrived = late = 0
        async with pool.as_completed(fetch, paths) as jobs:
            async for job in jobs:
                errors = [attempt.error for attempt in job.attempts]
                late += any(isinstance(error, AttemptTimeoutError) for error in errors)
                try:
                    job.result()
                    arrived += 1
                except JobFailedError:
                    print(f"{job.args[0]}: {job.reason}")
        print(f"{arrived} of {len(paths)} pages arrived")
        print(f"{late} of them hung at first")


if __name__ == "__main__":
    trio.run(main)
