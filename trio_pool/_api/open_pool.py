"""Opening a pool, and the way out of its block."""

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
from .._policies.resource import MOST_WORKERS, Elastic, Resource
from .._runtime.block import Block
from .._runtime.cancellation_watch import CancellationWatch
from .._runtime.engine import failure_of
from .._runtime.home import Home
from .._runtime.notify import notify
from .._runtime.outcomes import come_out, without_own_cancellation
from .pool import BasePool, Instrument, Pool, SlotPool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager
    from random import Random
    from typing import TypedDict

    from typing_extensions import Unpack

    from .._model.pool_config import NoWorker, OnDead, OnFailure, Order, Pick
    from .._policies.circuit_breaker import CircuitBreaker
    from .._policies.rate_limit import RateLimit
    from .._policies.retry import RetryPolicy
    from .._policies.retry_budget import RetryBudget

    class PoolOptions(TypedDict, total=False):
        """The keyword arguments of `open_pool`, ``lifespan`` aside."""

        retry: RetryPolicy
        attempt_timeout: float | None
        total_timeout: float | None
        max_queue: float | None
        max_running: float | None
        rate_limit: RateLimit | None
        retry_budget: RetryBudget | None
        breaker: CircuitBreaker | None
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
        rng: Random | None


R = TypeVar("R")
S = TypeVar("S")
P = TypeVar("P", bound=BasePool)

# Set by trio_pool.testing.one_at_a_time for the pools opened in its block.
forced_max_running: ContextVar[int | None] = ContextVar("trio_pool_forced_max_running", default=None)


@overload
def open_pool(resources: int, **options: Unpack[PoolOptions]) -> AbstractAsyncContextManager[SlotPool]: ...


@overload
def open_pool(resources: Elastic[R], **options: Unpack[PoolOptions]) -> AbstractAsyncContextManager[Pool[R]]: ...


# Those of Resources alone come first: mypy finds no S for a list of them in the union.
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

    Use it as ``async with open_pool(...) as pool:``. When the block is left, every job has
    ended, every worker has stopped, and no failure has been passed over in silence:

    * When the body ends, the pool is closed to the outside, paused workers are resumed, and
      all jobs run to their end. Jobs that no worker may take die. The workers stop, the
      newest first. Dead jobs that nobody has dealt with are raised in a group.
    * When the body raises, or the block is cancelled from outside, all jobs are cancelled,
      and that very exception comes out. A cancellation is noticed at once, though the body may be
      behind a shield.

    Arguments:
      resources: an iterable of objects, of `Resource` descriptions, or of both; or a number
          of slots, workers without a resource; or an `Elastic`, which opens and retires workers
          with the load.
      retry: the `RetryPolicy` of jobs that bring none of their own.
      attempt_timeout: seconds that an attempt may take, unless its job says otherwise.
      total_timeout: seconds that a job may take in all, unless it says otherwise.
      max_queue: jobs that may wait to start; ``inf`` for no bound.
      max_running: attempts that may be under way at once in the whole pool; one that a `Hedge`
          has started on further workers counts for each of them.
      rate_limit: how often attempts may start in the whole pool, retries included; a `RateLimit`.
      retry_budget: how many retries there may be for the attempts there are; past it a failed
          job is dead. A `RetryBudget`.
      breaker: when a worker is kept from jobs because it fails them: a `CircuitBreaker`, one
          for each worker whose `Resource` brings none of its own.
      lifespan: a function of a resource that gives an async context manager, which yields
          what jobs get. Entered when the worker starts, left when it stops.
      order: ``"fifo"`` or ``"lifo"``: which of the jobs of equal priority starts first.
      pick: ``"longest_idle"``, ``"last_used"`` or ``"random"``: which of the idle workers
          that may take a job gets it.
      no_worker: ``"reject"``, ``"wait"`` or ``"bury"``: what becomes of a job that no worker
          of the pool may take: its submitter gets `NoEligibleWorkerError`, or it is kept for
          a worker that may come, or it is dead.
      on_failure: a function of a job and its error, asked about every failure but control
          exceptions; returns `RetryAfter`, `GiveUp`, `Discard` or `ResourceBroken`, or None to
          leave the decision to the retry policy. What the job tells of its attempts does not
          include the one that has just failed.
      on_dead: ``"raise"`` to have dead jobs raised at the end of the block, ``"keep"`` to
          have them logged, ``"cancel"`` to stop everything as soon as a job dies.
      max_dead: dead jobs that are kept; beyond it the oldest is dropped, and counted.
      history: whether to keep each job's changes of state.
      show_arguments: whether messages, logs and views show a job that has no name of its own with the
          arguments of its function, in short. ``False`` where they are nobody's business.
      instruments: the first instruments; see `Instrument`.
      name: what the pool is called in statistics and messages.
      rng: where all random choices of the pool come from.

    Returns:
      an async context manager that yields a `Pool`, or a `SlotPool` for a number of slots.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type; at the
          call, before anything is opened.
      Exception: whatever entering a lifespan raises, out of ``async with``, once those that
          were open already have been left again.
    """
    _check_names(options)
    config = Config(**options)
    for instrument in config.instruments:
        validate.instance("instruments", instrument, Instrument)
    elastic = _elastic_of(resources)
    if elastic is not None and config.lifespan is not None:
        raise ValueError("lifespan can't be given with Elastic, whose factory gives one already")
    forced = forced_max_running.get()
    pool: Pool[Any] | SlotPool = SlotPool(config) if _is_number(resources) else Pool(config, elastic)
    if forced is not None:
        pool._engine.core.set_max_running(forced, 0.0)
    if isinstance(pool, SlotPool):
        number = validate.count("resources", resources, least=1)
        if number > MOST_WORKERS:
            raise ValueError(f"resources must be at most {MOST_WORKERS} slots, {validate.got(number)}")
        if config.lifespan is not None:
            raise ValueError("lifespan needs resources, and slots have none")
        return Block("open_pool", _run_pool(pool, [partial(pool._staff.add, Resource(None), ())] * number))
    if elastic is not None:
        return Block("open_pool", _run_pool(pool, [pool._staff.add_elastic] * elastic.min))
    described = _described(resources)
    openings = [partial(pool._staff.add, resource, (resource.value,)) for resource in described]
    return Block("open_pool", _run_pool(pool, openings))


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
async def _run_pool(
    pool: P, openings: Sequence[Callable[[], Awaitable[object]]]
) -> AsyncGenerator[P, BaseException | None]:
    """The pool's block, from opening the first resource until the last worker has gone."""
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
                for open_worker in openings:
                    await open_worker()
                engine.core.begin(trio.current_time())
                opened = True
                notify(engine.instruments, "pool_opened", pool)
                error = yield pool
                if error is None:
                    await _finish(pool)
            except BaseException as exc:
                error = exc
        error = without_own_cancellation(engine.scope, error)
        finished = error is None and not engine.scope.cancel_called
        if not finished:
            error = await _stop_everything(pool, error)
        engine.timers.stop()
        watch.stop()
    engine.nursery = None
    if opened:
        notify(engine.instruments, "pool_closed", pool)
    _come_out(pool, watch.outcome(error), finished)


