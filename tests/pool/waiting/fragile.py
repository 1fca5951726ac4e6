"""Lifespans that can be broken while their worker is lent, and what a job died of."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_pool import Job, JobFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def cause_of(job: Job[Any]) -> BaseException | None:
    """What a dead job died of."""
    with pytest.raises(JobFailedError) as caught:
        job.result()
    return caught.value.__cause__


class Fragile:
    """A lifespan that ends by itself when it is told to, the first time it is entered."""

    def __init__(self, error: Exception | None = None) -> None:
        self.breaking = trio.Event()
        self.entered = 0
        self._error = error

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        """Pass it to ``open_pool``."""
        self.entered += 1
        is_first = self.entered == 1
        async with trio.open_nursery() as nursery:
            if is_first:
                nursery.start_soon(self._watch, nursery.cancel_scope)
            yield name
            nursery.cancel_scope.cancel()
        if is_first and self._error is not None:
            raise self._error

    async def _watch(self, scope: trio.CancelScope) -> None:
        await self.breaking.wait()
        scope.cancel()
