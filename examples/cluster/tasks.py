"""What is done: the tasks that the engine carries from the submitting program to the workers.

The engine brings a job to a machine, and brings it again if that machine dies. Everything between belongs to the pool
there: the tokens, the attempts and the backing off between them, the timeouts.

All of it is at least once: a machine that dies after a file has arrived and before it has said so leaves a job that another
one does again. So a job must be one that can be done twice, as a GET is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypedDict

import httpx
import trio
from api_tokens import Source, fetch
from engine import IDLE_TIMEOUT
from streaq import StreaqRetry, Worker

from trio_pool import (
    DeadReason,
    Discard,
    JobCancelledError,
    JobFailedError,
    Pool,
    RetryAfter,
    WorkerState,
    current_job,
)

LONGEST_STAY = 0.8 * IDLE_TIMEOUT
"""Seconds that a job has on one machine, waiting for a token included; past them the engine gets it back."""

MAX_CRASHES = 3
"""A job that this many machines have died of, or with, is taken to be the reason."""

MAX_RETURNS = 50
"""A job that has come back to the engine this often will not get better."""

RETURNS = "files:returns:"
"""With a job's id behind it, where Redis has how often that has been given back to the engine."""

DEAD = "files:dead"
"""Where Redis has the dead jobs by their ids: their arguments, and why they are dead."""


@dataclass(frozen=True)
class Machine:
    """What a worker process has for its tasks.

    Attributes:
      name: what it is called.
      pool: its tokens.
      longest_wait: seconds that a job waits here for a token; one that has to wait longer goes back to the engine.
    """

    name: str
    pool: Pool[httpx.AsyncClient]
    longest_wait: float


class Delivery(TypedDict):
    """The result of a job: which file arrived, and how. Made of what JSON knows and nothing else."""

    path: str
    size: int
    machine: str
    token: str
    attempts: int
    crashes: int


class HandBack(Discard):
    """Raised in a job of the pool: the pool forgets it, since the engine is to bring it again after ``delay`` seconds."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"goes back to the engine for {delay:g} s")
        self.delay = delay


class DeadJobError(Exception):
    """A job is dead; the task ``dead_letter`` has its arguments."""


@dataclass(frozen=True)
class Starts:
    """Why a job is not started for the first time.

    Attributes:
      returns: how often the engine got it back, to be started later.
      crashes: how often nothing more was heard of it.
    """

    returns: int
    crashes: int


async def fetch_or_hand_back(client: httpx.AsyncClient, source: Source, machine: Machine) -> tuple[int, str, int]:
    """Fetch one file: the function of every job in the pool, which fills in the client.

    Returns:
      The size of the file, the token it was fetched with, and the attempts it took.
    """
    job = current_job()
    assert job.worker is not None
    try:
        size = await fetch(client, source)
    except RetryAfter as refused:
        # As long as there is another token here the file goes to that one. With all of them worn out it would wait here, in
        # a slot of the engine, while another machine may have tokens left.
        others = (worker for worker in machine.pool.workers if worker is not job.worker)
        if refused.delay <= machine.longest_wait or any(map(has_quota_left, others)):
            raise
        job.worker.rest(refused.delay)
        raise HandBack(refused.delay) from None
    return size, job.worker.name, job.attempt_count + 1  # this one has not been counted yet


def has_quota_left(worker: Any) -> bool:
    return worker.state in (WorkerState.IDLE, WorkerState.BUSY)


class Tasks:
    """The tasks of an engine, which both programs make: the one to enqueue them, the other to run them."""

    def __init__(self, engine: Worker[Any]) -> None:
        self.engine = engine
        # max_tries would count every start: those after a job was given back because it has to wait, or because its machine
        # was stopped, as well as those after a crash. Only the last say something about the job: see `_starts`.
        # Each failure would also be logged with its traceback; here there is a place where failures are kept.
        self.fetch_file = engine.task(name="fetch_file", max_tries=None, silent=True)(self._fetch_file)
        self.dead_letter = engine.task(name="dead_letter", max_tries=None, silent=True)(self._dead_letter)

    async def _fetch_file(self, path: str, sha256: str) -> Delivery:
        machine: Machine = self.engine.context
        source = Source(path, sha256)
        async with self._starts() as starts:
            if starts.crashes >= MAX_CRASHES or starts.returns >= MAX_RETURNS:
                await self._bury(source, f"{starts.crashes} crashes, {starts.returns} returns")
            try:
                size, token, attempts = await machine.pool.run(
                    fetch_or_hand_back, source, machine, total_timeout=LONGEST_STAY
                )
            except JobCancelledError as forgotten:
                reason = forgotten.job.attempts[-1].error
                assert isinstance(reason, HandBack)  # nothing else makes the pool forget a job here
                raise StreaqRetry(delay=timedelta(seconds=reason.delay)) from None
            except JobFailedError as failed:
                if failed.job.dead_reason is DeadReason.TIMED_OUT:
                    raise StreaqRetry(delay=timedelta(seconds=1.0)) from None
                await self._bury(source, str(failed))
        return Delivery(
            path=path, size=size, machine=machine.name, token=token, attempts=attempts, crashes=starts.crashes
        )

    @asynccontextmanager
    async def _starts(self) -> AsyncGenerator[Starts]:
        """Tell the earlier starts of this job apart, and count this one if it ends in giving the job back."""
        redis = self.engine.redis
        task = self.fetch_file.context
        key = RETURNS + task.task_id
        returns = 0 if task.tries == 1 else int(await redis.get(key) or 0)
        try:
            yield Starts(returns, task.tries - 1 - returns)
        except (StreaqRetry, trio.Cancelled):  # cancelled when its machine is stopped and the period of grace is over
            with trio.CancelScope(shield=True):
                await redis.incr(key)
                await redis.expire(key, timedelta(days=1))
            raise

    async def _bury(self, source: Source, reason: str) -> NoReturn:
        job = self.fetch_file.context.task_id
        letter = self.dead_letter.enqueue(job, asdict(source), reason)
        letter.id = f"dead-{job}"  # so that it is there once, should this job be buried again after a crash in between
        await letter
        raise DeadJobError(reason)

    async def _dead_letter(self, job: str, arguments: dict[str, str], reason: str) -> None:
        """Keep a dead job. This is where somebody would be told."""
        letter = {"arguments": arguments, "reason": reason}
        await self.engine.redis.hset(DEAD, {job: json.dumps(letter)})
