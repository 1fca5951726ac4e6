"""Programs as plain data: what they are made of, and how they are written down.

A program is printed as the Python expression that makes it, with what is not as by default. What
refers to something, such as a job to wait for, is a number that is counted round among what there
is, so that a program of which something is left out is a program still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

Block: TypeAlias = "tuple[Statement, ...]"


class Part:
    """What programs are made of."""

    def __repr__(self) -> str:
        return written(self, indent=None)


def written(part: object, indent: int | None = 0) -> str:
    """A part of a program as the expression that makes it; on several lines if there is an indent."""
    if isinstance(part, Part):
        fields = attrs.fields(cast("Any", type(part)))
        given = [(field, getattr(part, field.name)) for field in fields]
        words = [
            ("" if number == 0 and field.default is attrs.NOTHING else f"{field.name}=", value)
            for number, (field, value) in enumerate(given)
            if field.default is attrs.NOTHING or value != field.default
        ]
        return _bracketed(f"{type(part).__name__}(", words, ")", indent)
    if isinstance(part, tuple):
        every = [("", each) for each in cast("tuple[object, ...]", part)]
        return _bracketed("(", every, ",)" if len(every) == 1 else ")", indent)
    return repr(part)


def _bracketed(opening: str, words: list[tuple[str, object]], closing: str, indent: int | None) -> str:
    line = opening + ", ".join(name + written(value, None) for name, value in words) + closing
    if indent is None or len(line) + indent <= 100:
        return line
    margin = " " * (indent + 4)
    lines = "".join(f"\n{margin}{name}{written(value, indent + 4)}," for name, value in words)
    return f"{opening}{lines}\n{' ' * indent}{closing.removeprefix(',')}"


def parts_of(part: object) -> Iterable[Part]:
    """A part and all that it holds."""
    if isinstance(part, Part):
        yield part
        for field in attrs.fields(cast("Any", type(part))):
            yield from parts_of(getattr(part, field.name))
    elif isinstance(part, tuple):
        for each in cast("tuple[object, ...]", part):
            yield from parts_of(each)


# Limits, resources and the pool.


@attrs.frozen(repr=False)
class Rate(Part):
    """A `RateLimit`."""

    count: float
    per: float = 1.0
    burst: int = 1
    unit: str = ""


@attrs.frozen(repr=False)
class Breaker(Part):
    """A `CircuitBreaker`; ``counts`` is what it asks: "all" errors, or a function that "raises"."""

    failures: int = 2
    reset_after: float = 2.0
    max_reset_after: float | None = None
    counts: Literal["all", "value", "function", "raises", "nonsense"] = "all"
    rate: float | None = None


@attrs.frozen(repr=False)
class Policy(Part):
    """A `RetryPolicy`."""

    max_attempts: int | None = 3
    delay: float = 0.5
    multiplier: float = 1.0
    jitter: Literal["full", "equal", "decorrelated", "none"] = "none"
    placement: Literal["any", "same", "other"] = "any"
    front: bool = False
    retry_on: Literal["all", "value", "function", "raises", "nonsense"] = "all"
    curve: Literal["plain", "own", "raises", "nonsense"] = "plain"


@attrs.frozen(repr=False)
class Device(Part):
    """A resource, and how it behaves when there is a lifespan."""

    tags: tuple[str, ...] = ()
    # How many jobs it takes at once; 0 for no bound.
    places: int = 1
    rate: Rate | None = None
    unit_rate: Rate | None = None
    breaker: Breaker | None = None
    max_jobs: int | None = None
    max_age: float | None = None
    # With a lifespan: what becomes of it after a cut, and a health check that takes a while and fails now and then.
    reopens: bool = False
    check: float | None = None
    # How often it can't be opened at first, and from when on: at the first opening or at the second.
    failures: int = 0
    fails_from: int = 0
    failure: str = "os"
    opening: float = 0.0
    closing: float = 0.0
    shielded: bool = False
    # What leaving raises, if it does.
    farewell: str = ""
    # Seconds after which its first lifespans end by themselves, and how.
    life: float | None = None
    lives: int = 1
    death: Literal["scope", "error", "group", "stray"] = "scope"


@attrs.frozen(repr=False)
class KeyBounds(Part):
    """A `PerKey`; with ``weighs`` the weights of the keys differ, and with ``asks`` functions give its fields."""

    max_running: int | None = None
    rate: Rate | None = None
    weighs: bool = False
    asks: bool = False


@attrs.frozen(repr=False)
class Setup(Part):
    """How the pool is opened: over devices, or so many slots, or elastic between two numbers."""

    devices: tuple[Device, ...] = (Device(),)
    slots: int = 0
    elastic: tuple[int, int] | None = None
    idle_timeout: float = 3.0
    open_after: float = 0.0
    lifespan: bool = False
    max_opening: int | None = 8
    # How a resource is opened again, if not as it is by default.
    reopening: Policy | None = None
    retry: Policy | None = None
    attempt_timeout: float | None = None
    total_timeout: float | None = None
    max_queue: int | None = 1000
    max_running: int | None = None
    rate: Rate | None = None
    # Another limit, with a unit; if it is shared, by all devices too.
    unit_rate: Rate | None = None
    is_shared: bool = False
    per_key: KeyBounds | None = None
    budget: tuple[float, int, float] | None = None
    breaker: Breaker | None = None
    order: Literal["fifo", "lifo"] = "fifo"
    pick: Literal["longest_idle", "last_used", "random"] = "longest_idle"
    no_worker: Literal["reject", "wait", "bury"] = "reject"
    on_failure: Literal["", "answers", "raises", "nonsense", "base", "stray", "value", "same", "meddles"] = ""
    on_dead: Literal["raise", "keep", "cancel"] = "raise"
    max_dead: int | None = 1000
    history: bool = True
    # Further instruments: one that raises at its n-th event, one that calls back into the pool at it.
    raises_at: int = 0
    calls_at: int = 0
    calls: str = "cancel a job"


# What jobs do, and how they are submitted.


@attrs.frozen(repr=False)
class Call(Part):
    """A job: what its function does in each attempt, and its options."""

    does: Block
    retry: Policy | None = None
    attempt_timeout: float | None = None
    total_timeout: float | None = None
    priority: int = 0
    requires: tuple[str, ...] = ()
    worker: int | None = None
    after: tuple[int, ...] = ()
    hedge: tuple[float, int] | None = None
    uses: tuple[tuple[str, float], ...] = ()
    key: str = ""


@attrs.frozen(repr=False)
class Items(Part):
    """Where the items of a stream come from."""

    number: int = 3
    # A list, a generator, an async generator or a class with ``__anext__``.
    kind: Literal["list", "generator", "async", "class"] = "list"
    # Before each item.
    delay: float = 0.0
    # At which item they fail, and with what.
    fails_at: int | None = None
    failure: str = "value"
    # What is around the loop: a scope with a deadline, a scope around each item, a nursery.
    around: Literal["", "scope", "each", "nursery", "wait in nursery"] = ""
    deadline: float = 1.0
    # How long its clean-up takes behind a shield.
    cleanup: float = 0.0

    @property
    def cancels_itself(self) -> bool:
        """Whether it may end by a cancellation that the pool has not asked for."""
        return self.around in ("scope", "each", "nursery") or self.failure.startswith("stray")


class Statement(Part):
    """What a body or a job's function does, one after another."""


