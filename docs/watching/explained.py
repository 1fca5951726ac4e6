"""Two keys of an API, each with a rate limit that is too low for its places."""

import trio

from trio_pool import RateLimit, Resource, open_pool


async def fetch(key: str, page: int) -> None:
    await trio.sleep(1)


async def main() -> None:
    keys = [Resource(key, name=key, max_running=2, rate_limit=RateLimit(1, per=2)) for key in ("acme", "beta")]
    async with open_pool(keys) as pool:
        async with pool.map(fetch, range(20)) as results:
            async for _ in results:
                pass
        print(pool.explain())


if __name__ == "__main__":
    trio.run(main)
