"""Books: the chapters of each come after its contents, and the index when all of them are there."""

import trio
from fake_api import TOKENS, Client

from trio_pool import GiveUp, Job, Node, Pool, PoolError, Resource, RetryAfter, RetryPolicy, open_pool

BOOKS = {
    "novel": ["one", "two", "three", "four", "five"],
    "atlas": ["africa", "america", "asia", "missing", "oceania"],
}


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


def graph_of(title: str) -> dict[str, Node]:
    contents = f"/{title}/contents"
    chapters = [f"/{title}/{chapter}" for chapter in BOOKS[title]]
    graph = {contents: Node(fetch, contents)}
    for chapter in chapters:
        graph[chapter] = Node(fetch, chapter, after=[contents])
    graph[f"/{title}/index"] = Node(fetch, f"/{title}/index", after=chapters)
    return graph


async def fetch_book(pool: Pool[Client], title: str, done: dict[str, dict[str, Job[str]]]) -> None:
    async with pool.open_group(name=title, max_running=2) as group:
        done[title] = await group.submit_graph(graph_of(title))
    print("a book is done with")


async def main() -> None:
    async with open_pool(
        [Resource(Client(name), name=name) for name in TOKENS],
        retry=RetryPolicy(max_attempts=4, base_delay=0.05, placement="other"),
        attempt_timeout=0.5,
    ) as pool:
        done: dict[str, dict[str, Job[str]]] = {}
        async with trio.open_nursery() as nursery:
            for title in BOOKS:
                nursery.start_soon(fetch_book, pool, title, done)
        for title in BOOKS:
            print(f"{title}:")
            for page, job in done[title].items():
                try:
                    print(f"  {job.result()}")
                except PoolError:
                    print(f"  no {page}: {job.reason}")


if __name__ == "__main__":
    trio.run(main)
