"""The bare loop with what sooner or later is written around it: attempts, timeouts, handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MAX_ATTEMPTS = 3
BASE_DELAY = 0.1
ATTEMPT_TIMEOUT = 10.0


class Task:
    """An item with its outcome."""

    def __init__(self, item: int) -> None:
        self.item = item
        self.value: int | None = None
        self.error: Exception | None = None
        self.done = trio.Event()

    def result(self) -> int:
        """What it came to, once it is done."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


async def attempt(fn: Callable[[int], Awaitable[int]], task: Task) -> None:
    """Try until it works or was tried often enough."""
    for failed in range(MAX_ATTEMPTS):
        try:
            with trio.fail_after(ATTEMPT_TIMEOUT):
                task.value = await fn(task.item)
        except Exception as error:
            if failed + 1 == MAX_ATTEMPTS:
                task.error = error
            else:
                await trio.sleep(BASE_DELAY * 2**failed)
        else:
            break
    task.done.set()


async def work(fn: Callable[[int], Awaitable[int]], receive: trio.MemoryReceiveChannel[Task]) -> None:
    """Take items until there are no more."""
    async for task in receive:
        await attempt(fn, task)


async def run(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """The results in the order of the items.

    When the nursery has ended all are done, so that none of the events is waited for: a
    checkpoint each would be unfair to it.
    """
    tasks: list[Task] = []
    async with trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[Task](0)
        async with send:
            for _ in range(workers):
                nursery.start_soon(work, fn, receive)
            for item in items:
                task = Task(item)
                tasks.append(task)
                await send.send(task)
    return [task.result() for task in tasks]
