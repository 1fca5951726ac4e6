"""Opening and closing a pool."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import trio

from .._basics.logs import report, report_deaths
from .._basics.text import one_line, shown
from .._model.errors import PoolError
from .._model.job_options import JobOptions
from .._model.pool_config import Config
from .._policies import validate
from .._policies.resource import MOST_WORKERS, Elastic, Resource, check_lifespan
from .._runtime.block import Block
from .._runtime.caller_run import end_open_blocks
from .._runtime.cancellation_watch import CancellationWatch
from .._runtime.home import Home
from .._runtime.notify import notify
from .._runtime.outcomes import come_out, failure_of, without_own_cancellation
from .._runtime.rates import settle_in
from .pool import BasePool, Instrument, Pool, SlotPool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from random import Random
    from typing import TypedDict

    from typing_extensions import Unpack

    from .._model.handles import Worker
    from .._model.pool_config import NoWorker, OnDead, OnFailure, Order, Pick
    from .._policies.circuit_breaker import CircuitBreaker
    from .._policies.health_check import HealthCheck
    from .._policies.per_key import PerKey
    from .._policies.rate_meters import AnyLimit
    from .._policies.resource import OnCut
    from .._policies.retry import RetryPolicy
    from .._policies.retry_budget import RetryBudget

    class PoolOptions(TypedDict, total=False):
        """The keyword arguments of `open_pool`, except ``lifespan``."""

        retry: RetryPolicy
        attempt_timeout: float | None
        total_timeout: float | None
        max_queue: float | None
        max_running: float | None
        rate_limit: AnyLimit | Iterable[AnyLimit] | None
        per_key: PerKey | None
        retry_budget: RetryBudget | None
        breaker: CircuitBreaker | None
        max_opening: float | None
        reopening: RetryPolicy
        on_cut: OnCut
        check: HealthCheck | None
        order: Order
        pick: Pick
        no_worker: NoWorker
        on_failure: OnFailure | None
        on_dead: OnDead
        max_dead: float | None
        history: bool
        show_arguments: bool
        instruments: Iterable[Instrument]
        name: str | None
        metadata: Mapping[str, Any] | None
        rng: Random | None


R = TypeVar("R")
S = TypeVar("S")
P = TypeVar("P", bound=BasePool)


class Adjuster:
    """Changes pools that open while it is among the ``adjusters``; only trio_pool.testing defines adjusters."""

    def adjust(self, config: Config, /) -> None:
        """Change the options of a pool, after they have been checked."""

    def made(self, pool: BasePool, /) -> None:
        """Change a pool that is about to open."""


adjusters: ContextVar[tuple[Adjuster, ...]] = ContextVar("trio_pool_adjusters", default=())


@overload
def open_pool(resources: int, **options: Unpack[PoolOptions]) -> AbstractAsyncContextManager[SlotPool]: ...


@overload
def open_pool(resources: Elastic[R], **options: Unpack[PoolOptions]) -> AbstractAsyncContextManager[Pool[R]]: ...


# The overloads for only Resources come first: mypy can't infer S for a list of Resources from the union.
@overload
def open_pool(
    resources: Iterable[Resource[S]],
    *,
    lifespan: Callable[[S], AbstractAsyncContextManager[R]],
    **options: Unpack[PoolOptions],
) -> AbstractAsyncContextManager[Pool[R]]: ...


@overload
def open_pool(
    resources: Iterable[Resource[R]],
    *,
    lifespan: None = None,
    **options: Unpack[PoolOptions],
) -> AbstractAsyncContextManager[Pool[R]]: ...


@overload
def open_pool(
    resources: Iterable[Resource[S] | S],
    *,
    lifespan: Callable[[S], AbstractAsyncContextManager[R]],
    **options: Unpack[PoolOptions],
) -> AbstractAsyncContextManager[Pool[R]]: ...


@overload
def open_pool(
    resources: Iterable[Resource[R] | R],
    *,
    lifespan: None = None,
    **options: Unpack[PoolOptions],
) -> AbstractAsyncContextManager[Pool[R]]: ...


def open_pool(resources: Any, **options: Any) -> Any:
    """Open a pool of workers, one for each resource.

    Use it as ``async with open_pool(...) as pool:``. After the block, every job has ended, every
    worker has stopped, and every failure has been reported:

    * When the body ends, the pool closes to jobs from outside, resumes paused workers, and runs all
      jobs to their end. Jobs that no worker can run die. The workers stop, the newest first. Dead
      jobs that nobody has dealt with are raised in an exception group.
    * When the body raises an exception, or the block is cancelled from outside, the pool cancels
      all jobs, and the same exception propagates. A cancellation takes effect at once, even if the
      body is shielded.

    Arguments:
      resources: an iterable of objects, of `Resource` descriptions, or of both. Or a number of
          slots, which are workers without a resource. Or an `Elastic`, which opens and retires
          workers with the load.

    Failures and time:
      retry: the `RetryPolicy` of jobs without a policy of their own.
      attempt_timeout: seconds that an attempt may take, unless the job has its own
          ``attempt_timeout``.
      total_timeout: seconds that a job may take in total, unless the job has its own
          ``total_timeout``.
      on_failure: a function of a job and its error, called for every failure except control
          exceptions. The function returns `RetryAfter`, `GiveUp`, `Discard` or `ResourceBroken`, or
          None to leave the decision to the retry policy. The job's attempts don't include the
          failed one yet.
      on_dead: ``"raise"`` to raise dead jobs at the end of the block, ``"keep"`` to log them,
          ``"cancel"`` to stop everything as soon as a job dies.
      max_dead: how many dead jobs are kept; if there are more, the oldest is dropped and counted.
      no_worker: what happens to a job that no worker of the pool can run. ``"reject"``: its
          submitter gets `NoEligibleWorkerError`. ``"wait"``: the job waits for a worker that may be
          added. ``"bury"``: the job is dead.

    Queue and order:
      max_queue: jobs that may wait to start; ``inf`` for no bound.
      order: ``"fifo"`` or ``"lifo"``: which of the jobs of equal priority starts first.
      pick: ``"longest_idle"``, ``"last_used"`` or ``"random"``: which free worker gets a job that
          several of them can run.

    Limits:
      max_running: attempts that may run at once in the whole pool. An attempt that a `Hedge` has
          started on further workers counts once for each worker.
      rate_limit: a `RateLimit` or `SharedRateLimit` on how often attempts start in the whole pool,
          including retries, or an iterable of several that all hold.
      per_key: a `PerKey`: bounds for the jobs of each key by itself, and turns between the keys.
          Without it, keys only label.
      retry_budget: a `RetryBudget`, which limits retries in relation to attempts; a failed job
          without a retry is dead.

    Resources:
      lifespan: a function of a resource that returns an async context manager, which yields what
          jobs get. Entered when the worker starts, left when it stops.
      max_opening: how many lifespans are entered at the same time when the pool opens and by an
          `Elastic`, and, counted apart, left at the end. ``add`` and reopening don't wait for others.
      reopening: the `RetryPolicy` by which a worker tries again to open a broken resource. After
          ``max_attempts`` tries, or an error that its ``retry_on`` doesn't match, the worker leaves
          the pool; the error is logged, and is the cause of death of jobs without a worker now. An
          `Elastic` uses only the delays.
      on_cut: ``"keep"`` or ``"reopen"``: what happens to a resource after an attempt that was
          cancelled before it returned a value; see `Resource`.
      check: a `HealthCheck` of workers while they are idle.
      breaker: a `CircuitBreaker`, which quarantines workers that fail jobs. The breaker applies to
          each worker whose `Resource` has none of its own.

    Watching:
      name: the pool's name in statistics and messages.
      metadata: any data that the program wants to keep with the pool, copied.
      history: whether to keep each job's changes of state.
      show_arguments: whether messages, logs and views show the shortened arguments of jobs without
          a name. Use ``False`` if the arguments are confidential.
      instruments: the first instruments; see `Instrument`.

    Repeating a run:
      rng: the source of all random choices of the pool.

    Returns:
      an async context manager that yields a `Pool`, or a `SlotPool` for a number of slots.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type; raised by the
          call, before anything is opened.
      Exception: whatever entering a lifespan raises; raised by ``async with`` after the lifespans
          that were being entered have been cancelled and the open ones have been left.
    """
    _check_names(options)
    config = Config(**options)
    for instrument in config.instruments:
        validate.instance("instruments", instrument, Instrument)
    elastic = _elastic_of(resources)
    if elastic is not None and config.lifespan is not None:
        raise ValueError("lifespan can't be given with Elastic, whose factory gives one already")
    check_lifespan(elastic is not None or config.lifespan is not None, config.on_cut, config.check)
    for adjuster in adjusters.get():
        adjuster.adjust(config)
    pool: Pool[Any] | SlotPool = SlotPool(config) if _is_number(resources) else Pool(config, elastic)
    for adjuster in adjusters.get():
        adjuster.made(pool)
    if isinstance(pool, SlotPool):
        number = validate.count("resources", resources, least=1)
        if number > MOST_WORKERS:
            raise ValueError(f"resources must be at most {MOST_WORKERS} slots, {validate.got(number)}")
        if config.lifespan is not None:
            raise ValueError("lifespan needs resources, and slots have none")
        return Block("open_pool", _run_pool(pool, [partial(pool._staff.recruit, Resource(None), ())] * number))
    if elastic is not None:
        return Block("open_pool", _run_pool(pool, [pool._staff.recruit_elastic] * elastic.min))
    described = _described(resources)
    for resource in described:
        check_lifespan(config.lifespan is not None, resource.on_cut, resource.check)
    recruits = [partial(pool._staff.recruit, resource, (resource.value,)) for resource in described]
    return Block("open_pool", _run_pool(pool, recruits))


def _check_names(options: Iterable[str]) -> None:
    known = Config.__slots__
    for name in options:
        if name not in known:
            hint = f"its options are {', '.join(known)}"
            if name in JobOptions.__optional_keys__:
                hint = f"{name} is an option of a job, for submit() and the like"
            raise TypeError(f"open_pool() got an unexpected keyword argument {name!r}; {hint}")


def _elastic_of(resources: object) -> Elastic[Any] | None:
    return cast("Any", resources) if isinstance(resources, Elastic) else None


def _is_number(resources: object) -> bool:
    return isinstance(resources, (int, float))


def _described(resources: object) -> list[Resource[Any]]:
    if isinstance(resources, (str, bytes)):
        raise TypeError(f"resources must be an iterable of resources, not the single {shown(resources)}")
    try:
        every = list(cast("Iterable[object]", resources))
    except TypeError:
        raise TypeError(
            f"resources must be an iterable of resources or a number of slots, {validate.got(resources)}"
        ) from None
    return [each if isinstance(each, Resource) else Resource(each) for each in every]


@trio.lowlevel.enable_ki_protection
async def _run_pool(pool: P, recruits: Sequence[Callable[[], Worker]]) -> AsyncGenerator[P, BaseException | None]:
    """The pool's block, from opening the first resource until the last worker has stopped."""
    engine = pool._engine
    error: BaseException | None = None
    opened = False
    watch = CancellationWatch(engine.cancel)
    async with trio.open_nursery() as nursery:
        engine.nursery = nursery
        engine.context = copy_context()
        engine.home = Home()
        nursery.start_soon(engine.timers.run)
        nursery.start_soon(watch.run)
        with engine.scope:
            try:
                await trio.lowlevel.checkpoint()
                settle_in(engine, engine.config.rate_limit)
                await pool._staff.open_first(recruits)
                engine.core.begin(trio.current_time())
                opened = True
                notify(engine.instruments, "pool_opened", pool)
                error = yield pool
                left_open = await end_open_blocks(engine, "open_pool")
                error = left_open if error is None else error
                if error is None:
                    await _finish(pool)
            except BaseException as exc:
                error = exc
        error = without_own_cancellation(engine.scope, error)
        finished = error is None and not engine.scope.cancel_called
        if not finished:
            notify(engine.instruments, "_broken_off", pool)
            error = await _stop_everything(pool, error)
        engine.core.metering.leave()
        engine.timers.stop()
        watch.stop()
    engine.nursery = None
    if opened:
        notify(engine.instruments, "pool_closed", pool)
    _come_out(pool, watch.outcome(error), finished)


