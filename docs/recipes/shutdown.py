"""A graceful end on SIGTERM: no new jobs, some seconds for those that are there, then everything is cancelled."""

from __future__ import annotations

import signal
import sys
from itertools import count

import trio

from trio_pool import PoolClosedError, SlotPool, open_pool


async def handle(order: int) -> None:
    await trio.sleep(3600 if order == 3 else 0.5)
    print(f"order {order} is done", flush=True)


async def stop_on_signal(pool: SlotPool, grace: float, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        signum = await anext(signals)
    # A second signal would end the program at once, as we no longer wait for it.
    print(f"{signal.Signals(signum).name}: {grace:g} seconds for what is there", flush=True)
    pool.close()
    await trio.sleep(grace)
    print("time is up", flush=True)
    pool.cancel()


async def main(grace: float) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pool(2, max_queue=2) as pool:
            await nursery.start(stop_on_signal, pool, grace)
            try:
                for order in count(1):
                    await pool.submit(handle, order)
            except PoolClosedError:
                print("no more orders", flush=True)
        nursery.cancel_scope.cancel()  # all was done in time: no need to wait for the rest of it
    now = pool.statistics()
    print(f"{now.succeeded} of {now.submitted} done, {now.cancelled} cancelled")


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
