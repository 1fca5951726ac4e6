"""What becomes of jobs that don't end well, whatever they are: for all tasks of an engine.

A job that is given back to the engine comes again, and so does one that was under way when its machine died. One that
is dead, or that comes again too often, goes to the task ``dead_letter`` with its arguments.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import trio
from streaq import StreaqRetry, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from streaq.task import RegisteredMiddleware

STARTS = "files:starts:"
"""With a job's id behind it, where Redis has why that has been started again, as far as the workers could tell."""

REDELIVERED = "files:redelivered"
"""Where Redis has when jobs were started again after a crash, in POSIX seconds, by their ids."""

DEAD = "files:dead"
"""Where Redis has the dead jobs by their ids: their arguments, and why they are dead."""

MAX_CRASHES = 3
"""A job that as many machines have died with is taken to be what they died of."""

MAX_OVERSTAYS = 3
"""A job that was not done in all the time it had on as many machines is dead."""

MAX_RETURNS = 100
"""A job that was given back so often because it had to wait is dead as well."""


class ReturnedError(StreaqRetry):
    """Raised in a task: the job has to wait, and goes back to the engine for so long."""


class OverstayedError(StreaqRetry):
    """Raised in a task: the job was not done in the time it had. The engine waits longer each time it comes back."""


class DeadJobError(Exception):
    """A job is dead, and the task ``dead_letter`` has its arguments."""


@dataclass(frozen=True)
class Starts:
    """Why a job has been started before.

    Attributes:
      returns: how often it was given back because it, or its machine, had to wait or stop.
      overstays: how often it was not done in the time it had.
      crashes: how often nothing more was heard of it.
    """

    returns: int
    overstays: int
    crashes: int

    @property
    def are_too_many(self) -> bool:
        return self.crashes >= MAX_CRASHES or self.overstays >= MAX_OVERSTAYS or self.returns >= MAX_RETURNS


class Rules:
    """They hold for each task of the engine, and bring one along: ``dead_letter``."""

    def __init__(self, engine: Worker[Any]) -> None:
        self._engine = engine
        self._dead_letter = engine.task(name="dead_letter", max_tries=None, silent=True)(self._keep)
        self._middleware: RegisteredMiddleware = engine.middleware(self._apply)

    def _apply(self, task: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def run(*args: Any) -> Any:
            context = self._middleware.context
            if context.fn_name == "dead_letter":
                return await task(*args)
            starts = await self._read_starts(context.task_id, context.tries)
            if starts.are_too_many:
                await self._bury(context.task_id, args, str(starts))
            try:
                return await task(*args)
            except OverstayedError:
                await self._count(context.task_id, "overstays")
                raise
            except (StreaqRetry, trio.Cancelled):  # cancelled when its machine stops and the period of grace is over
                await self._count(context.task_id, "returns")
                raise
            except Exception as error:  # the pool has given up, or the task itself is at fault: with its arguments, say
                await self._bury(context.task_id, args, f"{type(error).__name__}: {error}")

        return run

    async def _read_starts(self, job: str, tries: int) -> Starts:
        """Tell the starts of a job apart, of which the engine only knows the number."""
        if tries == 1:
            return Starts(0, 0, 0)
        counts = await self._engine.redis.hgetall(STARTS + job)
        returns, overstays = int(counts.get("returns", 0)), int(counts.get("overstays", 0))
        starts = Starts(returns, overstays, tries - 1 - returns - overstays)
        if starts.crashes:
            await self._engine.redis.hset(REDELIVERED, {job: time.time()})
        return starts

    async def _count(self, job: str, kind: str) -> None:
        with trio.CancelScope(shield=True):
            await self._engine.redis.hincrby(STARTS + job, kind, 1)
            await self._engine.redis.expire(STARTS + job, timedelta(days=1))

    async def _bury(self, job: str, args: tuple[Any, ...], reason: str) -> NoReturn:
        letter = self._dead_letter.enqueue(job, list(args), reason)
        letter.id = f"dead-{job}"  # so that there is one, should this job be buried again after a crash in between
        await letter  # which enqueues it
        raise DeadJobError(reason)

    async def _keep(self, job: str, args: list[Any], reason: str) -> None:
        """The task ``dead_letter``. This is where somebody would be told."""
        await self._engine.redis.hset(DEAD, {job: json.dumps({"args": args, "reason": reason})})
