"""Statements that submit jobs, wait for them and cancel them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from tests.programs import language as lang
from tests.programs.frames import Frame
from tests.programs.making import Making
from tests.programs.telling import Telling
from trio_pool import Job, JobCancelledError, JobFailedError, JobNotFinishedError, JobState, Node


class Submitting(Making, Telling):
    """Executes them."""

    async def _submit(self, frame: Frame, statement: lang.Submit) -> None:
        if self.world.has_enough():
            return
        to, group = self.place(frame, statement.to_pool)
        errand = self.world.errand(statement.call, group)
        with self.told(frame, "submit"):
            options = self.with_after(errand)
            if statement.how == "submit":
                job = await to.submit(self.fn, errand, **options)
            else:
                job = to.submit_nowait(self.fn, errand, idle_only=statement.how == "idle only", **options)
            frame.handles.append(job)
            if job not in self.world.books:
                self.world.fail(f"events: {job!r} was not announced")
            if statement.how == "idle only" and job.state is JobState.QUEUED:
                self.world.fail(f"outcome: {job!r} is queued, though it was to start at once or not at all")
        await trio.lowlevel.checkpoint()

    async def _run(self, frame: Frame, statement: lang.Run) -> None:
        if self.world.has_enough():
            return
        to, group = self.place(frame, statement.to_pool)
        errand = self.world.errand(statement.call, group)
        try:
            with self.told(frame, "run", loud=statement.loud):
                options = self.with_after(errand)
                value = await to.run(self.fn, errand, **options)
                self.check_value(value, errand)
        finally:
            for book in self.world.books_of(errand):
                book.dealt_with = True
                if book.active or not book.job.state.is_final:
                    self.world.fail(f"outcome: run() has ended before {book.job!r}")

    async def _graph(self, frame: Frame, statement: lang.Graph) -> None:
        if self.world.has_enough():
            return
        to, group = self.place(frame, statement.to_pool)
        nodes: dict[int, Node] = {}
        # All of them see the context of the one call.
        errands = [self.world.errand(call, group) for call in statement.calls]
        for number, (call, errand) in enumerate(zip(statement.calls, errands, strict=True)):
            errand.token = errands[-1].token
            behind = statement.behind[number] if number < len(statement.behind) else ()
            earlier = sorted({each % number for each in behind}) if number else []
            errand.options = self.options_of(call)
            nodes[number] = Node(self.fn, errand, after=earlier, **errand.options)
            for each in earlier:
                first, second = (errand, errands[each]) if statement.reverse else (errands[each], errand)
                second.behind += (first,)
        with self.told(frame, "submit_graph"):
            jobs = await to.submit_graph(nodes, reverse=statement.reverse)
            frame.handles += jobs.values()

    def _picked(self, frame: Frame, number: int, of_any: bool) -> Job[Any] | None:
        jobs: Sequence[Job[Any]] = list(self.world.books) if of_any else frame.handles
        return jobs[-1 - number % len(jobs)] if jobs else None

    async def _wait(self, frame: Frame, statement: lang.Wait) -> None:
        job = self._picked(frame, statement.job, statement.of_any)
        if job is None:
            await trio.lowlevel.checkpoint()
            return
        book = self.world.books[job]
        with self.told(frame, "wait", loud=statement.loud, of=[job]):
            if statement.until == "start":
                await job.wait_started()
                if not (book.started or job.state.is_final):
                    self.world.fail(f"outcome: {job!r} has not started")
                return
            try:
                value = await job.wait()
            except JobCancelledError:
                if job.state not in (JobState.CANCELLED, JobState.DISCARDED):
                    self.world.fail(f"outcome: {job!r} is told to be cancelled")
                raise
            if job.state is not JobState.SUCCEEDED or job.result() is not value:
                self.world.fail(f"outcome: {job!r} is told to have succeeded")
            self.check_value(value, book.errand)

    async def _cancel(self, frame: Frame, statement: lang.Cancel) -> None:
        job = self._picked(frame, statement.job, statement.of_any)
        if job is not None:
            self.world.cancellations += 1
            job.cancel()
            if not job.state.is_final and job.state is not JobState.RUNNING:
                self.world.fail(f"outcome: {job!r} was cancelled and has not ended")
            try:
                job.result()
            except JobNotFinishedError:
                pass
            except (JobFailedError, JobCancelledError):
                self.world.deal_with(job)
        await trio.lowlevel.checkpoint()
