"""Jobs that lend their workers, for the tests of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tests.actors import of_any_arguments
from trio_pool import Job, JobDeadlockError, current_job


@of_any_arguments
async def lends(*args: Any) -> float:
    """Lends its worker for so many seconds; returns when it had it back."""
    async with current_job().lend():
        await trio.sleep(args[-1])
    return trio.current_time()


async def lends_and_works(lent: float, working: float) -> float:
    """Lends its worker, and works for a while when it has it back; returns when that was."""
    async with current_job().lend():
        await trio.sleep(lent)
    back = trio.current_time()
    await trio.sleep(working)
    return back


@of_any_arguments
async def lends_forever(*_: object) -> None:
    """Lends its worker until it is cancelled."""
    async with current_job().lend():
        await trio.sleep_forever()


async def nothing() -> str:
    """Has nothing more to do."""
    return "done"


class Parted:
    """Has a job go on without its worker, which it has lent.

    Its parent, on the same worker, waits for its end from 1 on: it has cancelled it. At 3 the job wants its worker
    back, which could never be, and goes on behind a shield.

    Arguments:
      then: what it does then, without arguments.
      delay: how much later all of it is.
      options: of the job.
    """

    def __init__(self, then: Callable[[], Awaitable[object]] = nothing, *, delay: float = 0, **options: Any) -> None:
        self._then = then
        self._delay = delay
        self._options = options
        self.pool: Any
        self.child: Job[Any]
        self.told: JobDeadlockError | None = None
        self.shield = trio.CancelScope()

    async def is_cancelled(self) -> None:
        """For ``then``: takes notice of the cancellation."""
        self.shield.shield = False
        await trio.sleep_forever()

    async def _lends(self, *_: object) -> object:
        with trio.CancelScope(shield=True) as self.shield:
            try:
                async with current_job().lend():
                    await trio.sleep(3)
            except JobDeadlockError as error:
                self.told = error
            return await self._then()
        raise AssertionError  # the shield is no scope that is cancelled

    async def _waits(self, *_: object) -> float:
        await trio.sleep(self._delay)
        async with self.pool.open_group() as group:
            self.child = await group.submit(self._lends, name="child", worker=current_job().worker, **self._options)
            async with current_job().lend():
                await trio.sleep(1)
            group.cancel()
        return trio.current_time()

    async def submit(self, pool: Any) -> Job[float]:
        """The parent, which returns when it could go on."""
        self.pool = pool
        parent: Job[float] = await pool.submit(self._waits, name="parent", worker=pool.workers[0])
        return parent

    async def run(self, pool: Any) -> float:
        """The same for those who wait."""
        return await (await self.submit(pool)).wait()
