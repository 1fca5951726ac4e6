"""Lives of pools with very many plain jobs, and a little of everything else."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_pool import (
    Hedge,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    Pool,
    PoolClosedError,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

TOLD_OF = (JobFailedError, JobCancelledError, PoolClosedError, trio.WouldBlock)


@attrs.define(eq=False)
class Plain:
    """One such life: its choices, and its jobs so far."""

    rng: Random
    pool: Pool[str]
    nursery: trio.Nursery
    jobs: list[Job[Any]] = attrs.field(factory=list[Job[Any]])

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def options(self) -> dict[str, Any]:
        """Of most jobs none; they are plain then."""
        if self.chance(0.7):
            return {}
        options: list[dict[str, Any]] = [
            {"priority": self.rng.choice([-1, 1, 0.0])},
            {"total_timeout": self.rng.choice([0, 0.5, 2])},
            {"attempt_timeout": self.rng.choice([0, 0.5])},
            {"requires": ["odd"]},
            {"retry": RetryPolicy(front=True, base_delay=0, jitter="none", placement=self.rng.choice(["any", "same"]))},
            {"after": self.jobs[-1:]},
            {"hedge": Hedge(0.5)},
        ]
        return self.rng.choice(options)

    # What jobs do.

    async def work(self, resource: str, kind: int) -> object:
        """The function of all jobs, which ends in one of many ways."""
        if kind == 1:
            await trio.sleep(self.rng.choice([0, 0.5, 1]))
        elif kind == 2:
            await trio.lowlevel.checkpoint()
            raise ValueError(resource)
        elif kind == 3:
            raise RetryAfter(self.rng.choice([0, 0.5]), rest=self.chance(0.2))
        elif kind == 4:
            child = self.pool.submit_nowait(self.work, self.rng.randrange(3))
            self.jobs.append(child)
        elif kind == 5:
            child = await self.pool.submit(self.work, self.rng.randrange(2))
            async with current_job().lend():
                await child.wait()
        return kind

    # What the body does, one after another.

    def submits_many(self) -> None:
        for _ in range(self.rng.choice([1, 3, 10, 90])):
            with suppress(trio.WouldBlock):
                self.jobs.append(self.pool.submit_nowait(self.work, self.rng.randrange(7), **self.options()))

    def cancels_many(self) -> None:
        share = self.rng.choice([0.1, 0.9])
        for job in self.pool.jobs():
            if self.chance(share):
                job.cancel()

    def cancels_one(self) -> None:
        if self.jobs:
            self.rng.choice(self.jobs).cancel()

    def holds_something_back(self) -> None:
        choices: list[Pool[str] | Worker] = [self.pool, *self.pool.workers[:2]]
        held = self.rng.choice(choices)
        calls: list[Callable[[], object]] = [held.pause, held.resume, partial(held.rest, 0.5)]
        self.rng.choice(calls)()

    def removes_a_worker(self) -> None:
        if len(self.pool.workers) > 1:
            self.starts(lambda: self.pool.workers[-1].remove(cancel=True))
            self.starts(lambda: self.pool.add(Resource("new", tags=["odd"])))

    def limits(self) -> None:
        self.pool.max_running = self.rng.choice([1, None, None])
        self.pool.rate_limit = self.rng.choice([RateLimit(10), None, None])

    def waits_for_one(self) -> None:
        for job in self.jobs[-1:]:
            self.starts(self.rng.choice([job.wait, job.wait_started]))

    def runs_some(self) -> None:
        async def run() -> None:
            with trio.move_on_after(self.rng.choice([0, 0.5, 5])):
                await self.pool.run(self.work, self.rng.randrange(7), **self.options())

        for _ in range(3):
            self.starts(run)

    def maps(self) -> None:
        async def maps() -> None:
            async with self.pool.map(self.work, [self.rng.randrange(4) for _ in range(20)]) as results:
                async for _ in results:
                    pass

        self.starts(maps)

    def opens_a_group(self) -> None:
        async def opens() -> None:
            async with self.pool.open_group(max_running=self.rng.choice([None, 1])) as group:
                for _ in range(3):
                    self.jobs.append(await group.submit(self.work, self.rng.randrange(4)))

        self.starts(opens)

    def starts(self, call: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Do something beside, and let pass what it is told."""

        async def beside() -> None:
            try:
                await call()
            except (*TOLD_OF, RuntimeError):
                pass
            except BaseExceptionGroup as error:
                if error.split(TOLD_OF)[1] is not None:
                    raise

        self.nursery.start_soon(beside)


THINGS = (
    *(Plain.submits_many,) * 5,
    Plain.cancels_many,
    Plain.cancels_one,
    Plain.holds_something_back,
    Plain.removes_a_worker,
    Plain.limits,
    Plain.waits_for_one,
    Plain.runs_some,
    Plain.maps,
    Plain.opens_a_group,
)


async def live(seed: int) -> None:
    """One such life."""
    rng = Random(seed)
    number, places = rng.choice([2, 3, 12]), rng.choice([(1,), (1,), (1, 3)])
    resources = [
        Resource(f"{each}", tags=["odd"] if each % 2 else [], max_running=rng.choice(places)) for each in range(number)
    ]
    retry = RetryPolicy.fixed(rng.choice([0, 0.5]), max_attempts=rng.choice([3, 3, 90]))
    with suppress(ExceptionGroup):
        async with (
            open_pool(
                resources,
                max_queue=rng.choice([None, None, 5, 100]),
                order=rng.choice(["fifo", "fifo", "lifo"]),
                pick=rng.choice(["longest_idle", "last_used", "random"]),
                history=rng.random() < 0.9,
                no_worker="wait" if rng.random() < 0.5 else "bury",
                instruments=[Instrument()] if rng.random() < 0.3 else [],
                on_dead="keep",
                retry=retry,
                rng=rng,
            ) as pool,
            trio.open_nursery() as nursery,
        ):
            plain = Plain(rng, pool, nursery)
            for _ in range(30):
                rng.choice(THINGS)(plain)
                if plain.chance(0.3):
                    await trio.sleep(rng.choice([0, 0, 0.5, 1]))
            pool.resume()
            for worker in pool.workers:
                worker.resume()
            pool.max_running = pool.rate_limit = None