async def _finish(pool: BasePool) -> None:
    """The body has ended: let everything that is in the pool come to its end."""
    engine = pool._engine
    engine.close()
    engine.core.drain(trio.current_time())
    engine.carry_out()
    await trio.lowlevel.checkpoint()
    while engine.lifecycle.live:
        await engine.wait_until_quiet()
    engine.stop()
    pool._staff.last_crew = pool.workers
    for worker in reversed(pool.workers):
        await pool._staff.stop(worker, at_once=False)


async def _stop_everything(pool: BasePool, error: BaseException | None) -> BaseException | None:
    """End everything now; another Ctrl-C meanwhile doesn't keep it from being ended."""
    engine = pool._engine
    engine.cancel()
    pool._staff.last_crew = pool._staff.last_crew or pool.workers
    while engine.lifecycle.live or pool.workers:
        try:
            with trio.CancelScope(shield=True):
                while engine.lifecycle.live:
                    await engine.wait_until_quiet()
                for worker in reversed(pool.workers):
                    await pool._staff.stop(worker, at_once=True)
        except KeyboardInterrupt as interrupt:
            error = interrupt if error is None else error
    return error  # noqa: ASYNC910  # there may be nothing left to wait for


def _come_out(pool: BasePool, error: BaseException | None, finished: bool) -> None:
    """Raise what the pool's block ends with, and log the deaths that don't belong to it."""
    engine = pool._engine
    deaths = [failure_of(job) for job in engine.dead._open()]
    dropped = engine.dead._dropped_open
    lost = [PoolError(f"{dropped} older dead jobs were dropped undealt with")] if dropped else []
    errors: list[BaseException] = list(engine.errors)
    if finished and engine.config.on_dead == "raise":
        errors += [*deaths, *lost]
    else:
        report_deaths(deaths)
        for each in lost:
            report("%s", each, error=each)
    come_out("the pool" if pool.name is None else f"the pool {one_line(pool.name)!r}", error, errors)