async def _finish(pool: BasePool) -> None:
    """Run all jobs of the pool to their end, after the body has ended."""
    engine = pool._engine
    notify(engine.instruments, "_body_ended", pool)
    engine.close()
    engine.core.drain(trio.current_time())
    engine.carry_out()
    await trio.lowlevel.checkpoint()
    while engine.lifecycle.live:
        await engine.wait_until_quiet()
    engine.stop()
    await pool._staff.stop_all(pool.workers[::-1], at_once=False)


async def _stop_everything(pool: BasePool, error: BaseException | None) -> BaseException | None:
    """Stop everything now, even if another Ctrl-C arrives in the meantime."""
    engine = pool._engine
    engine.cancel()
    while engine.lifecycle.live or pool.workers:
        try:
            with trio.CancelScope(shield=True):
                while engine.lifecycle.live:
                    await engine.wait_until_quiet()
                await pool._staff.stop_all(pool.workers[::-1], at_once=True)
        except KeyboardInterrupt as interrupt:
            error = interrupt if error is None else error
    return error  # noqa: ASYNC910  # nothing may be left to wait for


def _come_out(pool: BasePool, error: BaseException | None, finished: bool) -> None:
    """Raise the outcome of the pool's block, and log the deaths that are not part of it."""
    engine = pool._engine
    deaths = [failure_of(job) for job in engine.dead._open()]
    dropped = engine.dead._dropped_open
    lost = [PoolError(f"{dropped} older dead jobs that nobody has dealt with were dropped")] if dropped else []
    errors: list[BaseException] = list(engine.errors)
    if finished and engine.config.on_dead == "raise":
        errors += [*deaths, *lost]
    else:
        report_deaths(deaths)
        for each in lost:
            report("%s", each, error=each)
    come_out("the pool" if pool.name is None else f"the pool {one_line(pool.name)!r}", error, errors)
