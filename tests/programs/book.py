"""The instrument that keeps the books, and sees what is wrong while it happens."""

from __future__ import annotations

from typing import Any

import attrs

from tests.programs.starts import check_start
from tests.programs.world import JobBook, World, errand_of
from trio_pool import Attempt, Instrument, Job, JobState, Worker


@attrs.define(eq=False, repr=False)
class Book(Instrument):
    """Keeps the books of a world."""

    world: World

    def pool_opened(self, pool: Any) -> None:
        self.world.pool_opened += 1
        self._event()

    def pool_closed(self, pool: Any) -> None:
        self.world.pool_closed += 1
        self._event()

    def job_submitted(self, job: Job[Any]) -> None:
        world = self.world
        if job in world.books:
            world.fail(f"events: {job!r} was submitted twice")
        world.books[job] = JobBook(job, errand_of(job), again=bool(world.books_of(errand_of(job))))
        self._event()

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        world = self.world
        book = world.books[job]
        book.started += 1
        if book.started != book.ended + 1:
            world.fail(f"events: attempt {book.started} of {job!r} has started, and only {book.ended} have ended")
        if book.finished:
            world.fail(f"events: an attempt of {job!r} has started after its end")
        if world.worker_stopped[worker] or not world.worker_started[worker]:
            world.fail(f"events: {job!r} has started on {worker!r}, which is not there")
        if job.progress is not None:
            world.fail(f"events: {job!r} starts with {job.progress}")
        world.running[job] = book
        check_start(world, book, worker)
        book.attempts.append((worker, None))
        self._event()

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        world = self.world
        book = world.books[job]
        book.ended += 1
        if book.ended != book.started:
            world.fail(f"events: attempt {book.ended} of {job!r} has ended, and {book.started} have started")
        book.attempts[-1] = (book.attempts[-1][0], attempt.error)
        if book.active:
            world.fail(f"events: an attempt of {job!r} has ended while its function runs")
        world.running.pop(job, None)
        self._event()

    def job_delayed(self, job: Job[Any], until: float) -> None:
        self._event()

    def job_progress(self, job: Job[Any]) -> None:
        if job.progress is None or self.world.running.get(job) is None:
            self.world.fail(f"events: {job!r} has reported, and its progress is {job.progress}")
        self._event()

    def group_opened(self, group: Any) -> None:
        self.world.group_opened[group] += 1
        self._event()

    def group_closed(self, group: Any) -> None:
        world = self.world
        world.group_closed[group] += 1
        if list(group.jobs()) or group in world.pool.groups:
            world.fail(f"events: {group!r} was closed with {list(group.jobs())}")
        self._event()

    def job_finished(self, job: Job[Any]) -> None:
        world = self.world
        book = world.books[job]
        book.finished += 1
        if book.finished > 1 or not job.state.is_final:
            world.fail(f"events: {job!r} has ended {book.finished} times")
        if job.state is JobState.DEAD and world.program.setup.on_dead == "cancel" and job.args:
            world.ends("a job died")
        self._event()

    def worker_started(self, worker: Worker) -> None:
        self.world.worker_started[worker] += 1
        self._event()

    def worker_paused(self, worker: Worker) -> None:
        self._event()

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self._event()

    def worker_stopped(self, worker: Worker) -> None:
        self.world.worker_stopped[worker] += 1
        if self.world.worker_stopped[worker] > 1:
            self.world.fail(f"events: {worker!r} has stopped twice")
        self._event()

    def _event(self) -> None:
        self.world.events += 1
        if self.world.at_event is not None:
            self.world.at_event()
