"""Whatever jobs lend, run, leave early and cancel: never two on one resource, and nothing hangs."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import logging
import math
import sys
from random import Random
from typing import Any, TypeAlias
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock

from tests.harness import no_hanging, repeatable_schedule
from trio_pool import (
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    Pool,
    PoolClosedError,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.testing import assert_settled

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

# What a job does, one after another: each a word, and what that needs.
Script: TypeAlias = "list[tuple[Any, ...]]"

MORE = ["shield", "clean up", "timeout", "at once", "run"]
WITH_CHILDREN = ["map", "as_completed", "group", "cancelled group"]
TOLD_OF = (JobFailedError, JobCancelledError, JobDeadlockError, PoolClosedError)


class Author:
    """Writes such scripts."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def script(self, depth: int = 0) -> Script:
        """One of up to three steps, and up to so many levels of children."""
        if depth == 4:
            return [("use", self._random.randint(0, 3), [])]
        return [self._step(depth + 1) for _ in range(self._random.randint(1, 3))]

    def _step(self, depth: int) -> tuple[Any, ...]:
        random = self._random
        what = random.choice(["use", "use", "lend", "lend", "wait", "cancel", *MORE, *WITH_CHILDREN])
        pin = random.choice([None, None, "its own", 0, 1, 2])
        if what in ("wait", "cancel"):
            return what, random.randint(0, 9)
        if what == "at once":
            return what, self.script(depth), self.script(depth)
        if what == "run":
            return what, pin, self.script(depth)
        if what in WITH_CHILDREN:
            children = [self.script(depth) for _ in range(random.randint(1, 2))]
            if random.random() < 0.3:
                # What leads to circles: a child that lends the worker, and a parent that has it back meanwhile.
                children[0].insert(0, ("lend", 9, []))
                return what, "its own", children, [("lend", 1, []), *self.script(depth)]
            return what, pin, children, self.script(depth)
        return what, random.randint(0, 4), self.script(depth) if random.random() < 0.5 else []


class Program:
    """Jobs that follow scripts, and who uses which resource."""

    def __init__(self, pool: Pool[str]) -> None:
        self._pool = pool
        self._users: dict[str, list[Job[Any]]] = {}
        self.jobs: list[Job[Any]] = []
        self.clashes: list[tuple[str, list[Job[Any]]]] = []

    def options(self, pin: Any) -> dict[str, Any]:
        """Which worker a child is to run on."""
        workers = self._pool.workers
        if pin == "its own":
            return {"worker": current_job().worker}
        return {} if pin is None or pin >= len(workers) else {"worker": workers[pin]}

    async def follow(self, resource: str, script: Script) -> None:
        """What each job does."""
        await self._Attempt(self, resource).follow(script)

    class _Attempt:
        def __init__(self, program: Program, resource: str) -> None:
            self._program = program
            self._pool = program._pool
            self._resource = resource
            self._job = current_job()
            self._is_lending = False

        async def follow(self, script: Script) -> None:
            for step in script:
                try:
                    await self._do(*step)
                except TOLD_OF:
                    pass
                except ExceptionGroup as error:
                    if error.split(TOLD_OF)[1] is not None:
                        raise

        async def _use(self, duration: float, script: Script) -> None:
            """Use the resource for so long and while it does this, but only if it is this job's."""
            users = self._program._users.setdefault(self._resource, [])
            if self._is_lending or self._job.worker is None:
                await trio.sleep(duration)
                await self.follow(script)
                return
            users.append(self._job)
            if len(set(users)) > 1:
                self._program.clashes.append((self._resource, users.copy()))
            try:
                await trio.sleep(duration)
                await self.follow(script)
            finally:
                users.remove(self._job)

        async def _lend(self, duration: float, script: Script) -> None:
            users = self._program._users.get(self._resource, [])
            if self._is_lending or self._job.worker is None or self._job in users:
                await self.follow(script)
                return
            self._is_lending = True
            try:
                async with self._job.lend():
                    await trio.sleep(duration)
                    await self.follow(script)
            finally:
                self._is_lending = False

        async def _do(self, what: str, *of_that: Any) -> None:
            jobs = self._program.jobs
            match what, of_that:
                case "use", [duration, script]:
                    await self._use(duration, script)
                case "wait", [which]:
                    await jobs[int(which) % len(jobs)].wait()
                case "cancel", [which]:
                    jobs[int(which) % len(jobs)].cancel()
                case "lend", [duration, script]:
                    await self._lend(duration, script)
                case "shield", [duration, script]:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(duration)
                        await self.follow(script)
                case "clean up", [duration, script]:
                    try:
                        await trio.sleep(duration)
                    finally:
                        with trio.CancelScope(shield=True):
                            await self.follow(script)
                case "timeout", [duration, script]:
                    with trio.move_on_after(duration):
                        await self.follow(script)
                case "at once", both:
                    async with trio.open_nursery() as nursery:
                        for script in both:
                            nursery.start_soon(self.follow, script)
                case "run", [pin, script]:
                    await self._pool.run(self._program.follow, script, **self._program.options(pin))
                case "map" | "as_completed", [pin, children, script]:
                    start = self._pool.map if what == "map" else self._pool.as_completed
                    async with start(self._program.follow, children, **self._program.options(pin)):
                        await self.follow(script)
                case "group" | "cancelled group", [pin, children, script]:
                    async with self._pool.open_group() as group:
                        options = self._program.options(pin)
                        jobs += [await group.submit(self._program.follow, child, **options) for child in children]
                        await self.follow(script)
                        if what == "cancelled group":
                            group.cancel()
                case _:
                    raise AssertionError(what)


def run_program(seed: int) -> None:
    """Run a random program to its end, and see that all is well."""
    random = Random(seed)
    workers = random.randint(1, 3)
    scripts = [Author(random).script() for _ in range(random.randint(1, 4))]
    cancelled_at = random.choice([math.inf, math.inf, random.randint(0, 9)])

    async def main() -> None:
        async with no_hanging():
            with trio.CancelScope() as scope:
                async with open_pool(["a", "b", "c"][:workers], on_dead="keep", retry=RetryPolicy.never()) as pool:
                    program = Program(pool)
                    for script in scripts:
                        program.jobs.append(await pool.submit(program.follow, script))
                    scope.deadline = trio.current_time() + cancelled_at
            assert_settled(pool)
            assert program.clashes == []

    with repeatable_schedule(seed), patch.object(logging.getLogger("trio_pool"), "disabled", True):
        trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("start", range(0, 400, 50))
def test_never_two_on_one_resource_and_nothing_hangs(start: int) -> None:
    for seed in range(start, start + 50):
        try:
            run_program(seed)
        except BaseException as error:
            raise AssertionError(f"the program of seed {seed}") from error
