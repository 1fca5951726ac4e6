"""Statements about workers and the whole pool."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import attrs
import trio

from tests.programs.making import Making
from tests.programs.meddling import break_a_lifespan, cancel_pool, pause, remove, rest
from tests.programs.telling import Telling
from tests.programs.world import Errand, token
from trio_pool import RateLimit, RetryPolicy, Worker

if TYPE_CHECKING:
    from tests.programs import language as lang
    from tests.programs.frames import Frame


class Staffing(Making, Telling):
    """Executes them."""

    async def _staff(self, frame: Frame, statement: lang.Workers) -> None:
        world = self.world
        workers: tuple[Worker, ...] = world.pool.workers
        worker = workers[statement.worker % len(workers)] if workers else None
        if statement.what == "add":
            await self._add(frame, statement.device)
        elif statement.what == "pause pool":
            pause(world, None, statement.seconds)
        elif statement.what == "rest pool":
            rest(world, None, statement.seconds)
        elif worker is None:
            pass
        elif statement.what == "pause":
            pause(world, worker, statement.seconds)
        elif statement.what == "rest":
            rest(world, worker, statement.seconds)
        elif statement.what == "reopen":
            world.breakages += 1
            worker.reopen()
        elif statement.what == "reset":
            worker.reset_breaker()
        elif statement.what == "break":
            break_a_lifespan(world, statement.worker)
        elif statement.what == "places":
            worker.max_running = statement.places or math.inf
        else:
            remove(world, worker, cancel=statement.what == "remove now")
        await trio.lowlevel.checkpoint()

    async def _add(self, frame: Frame, device: lang.Device) -> None:
        world = self.world
        setup = world.program.setup
        if len(world.pool.workers) >= 6:
            return
        key = next(world.numbers)
        try:
            with self.told(frame, "add"):
                if setup.slots:
                    pool: Any = world.pool
                    await pool.add(tags=device.tags, max_running=device.places or math.inf)
                elif setup.elastic is None:
                    await world.pool.add(self.resource(device, key))
        except Exception as error:
            if not world.has_raised(error):
                raise

    async def _ask(self, frame: Frame, statement: lang.Ask) -> None:
        world, number = self.world, statement.number
        pool, what = world.pool, statement.what
        if what == "look":
            self.look()
        elif what in ("close group", "cancel group"):
            if frame.group is not None:
                world.cancellations += 1
                frame.to.close() if what == "close group" else frame.to.cancel()
        elif what == "join group":
            if frame.group is not None:
                with self.told(frame, "join"):
                    await frame.to.join()
        elif what == "close":
            pool.close()
        elif what == "cancel":
            cancel_pool(world)
        elif what == "join":
            with self.told(frame, "join"):
                await pool.join()
        elif what == "pop":
            for job in pool.dead.pop_all():
                world.deal_with(job)
        elif what == "requeue":
            self._requeue(frame)
        elif what == "max_running":
            world.max_running = max(world.max_running, number)
            pool.max_running = number
            world.max_running = number
        elif what == "max_running of group":
            if frame.group is not None:
                frame.group.max_running = max(frame.group.max_running, number)
                frame.to.max_running = number
                frame.group.max_running = number
        elif what == "elastic":
            if world.program.setup.elastic is not None:
                least, most = world.program.setup.elastic
                most, elastic = min(number, most), cast("Any", pool.elastic)
                pool.elastic = attrs.evolve(elastic, min=min(least, most), max=most, open_after=number / 2 - 0.5)
        elif what == "rate":
            world.rate_changed = True
            pool.rate_limit = RateLimit(number, burst=number)
        elif what == "retry":
            world.retry_changed = True
            pool.retry = RetryPolicy(max_attempts=number, base_delay=0.5, jitter="none")
        else:
            pool.on_failure = None
        await trio.lowlevel.checkpoint()

    def _requeue(self, frame: Frame) -> None:
        world = self.world
        for job in world.pool.dead:
            if not world.has_enough() and job in world.pool.dead:
                world.errands += 1
                errand: Errand = job.args[-1]
                # It sees the context of this call.
                before = token.get()
                token.set(errand.token)
                with self.told(frame, "requeue"):
                    world.pool.dead.requeue(job)
                    world.deal_with(job)
                token.set(before)

    def look(self) -> None:
        """Look at everything, and check that it agrees."""
        world, pool = self.world, self.world.pool
        seen = pool.statistics()
        under_way = seen.blocked + seen.queued + seen.delayed + seen.running
        ended = seen.succeeded + seen.dead + seen.cancelled + seen.discarded
        if seen.submitted != under_way + ended:
            world.fail(f"books: {seen}")
        live = list(pool.jobs())
        if len(live) != under_way:
            world.fail(f"books: {len(live)} jobs, and {seen}")
        texts = [repr(pool), str(seen), *map(repr, pool.workers), *map(repr, live), repr(pool.dead)]
        texts += [repr(worker.statistics()) for worker in pool.workers]
        for group in world.groups:
            if not group.is_over:
                texts.append(repr(group.handle))
                str(group.handle.statistics())
        if not all(texts):
            world.fail("books: something has no words")
