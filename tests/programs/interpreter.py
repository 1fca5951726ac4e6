"""Runs the statements of a program against a real pool."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from tests.programs import language as lang
from tests.programs.borrowing import Borrowing
from tests.programs.frames import Frame, Odd
from tests.programs.grouping import Grouping
from tests.programs.raising import in_words, leaves
from tests.programs.staffing import Staffing
from tests.programs.streaming import Streaming
from tests.programs.submitting import Submitting
from tests.programs.world import Errand, Usable, World, has_rudeness, token
from trio_pool import JobState, current_job

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Interpreter(Submitting, Streaming, Grouping, Borrowing, Staffing):
    """Executes blocks of statements."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._ways: dict[type[lang.Statement], Callable[[Frame, Any], Coroutine[Any, Any, None]]] = {
            lang.Sleep: self._sleep,
            lang.Use: self._use,
            lang.Raise: self._raise,
            lang.Submit: self._submit,
            lang.Run: self._run,
            lang.Graph: self._graph,
            lang.Wait: self._wait,
            lang.Cancel: self._cancel,
            lang.Stream: self._stream,
            lang.Scope: self._scope,
            lang.CancelEnclosing: self._cancel_enclosing,
            lang.Nursery: self._nursery,
            lang.Group: self._group,
            lang.Lend: self._lend,
            lang.Acquire: self._acquire,
            lang.Try: self._try,
            lang.Finally: self._finally,
            lang.Workers: self._staff,
            lang.Ask: self._ask,
        }

    async def block(self, frame: Frame, block: lang.Block) -> None:
        """Execute statements one after another."""
        for statement in block:
            await self._ways[type(statement)](frame, statement)
            book = frame.book
            if book is not None and frame.usable is not None and not book.lent:
                self.world.look(frame.usable, book.job, f"after {statement!r}")

    # The functions of jobs.

    async def of_resource(self, usable: Usable, errand: Errand) -> Odd:
        """The function of the jobs of a pool with resources."""
        return await self._perform(usable, errand)

    async def of_slot(self, errand: Errand) -> Odd:
        """The function of the jobs of a pool of slots."""
        # Of several workers that run it, only the first is known.
        usable = Usable("a slot") if errand.call.hedge else self.world.usable_of_slot(current_job().worker)
        return await self._perform(usable, errand)

    async def _perform(self, usable: Usable, errand: Errand) -> Odd:
        world, job = self.world, current_job()
        book = world.books[job]
        if book.errand is not errand:
            world.fail(f"context: current_job() of {errand} is {job!r}")
        if token.get() != errand.token:
            world.fail(f"context: {job!r} sees {token.get()} in place of {errand.token}")
        token.set(-1)
        world.take(usable, job, "at its start")
        book.runs += 1
        book.active += 1
        book.lent = False
        now = trio.current_time()
        world.starts.setdefault(None, []).append(now)
        if errand.call.key:
            world.starts_of_keys.setdefault(errand.call.key, []).append(now)
        if errand.call.hedge is None:
            world.starts.setdefault(job.worker, []).append(now)
            if book.active > 1:
                world.fail(f"exclusive: {job!r} runs twice at once")
        frame = Frame(world, world.pool, book=book, usable=usable, run=book.runs)
        if errand.group is not None and not errand.group.is_over:
            frame.to, frame.group = errand.group.handle, errand.group
        try:
            await self.block(frame, errand.call.does)
            value = Odd(errand)
            book.returned.append(value)
            return value
        except BaseException as error:
            book.raised.append(error)
            world.note(error)
            if has_rudeness(error):
                world.ends("a job's function raised what is no Exception")
            raise
        finally:
            book.active -= 1
            if job not in usable.users and not book.lent:
                world.fail(f"exclusive: at its end, {job!r} has lost {usable.name} to {[*usable.users]!r}")
            world.give(usable, job)

    @property
    def fn(self) -> Callable[..., Coroutine[Any, Any, Odd]]:
        """The function of all jobs."""
        return self.of_slot if self.world.program.setup.slots else self.of_resource

    # Statements that have nothing to do with the pool.

    async def _sleep(self, frame: Frame, sleep: lang.Sleep) -> None:
        await self.world.sleep(sleep.seconds, shielded=frame.shields > 0)

    async def _use(self, frame: Frame, statement: lang.Use) -> None:
        await trio.lowlevel.checkpoint()
        # A job that has gone on without its worker is left alone.
        if frame.book is not None and frame.book.job.state is JobState.RUNNING:
            frame.book.job.set_used({statement.unit: statement.amount})
            frame.book.job.report(statement.amount)

    async def _raise(self, frame: Frame, statement: lang.Raise) -> None:
        await trio.lowlevel.checkpoint()
        # What doesn't count would be tried again forever.
        times = statement.times or (3 if statement.kind == "again for nothing" else math.inf)
        if frame.run <= times:
            if statement.kind == "broken":
                self.world.breakages += 1
            raise self.world.raising(statement.kind)

    async def _scope(self, frame: Frame, statement: lang.Scope) -> None:
        deadline = math.inf if statement.deadline is None else trio.current_time() + statement.deadline
        scope = trio.CancelScope(deadline=deadline, shield=statement.shield)
        if statement.deadline is not None:
            self.world.cancellations += 1
        inner = frame.inner(scopes=(scope, *frame.scopes), shields=frame.shields + statement.shield)
        self.world.scopes.append(scope)
        try:
            with scope:
                await self.block(inner, statement.body)
        finally:
            self.world.scopes.remove(scope)
        await trio.lowlevel.checkpoint()

    async def _cancel_enclosing(self, frame: Frame, statement: lang.CancelEnclosing) -> None:
        if frame.scopes:
            self.world.cancellations += 1
            frame.scopes[statement.depth % len(frame.scopes)].cancel()
        await trio.lowlevel.checkpoint()

    async def _nursery(self, frame: Frame, statement: lang.Nursery) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for task in statement.tasks:
                    inner = frame.inner(handles=frame.handles.copy(), scopes=(nursery.cancel_scope, *frame.scopes))
                    nursery.start_soon(self._child, inner, task)
        finally:
            self.world.cancellations += 1  # of the other tasks, if one has failed

    async def _child(self, frame: Frame, block: lang.Block) -> None:
        """A task in a nursery: Trio itself wants to print what comes out of one."""
        try:
            await self.block(frame, block)
        except Exception as error:
            if in_words(error).startswith("<"):
                raise self.world.raising("value") from None
            raise

    async def _try(self, frame: Frame, statement: lang.Try) -> None:
        try:
            await self.block(frame, statement.body)
        except BaseException as error:
            of_scope = any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))
            caught = {"errors": not of_scope, "cancellation": of_scope, "all": True}[statement.catches]
            if not caught or has_rudeness(error):
                raise
            if statement.raises:
                raise self.world.raising(statement.raises) from None
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _finally(self, frame: Frame, statement: lang.Finally) -> None:
        try:
            await self.block(frame, statement.body)
        finally:
            await self.world.clean_up(statement.seconds)
