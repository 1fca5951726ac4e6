"""What a program runs in, and the books that are kept of what it does."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar
from functools import cached_property, partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import trio

from tests.programs.language import Call, Device, Lend, Program, Workers, parts_of
from tests.programs.raising import is_among, leaves, made
from trio_pool import Job, Pool, RetryPolicy, SharedRateLimit, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

MOST_JOBS = 300
"""Of a program that multiplies, no more than these are submitted."""

token: ContextVar[int] = ContextVar("token", default=0)
"""What jobs check their context by."""


@attrs.define(eq=False, repr=False)
class Usable:
    """What one run may use at a time: a session of a device, a device, or a slot."""

    name: str
    device: Device = attrs.field(factory=Device)
    key: int = 0
    users: dict[Job[Any], None] = attrs.field(factory=dict[Job[Any], None])
    uses: int = 0
    left: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define(eq=False, repr=False)
class Errand:
    """A call on its way to becoming a job."""

    number: int
    call: Call
    token: int
    group: GroupBook | None = None
    # The options that it was submitted with, and what it stands behind.
    options: dict[str, Any] = attrs.field(factory=dict[str, Any])
    behind: tuple[Errand | Job[Any], ...] = ()


@attrs.define(eq=False, repr=False)
class GroupBook:
    """What is known of a group."""

    max_running: float
    reserve: int = 0
    # Once its block has been entered, and whether that has been left.
    handle: Any = None
    is_over: bool = False


@attrs.define(eq=False, repr=False)
class JobBook:
    """What is known of a job."""

    job: Job[Any]
    errand: Errand
    # Events of the pool.
    started: int = 0
    ended: int = 0
    finished: int = 0
    # Its function: runs begun, under way, what they returned or raised.
    runs: int = 0
    active: int = 0
    returned: list[object] = attrs.field(factory=list[object])
    raised: list[BaseException] = attrs.field(factory=list[BaseException])
    # How many of its tasks wait for the pool, and whether it has lent its worker.
    waiting: int = 0
    lent: bool = False
    # Its attempts: each with its worker, and its error unless it was cut short.
    attempts: list[tuple[Worker, BaseException | None]] = attrs.field(factory=list[tuple[Worker, BaseException | None]])
    # Whether somebody was told how it ended, or took it away.
    dealt_with: bool = False
    # Whether it was queued again when it was dead, so that nobody waits for it.
    again: bool = False


@attrs.define(eq=False, repr=False)
class World:
    """All that a run does and leaves behind."""

    program: Program
    # Whether the pool has no instruments, so that the books are kept by somebody else, or not at all.
    is_quiet: bool = False
    # What is wrong, each with its kind in front.
    wrong: list[str] = attrs.field(factory=list[str])
    rng: Random = attrs.field(init=False)
    pool: Pool[Any] | Any = None
    policy: RetryPolicy | None = None
    nursery: trio.Nursery | None = None
    outside: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    stray: BaseException = attrs.field(factory=ValueError)
    numbers: Any = attrs.field(factory=lambda: count(1))
    errands: int = 0
    # By each job in the order of their submission.
    books: dict[Job[Any], JobBook] = attrs.field(factory=dict[Job[Any], JobBook])
    groups: list[GroupBook] = attrs.field(factory=list[GroupBook])
    usables: list[Usable] = attrs.field(factory=list[Usable])
    slots: dict[Any, Usable] = attrs.field(factory=dict[Any, Usable])
    openings: Counter[int] = attrs.field(factory=Counter[int])
    open_now: Counter[int] = attrs.field(factory=Counter[int])
    scopes: list[trio.CancelScope] = attrs.field(factory=list[trio.CancelScope])
    # Attempts under way, in the order of their starts.
    running: dict[Job[Any], JobBook] = attrs.field(factory=dict[Job[Any], JobBook])
    max_running: float = math.inf
    # When functions began: by the limit that was in force, None for the pool's, or a worker.
    starts: dict[Any, list[float]] = attrs.field(factory=dict[Any, list[float]])
    starts_of_keys: dict[str, list[float]] = attrs.field(factory=dict[str, list[float]])
    rate_changed: bool = False
    retry_changed: bool = False
    # Since and until when nothing is to start on a worker, or for None in the whole pool, whoever else holds it back.
    paused: dict[Worker | None, tuple[float, float]] = attrs.field(factory=dict[Worker | None, tuple[float, float]])
    resting: dict[Worker | None, tuple[float, float]] = attrs.field(factory=dict[Worker | None, tuple[float, float]])
    worker_started: Counter[Worker] = attrs.field(factory=Counter[Worker])
    worker_stopped: Counter[Worker] = attrs.field(factory=Counter[Worker])
    pool_opened: int = 0
    pool_closed: int = 0
    # What was told of groups, by the groups that users hold.
    group_opened: Counter[Any] = attrs.field(factory=Counter[Any])
    group_closed: Counter[Any] = attrs.field(factory=Counter[Any])
    # All that user code has raised, and what leaving lifespans has.
    raised: list[BaseException] = attrs.field(factory=list[BaseException])
    farewells: list[BaseException] = attrs.field(factory=list[BaseException])
    # Whether anything was cancelled, broken or removed at all.
    cancellations: int = 0
    breakages: int = 0
    checks: int = 0
    deadlocks: int = 0
    # The workers that somebody has removed.
    removed: dict[Worker, None] = attrs.field(factory=dict[Worker, None])
    # When its end began, why, and when it was there; behind shields it may wait till then.
    ending_since: float = math.inf
    ending_for: str = ""
    ended_at: float = math.inf
    tails: list[tuple[float, float]] = attrs.field(factory=list[tuple[float, float]])
    body_error: BaseException | None = None
    body_ended: bool = False
    was_open: bool = False
    pool_cancelled: bool = False
    error: BaseException | None = None
    at_event: Callable[[], None] | None = None
    events: int = 0
    armed: bool = False
    is_slow: str = ""
    shared: SharedRateLimit | None = None

    def __attrs_post_init__(self) -> None:
        self.rng = Random(self.program.seed)
        self.max_running = self.program.setup.max_running or math.inf

    def fail(self, words: str) -> None:
        """Something is wrong."""
        if len(self.wrong) < 20:
            self.wrong.append(words)

    def errand(self, call: Call, group: GroupBook | None) -> Errand:
        """A call that is about to be submitted; the caller's context is marked for it."""
        self.errands += 1
        number = next(self.numbers)
        token.set(number)
        return Errand(number, call, number, group)

    def has_enough(self) -> bool:
        """Whether no more jobs are to come."""
        return self.errands >= MOST_JOBS

    def ends(self, why: str) -> None:
        """All is to end from now on."""
        self.cancellations += 1
        if self.ending_since == math.inf:
            self.ending_since, self.ending_for = trio.current_time(), why

    def raising(self, kind: str) -> BaseException:
        """Something that user code is about to raise."""
        error = made(kind, self.stray)
        self.note(error)
        return error

    def note(self, error: BaseException) -> None:
        """User code raises this."""
        self.raised.append(error)

    def has_raised(self, error: BaseException) -> bool:
        """Whether user code has raised this, or all its leaves, alone or in a group."""
        if is_among(error, self.raised):
            return True
        known = [leaf for each in self.raised for leaf in leaves(each)]
        return all(is_among(leaf, known) for leaf in leaves(error))

    async def sleep(self, seconds: float, *, shielded: bool) -> None:
        """Sleep; what lasts behind a shield may put the end off."""
        if shielded:
            now = trio.current_time()
            self.tails.append((now, now + seconds))
        await trio.sleep(seconds)

    async def clean_up(self, seconds: float) -> None:
        """Sleep behind a shield."""
        with trio.CancelScope(shield=True):
            await self.sleep(seconds, shielded=True)

    def start_outside(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that is no part of the pool or of the job in whose context this is called."""
        if self.nursery is not None:
            Context().run(partial(self.nursery.start_soon, task))

    def books_of(self, errand: Errand) -> list[JobBook]:
        """The job that an errand has become, if it has."""
        return [book for book in self.books.values() if book.errand is errand and not book.again]

    def deal_with(self, job: Job[Any]) -> None:
        """Somebody was told how it ended."""
        if (book := self.books.get(job)) is not None:
            book.dealt_with = True

    # Using resources.

    def usable_of_slot(self, worker: Worker | None) -> Usable:
        """What stands for the worker of a pool without resources."""
        places = 1 if worker is None else worker.max_running
        return self.slots.setdefault(worker, Usable("a slot", Device(places=0 if places == math.inf else int(places))))

    def take(self, usable: Usable, job: Job[Any], when: str) -> None:
        """A run begins to use it."""
        if job in usable.users:
            self.fail(f"exclusive: {when}, {job!r} has {usable.name}, which it is using")
        usable.users[job] = None
        usable.uses += 1
        self.look(usable, job, when)
        is_reopened = self.program.setup.lifespan or self.program.setup.elastic is not None
        most = usable.device.max_jobs if is_reopened else None
        if most is not None and usable.uses > most and not self.may_lend:
            self.fail(f"max_jobs: {when}, {job!r} has {usable.name}, which has served {usable.uses - 1} jobs")

    @cached_property
    def may_lend(self) -> bool:
        """Whether any job lends its worker, which then serves on."""
        return any(isinstance(part, Lend) for part in parts_of(self.program.body))

    @cached_property
    def most_places(self) -> float:
        """The most places that workers are given beyond what they come with."""
        parts = parts_of(self.program.body)
        return max((part.places or math.inf for part in parts if isinstance(part, Workers)), default=1)

    def look(self, usable: Usable, job: Job[Any], when: str) -> None:
        """A run uses it."""
        if usable.left:
            self.fail(f"lifespan: {when}, {job!r} uses {usable.name}, which has been left")
        if len({*usable.users, job}) > max(usable.device.places or math.inf, self.most_places):
            self.fail(f"exclusive: {when}, {job!r} uses {usable.name}, as {[*usable.users]!r} do")

    def give(self, usable: Usable, job: Job[Any]) -> None:
        """A run uses it no longer."""
        usable.users.pop(job, None)

    # Lifespans.

    @asynccontextmanager
    async def opened(self, device: Device, key: int, *, at_once: int = 1) -> AsyncGenerator[Usable]:
        """The lifespan of a device, or of so many of them alike."""
        number = self.openings[key]
        self.openings[key] += 1
        await trio.lowlevel.checkpoint()
        await self.sleep(device.opening, shielded=False)
        if device.fails_from <= number < device.fails_from + device.failures:
            self.breakages += 1
            raise self.raising(device.failure)
        usable = Usable(f"session {number} of device {key}", device, key)
        if self.open_now[key] >= at_once:
            self.fail(f"lifespan: device {key} was opened too often")
        self.usables.append(usable)
        self.open_now[key] += 1
        try:
            if device.life is None or number >= device.lives:
                with usable.scope:
                    yield usable
            else:
                async with self._ending_by_itself(usable, device.life, device.death):
                    yield usable
        finally:
            usable.left += 1
            self.open_now[key] -= 1
            if usable.users:
                self.fail(f"lifespan: {usable.name} was left while {[*usable.users]!r} use it")
            if device.shielded:
                await self.clean_up(device.closing)
            else:
                await self.sleep(device.closing, shielded=False)
            if device.farewell:
                farewell = self.raising(device.farewell)
                self.farewells.append(farewell)
                raise farewell

    @asynccontextmanager
    async def _ending_by_itself(self, usable: Usable, life: float, death: str) -> AsyncGenerator[None]:
        self.breakages += 1
        if death == "scope":
            with usable.scope:
                usable.scope.deadline = trio.current_time() + life
                yield
            return

        async def dies() -> None:
            await trio.sleep(life)
            # If it strikes while the lifespan is being left, it is what leaving has raised.
            error = self.raising("group" if death == "group" else "stray" if death == "stray" else "value")
            self.farewells.append(error)
            raise error

        with usable.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dies)
                yield
                nursery.cancel_scope.cancel()


def errand_of(job: Job[Any]) -> Errand:
    """What a job was submitted for: its last argument, or what a block of ``acquire`` has noted."""
    errand: Errand = job.args[-1] if job.args else job.metadata["errand"]
    return errand


def has_rudeness(error: BaseException) -> bool:
    """Whether an error holds what is neither an `Exception` nor a cancellation."""
    return any(not isinstance(leaf, (Exception, trio.Cancelled)) for leaf in leaves(error))
