"""What a pool has come to after five seconds."""

import trio

from trio_pool import CircuitBreaker, Resource, RetryPolicy, open_pool

PRINTERS = [
    Resource("laser", name="laser"),
    Resource("ink", name="ink"),
    Resource("old", name="old", breaker=CircuitBreaker(failures=2, reset_after=60)),
]
SECONDS = {"laser": 0.31, "ink": 1.2, "old": 1.1}


async def print_page(printer: str, page: int) -> None:
    await trio.sleep(SECONDS[printer])
    if printer == "old":
        raise OSError("paper jam")


async def main() -> None:
    retry = RetryPolicy.fixed(2.5, placement="other")
    async with open_pool(PRINTERS, retry=retry, name="printers") as pool:
        laser, *_ = pool.workers
        for page in range(24):
            await pool.submit(print_page, page)
        await trio.sleep(4)
        laser.pause()
        await trio.sleep(1)
        print(pool.statistics())
        print()
        for worker in pool.workers:
            print(worker)
        for job in list(pool.jobs())[:3]:
            print(job)


if __name__ == "__main__":
    trio.run(main)
