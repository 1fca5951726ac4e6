"""A worker of PgQueuer in a thread with an asyncio event loop, which runs its jobs in a pool in Trio."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import trio
from pgqueuer.core.executors import AbstractEntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.errors import RetryRequested
from pgqueuer.qm import QueueManager

from .._basics.error_text import in_words
from .._basics.logs import report
from .._model.errors import PoolClosedError
from ..engines import Ending
from ..engines._under_way import UnderWay
from ._actor import decoded, letter_of
from ._history import OVERSTAYED, SUSPECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from pgqueuer.models import Context, Job

    from .._api.pool import Pool, SlotPool
    from ..engines import Suspects
    from ._actor import PoolActor
    from ._history import History

POLL = 1.0
"""Seconds after which a worker asks for jobs without a notification, to find those of dead processes."""

_MOST_AT_ONCE = 10
"""How many jobs one statement takes, or marks as ended, at most."""

_PATIENCE = 3.0
"""How many seconds the end of the consumption waits for a database that can't be reached."""


class DeadJob(Exception):
    """A job is dead. Raised to PgQueuer, which logs it."""


class Consumption:
    """The consumption of a queue, from entering `PoolQueue.consume` to leaving it.

    Arguments:
      pool: runs the jobs.
      actors: the actors by their names.
      open_queries: called in the event loop with the maximum number of jobs at once; returns PgQueuer's queries,
          extended by the histories of jobs.
      suspects: decides about jobs that are redelivered after a crash.
      letter: the entrypoint that gets dead jobs, or None to hold them in the queue.
      max_overstays: how often a job may overstay.
      redeliver_after: seconds without a heartbeat of a process after which its jobs are redelivered.
    """

    def __init__(
        self,
        pool: Pool[Any] | SlotPool,
        actors: Mapping[str, PoolActor[..., Any]],
        open_queries: Callable[[int], Any],
        *,
        suspects: Suspects,
        letter: str | None,
        max_overstays: int,
        redeliver_after: float,
    ) -> None:
        self._actors = actors
        self._open_queries = open_queries
        self._suspects = suspects
        self._letter = letter
        self._max_overstays = max_overstays
        self._redeliver_after = timedelta(seconds=redeliver_after)
        self._under_way = UnderWay(pool)
        self._running = threading.Event()
        self._manager: QueueManager | None = None
        self._queries: Any = None
        # The waiters of futures that are done, and whether the loop is about to handle them.
        self._done: deque[asyncio.Future[None]] = deque()
        self._is_waking = False
        # The error because of which the worker has ended by itself.
        self.error: BaseException | None = None

    # The program's thread.

    def begin(self, jobs: int, failed: Callable[[], object]) -> None:
        """Start the worker's thread.

        Arguments:
          jobs: how many may be under way at once.
          failed: called in the pool's thread if the worker ends by itself.
        """
        self._failed = failed
        self._thread = threading.Thread(target=self._run_loop, args=(jobs,), name="trio_pool.pgqueuer", daemon=True)
        self._thread.start()

    async def end(self, grace: float) -> None:
        """Take no more jobs; give the running ones ``grace`` seconds; then return the rest to the database."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._running.wait)
        self.stop_taking()
        self._under_way.cut_waiting()
        async with trio.open_nursery() as nursery:
            over = trio.Event()
            nursery.start_soon(self._wind_up, over)
            try:
                with trio.move_on_after(grace):
                    await over.wait()
            finally:
                self._under_way.cut()

    async def _wind_up(self, over: trio.Event) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._join)
        over.set()

    # Any thread.

    def stop_taking(self) -> None:
        """Have the worker take no more jobs. Doesn't wait."""
        self._under_way.is_ending = True
        if self._manager is not None:
            self._call_in_loop(self._queries.stop)
            self._call_in_loop(self._manager.shutdown.set)

    def _call_in_loop(self, fn: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so the worker has ended
            self._loop.call_soon_threadsafe(fn)

    def _join(self) -> None:
        """Wait until the worker's thread has ended."""
        while self._thread.is_alive():
            self._thread.join(0.05)
            is_idle = self._under_way.is_cut or not self._under_way.count
            driver: Any = getattr(self._queries, "driver", None)
            stranded: Any = getattr(driver, "stranded", 0)
            if is_idle and stranded:
                self._thread.join(_PATIENCE if self._under_way.is_cut else 0.0)
                self._call_in_loop(driver.abandon)
                self._thread.join()

    # The worker's thread.

    def _run_loop(self, jobs: int) -> None:
        try:
            asyncio.run(self._serve(jobs))
        except BaseException as error:
            if self._under_way.is_ending:
                report("PgQueuer's worker did not end well: %s; what it had will come again", in_words(error))
            else:
                self.error = error
        finally:
            self._running.set()
        if self.error is not None:
            self._under_way.pool._engine.home.call_soon(self._failed)

    async def _serve(self, jobs: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._queries = self._open_queries(jobs)
        manager = self._manager = QueueManager(self._queries)
        for name, actor in self._actors.items():
            parameters = EntrypointExecutorParameters(
                concurrency_limit=0, func=actor.fn, on_failure="hold" if self._letter is None else "delete"
            )
            manager.register_executor(name, _Executor(parameters, self, actor))
        self._running.set()
        try:
            await manager.run(
                dequeue_timeout=timedelta(seconds=POLL),
                batch_size=min(_MOST_AT_ONCE, jobs),
                heartbeat_timeout=self._redeliver_after,
            )
        finally:
            if (close := getattr(self._queries.driver, "close", None)) is not None:
                await close()

    async def perform(self, actor: PoolActor[..., Any], job: Job, order: CancelOrder) -> None:
        """Run a job in the pool; return if it is done, otherwise raise the error by which PgQueuer handles it."""
        try:
            await self._perform(actor, job, order)
        finally:
            self._queries.let_go(job.id)

    async def _perform(self, actor: PoolActor[..., Any], job: Job, order: CancelOrder) -> None:
        history: History = self._queries.history_of(job.id)
        if self._under_way.is_ending:
            _give_back(0.0, "the process ends")
        verdict = self._suspects.admit(job.id, history.crashes)
        if verdict == "wait":
            _give_back(self._suspects.pause(), SUSPECT)
        if verdict == "bury":
            await self._bury(job, f"its process has died {history.crashes} times")
        try:
            ending = await self._run(actor, job, order)
        finally:
            self._suspects.dismiss(job.id)
        if order.cancel_called:
            return  # PgQueuer has taken it out of the queue
        if ending.kind == "returned":
            _give_back(ending.delay, ending.reason)
        times = history.overstays + 1
        if ending.kind == "overstayed" and times < self._max_overstays:
            _give_back(float(2**times), f"{OVERSTAYED}: {ending.reason}")
        if ending.kind != "done":
            await self._bury(job, ending.reason)

    async def _run(self, actor: PoolActor[..., Any], job: Job, order: CancelOrder) -> Ending:
        future: Future[Any] | None = None
        try:
            future = order.future = self._under_way.submit(*actor._jobs.make(*decoded(job.payload)))
            await self._wait_for(future)
            return Ending("done", future.result())  # noqa: ASYNC910  # asyncio's
        except asyncio.CancelledError:  # since the loop ends
            return Ending("returned", reason="the process ends")  # noqa: ASYNC910
        except Exception as error:
            if isinstance(error, PoolClosedError):
                self.stop_taking()
            return self._under_way.ending_of(error)  # noqa: ASYNC910
        finally:
            if future is not None:
                self._under_way.forget(future)

    async def _wait_for(self, future: Any) -> None:
        """Wait until a future is done, like `asyncio.wrap_future` but at a lower cost."""
        waiter = self._loop.create_future()

        def done(_: object) -> None:
            self._done.append(waiter)
            if not self._is_waking:
                # One wake-up for all futures that are done by the time that the loop handles it.
                self._is_waking = True
                self._call_in_loop(self._wake)

        future.expect_reader()
        future.add_done_callback(done)
        try:
            await waiter
        except asyncio.CancelledError:
            future.cancel()
            raise

    def _wake(self) -> None:
        self._is_waking = False
        while self._done:
            waiter = self._done.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def _bury(self, job: Job, reason: str) -> NoReturn:
        """Store a dead job."""
        if self._letter is not None:
            await self._queries.enqueue(self._letter, letter_of(job.id, job.entrypoint, job.payload, reason))
        raise DeadJob(reason)


class CancelOrder:
    """Cancels a job in the pool when it is cancelled in the database. It replaces the scope that PgQueuer cancels.

    Attributes:
      cancel_called: whether the job has been cancelled.
      future: the future of the job, once there is one.
    """

    def __init__(self, under_way: UnderWay) -> None:
        self._under_way = under_way
        self.cancel_called: bool = False
        self.future: Future[Any] | None = None

    def cancel(self) -> None:
        """Called by PgQueuer, in its event loop."""
        self.cancel_called = True
        if self.future is not None:
            self._under_way.cancel(self.future)


class _Executor(AbstractEntrypointExecutor):
    """Hands the jobs of an entrypoint to the pool."""

    def __init__(
        self, parameters: EntrypointExecutorParameters, consumption: Consumption, actor: PoolActor[..., Any]
    ) -> None:
        super().__init__(parameters)
        self._consumption = consumption
        self._actor = actor

    async def execute(self, job: Job, context: Context) -> None:
        order: Any = CancelOrder(self._consumption._under_way)
        context.cancellation = order
        await self._consumption.perform(self._actor, job, order)


def _give_back(delay: float, reason: str) -> NoReturn:
    raise RetryRequested(timedelta(seconds=delay), reason)
