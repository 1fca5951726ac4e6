"""Work for the CPU: each job has a process to itself, and a process that dies is a failure like any other."""

from __future__ import annotations

import os

import trio
import trio_parallel

from trio_pool import RetryPolicy, current_job, open_pool


def count_primes(limit: int) -> int:
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return sum(sieve)


def run_out_of_memory(limit: int) -> int:
    os._exit(1)  # as if the system had killed the process


async def primes(limit: int) -> int:
    first_try = current_job().attempt_count == 0
    work = run_out_of_memory if limit == 300_000 and first_try else count_primes
    return await trio_parallel.run_sync(work, limit, kill_on_cancel=True)


async def main() -> None:
    again = RetryPolicy(retry_on=trio_parallel.BrokenWorkerError)
    limits = [100_000, 200_000, 300_000, 400_000]
    # As many at once as there are CPUs; past the timeout, the process is killed.
    async with open_pool(os.cpu_count() or 1, retry=again, attempt_timeout=60) as pool:
        async with pool.map(primes, limits) as counts:
            for limit in limits:
                print(f"{await anext(counts)} primes below {limit}")
        print(f"{pool.statistics().retries} process died, and its job was tried again")


if __name__ == "__main__":  # without this, each process would run it too
    trio.run(main)
