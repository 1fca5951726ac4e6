"""Jobs that lend their workers, for the tests of that."""

from __future__ import annotations

from typing import Any

import trio

from tests.actors import of_any_arguments
from trio_pool import current_job


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
