"""Runs a whole program, and says what is wrong with it."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import warnings
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, cast
from unittest.mock import patch

import trio
import trio.testing

from tests.harness import HangError, no_hanging, repeatable_schedule, where_tasks_wait
from tests.programs.book import Book
from tests.programs.checks import check
from tests.programs.frames import Frame
from tests.programs.interpreter import Interpreter
from tests.programs.meddling import Calling, Disturber, Raising, cancel_from_outside
from tests.programs.raising import in_words, somebody_elses_cancellation
from tests.programs.world import Usable, World
from trio_pool import (
    Discard,
    Elastic,
    GiveUp,
    Instrument,
    Job,
    ResourceBroken,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from tests.programs import language as lang
    from tests.programs.language import Program

LIMIT = 1_500.0
"""Seconds on the mock clock by which a program has ended, unless it waits for what can't come."""

REAL_LIMIT = 20.0
"""Seconds of real time after which a program goes round in circles."""

logger = logging.getLogger("trio_pool")


has_crashed = False
"""Whether any program of this process has."""


class CirclesError(BaseException):
    """A program takes forever without waiting for anything."""


def failures_of(program: Program) -> list[str]:
    """Run a program; return what is wrong, each with its kind before a colon."""
    global has_crashed
    failures = _failures_of(program)
    has_crashed = has_crashed or any(each.startswith(("hang", "crash", "circles")) for each in failures)
    # What a crashed run leaves behind comes to light in others, and is not their fault.
    return [each for each in failures if not (has_crashed and each.startswith(("unraisable", "warning")))]


def _failures_of(program: Program) -> list[str]:
    world = World(program)
    run(world)
    return world.wrong


