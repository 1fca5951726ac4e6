"""Pages that must come in an order, and a group of jobs that is over at the end of its block."""

import trio
from fake_api import Client, connect

from trio_pool import GiveUp, JobCancelledError, JobFailedError, Node, Resource, open_pool


async def fetch(client: Client, path: str) -> str:
    response = await client.get(path)
    if response.status == 404:
        raise GiveUp("no such page")
    return response.body


CHAPTERS = {
    "contents": Node(fetch, "/contents"),
    "history": Node(fetch, "/history", after=["contents"]),
    "geography": Node(fetch, "/geography", after=["contents"]),
    "index": Node(fetch, "/index", after=["history", "geography"]),
    "errata": Node(fetch, "/missing", after=["contents"]),
    "corrections": Node(fetch, "/corrections", after=["errata"]),
}


async def main() -> None:
    tokens = [Resource(name, name=name) for name in ("gold", "silver")]
    async with open_pool(tokens, lifespan=connect) as pool:
        jobs = await pool.submit_graph(CHAPTERS)
        for key, job in jobs.items():
            try:
                await job.wait()
                print(f"{key}: arrived")
            except (JobFailedError, JobCancelledError):
                print(f"{key}: {job.state.name.lower()}, {job.reason}")

        async with pool.open_group(name="pictures", max_running=1) as group:
            for number in range(5):
                await group.submit(fetch, f"/picture{number}")
        print(f"{group.statistics().succeeded} pictures, one at a time")


if __name__ == "__main__":
    trio.run(main)
