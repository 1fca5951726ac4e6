"""A page that no printer prints, and nobody who has asked what became of it."""

import trio

from trio_pool import Resource, RetryPolicy, open_pool


async def print_page(printer: str, page: int) -> None:
    await trio.sleep(0.1)
    if printer == "laser":
        raise TimeoutError("no answer")
    raise OSError("out of paper")


async def main() -> None:
    printers = [Resource("laser", name="laser"), Resource("ink", name="ink")]
    async with open_pool(printers, retry=RetryPolicy(placement="other")) as pool:
        await pool.submit(print_page, 7)


if __name__ == "__main__":
    trio.run(main)
