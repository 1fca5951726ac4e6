"""The statement that reads a stream of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.programs.items import source_of
from tests.programs.making import Making
from tests.programs.raising import in_words
from tests.programs.telling import ORDINARY, Judged, Telling
from tests.programs.world import Errand, token
from trio_pool import Job, JobCancelledError, JobFailedError, PoolClosedError

if TYPE_CHECKING:
    from tests.programs import language as lang
    from tests.programs.frames import Frame


class Streaming(Making, Telling):
    """Executes it."""

    async def _stream(self, frame: Frame, statement: lang.Stream) -> None:
        world = self.world
        if world.has_enough():
            return
        to, group = self.place(frame, statement.to_pool)
        first = world.errand(statement.call, group)
        errands: list[Errand] = []

        def next_errand() -> Errand:
            errand = world.errand(statement.call, group) if errands else first
            token.set(first.token)  # the generator runs in a context that jobs don't see
            errand.token, errand.options = first.token, first.options
            errands.append(errand)
            return errand

        source = source_of(world, statement.items, next_errand)
        method = to.map if statement.kind == "map" else to.as_completed
        seen: list[object] = []
        entered = False
        manager: Any = None
        try:
            with self.told(frame, f"the block of {statement.kind}", loud=True):
                options = self.options_of(statement.call)
                first.options |= options
                manager = method(self.fn, source, buffer=statement.buffer, **options)
            if manager is None:
                return
            with Judged(None, lambda error: self._is_over_with(error, statement.kind)):
                async with manager as results:
                    entered = True
                    try:
                        if statement.readers == 1:
                            await self._read(frame, statement, results, errands, seen)
                        else:
                            async with trio.open_nursery() as nursery:
                                for _ in range(statement.readers):
                                    inner = frame.inner(handles=frame.handles.copy())
                                    nursery.start_soon(self._read_apart, inner, statement, results, errands, seen)
                    finally:
                        if frame.book is not None:
                            frame.book.waiting += 1  # the end of the block waits for the jobs
        finally:
            if entered and frame.book is not None:
                frame.book.waiting -= 1
            world.cancellations += 1  # of what is left
            for errand in errands:
                for book in world.books_of(errand):
                    if entered:
                        book.dealt_with = True
                        if book.active or not book.job.state.is_final:
                            world.fail(f"outcome: a block of {statement.kind} was left before the end of {book.job!r}")

    def _is_over_with(self, error: BaseException, kind: str) -> bool:
        """Look at what comes out of the block: what the body raises, or that the pool is closed, on entering."""
        if isinstance(error, Exception) and not isinstance(error, PoolClosedError) and not self.world.has_raised(error):
            self.world.fail(f"unforeseen: the block of {kind} raised {in_words(error)}")
        return isinstance(error, PoolClosedError)

    async def _read_apart(self, frame: Frame, *args: Any) -> None:
        """One of several readers, in a task as above."""
        try:
            await self._read(frame, *args)
        except Exception as error:
            if in_words(error).startswith("<"):
                raise self.world.raising("value") from None
            raise

    async def _read(
        self, frame: Frame, statement: lang.Stream, results: Any, errands: list[Errand], seen: list[object]
    ) -> None:
        world = self.world
        read = 0
        # It ends of itself: each turn takes an item, or is the end.
        while statement.reads is None or read < statement.reads:
            over = True
            number = len(seen)
            with Judged(frame.book, lambda error: self._is_read(frame, statement, error)):
                try:
                    value = await anext(results)
                except StopAsyncIteration:
                    return
                except (JobFailedError, JobCancelledError):
                    over = False
                    seen.append(None)
                    raise
                over = False
                seen.append(value)
                if statement.kind == "as_completed":
                    self._check_completed(value, seen, errands)
                elif statement.readers == 1:
                    self.check_value(value, errands[number])
            if over:
                return
            read += 1
            if read > len(errands) + 3:
                world.fail(f"outcome: {statement.kind} gave more results than there were items")
                return
            await self.block(frame, statement.each)

    def _is_read(self, frame: Frame, statement: lang.Stream, error: BaseException) -> bool:
        """Look at what a reader is told; returns whether it goes no further."""
        if isinstance(error, trio.ClosedResourceError) and not isinstance(error, PoolClosedError):
            if statement.readers == 1:
                self.world.fail("outcome: the block of a stream has not been left yet")
            return True
        if isinstance(error, ORDINARY) or not isinstance(error, Exception):
            return self.is_over_with(frame, error, statement.kind, loud=statement.loud)
        if not self._is_of_items(error, statement):
            self.world.fail(f"unforeseen: {statement.kind} raised {in_words(error)}")
        if statement.loud:
            self.world.note(error)
        return not statement.loud

    def _is_of_items(self, error: Exception, statement: lang.Stream) -> bool:
        # A cancellation of its own ends the items by an error of the pool's choice, and so does a stray one.
        is_of_scope = isinstance(error, RuntimeError) and statement.items.cancels_itself
        return is_of_scope or self.world.has_raised(error)

    def _check_completed(self, job: Job[Any], seen: list[object], errands: list[Errand]) -> None:
        self.world.deal_with(job)
        if not job.state.is_final:
            self.world.fail(f"outcome: as_completed gave {job!r}")
        if sum(each is job for each in seen) > 1:
            self.world.fail(f"outcome: as_completed gave {job!r} twice")
        if not any(job.args[-1] is errand for errand in errands):
            self.world.fail(f"outcome: as_completed gave {job!r}, which is none of its own")
