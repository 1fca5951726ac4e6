"""Chained pools: what one pool downloads, another parses, and neither gets far ahead of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import trio

from trio_pool import JobState, RetryPolicy, open_pool

if TYPE_CHECKING:
    from trio_pool import Job


class Client:
    """Stands for a session with an API token."""

    downloaded: ClassVar = 0

    async def get(self, page: int) -> str:
        await trio.sleep(0.1)
        if page == 7:
            raise LookupError(f"no page {page}")
        Client.downloaded += 1
        return f"page {page}"


async def parse(page: str) -> str:
    await trio.sleep(0.3)
    return page.upper()


async def parse_if_there(download: Job[str]) -> str:
    if download.state is JobState.SUCCEEDED:
        return await parse(download.result())
    return f"(page {download.args[0]} is missing)"


async def main() -> None:
    clients = [Client(), Client()]
    policy = RetryPolicy(retry_on=OSError)
    async with open_pool(clients, retry=policy, name="downloads") as downloads, open_pool(3, name="parsers") as parsers:
        async with (
            downloads.map(Client.get, range(1000), buffer=4) as pages,
            parsers.map(parse, pages, buffer=3) as results,
        ):
            print(await anext(results))
            await trio.sleep(60)  # a slow reader
            print(f"{Client.downloaded} pages are downloaded")
        async with (
            downloads.as_completed(Client.get, range(5, 9)) as finished,
            parsers.map(parse_if_there, finished) as results,
        ):
            print(sorted([result async for result in results]))


if __name__ == "__main__":
    trio.run(main)
