"""What is wrong is found: shown with pools that are broken on purpose."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import trio

from tests.platforms import frees_at_once
from tests.programs import running
from tests.programs.language import Call, Device, KeyBounds, Program, Raise, Rate, Setup, Sleep, Submit, Wait
from tests.programs.raising import somebody_elses_cancellation
from tests.programs.running import failures_of
from trio_pool import Job, JobDeadlockError, JobOptions, Pool, open_pool
from trio_pool._model.job_options import revised
from trio_pool._runtime.attempt_loop import AttemptLoop
from trio_pool._runtime.notify import notify

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

SHORT = Submit(Call((Sleep(1.0),)))
SHORT_OF_A_KEY = Submit(Call((Sleep(1.0),), key="k"))
LONG = Submit(Call((Sleep(3.0),)))
TWO = (Device(), Device())


opened: Any = open_pool


def opened_with(**changes: Any) -> Any:
    """Let pools be opened with other options than the program says."""

    def opening(resources: Any, **options: Any) -> Any:
        return opened(resources, **{**options, **changes})

    return patch.object(running, "_open_pool", opening)


def two_workers_of_each_resource(resources: Any, **options: Any) -> Any:
    return opened(resources * 2, **options)


def resources_that_are_left_too_soon(
    resources: Any, *, lifespan: Callable[[Any], AbstractAsyncContextManager[Any]], **options: Any
) -> Any:
    @asynccontextmanager
    async def left_at_once(value: Any) -> AsyncGenerator[Any]:
        async with lifespan(value) as usable:
            pass
        yield usable

    return opened(resources, lifespan=left_at_once, **options)


def without_priorities(pool: Pool[Any], options: JobOptions, call: str) -> Any:
    options.pop("priority", None)
    return revised(pool._defaults, options, defaults=pool._defaults, crew=pool._engine.roster, call=call)


def says_something_wrong(job: Job[Any]) -> str:
    return "wrong"


def does_nothing(shift: AttemptLoop) -> None:
    """It is not interrupted."""


def has_one_more(pool: Pool[Any]) -> list[str]:
    return ["a job"]


async def ends_too_soon(job: Job[Any]) -> None:
    await trio.lowlevel.checkpoint()


async def never_ends(job: Job[Any]) -> None:
    await trio.sleep_forever()


async def is_cancelled_from_nowhere(job: Job[Any]) -> None:
    raise await somebody_elses_cancellation()


async def tells_of_a_deadlock(job: Job[Any]) -> None:
    await trio.lowlevel.checkpoint()
    raise JobDeadlockError("there is none")


async def raises_what_nobody_expects(job: Job[Any]) -> None:
    await trio.lowlevel.checkpoint()
    raise KeyError(job)


async def forgets_to_await(job: Job[Any]) -> None:
    _ = trio.sleep(1)  # noqa: ASYNC105
    await trio.lowlevel.checkpoint()


def logs_an_error(shift: AttemptLoop) -> None:
    logging.getLogger("trio_pool").error("something is wrong")


def tells_no_ends(instruments: Any, event: str, *arguments: Any) -> None:
    if event != "attempt_ended":
        notify(instruments, event, *arguments)


SEEN_WHEN_FREED = "a coroutine that is not awaited"

BROKEN: dict[str, tuple[str, Any, Program]] = {
    "two workers of one resource": (
        "exclusive",
        patch.object(running, "_open_pool", two_workers_of_each_resource),
        Program((SHORT, SHORT)),
    ),
    "a resource that is used after it was left": (
        "lifespan",
        patch.object(running, "_open_pool", resources_that_are_left_too_soon),
        Program((SHORT,), Setup(lifespan=True)),
    ),
    "no bound": (
        "max_running",
        opened_with(max_running=None),
        Program((SHORT, SHORT), Setup(TWO, max_running=1)),
    ),
    "no bound for a key": (
        "max_running",
        opened_with(per_key=None),
        Program((SHORT_OF_A_KEY, SHORT_OF_A_KEY), Setup(TWO, per_key=KeyBounds(max_running=1))),
    ),
    "no rate limit for a key": (
        "rate",
        opened_with(per_key=None),
        Program((SHORT_OF_A_KEY, SHORT_OF_A_KEY), Setup(TWO, per_key=KeyBounds(rate=Rate(0.5)))),
    ),
    "no rate limit": ("rate", opened_with(rate_limit=None), Program((SHORT, SHORT), Setup(TWO, rate=Rate(0.5)))),
    "a timeout that nobody has given": ("attempts", opened_with(attempt_timeout=0.5), Program((SHORT,))),
    "priorities without effect": (
        "priorities",
        patch.object(Pool, "_resolve", without_priorities),
        Program((SHORT, Submit(Call((Sleep(1.0),))), Sleep(0.5), Submit(Call((), priority=-1)))),
    ),
    "deaths that don't come out": ("end", opened_with(on_dead="keep"), Program((Submit(Call((Raise("value"),))),))),
    "a wrong result": ("outcome", patch.object(Job, "result", says_something_wrong), Program((SHORT, Wait()))),
    "a wait that ends too soon": (
        "outcome",
        patch.object(Job, "wait_started", ends_too_soon),
        Program((LONG, SHORT, Wait(until="start"))),
    ),
    "a wait that doesn't end": ("slow", patch.object(Job, "wait", never_ends), Program((SHORT, Wait()))),
    "a job that can't be cancelled": (
        "late",
        patch.object(AttemptLoop, "interrupt", does_nothing),
        Program((LONG,), cancel_at=0.5),
    ),
    "a cancellation from nowhere": (
        "cancelled",
        patch.object(Job, "wait", is_cancelled_from_nowhere),
        Program((SHORT, Wait())),
    ),
    "a deadlock where there is none": (
        "deadlock",
        patch.object(Job, "wait", tells_of_a_deadlock),
        Program((SHORT, Wait())),
    ),
    "an error of its own": (
        "unforeseen",
        patch.object(Job, "wait", raises_what_nobody_expects),
        Program((SHORT, Wait())),
    ),
    SEEN_WHEN_FREED: (
        "warning",
        patch.object(Job, "wait", forgets_to_await),
        Program((SHORT, Wait())),
    ),
    "an error that is logged": (
        "log",
        patch.object(AttemptLoop, "interrupt", logs_an_error),
        Program((LONG,), cancel_at=0.5),
    ),
    "attempts whose ends are not told": (
        "events",
        patch("trio_pool._runtime.engine.notify", tells_no_ends),
        Program((SHORT,)),
    ),
    "a context of its own": ("context", patch("trio_pool._api.submitting.copy_context", Context), Program((SHORT,))),
    "a job without a history": ("history", patch.object(Job, "history", ()), Program((SHORT,))),
    "jobs that are still there": ("lost", patch.object(Pool, "jobs", has_one_more), Program((SHORT,))),
}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[frees_at_once] * (fault == SEEN_WHEN_FREED)) for fault in BROKEN]
)
def test_what_is_wrong_is_found(fault: str) -> None:
    kind, broken, program = BROKEN[fault]
    assert not failures_of(program)
    with broken:
        assert any(failure.startswith(f"{kind}: ") for failure in failures_of(program))
