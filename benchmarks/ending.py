"""What a dead job costs at the end of the block."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import trio

from trio_pool import open_pool

from .measure import Figure, Stopwatch, in_turn, settled
from .programs import WORKERS, give_back

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .measure import Cost
    from .rows import Scale


BLOCK = 1_000
"""Jobs of a block: as many dead ones as a pool keeps by default."""


async def fail(item: int) -> int:
    """As the jobs that succeed, but for its end."""
    await give_back(item)
    raise OSError("no")


def leave(fn: Callable[[int], Awaitable[int]], dead: int, blocks: int) -> Cost:
    """The seconds per job from the end of the body, with all jobs queued, until the block has been left.

    Raises:
      RuntimeError: when run, if another number of jobs is dead.
    """

    async def leave_one() -> float:
        raised = 0
        watch = Stopwatch()
        try:
            async with open_pool(WORKERS, max_queue=math.inf) as pool:
                for item in range(BLOCK):
                    pool.submit_nowait(fn, item)
                watch.__enter__()
        except ExceptionGroup as errors:
            raised = len(errors.exceptions)
        watch.__exit__()
        if raised != dead:
            raise RuntimeError(f"{raised} jobs are dead, and not {dead}")
        return watch.cost / BLOCK

    return lambda: sum(settled(lambda: trio.run(leave_one)) for _ in range(blocks)) / blocks


def dead_jobs(scale: Scale) -> Figure:
    """The cost of each dead job against that of each that succeeds."""
    blocks = scale.jobs // BLOCK
    return in_turn(leave(fail, BLOCK, blocks), leave(give_back, 0, blocks), scale.rounds)