def run(world: World) -> None:
    """Run the program of a world, and note what is wrong."""
    program, log = world.program, Log()
    found: list[warnings.WarningMessage]
    unraisable: list[str] = []

    def note_unraisable(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            unraisable.append(in_words(args.exc_value))

    with (
        repeatable_schedule(program.seed),
        _logging(log),
        warnings.catch_warnings(record=True) as found,
        patch.object(sys, "unraisablehook", note_unraisable),
        _limited_time(),
    ):
        warnings.simplefilter("always")
        clock = trio.testing.MockClock(autojump_threshold=0)
        try:
            trio.run(_main, world, clock=clock, instruments=[Disturber(world)])
        except CirclesError as error:
            world.fail(f"circles: {error}")
        except BaseException as error:
            reason = error.__cause__ if isinstance(error, trio.TrioInternalError) else error
            if isinstance(reason, HangError):
                world.fail(f"hang: {reason}")
            else:
                world.fail(f"crash: {in_words(error)} from {in_words(reason) if reason else reason}")
        else:
            if not world.is_quiet:
                check(world, log.records)
    for warning in found:
        world.fail(f"warning: {warning.message}")
    for words in unraisable:
        world.fail(f"unraisable: {words}")


async def _main(world: World) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    world.stray = await somebody_elses_cancellation()
    async with no_hanging(2 * LIMIT), trio.open_nursery() as nursery:
        world.nursery = nursery
        if world.program.cancel_at is not None:
            nursery.start_soon(_cancel_at, world, world.program.cancel_at)
        nursery.start_soon(_end_what_lasts, world)
        world.armed = True
        try:
            with world.outside:
                await _whole(world)
        except BaseException as error:
            world.error = error
        world.armed = False
        world.ended_at = trio.current_time()
        # Who is about to resume or to remove a worker may do so.
        nursery.cancel_scope.cancel()
    world.nursery = None
    left = trio.lowlevel.current_statistics().tasks_living - tasks
    if left:
        world.fail(f"tasks: {left} are left")


async def _cancel_at(world: World, seconds: float) -> None:
    await trio.sleep(seconds)
    cancel_from_outside(world)


async def _end_what_lasts(world: World) -> None:
    await trio.sleep(LIMIT)
    world.is_slow = "\n".join(["tasks wait at:", *where_tasks_wait()])
    cancel_from_outside(world)


async def _whole(world: World) -> None:
    """The pool's block."""
    interpreter = Interpreter(world)
    block = open_pool_for(world, interpreter)
    try:
        async with block as pool:
            world.pool, world.was_open = pool, True
            try:
                await interpreter.block(Frame(world, pool), world.program.body)
                world.body_ended = True
            except BaseException as error:
                world.body_error = error
                world.ends("the body raised")
                raise
    except BaseException as error:
        world.error = error


_open_pool: Callable[..., AbstractAsyncContextManager[Any]] = cast("Any", open_pool)


def open_pool_for(world: World, interpreter: Interpreter) -> AbstractAsyncContextManager[Any]:
    """The pool of a program, not yet open."""
    setup = world.program.setup
    instruments: list[Instrument] = [] if world.is_quiet else [Book(world)]
    if setup.raises_at and not world.is_quiet:
        instruments.insert(0, Raising(world, setup.raises_at))
    if setup.calls_at and not world.is_quiet:
        instruments.append(Calling(world, setup.calls_at, calls=setup.calls))
    options: dict[str, Any] = {
        "attempt_timeout": setup.attempt_timeout,
        "total_timeout": setup.total_timeout,
        "max_queue": setup.max_queue,
        "max_running": setup.max_running,
        "rate_limit": interpreter.rates_of(setup),
        "per_key": interpreter.per_key(),
        "retry_budget": None if setup.budget is None else RetryBudget(*setup.budget),
        "breaker": interpreter.breaker(setup.breaker),
        "max_opening": setup.max_opening,
        "reopening": RetryPolicy.endless() if setup.reopening is None else interpreter.policy(setup.reopening),
        "order": setup.order,
        "pick": setup.pick,
        "no_worker": setup.no_worker,
        "on_failure": on_failure_of(world),
        "on_dead": setup.on_dead,
        "max_dead": setup.max_dead,
        "history": setup.history,
        "rng": Random(world.program.seed),
        "instruments": instruments,
    }
    world.policy = options["retry"] = RetryPolicy.never() if setup.retry is None else interpreter.policy(setup.retry)
    if setup.slots:
        return _open_pool(setup.slots, **options)
    if setup.elastic is not None:
        least, most = setup.elastic
        device = setup.devices[0]
        elastic: Any = Elastic(
            lambda: world.opened(device, 0, at_once=most),
            min=least,
            max=most,
            idle_timeout=setup.idle_timeout,
            open_after=setup.open_after,
            tags=device.tags,
            max_running=device.places or math.inf,
            rate_limit=interpreter.rates_of(device),
            breaker=interpreter.breaker(device.breaker),
            max_jobs=device.max_jobs,
            max_age=device.max_age,
            **interpreter.health(device),
        )
        return _open_pool(elastic, **options)
    resources = [interpreter.resource(device, -number) for number, device in enumerate(setup.devices)]
    if not setup.lifespan:
        return _open_pool(resources, **options)

    def lifespan(value: tuple[lang.Device, int]) -> AbstractAsyncContextManager[Usable]:
        return world.opened(*value)

    return _open_pool(resources, lifespan=lifespan, **options)


def on_failure_of(world: World) -> Callable[[Job[Any], Exception], Any] | None:
    """A function that answers, raises, or returns nonsense."""
    kind = world.program.setup.on_failure
    answers = [None, RetryAfter(0.5), RetryAfter(1.0, rest=True), ResourceBroken(), Discard("asked"), GiveUp("asked")]
    if not kind:
        return None

    def on_failure(job: Job[Any], error: Exception) -> Any:
        if kind == "answers":
            world.breakages += 1
            return answers[(job.id + job.attempt_count) % len(answers)] if job.attempt_count < 6 else None
        if kind == "nonsense":
            return "nonsense"
        if kind == "same":
            raise error
        if kind == "meddles":
            world.cancellations += 1
            job.cancel()
            return None
        if kind == "base":
            world.ends("on_failure raised what is no Exception")
        raise world.raising({"raises": "os", "base": "rude", "stray": "stray", "value": "frozen"}[kind])

    return on_failure


# The rest of the surroundings.


class Log(logging.Handler):
    """Keeps what the pool logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)


@contextmanager
def _logging(log: Log) -> Generator[None]:
    with patch.object(logger, "propagate", False):
        logger.addHandler(log)
        try:
            yield
        finally:
            logger.removeHandler(log)


@contextmanager
def _limited_time() -> Generator[None]:
    """Raise `CirclesError` into whatever runs after so much of real time, again and again."""
    # Windows has no such signal: a program that goes in circles there is ended with the whole run.
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(_: int, frame: FrameType | None) -> NoReturn:
        where: list[str] = []
        while frame is not None and len(where) < 12:
            where.append(f"{frame.f_code.co_name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})")
            frame = frame.f_back
        raise CirclesError(" < ".join(where))

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, REAL_LIMIT, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
