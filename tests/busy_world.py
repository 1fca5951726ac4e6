"""The world that a busy pool runs in: devices that take one user at a time, and the books of what happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
import trio

from trio_pool import Attempt, Instrument, Job, JobGroup, Pool, Worker


@attrs.define(eq=False)
class Session:
    """What a lifespan yields: an open device, for one attempt at a time."""

    world: World
    left: int = 0
    user: str | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @contextmanager
    def used_by(self, key: str) -> Generator[None]:
        """Mark it as in use."""
        if self.user is not None:
            raise AssertionError(f"{key} got what {self.user} is using")
        if self.left:
            raise AssertionError(f"{key} got a session that has been left")
        self.user = key
        self.world.at_work[key] += 1
        try:
            yield
        finally:
            self.world.at_work[key] -= 1
            self.user = None


@attrs.define(eq=False)
class Device:
    """A resource: it can be opened any number of times, one after another, though not always."""

    world: World
    sessions: list[Session] = attrs.field(factory=list[Session])
    failures_to_come: int = 0

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Session]:
        """The lifespan."""
        await trio.lowlevel.checkpoint()
        if self.failures_to_come:
            self.failures_to_come -= 1
            raise OSError("can't be opened just now")
        if self.sessions and not self.sessions[-1].left:
            raise AssertionError("opened twice")
        session = Session(self.world)
        self.sessions.append(session)
        try:
            with session.scope:
                yield session
        finally:
            session.left += 1
            if session.user is not None:
                raise AssertionError(f"left while {session.user} uses it")
            await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class World:
    """All that a run does and leaves behind."""

    tasks: tuple[Task, ...] = ()
    # Whether the pool has no instruments, so that no books are kept.
    is_quiet: bool = False
    devices: list[Device] = attrs.field(init=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    pool: Pool[Session] | None = None
    nursery: trio.Nursery | None = None
    tries: Counter[str] = attrs.field(factory=Counter[str])
    at_work: Counter[str] = attrs.field(factory=Counter[str])
    jobs: list[Job[Any]] = attrs.field(factory=list[Job[Any]])
    ended: Counter[Job[Any]] = attrs.field(factory=Counter[Job[Any]])
    begun: Counter[Job[Any]] = attrs.field(factory=Counter[Job[Any]])
    attempts_ended: Counter[Job[Any]] = attrs.field(factory=Counter[Job[Any]])
    started: Counter[Worker] = attrs.field(factory=Counter[Worker])
    stopped: Counter[Worker] = attrs.field(factory=Counter[Worker])
    # What came out of the pool's block, and whether Ctrl-C was pressed.
    error: BaseException | None = None
    interrupted: bool = False
    # Called at each event that the pool tells of.
    at_event: Callable[[], None] | None = None
    groups: list[JobGroup[Session]] = attrs.field(factory=list[JobGroup[Session]])
    # Why resources were reopened.
    reopened_for: list[Exception] = attrs.field(factory=list[Exception])

    def __attrs_post_init__(self) -> None:
        self.devices = [Device(self), Device(self), Device(self)]


@attrs.define(eq=False)
class Book(Instrument):
    """Keeps the books of a world."""

    world: World

    def job_submitted(self, job: Job[Any]) -> None:
        self.world.jobs.append(job)
        self._event()

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        self.world.begun[job] += 1
        self._event()

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        self.world.attempts_ended[job] += 1
        self._event()

    def job_delayed(self, job: Job[Any], until: float) -> None:
        self._event()

    def job_finished(self, job: Job[Any]) -> None:
        self.world.ended[job] += 1
        self._event()

    def worker_started(self, worker: Worker) -> None:
        self.world.started[worker] += 1
        self._event()

    def worker_paused(self, worker: Worker) -> None:
        self._event()

    def worker_resumed(self, worker: Worker) -> None:
        self._event()

    def worker_resting(self, worker: Worker, until: float) -> None:
        self._event()

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        if error is not None:
            self.world.reopened_for.append(error)
        self._event()

    def worker_stopped(self, worker: Worker) -> None:
        self.world.stopped[worker] += 1
        self._event()

    def _event(self) -> None:
        if self.world.at_event is not None:
            self.world.at_event()


Task = Callable[[Pool[Session], World], Coroutine[Any, Any, None]]
"""What the body of a run does with the pool, one of several at once."""
