"""The calls that control a running pool: change its settings, close it, wait for it, cancel it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .._policies import validate
from .._policies.resource import CHANGEABLE, Elastic
from .._policies.retry import RetryPolicy
from .._runtime.job_context import is_in_a_job
from .._runtime.rates import set_rate_limit
from .submitting import Submitting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._model.pool_config import OnFailure
    from .._model.records import JobSpec
    from .._policies.rate_meters import AnyLimit, RateLimits
    from .._runtime.engine import Engine
    from .._runtime.workers import Workers


class Controls(Submitting):
    """The calls of a pool that change its settings or end it.

    Arguments:
      engine, defaults, job_ids: as for `Submitting`.
      staff: the workers of the pool.
    """

    __slots__ = ("_staff",)

    def __init__(self, engine: Engine, defaults: JobSpec, job_ids: Iterator[int], staff: Workers) -> None:
        super().__init__(engine, defaults, job_ids)
        self._staff = staff

    @property
    def retry(self) -> RetryPolicy:
        """The policy of jobs without a policy of their own. Assign to change it."""
        return self._staff.retry

    @retry.setter
    def retry(self, policy: RetryPolicy) -> None:
        self._engine.check_caller()
        self._staff.retry = validate.instance("retry", policy, RetryPolicy)

    @property
    def on_failure(self) -> OnFailure | None:
        """The function that decides about ordinary failures, or None. Assign to change it."""
        return self._staff.on_failure

    @on_failure.setter
    def on_failure(self, hook: OnFailure | None) -> None:
        self._engine.check_caller()
        if hook is not None:
            validate.call("on_failure", hook)
        self._staff.on_failure = hook

    @property
    def max_running(self) -> float | None:
        """How many attempts may run at once, or None. Assign to change it."""
        limit = self._engine.core.max_running
        return None if limit == float("inf") else limit

    @max_running.setter
    def max_running(self, limit: float | None) -> None:
        self._engine.check_caller()
        bound = validate.bound("max_running", limit, least=1)
        self._engine.core.set_max_running(bound, trio.current_time())
        self._engine.carry_out()

    @property
    def rate_limit(self) -> RateLimits:
        """How often attempts may start in the whole pool, or None. Assign one limit or an iterable of several.

        New limits don't start with a fresh burst. The n-th limit of each unit keeps the level of the n-th limit of
        that unit before it, or its burst if that is less; a `SharedRateLimit` keeps its own level.
        """
        return self._engine.core.rate_limit

    @rate_limit.setter
    def rate_limit(self, limits: AnyLimit | Iterable[AnyLimit] | None) -> None:
        set_rate_limit(self._engine, limits)

    @property
    def elastic(self) -> Elastic[Any] | None:
        """The `Elastic` that the pool was opened with, or None. Assign to change it.

        For example ``pool.elastic = attrs.evolve(pool.elastic, max=9)``. ``min``, ``max``, ``idle_timeout`` and
        ``open_after`` can be changed. If there are more workers than a lower ``max``, they leave as they fall idle,
        before they take another job. Workers that are reserved for a group stay until it releases them, and a
        worker that is the only one for a waiting job stays until that job has run.

        Raises:
          ValueError: on assignment, if another field differs, or if the pool was not opened with an `Elastic`.
        """
        return self._staff.elastic

    @elastic.setter
    def elastic(self, elastic: Elastic[Any]) -> None:
        self._engine.check_caller()
        validate.instance("elastic", elastic, Elastic)
        if self._staff.elastic is None:
            raise ValueError("elastic can be assigned only if the pool was opened with an Elastic")
        if changed := self._staff.elastic._changed(elastic):
            raise ValueError(f"elastic can change in {', '.join(CHANGEABLE)} only, not in {', '.join(changed)}")
        self._staff.elastic = elastic
        self._engine.core.set_elastic(elastic, trio.current_time())
        self._engine.carry_out()

    @property
    def paused(self) -> bool:
        """Whether the pool is paused; see `pause`."""
        return self._engine.core.hold.paused

    @property
    def resting_until(self) -> float | None:
        """Until when the pool rests, on Trio's clock, or None if it doesn't; see `rest`."""
        until = self._engine.core.hold.resting_until
        return until if until is not None and until > self._engine.home.clock.current_time() else None

    @trio.lowlevel.enable_ki_protection
    def pause(self) -> None:
        """Start no more attempts in the whole pool until `resume`; those under way finish.

        Jobs can still be submitted, and wait. The workers stay as they are, and workers added meanwhile start
        nothing either. Timeouts go on, resources are still reopened, and jobs that have lent their worker still get
        it back. An elastic pool opens no worker for jobs that wait because of the pause. Leaving the pool's block
        resumes the pool.
        """
        self._engine.check_caller()
        if not self._engine.stopping:
            self._engine.core.pause_pool(trio.current_time())
            self._engine.carry_out()

    @trio.lowlevel.enable_ki_protection
    def resume(self) -> None:
        """Undo `pause`. This doesn't end a rest of the pool or of a worker, nor the pause of a worker."""
        self._engine.check_caller()
        if not self._engine.stopping:
            self._engine.core.resume_pool(trio.current_time())
            self._engine.carry_out()

    @trio.lowlevel.enable_ki_protection
    def rest(self, seconds: float) -> None:
        """Start no more attempts in the whole pool for some time, like a `pause` that ends by itself.

        If two rests overlap, the later end applies. Leaving the pool's block waits for the rest if jobs do.

        Arguments:
          seconds: the duration from now on; finite, zero or more.
        """
        self._engine.check_caller()
        duration = validate.seconds("seconds", seconds, finite=True)
        if not self._engine.stopping:
            now = trio.current_time()
            self._engine.core.rest_pool(now + duration, now)
            self._engine.carry_out()

    @property
    def closed(self) -> bool:
        """Whether the pool refuses jobs from outside, since it was closed, cancelled or left, or its body has ended."""
        return self._engine.closed

    def close(self) -> None:
        """Accept no more jobs from outside; the jobs in the pool still run.

        Jobs of the pool can still submit jobs. Callers that wait in ``submit`` for a place get `PoolClosedError`.
        Leaving the block also closes the pool.
        """
        self._engine.close()

    def cancel(self) -> None:
        """Stop everything now: all jobs, the body of the block, the workers.

        The block then ends without an exception from the pool. Dead jobs that nobody has dealt with are logged.
        """
        self._engine.cancel()

    @trio.lowlevel.enable_ki_protection
    async def join(self) -> None:
        """Wait until no job is queued, delayed, blocked or running.

        A checkpoint. Cancelling the wait has no effect on the jobs.

        Raises:
          RuntimeError: if called inside a job of this pool, which would wait for itself.
        """
        self._engine.check_caller()
        if is_in_a_job() and self._is_inside():
            raise RuntimeError("join() inside a job of the same pool would wait forever")
        if self._engine.lifecycle.live:
            await self._engine.wait_until_quiet()
        else:
            await trio.lowlevel.checkpoint()
