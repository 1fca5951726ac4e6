"""The statements that open a group, and that lend a worker."""

from __future__ import annotations

import math
from typing import Any

import trio

from tests.programs import language as lang
from tests.programs.frames import Frame
from tests.programs.raising import in_words, is_among, leaves
from tests.programs.telling import Telling
from tests.programs.world import GroupBook
from trio_pool import JobDeadlockError, JobFailedError, PoolClosedError, ResourceBroken


class Grouping(Telling):
    """Executes them."""

    async def _group(self, frame: Frame, statement: lang.Group) -> None:
        world = self.world
        book = GroupBook(statement.max_running or math.inf, statement.reserve)
        manager: Any = None
        with self.told(frame, "open_group"):
            manager = world.pool.open_group(
                must_succeed=statement.must_succeed, max_running=statement.max_running, reserve=statement.reserve
            )
        if manager is None:
            return
        if frame.book is not None:
            frame.book.waiting += 1
        body_error: BaseException | None = None
        try:
            async with manager as group:
                book.handle = group
                world.groups.append(book)
                if frame.book is not None:
                    frame.book.waiting -= 1
                try:
                    await self.block(frame.inner(to=group, group=book), statement.body)
                except BaseException as error:
                    body_error = error
                    raise
                finally:
                    if frame.book is not None:
                        frame.book.waiting += 1
        except BaseException as error:
            self._check_group(frame, statement, body_error, error)
        finally:
            book.is_over = True
            world.cancellations += 1  # of its jobs, if anything has failed
            if frame.book is not None:
                frame.book.waiting -= 1
            for each in world.books.values():
                if each.errand.group is book and not each.again and (each.active or not each.job.state.is_final):
                    world.fail(f"outcome: a group was left before the end of {each.job!r}")

    def _check_group(
        self, frame: Frame, statement: lang.Group, body_error: BaseException | None, error: BaseException
    ) -> None:
        """Check what comes out of a group's block; what is ordinary goes no further, unless it is to."""
        world = self.world
        if error is body_error:
            raise error
        if isinstance(error, trio.Cancelled):
            if trio.current_effective_deadline() > -math.inf:
                world.fail("cancelled: out of a group, though no scope around it is cancelled")
            raise error
        deaths = [leaf for leaf in leaves(error) if isinstance(leaf, JobFailedError)]
        for death in deaths:
            self.check_death(death, "a group")
        of_body = [] if body_error is None else leaves(body_error)
        if body_error is not None and all(is_among(leaf, of_body) for leaf in leaves(error)):
            raise error  # a group loses the cancellations of the group's own scope
        rest = [leaf for leaf in leaves(error) if leaf not in deaths and not is_among(leaf, of_body)]
        if rest and all(isinstance(leaf, trio.Cancelled) for leaf in rest):
            if trio.current_effective_deadline() > -math.inf:
                world.fail("cancelled: out of a group, though no scope around it is cancelled")
            raise error
        if deaths and statement.must_succeed and not rest:
            if body_error is not None and not all(isinstance(leaf, trio.Cancelled) for leaf in of_body):
                world.note(error)
                raise error  # with what the body raised
        elif isinstance(error, JobDeadlockError):
            self.check_deadlock(frame, error, "a group", ())
        elif isinstance(error, PoolClosedError):
            pass
        else:
            world.fail(f"unforeseen: a group's block raised {in_words(error)} after {body_error!r}")
            raise error
        if statement.loud:
            world.note(error)
            for leaf in leaves(error):
                world.note(leaf)
            raise error

    async def _lend(self, frame: Frame, statement: lang.Lend) -> None:
        book, usable = frame.book, frame.usable
        if book is None or usable is None or book.lent or book.errand.call.hedge is not None:
            await self.block(frame, statement.body)
            return
        world, job = self.world, book.job
        inside: BaseException | None = None
        is_leaving = False
        book.lent = True
        world.give(usable, job)
        try:
            async with job.lend():
                try:
                    await self.block(frame, statement.body)
                except BaseException as error:
                    inside = error
                    raise
                finally:
                    is_leaving = True
                    book.waiting += 1
        except (ResourceBroken, JobDeadlockError) as error:
            if error is inside:
                raise
            if isinstance(error, JobDeadlockError):
                self.check_deadlock(frame, error, "the end of lend()", ())
            elif not world.breakages:
                world.fail("unforeseen: the end of lend() says that the resource is broken")
            if statement.loud:
                world.note(error)
                raise
        except BaseException as error:
            is_cancelled = isinstance(error, trio.Cancelled) and trio.current_effective_deadline() == -math.inf
            if error is not inside and not is_cancelled:
                world.fail(f"unforeseen: lend() raised {in_words(error)}")
            raise
        finally:
            book.waiting -= is_leaving
            # It goes on without its worker where it could never have that back.
            if job.worker is not None:
                book.lent = False
                world.take(usable, job, "at the end of lend()")
