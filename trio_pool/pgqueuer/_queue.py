"""The queue of a pool, as programs use it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import psycopg
import trio
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment

from .._policies import validate
from ..engines import Suspects
from ..engines._jobs import JobMaker, at_once, check_fit, mention_idle_places
from ._actor import PoolActor, Submitter
from ._consumption import Consumption
from ._driver import Driver
from ._history import HistoryQueries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import Concatenate

    from typing_extensions import ParamSpec, Unpack

    from .._api.pool import Pool, SlotPool
    from ..engines import ActorOptions

    P = ParamSpec("P")

V = TypeVar("V")

_LONGEST = 120.0


class PoolQueue:
    """Actors whose jobs are stored in PostgreSQL by PgQueuer, and run by a pool.

    Jobs are delivered at least once: a job leaves the queue when it has ended in the pool, so it is
    redelivered if the process dies before that. It must be safe to run a job twice.

    The pool handles the attempts, the backoff and the timeouts of a job. PgQueuer handles crashes of the
    process and jobs that wait for a long time. Results are not kept: a job must store its result itself.

    Arguments:
      conninfo: the connection string of the database, such as ``"postgresql://host/name"``.
      max_crashes: how many processes a job may take down before it is dead; ``None`` for no bound.
      max_overstays: how often a job may exceed its ``total_timeout``, in one process or another, before
          it is dead.
      dead_letter: the name of an actor that gets each dead job, as a dict, and the reason; without one,
          dead jobs are held in the queue, where PgQueuer lists them and queues them again.
      redeliver_after: seconds without a heartbeat of a process after which other processes get its jobs,
          from 1 to 120.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        max_crashes: int | None = 3,
        max_overstays: int = 3,
        dead_letter: str | None = None,
        redeliver_after: float = 10.0,
    ) -> None:
        self._conninfo = validate.instance("conninfo", conninfo, str)
        self._suspects = Suspects(max_crashes)
        self._max_overstays = validate.count("max_overstays", max_overstays, least=1)
        self._dead_letter = validate.optional("dead_letter", dead_letter, str)
        self._redeliver_after = validate.seconds("redeliver_after", redeliver_after)
        if not 1 <= self._redeliver_after <= _LONGEST:
            raise ValueError(f"redeliver_after must be from 1 to {_LONGEST:g} seconds, {validate.got(redeliver_after)}")
        self._submitter = Submitter(conninfo)
        self._actors: dict[str, PoolActor[..., Any]] = {}
        self._consumption: Consumption | None = None

    def install(self) -> None:
        """Create PgQueuer's tables, unless they exist. The call blocks while it waits for the database.

        Raises:
          Exception: an error of psycopg, if the database can't be reached or refuses.
        """
        environment = QueryBuilderEnvironment()
        with psycopg.connect(self._conninfo) as connection:
            # If two programs start at the same time, only one of them creates the tables.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('trio_pool.pgqueuer'))")
            table = environment.settings.qualified.queue_table
            [found] = connection.execute("SELECT to_regclass(%s)", [table]).fetchone() or [None]
            if found is None:
                statements: Any = environment.build_install_query()
                connection.execute(statements)

    def close(self) -> None:
        """Close the connection over which this process has submitted jobs."""
        self._submitter.close()

    @overload
    def actor(self, fn: Callable[Concatenate[Any, P], Awaitable[V]], /) -> PoolActor[P, V]: ...

    @overload
    def actor(
        self,
        *,
        resource: Literal[True] = True,
        actor_name: str | None = None,
        **options: Unpack[ActorOptions],
    ) -> Callable[[Callable[Concatenate[Any, P], Awaitable[V]]], PoolActor[P, V]]: ...

    @overload
    def actor(
        self,
        *,
        resource: Literal[False],
        actor_name: str | None = None,
        **options: Unpack[ActorOptions],
    ) -> Callable[[Callable[P, Awaitable[V]]], PoolActor[P, V]]: ...

    def actor(
        self, *fn: Callable[..., Any], resource: bool = True, actor_name: str | None = None, **options: Any
    ) -> Any:
        """Make an actor from a job's function; used as a decorator, with or without arguments.

        Arguments:
          fn: the function of the jobs; its first argument is the resource.
          resource: whether the function gets a resource; False for a pool of slots.
          actor_name: the actor's name, the same in all processes; the function's name by default.
          **options: options of the jobs; each can be a function of the job's arguments. ``priority``
              must be an int here.

        Returns:
          PoolActor: the actor; its ``send`` takes the function's arguments without the resource.

        Raises:
          ValueError, TypeError: if an option is out of its range or of the wrong type, or there is an actor of that
              name.
        """
        priority = options.get("priority", 0)
        if type(priority) is not int:
            raise TypeError(f"priority must be an int for PgQueuer, {validate.got(priority)}")
        JobMaker(print, options)  # which checks them

        def declare(fn: Callable[..., Any]) -> PoolActor[..., Any]:
            name = fn.__name__ if actor_name is None else actor_name
            if name in self._actors:
                raise ValueError(f"there is an actor named {name!r} already")
            actor: PoolActor[..., Any] = PoolActor(
                name,
                fn,
                jobs=JobMaker(fn, options),
                priority=priority,
                takes_resource=resource,
                submitter=self._submitter,
            )
            self._actors[name] = actor
            return actor

        return declare(*fn) if fn else declare

    def consume(
        self, pool: Pool[Any] | SlotPool, *, jobs: int | None = None, grace: float = 30.0
    ) -> AbstractAsyncContextManager[None]:
        """Run the jobs in a pool while the block lasts.

        Entering starts a worker of PgQueuer in a thread of this process; a database that can't be reached is
        waited for. At the end of the block the worker takes no more jobs, and returns those that have not
        started. The others have ``grace`` seconds to end; then they are cancelled, and go back to the
        database at once. If the block is left by an exception or a cancellation, there is no grace. If
        the database can't be reached at the end, the jobs are redelivered after ``redeliver_after`` seconds.

        A job that is cancelled in the database, by PgQueuer's ``mark_job_as_cancelled``, is cancelled in the pool.

        If PgQueuer's worker ends by itself, for example because its tables are missing, the body is
        cancelled and the block raises the worker's error.

        The end of the block is a checkpoint. A cancellation while it waits ends the grace.

        Arguments:
          pool: the pool that runs the jobs; it must belong to the current Trio run.
          jobs: how many jobs may be under way at once, including those that back off or wait for a worker, at least 2.
              By default twice the number of places of the pool's workers.
          grace: seconds for the jobs under way at the end.

        Raises:
          RuntimeError: if the queue is being consumed already, or the pool is of another Trio run.
          ValueError, TypeError: if an argument is out of its range or of the wrong type, an actor doesn't fit the
              pool, or there is none.
        """
        check_fit(pool, {name: actor._takes_resource for name, actor in self._actors.items()})
        number = at_once(pool) if jobs is None else validate.count("jobs", jobs, least=2)
        seconds = validate.seconds("grace", grace)
        if not self._actors:
            raise ValueError("the queue has no actors")
        mention_idle_places(pool, number, "jobs at once")
        return self._consume(pool, number, seconds)

    @asynccontextmanager
    async def _consume(self, pool: Pool[Any] | SlotPool, jobs: int, grace: float) -> AsyncGenerator[None]:
        if self._consumption is not None:
            raise RuntimeError("the queue is being consumed already")
        consumption = self._consumption = Consumption(
            pool,
            self._actors,
            self._open_queries,
            suspects=self._suspects,
            letter=self._dead_letter,
            max_overstays=self._max_overstays,
            redeliver_after=self._redeliver_after,
        )
        left = 0.0
        try:
            with trio.CancelScope() as body:
                consumption.begin(jobs, body.cancel)
                try:
                    yield
                    left = grace
                finally:
                    await consumption.end(left)
        finally:
            self._consumption = None
        if consumption.error is not None:
            raise consumption.error

    def _open_queries(self, jobs: int) -> HistoryQueries:
        return HistoryQueries(Driver(self._conninfo), jobs)
