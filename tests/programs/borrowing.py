"""The statement that borrows a resource."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from tests.programs.making import Making
from tests.programs.raising import in_words, is_among, leaves
from tests.programs.telling import Telling
from tests.programs.world import Usable, has_rudeness, token
from trio_pool import JobCancelledError, JobState, JobTimeoutError, ResourceBroken, current_job

if TYPE_CHECKING:
    from tests.programs import language as lang
    from tests.programs.frames import Frame
    from tests.programs.world import Errand
    from trio_pool import Job, Lease


class Borrowing(Making, Telling):
    """Executes it."""

    async def _acquire(self, frame: Frame, statement: lang.Acquire) -> None:
        world = self.world
        if world.has_enough():
            return
        to, group = self.place(frame, statement.to_pool)
        errand = world.errand(statement.call, group)
        errand.options = self.options_of(statement.call)
        if statement.timeout is not None:
            world.cancellations += 1
        began: list[Lease[Any]] = []
        inside: list[BaseException] = []
        outer = _outer_job()
        if frame.book is not None:
            frame.book.waiting += 1  # its job can't end before the block does
        started_at = trio.current_time()
        try:
            lease: Lease[Any] = to.acquire(
                timeout=math.inf if statement.timeout is None else statement.timeout,
                metadata={"errand": errand},
                **errand.options,
            )
            async with lease as resource:
                began.append(lease)
                try:
                    await self._borrow(frame, errand, lease.job, resource)
                except BaseException as error:
                    inside.append(error)
                    raise
                finally:
                    if _outer_job() is not outer:
                        world.fail("context: the block of acquire() has another current_job()")
        except BaseException as error:
            if not self._is_over(frame, statement, began, inside, error):
                raise
            if isinstance(error, JobTimeoutError) and trio.current_time() < started_at + (statement.timeout or 0):
                world.fail("timeouts: acquire() has timed out too soon")
        finally:
            if frame.book is not None:
                frame.book.waiting -= 1
            for book in world.books_of(errand):
                book.dealt_with = True
                if book.active or not book.job.state.is_final:
                    world.fail(f"outcome: the block of acquire() was left before the end of {book.job!r}")
                if book.job in world.pool.dead:
                    world.fail(f"outcome: {book.job!r} is among the dead letters")

    async def _borrow(self, frame: Frame, errand: Errand, job: Job[Any], resource: Usable | None) -> None:
        """The block."""
        world, book = self.world, self.world.books[job]
        usable = world.usable_of_slot(job.worker) if resource is None else resource
        if token.get() != errand.token:
            world.fail(f"context: the block of {job!r} sees {token.get()} in place of {errand.token}")
        world.take(usable, job, "at the start of its block")
        book.runs += 1
        book.active += 1
        book.lent = False
        now = trio.current_time()
        world.starts.setdefault(None, []).append(now)
        world.starts.setdefault(job.worker, []).append(now)
        if job.state is not JobState.RUNNING:
            world.fail(f"outcome: the block of {job!r} has begun")
        try:
            await self.block(frame.inner(book=book, usable=usable, run=1), errand.call.does)
            book.returned.append(None)
        except BaseException as error:
            book.raised.append(error)
            world.note(error)
            if has_rudeness(error):
                world.cancellations += 1
            raise
        finally:
            book.active -= 1
            if job not in usable.users and not book.lent:
                world.fail(f"exclusive: at the end of its block, {job!r} has lost {usable.name}")
            world.give(usable, job)

    def _is_over(
        self,
        frame: Frame,
        statement: lang.Acquire,
        began: list[Lease[Any]],
        inside: list[BaseException],
        error: BaseException,
    ) -> bool:
        """Look at what came out; returns whether it goes no further."""
        world, loud = self.world, statement.loud
        if not began:
            if isinstance(error, JobTimeoutError) and statement.timeout is not None:
                return True
            return self.is_over_with(frame, error, "acquire()", loud=loud)
        if not inside:
            world.fail(f"unforeseen: {in_words(error)} came out of a block of acquire() that has ended")
            return False
        job, raised = began[0].job, inside[0]
        is_around = trio.current_effective_deadline() == -math.inf
        if error is raised:
            if isinstance(error, trio.Cancelled) and not is_around and error is not world.stray:
                world.fail("cancelled: out of acquire(), though no scope around it is cancelled")
            return False
        is_cancelled = any(isinstance(leaf, trio.Cancelled) for leaf in leaves(raised))
        is_told = isinstance(error, JobCancelledError) and error.job is job
        if is_cancelled and (is_told or (isinstance(error, ResourceBroken) and world.breakages)):
            if loud:
                world.note(error)
            return not loud
        # Cancellations are taken out of it; or the caller is cancelled while the lifespan breaks.
        is_part = is_cancelled and all(is_among(leaf, leaves(raised)) for leaf in leaves(error))
        if not (is_part or (is_cancelled and is_around and isinstance(error, trio.Cancelled))):
            world.fail(f"unforeseen: {in_words(error)} came out of acquire() in place of {in_words(raised)}")
        return False


def _outer_job() -> Job[Any] | None:
    try:
        return current_job()
    except RuntimeError:
        return None
