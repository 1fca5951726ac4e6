"""What each feature of the pool costs when it is used, against a job without it."""

from __future__ import annotations

import io
import logging
import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from rich.console import Console

from trio_pool import Hedge, Instrument, Logged, RetryPolicy, open_pool
from trio_pool.otel import Telemetry
from trio_pool.rich import live
from trio_pool.timeline import Timeline

from . import programs
from .measure import in_turn
from .rows import Row

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from .measure import Figure
    from .rows import Scale

RESOURCES = ("a", "b", "c", "d")


async def with_options(
    fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int, **options: Any
) -> list[int]:
    """As `programs.submit_all`, with options for each job."""
    async with open_pool(workers, retry=programs.RETRY) as pool:
        jobs = [await pool.submit(fn, item, **options) for item in items]
        await pool.join()
        return [job.result() for job in jobs]


async def with_resources(
    fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int, **options: Any
) -> list[int]:
    """As `programs.submit_all`, with workers that have resources."""

    async def use(resource: object, item: int) -> int:
        return await fn(item)

    async with open_pool(RESOURCES[:workers], retry=programs.RETRY, **options) as pool:
        jobs = [await pool.submit(use, item) for item in items]
        await pool.join()
        return [job.result() for job in jobs]


async def complete_all(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """``as_completed``."""
    async with open_pool(workers, retry=programs.RETRY) as pool, pool.as_completed(fn, items) as jobs:
        return [job.result() async for job in jobs]


async def retry_all(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """As `programs.submit_all`, with jobs that fail once and are tried again at once."""
    failed: set[int] = set()

    async def fail_once(item: int) -> int:
        if item not in failed:
            failed.add(item)
            raise ValueError(item)
        return await fn(item)

    return await programs.submit_all(fail_once, items, workers, retry=RetryPolicy.immediate(max_attempts=3))


@asynccontextmanager
async def lifespan(resource: str) -> AsyncGenerator[str]:
    """Opens nothing."""
    yield resource


class Blind(Instrument):
    """Is told of everything and does nothing."""


class Dropped(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def telemetry() -> Telemetry:
    """Spans and metrics, received by the SDK and dropped."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(Dropped()))
    return Telemetry(tracers, MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))


def loud_logger() -> logging.Logger:
    """Takes records of all levels and drops them."""
    logger = logging.Logger("benchmark", logging.DEBUG)
    logger.addHandler(logging.NullHandler())
    return logger


async def in_view(fn: Callable[[int], Awaitable[int]], items: Sequence[int], workers: int) -> list[int]:
    """As `programs.submit_all`, in a live view."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    async with open_pool(workers, retry=programs.RETRY) as pool, live(pool, total=len(items), console=console):
        jobs = [await pool.submit(fn, item) for item in items]
        await pool.join()
        return [job.result() for job in jobs]


def measured(program: Callable[..., Awaitable[list[int]]], **options: Any) -> Callable[[Scale], Figure]:
    """Measures a program against the plain one."""

    def measure(scale: Scale) -> Figure:
        plain = programs.whole(programs.submit_all, scale.jobs)
        return in_turn(programs.whole(program, scale.jobs, **options), plain, scale.rounds)

    return measure


plain = partial(measured, programs.submit_all)

FEATURES = tuple(
    Row(name=name, what=what, measure=measure, bound=None)
    for name, what, measure in (
        ("itself", "submit, join and result against itself", plain()),
        ("no-history", "history=False", plain(history=False)),
        ("attempt-timeout", "attempt_timeout=10", plain(attempt_timeout=10.0)),
        ("total-timeout", "total_timeout=60", plain(total_timeout=60.0)),
        ("max-running", "max_running, never reached", plain(max_running=100)),
        ("lifo", 'order="lifo"', plain(order="lifo")),
        ("instrument", "an instrument that does nothing", plain(instruments=[Blind()])),
        ("logged", "Logged, at a level that is off", plain(instruments=[Logged()])),
        ("logged-debug", "Logged, at DEBUG, the records dropped", plain(instruments=[Logged(loud_logger())])),
        ("timeline", "Timeline", plain(instruments=[Timeline()])),
        ("live", "the live view", measured(in_view)),
        ("telemetry", "Telemetry without an SDK", plain(instruments=[Telemetry()])),
        ("telemetry-sdk", "Telemetry with an SDK, what it tells dropped", plain(instruments=[telemetry()])),
        ("hedge", "a hedge whose time never comes", measured(with_options, hedge=Hedge(60.0))),
        ("no-bound", "max_queue=math.inf", plain(max_queue=math.inf)),
        ("resources", "resources instead of slots", measured(with_resources)),
        ("lifespan", "resources with a lifespan", measured(with_resources, lifespan=lifespan)),
        ("options", "an option given with each job: priority=1", measured(with_options, priority=1)),
        ("run", "run for each instead of submit and result", measured(programs.run_each)),
        ("map", "map instead of submit and result", measured(programs.map_all)),
        ("as-completed", "as_completed instead of submit and result", measured(complete_all)),
        ("retry", "each job fails once and is tried again at once", measured(retry_all)),
    )
)
