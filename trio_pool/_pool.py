"""Shell: the pools as users see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._base import BasePool
from ._calls import ResourceCalls, SlotCalls
from ._job_group import JobGroup, SlotJobGroup, run_group
from ._resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from ._limits import CircuitBreaker, RateLimit
    from ._worker import Worker

R = TypeVar("R")


class Pool(ResourceCalls[R], BasePool):
    """Workers that each hold a resource, and the jobs that they run with it.

    Made by `open_pool`. ``R`` is what jobs get as their first argument: the resource, or
    what its lifespan yields.

    Options of a job, as the keyword arguments of everything that submits one: ``retry``,
    ``attempt_timeout``, ``total_timeout``, ``priority``, ``requires``, ``worker``,
    ``name``, ``metadata``, ``hedge``; see `JobOptions`.
    """

    __slots__ = ()

    async def add(
        self,
        resource: Any,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        rate_limit: RateLimit | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
    ) -> Worker:
        """Add a worker; wait until its lifespan has been entered.

        A checkpoint. If it is cancelled, there is no new worker.

        Arguments:
          resource: any object, or a `Resource`, which then says all.
          name, tags, rate_limit, breaker, max_jobs, max_age: as for `Resource`.

        Returns:
          Worker: the new worker.

        Raises:
          PoolClosedError: if the workers have been stopped.
          Exception: whatever entering the lifespan raises; there is no new worker then.
        """
        if not isinstance(resource, Resource):
            described: Resource[Any] = Resource(
                resource,
                name=name,
                tags=cast("frozenset[str]", tags),
                rate_limit=rate_limit,
                breaker=breaker,
                max_jobs=max_jobs,
                max_age=max_age,
            )
        elif tags or any(given is not None for given in (name, rate_limit, breaker, max_jobs, max_age)):
            raise ValueError("a Resource has its own name, tags and limits; give them there")
        else:
            described = cast("Any", resource)
        return await self._staff.add(described, (described.value,))

    def open_group(
        self,
        *,
        name: str | None = None,
        must_succeed: bool = False,
        max_running: float | None = None,
        reserve: int = 0,
    ) -> AbstractAsyncContextManager[JobGroup[R]]:
        """Open a group of jobs, a scope like a nursery: its block ends when its jobs have ended.

        If the body raises, or the block is cancelled, the group's jobs are cancelled, and the error comes
        out as it is; a cancellation is noticed at once, though the body may be behind a shield. To
        enter the block is a checkpoint, and waits until ``reserve`` workers can be had, first come
        first served. If it is cancelled, they are given back.

        Arguments:
          name: what the group is called in statistics and messages.
          must_succeed: with the first dead job, discard those of the group that wait, cancel those
              that run and the body, and raise a group with the `JobFailedError`.
          max_running: how many attempts of the group may be under way at once.
          reserve: how many workers the group has for itself while it is open. They are set aside
              one by one as their attempts end; the group may use others too.

        Returns:
          an async context manager that yields a `JobGroup`.

        Raises:
          PoolClosedError: on entering, if the pool is closed, or ends before there are the workers.
          JobDeadlockError: on entering, inside a job, if it would wait for ever for the workers.
          ValueError, TypeError: if an argument is out of its range or of the wrong type; if
              ``reserve`` is more than the pool could ever have.
        """
        return run_group(
            JobGroup[R](self, name=name, must_succeed=must_succeed, max_running=max_running, reserve=reserve)
        )


class SlotPool(SlotCalls, BasePool):
    """Workers without resources: the functions get nothing but their own arguments.

    Made by ``open_pool(n)``. All calls are those of `Pool`.
    """

    __slots__ = ()

    async def add(
        self,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        rate_limit: RateLimit | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
    ) -> Worker:
        """Add a slot. A checkpoint; the arguments are those of `Pool.add`."""
        slot = Resource(
            None,
            name=name,
            tags=cast("frozenset[str]", tags),
            rate_limit=rate_limit,
            breaker=breaker,
            max_jobs=max_jobs,
            max_age=max_age,
        )
        return await self._staff.add(slot, ())

    def open_group(
        self,
        *,
        name: str | None = None,
        must_succeed: bool = False,
        max_running: float | None = None,
        reserve: int = 0,
    ) -> AbstractAsyncContextManager[SlotJobGroup]:
        """As `Pool.open_group`."""
        return run_group(
            SlotJobGroup(self, name=name, must_succeed=must_succeed, max_running=max_running, reserve=reserve)
        )
