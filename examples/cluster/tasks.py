"""What is done: the tasks that the engine carries from the submitting program to the workers.

The engine brings a job to a machine, and brings it again if that machine dies. Everything between belongs to the pool
there: the tokens, the attempts and the backing off between them, the timeouts.

All of it is at least once: a machine that dies after a file has arrived, and before it has said so, leaves a job that
another one does again. So a job must be one that can be done twice, as a GET is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from api_tokens import Source, fetch
from rules import OverstayedError, ReturnedError, Rules

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
from trio_pool import Worker as TokenWorker

if TYPE_CHECKING:
    import httpx
    from streaq import Worker


@dataclass(frozen=True)
class Machine:
    """What a worker process has for its tasks.

    Attributes:
      name: what it is called.
      pool: its tokens.
      longest_wait: seconds that a job waits here for a token; one that has to wait longer goes back to the engine.
      longest_stay: seconds that a job has here in all; it goes back to the engine after them, too.
    """

    name: str
    pool: Pool[httpx.AsyncClient]
    longest_wait: float
    longest_stay: float


class Delivery(TypedDict):
    """The result of a job: which file arrived, and how. Made of what JSON knows and nothing else."""

    path: str
    size: int
    machine: str
    token: str
    attempts: int


class HandBack(Discard):
    """Raised in a job of the pool: the pool forgets it, and the engine brings it again after ``delay`` seconds."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"goes back to the engine for {delay:g} s")
        self.delay = delay


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
        # As long as another token here may be used, the file goes to that one. With all of them worn out it would wait
        # here, in a slot of the engine, while another machine may have a token for it.
        others = (worker for worker in machine.pool.workers if worker is not job.worker)
        if refused.delay <= machine.longest_wait or any(map(may_be_used, others)):
            raise
        job.worker.rest(refused.delay)
        raise HandBack(refused.delay) from None
    return size, job.worker.name, job.attempt_count + 1  # this one has not been counted yet


def may_be_used(token: TokenWorker) -> bool:
    return token.state in (WorkerState.IDLE, WorkerState.BUSY)


class Tasks:
    """The tasks of an engine, which both programs make: the one to enqueue them, the other to run them."""

    def __init__(self, engine: Worker[Any]) -> None:
        Rules(engine)  # which from now on hold for all that is registered below
        self._engine = engine
        self.fetch_file = engine.task(
            name="fetch_file",
            # It would count every start: not only those after a crash, but also those after a job was given back
            # because it has to wait, or because its machine was stopped. The rules tell them apart.
            max_tries=None,
            # Who asks for a result that is no longer kept waits for ever.
            ttl=timedelta(hours=1),
            # Or a job that fails, or is given back, is logged as an error with a traceback.
            silent=True,
        )(self._fetch_file)

    async def _fetch_file(self, path: str, sha256: str) -> Delivery:
        machine: Machine = self._engine.context
        try:
            size, token, attempts = await machine.pool.run(
                fetch_or_hand_back, Source(path, sha256), machine, total_timeout=machine.longest_stay
            )
        except JobCancelledError as forgotten:
            reason = forgotten.job.attempts[-1].error
            assert isinstance(reason, HandBack)  # nothing else makes the pool forget a job here
            raise ReturnedError(delay=timedelta(seconds=reason.delay)) from None
        except JobFailedError as failed:
            if failed.job.dead_reason is DeadReason.TIMED_OUT:
                raise OverstayedError from failed
            raise  # it is dead: that is a matter of the rules
        return Delivery(path=path, size=size, machine=machine.name, token=token, attempts=attempts)
