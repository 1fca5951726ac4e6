"""The jobs of messages that are under way in a process, and their end when the process ends."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from .._model.errors import PoolClosedError
from .._model.states import JobState
from ._ending import Ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from .._api.pool import Pool, SlotPool


class UnderWay:
    """Submits jobs from the threads of an engine, and cancels them when its worker ends. Thread-safe.

    Arguments:
      pool: runs the jobs.

    Attributes:
      is_ending: whether the worker takes no more messages.
    """

    def __init__(self, pool: Pool[Any] | SlotPool) -> None:
        self.pool = pool
        self.is_ending = False
        self.is_cut = False
        self._lock = Lock()
        self._futures: dict[Any, None] = {}  # in the order in which they came

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Future[Any]:
        """Submit a job; call `forget` when its future is done.

        Raises:
          PoolClosedError: if `cut` has been called.
          Exception: whatever ``submit_from_thread`` raises.
        """
        pool: Any = self.pool
        with self._lock:
            if self.is_cut:
                raise PoolClosedError("the worker has ended")
            future: Future[Any] = pool.submit_from_thread(fn, *args, **options)
            self._futures[future] = None
        return future

    def forget(self, future: Future[Any]) -> None:
        self._futures.pop(future, None)

    @property
    def count(self) -> int:
        """How many jobs are under way."""
        return len(self._futures)

    def ending_of(self, error: BaseException) -> Ending:
        """Decide about a job by the error that its future has raised."""
        return Ending.of_error(error, self.pool, is_ending=self.is_ending)

    def cancel(self, future: Future[Any]) -> None:
        """Cancel a job; its future is done when its function no longer runs."""
        self._cancel_soon([future], lambda job: True)

    def cut_waiting(self) -> None:
        """Cancel the jobs that have never started."""
        with self._lock:
            futures = list(self._futures)
        self._cancel_soon(futures, lambda job: job._state is JobState.QUEUED and not job.attempt_count)

    def cut(self) -> None:
        """Cancel all jobs; none is submitted from now on."""
        with self._lock:
            self.is_cut = True
            futures = list(self._futures)
        self._cancel_soon(futures, lambda job: True)

    def _cancel_soon(self, futures: list[Any], is_meant: Callable[[Any], bool]) -> None:
        def cancel() -> None:
            # In reverse order, so that no job takes a place in the queue that another one leaves.
            for future in reversed(futures):
                job = future._job
                if job is None or job._state is None:
                    future.cancel()  # its job waits for a place in the queue
                elif is_meant(job):
                    # Not the future, which would be done while the function still runs.
                    job.cancel()

        # Calls in the pool's thread keep their order: everything that was submitted before has its job by then.
        self.pool._engine.home.call_soon(cancel)
