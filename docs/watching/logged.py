"""The same events as lines of a log."""

import logging
import sys

import trio

from trio_pool import GiveUp, Logged, Resource, RetryPolicy, current_job, open_pool


async def print_page(printer: str, page: int) -> None:
    await trio.sleep(1)
    if page == 2 and current_job().attempt_count == 0:
        raise OSError("paper jam")
    if page == 3:
        raise GiveUp("no such page")


async def main() -> None:
    logging.basicConfig(stream=sys.stdout, format="%(levelname)-7s %(name)s  %(message)s", force=True)
    logging.getLogger("trio_pool").setLevel(logging.INFO)
    logging.getLogger("trio_pool.jobs").setLevel(logging.DEBUG)
    logged = Logged(job_submitted=None, attempt_started=None)
    printers = [Resource("laser", name="laser")]
    async with (
        open_pool(printers, retry=RetryPolicy.fixed(2.5), instruments=[logged]) as pool,
        pool.as_completed(print_page, [1, 2, 3]) as jobs,
    ):
        async for _ in jobs:
            pass


if __name__ == "__main__":
    trio.run(main)