@attrs.frozen(repr=False)
class Sleep(Statement):
    """Waits; for 0 it is a checkpoint."""

    seconds: float = 0.0


@attrs.frozen(repr=False)
class Use(Statement):
    """Says what the run has used in all; nothing outside of a job."""

    unit: str
    amount: float


@attrs.frozen(repr=False)
class Raise(Statement):
    """Raises something; see ``raising``. In a job only so often, 0 for each time."""

    kind: str
    times: int = 0


@attrs.frozen(repr=False)
class Submit(Statement):
    """Submits a job, to the group that it is in or to the pool."""

    call: Call
    how: Literal["submit", "nowait", "idle only"] = "submit"
    to_pool: bool = False


@attrs.frozen(repr=False)
class Run(Statement):
    """Runs a job and waits for it. What it is told goes on if it is ``loud``."""

    call: Call
    to_pool: bool = False
    loud: bool = False


@attrs.frozen(repr=False)
class Graph(Statement):
    """Submits a whole graph: calls, and for each the earlier ones that it stands behind."""

    calls: tuple[Call, ...]
    behind: tuple[tuple[int, ...], ...] = ()
    reverse: bool = False
    to_pool: bool = False


@attrs.frozen(repr=False)
class Wait(Statement):
    """Waits for a job: the n-th last that the task has submitted, or that anybody has."""

    job: int = 0
    of_any: bool = False
    until: Literal["end", "start"] = "end"
    loud: bool = False


