"""A Ctrl-C that strikes in the pool's own code, just where a function has ended."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio

from tests.actors import works
from trio_pool import Job, JobState, open_pool
from trio_pool._basics.exceptions import leaves
from trio_pool._model.records import Run
from trio_pool._runtime import workers

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


async def test_it_ends_the_pool_and_cancels_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt = KeyboardInterrupt()
    jobs: list[Job[str]] = []

    async def struck(run: Run, args: tuple[Any, ...]) -> None:
        await trio.lowlevel.checkpoint()
        raise interrupt

    monkeypatch.setattr(workers, "run_job", struck)
    with pytest.raises(BaseExceptionGroup) as raised:  # noqa: PT012
        async with open_pool(["a"]) as pool:
            jobs.append(await pool.submit(works))
            await trio.sleep_forever()
    assert leaves(raised.value) == [interrupt]
    assert [job.state for job in jobs] == [JobState.CANCELLED]
