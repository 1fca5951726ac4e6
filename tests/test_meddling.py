"""Pools of all sorts in which, at random, an instrument meddles with whatever it may."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.effort import part_of
from tests.harness import no_hanging
from trio_pool import (
    Discard,
    Hedge,
    Instrument,
    JobFailedError,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    PoolError,
    PoolStatistics,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

SEEDS = part_of(400)
ENOUGH_TOLD = 300
"""After so many events the instrument only ends things, or there would be no end."""


@attrs.define(eq=False)
class Run:
    """One random run: its choices, and what was seen in it."""

    rng: Random
    pool: Pool[int] | None = None
    told: int = 0
    started: Counter[int] = attrs.field(factory=Counter[int])
    ended: Counter[int] = attrs.field(factory=Counter[int])
    finished: Counter[int] = attrs.field(factory=Counter[int])
    surprises: list[Exception] = attrs.field(factory=list[Exception])
    came_out: tuple[BaseException, ...] = ()

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    async def work(self, _: int, kind: int) -> int:
        """The function of all jobs, which ends in one of many ways."""
        if kind == 0:
            raise ValueError
        if kind == 1:
            await trio.sleep(self.rng.choice([0, 1, 2]))
            raise RetryAfter(self.rng.choice([0, 1]), rest=self.chance(0.5), counts=self.chance(0.7))
        if kind in (2, 3):
            await trio.sleep(1)
            raise (ResourceBroken, Discard)[kind - 2]
        if kind == 4:
            await trio.sleep(5)
        if kind == 5:
            try:
                await trio.sleep(3)
            except trio.Cancelled:
                if self.chance(0.5):
                    raise OSError("of its own") from None
                raise
        return kind

    @asynccontextmanager
    async def lifespan(self, resource: int) -> AsyncGenerator[int]:
        if self.chance(0.2):
            await trio.sleep(1)
        yield resource
        if self.chance(0.05):
            raise OSError("on leaving")

    def meddle(self) -> None:
        """Call something that doesn't wait."""
        self.told += 1
        if self.pool is None or not self.chance(0.15):
            return
        things = ENDING if self.told > ENOUGH_TOLD else ENDING + GOING_ON
        try:
            self.rng.choice(things)(self, self.pool)
        except (PoolClosedError, trio.WouldBlock, NoEligibleWorkerError):
            pass  # as it may be
        except Exception as error:
            self.surprises.append(error)


def cancel_pool(run: Run, pool: Pool[int]) -> None:
    if run.chance(0.2):
        pool.cancel()


def close_pool(run: Run, pool: Pool[int]) -> None:
    if run.chance(0.2):
        pool.close()


def cancel_jobs(run: Run, pool: Pool[int]) -> None:
    for job in pool.jobs():
        if run.chance(0.3):
            job.cancel()


def resume_workers(run: Run, pool: Pool[int]) -> None:
    for worker in pool.workers:
        worker.resume()


def take_dead(run: Run, pool: Pool[int]) -> None:
    pool.dead.pop_all()


def change_limit(run: Run, pool: Pool[int]) -> None:
    pool.max_running = run.rng.choice([1, 2, None])


def look(run: Run, pool: Pool[int]) -> None:
    assert len(pool.statistics().workers) >= len(pool.idle_workers)


def submit_job(run: Run, pool: Pool[int]) -> None:
    pool.submit_nowait(run.work, run.rng.randrange(8), idle_only=run.chance(0.3))


def hold_worker(run: Run, pool: Pool[int]) -> None:
    for worker in pool.workers[:1]:
        worker.pause() if run.chance(0.5) else worker.rest(run.rng.choice([0, 1, 3]))


def requeue_dead(run: Run, pool: Pool[int]) -> None:
    for job in list(pool.dead)[:1]:
        pool.dead.requeue(job)


ENDING: list[Callable[[Run, Pool[int]], None]] = [
    cancel_pool,
    close_pool,
    cancel_jobs,
    resume_workers,
    take_dead,
    change_limit,
    look,
]
GOING_ON: list[Callable[[Run, Pool[int]], None]] = [submit_job, hold_worker, requeue_dead]