@attrs.frozen(repr=False)
class Cancel(Statement):
    """Cancels a job."""

    job: int = 0
    of_any: bool = False


@attrs.frozen(repr=False)
class Stream(Statement):
    """``map`` or ``as_completed``: what it reads, and when it stops; ``each`` is done after each result."""

    call: Call
    items: Items = Items()
    kind: Literal["map", "as_completed"] = "map"
    buffer: int | None = None
    # How many results are read; None for all.
    reads: int | None = None
    each: Block = ()
    readers: int = 1
    to_pool: bool = False
    loud: bool = False


@attrs.frozen(repr=False)
class Scope(Statement):
    """A cancel scope: with a deadline, or shielded, or cancelled at once if told to."""

    body: Block
    deadline: float | None = None
    shield: bool = False


@attrs.frozen(repr=False)
class CancelEnclosing(Statement):
    """Cancels the n-th scope outwards of those that the task has opened."""

    depth: int = 0


@attrs.frozen(repr=False)
class Nursery(Statement):
    """Several tasks at once."""

    tasks: tuple[Block, ...]


@attrs.frozen(repr=False)
class Group(Statement):
    """A group of the pool."""

    body: Block
    must_succeed: bool = False
    max_running: int | None = None
    reserve: int = 0
    loud: bool = False


@attrs.frozen(repr=False)
class Lend(Statement):
    """Lends the worker meanwhile; what it is told at the end goes on if it is ``loud``."""

    body: Block
    loud: bool = True


@attrs.frozen(repr=False)
class Acquire(Statement):
    """Borrows a resource for what the call does, from the group that it is in or from the pool."""

    call: Call
    timeout: float | None = None
    to_pool: bool = False
    loud: bool = False


@attrs.frozen(repr=False)
class Try(Statement):
    """Catches errors, or cancellations too: swallows them, or raises something else in their place."""

    body: Block
    catches: Literal["errors", "cancellation", "all"] = "errors"
    raises: str = ""


@attrs.frozen(repr=False)
class Finally(Statement):
    """A clean-up behind a shield, which takes its time."""

    body: Block
    seconds: float = 1.0


@attrs.frozen(repr=False)
class Workers(Statement):
    """Does something about a worker, or about the whole pool; a pause ends after so many seconds."""

    what: Literal[
        "pause", "rest", "pause pool", "rest pool", "remove", "remove now", "add", "break", "reopen", "reset", "places"
    ]
    worker: int = 0
    seconds: float = 1.0
    device: Device = Device()
    # How many it has from now on; 0 for no bound.
    places: int = 1


@attrs.frozen(repr=False)
class Ask(Statement):
    """Does something to the whole pool or the group."""

    what: Literal[
        "look",
        "close group",
        "cancel group",
        "join group",
        "close",
        "cancel",
        "join",
        "pop",
        "requeue",
        "max_running",
        "max_running of group",
        "elastic",
        "rate",
        "retry",
        "on_failure",
    ] = "look"
    number: int = 1


@attrs.frozen(repr=False)
class Disturbance(Part):
    """Something that happens to a program at the n-th step of Trio's tasks."""

    step: int
    what: Literal[
        "cancel outside",
        "cancel",
        "close",
        "cancel a job",
        "cancel a scope",
        "cancel a group",
        "close a group",
        "remove",
        "pause",
        "rest",
        "pause pool",
        "rest pool",
        "break",
    ] = "cancel outside"
    which: int = 0


@attrs.frozen(repr=False)
class Program(Part):
    """A whole program."""

    body: Block
    setup: Setup = Setup()
    # When it is cancelled from outside.
    cancel_at: float | None = None
    disturbances: tuple[Disturbance, ...] = ()
    seed: int = 0
