"""Functions and lifespans that tests let a pool run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from trio_pool import Pool

S_co = TypeVar("S_co", covariant=True)

Act = Callable[[str], Awaitable[Any]]


class HasState(Protocol[S_co]):
    """A job or a worker."""

    @property
    def state(self) -> S_co:
        """Where it stands."""
        ...


def state_of(thing: HasState[S_co]) -> S_co:
    """The state of a job or worker; unlike the attribute it may change for type checkers too."""
    return thing.state


def counts(pool: Pool[Any]) -> list[tuple[int, int]]:
    """How many attempts each worker has ended, and how many of them failed."""
    return [(worker.attempts, worker.failed) for worker in pool.statistics().workers]


def of_any_arguments(fn: Callable[..., object]) -> Any:
    """For a function of ``*args`` that is to run with and without a resource: type checkers don't ask what it gets."""
    return fn


@of_any_arguments
async def nap(*args: Any) -> float:
    """Sleeps for so many seconds, its last argument, and tells when that was over."""
    await trio.sleep(args[-1])
    return trio.current_time()


async def works(resource: object) -> str:
    """Succeeds at once."""
    return "done"


async def fails(resource: object) -> None:
    """Fails at once."""
    raise ValueError("failed")


async def sleeps(resource: object, seconds: float) -> float:
    """Succeeds after a while."""
    await trio.sleep(seconds)
    return seconds


async def sleeps_forever(resource: object) -> None:
    """Ends only by being cancelled."""
    await trio.sleep_forever()


async def is_stubborn(resource: object, seconds: float) -> str:
    """Returns a value however often it is cancelled."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)
    return "done all the same"


async def sulks(resource: object) -> None:
    """Answers being cancelled with an error of its own."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise OSError("cancelled, so failed") from None


def after(seconds: float, error: Exception | None = None) -> Act:
    """Return the resource after a while, or fail."""

    async def act(resource: str) -> str:
        await trio.sleep(seconds)
        if error is not None:
            raise error
        return resource

    return act


def shielded(seconds: float, error: BaseException | None = None) -> Act:
    """The same, however often it is cancelled."""

    async def act(resource: str) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        if error is not None:
            raise error
        return resource

    return act


def cancelled(error: Exception) -> Act:
    """Answer being cancelled with an error of its own."""

    async def act(resource: str) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise error from None

    return act


@attrs.define(eq=False)
class Script:
    """A job's function, which does what is said for the resource that it is given."""

    acts: dict[str, Act]
    # Where it has begun, and ended, and when.
    began: list[tuple[str, float]] = attrs.Factory(list[tuple[str, float]])
    ended: list[tuple[str, float]] = attrs.Factory(list[tuple[str, float]])

    async def __call__(self, resource: str, *_: object) -> Any:
        self.began.append((resource, trio.current_time()))
        try:
            return await self.acts[resource](resource)
        finally:
            self.ended.append((resource, trio.current_time()))


def script(**acts: Act) -> Script:
    """What it does on each of the resources."""
    return Script(acts)


def slow_on(*resources: str) -> Script:
    """Takes 100 seconds on each of them."""
    return Script(dict.fromkeys(resources, after(100)))


async def cleans_up(resource: object) -> None:
    """Ends only by being cancelled, and takes two seconds for it."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(2.0)


@attrs.define
class Doors:
    """A lifespan that remembers who has come and gone, and can be told to misbehave."""

    entered: list[str] = attrs.Factory(list[str])
    left: list[str] = attrs.Factory(list[str])
    # How long it takes to get in and out, and which resources can't, one error each time.
    seconds_in: float = 0.0
    seconds_out: float = 0.0
    errors_in: dict[str, list[Exception]] = attrs.Factory(dict[str, list[Exception]])
    errors_out: dict[str, Exception] = attrs.Factory(dict[str, Exception])

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        """Pass it to ``open_pool``."""
        await trio.sleep(self.seconds_in)
        if self.errors_in.get(name):
            raise self.errors_in[name].pop(0)
        self.entered.append(name)
        try:
            yield name
        finally:
            self.left.append(name)
            try:
                await trio.sleep(self.seconds_out)
            finally:  # also if it is cancelled meanwhile
                if name in self.errors_out:
                    raise self.errors_out[name]


@attrs.define
class Mint:
    """A factory of an elastic pool, whose resources are numbers; it can be told to misbehave."""

    # When each was called for, and which have come and gone.
    called: list[float] = attrs.Factory(list[float])
    opened: list[int] = attrs.Factory(list[int])
    closed: list[int] = attrs.Factory(list[int])
    # How long it takes to get in, and what it raises, one error each time.
    seconds_in: float = 0.0
    errors_in: list[BaseException] = attrs.Factory(list[BaseException])
    error_out: Exception | None = None

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[int]:
        """Opens one."""
        number = len(self.called)
        self.called.append(trio.current_time())
        await trio.sleep(self.seconds_in)
        if self.errors_in:
            raise self.errors_in.pop(0)
        self.opened.append(number)
        try:
            yield number
        finally:
            self.closed.append(number)
            if self.error_out is not None:
                raise self.error_out