def meddler(run: Run) -> Instrument:
    """An instrument that keeps books and meddles at every event."""

    def told_of(event: str) -> Callable[..., None]:
        books = {"attempt_started": run.started, "attempt_ended": run.ended, "job_finished": run.finished}

        def tell(*arguments: Any) -> None:
            if event in books:
                books[event][arguments[0].id] += 1
            run.meddle()

        return tell

    instrument = Instrument()
    for event in (name for name in dir(Instrument) if not name.startswith("_")):
        setattr(instrument, event, told_of(event))
    return instrument


async def use(run: Run) -> PoolStatistics:
    """A pool of some sort, used somehow."""
    rng = run.rng
    resources = [Resource(number, tags=["odd"] if number % 2 else []) for number in range(rng.randint(1, 4))]
    retry = RetryPolicy(
        placement=rng.choice(["any", "same", "other"]), front=run.chance(0.3), base_delay=rng.choice([0, 0.5])
    )
    with trio.move_on_after(rng.choice([5, 8, 1000])):
        async with open_pool(
            resources,
            lifespan=run.lifespan,
            instruments=[meddler(run)],
            max_queue=rng.choice([0, 1, 3, 1000]),
            max_running=rng.choice([None, 1, 2]),
            order=rng.choice(["fifo", "lifo"]),
            no_worker=rng.choice(["reject", "wait", "bury"]),
            on_dead=rng.choice(["raise", "keep", "cancel"]),
            max_dead=rng.choice([0, 2, 100]),
            retry=retry,
            rng=rng,
        ) as run.pool:
            for _ in range(12):
                await submit_some(run, run.pool)
                if run.chance(0.2):
                    await change_staff(run, run.pool)
            if run.chance(0.2):
                raise KeyError("of the body")
    raise trio.TooSlowError


async def submit_some(run: Run, pool: Pool[int]) -> None:
    rng = run.rng
    requires = ["odd"] if run.chance(0.2) else []
    total, attempt, priority = rng.choice([None, 3, 6]), rng.choice([None, 1, 2]), rng.randrange(2)
    hedge = rng.choice([None, None, Hedge(0), Hedge(1), Hedge(0.5, extra=2)])
    try:
        await pool.submit(
            run.work,
            rng.randrange(8),
            total_timeout=total,
            attempt_timeout=attempt,
            requires=requires,
            priority=priority,
            hedge=hedge,
        )
    except NoEligibleWorkerError:
        assert requires or not pool.workers


async def change_staff(run: Run, pool: Pool[int]) -> None:
    if len(pool.workers) > 1:
        await pool.workers[0].remove(cancel=run.chance(0.5))
    else:
        await pool.add(9, tags=["odd"])


EXPECTED = (JobFailedError, PoolError, OSError, KeyError, trio.TooSlowError)


async def main(run: Run) -> None:
    async with no_hanging():
        try:
            await use(run)
        except BaseExceptionGroup as group:
            run.came_out = group.exceptions
        except EXPECTED as error:
            run.came_out = (error,)


@pytest.mark.parametrize("part", range(8))
def test_whatever_an_instrument_does_every_job_ends_once(part: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="trio_pool")
    for seed in range(part * SEEDS // 8, (part + 1) * SEEDS // 8):
        run = Run(Random(seed))
        trio.run(main, run, clock=MockClock(autojump_threshold=0))
        assert run.surprises == [], seed
        assert [error for error in run.came_out if not isinstance(error, EXPECTED)] == [], seed
        assert run.pool is not None
        seen = run.pool.statistics()
        assert (seen.blocked, seen.queued, seen.delayed, seen.running) == (0, 0, 0, 0), seed
        assert seen.submitted == seen.succeeded + seen.dead + seen.cancelled + seen.discarded, seed
        assert run.started == run.ended, seed
        assert (len(run.finished), set(run.finished.values())) == (seen.submitted, {1} if seen.submitted else set()), (
            seed
        )
