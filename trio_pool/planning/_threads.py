"""Recording what the tasks of a program do with its pool, one call after another."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import trio

from .._runtime.job_context import current
from ._values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._model.handles import Job
    from .._model.records import JobRecord
    from .._runtime.engine import Engine

Line = dict[str, Any]

MOST_PAUSES = 100
"""How many pauses between reads are written in one line."""


class Thread:
    """What one task of the program does with the pool, one call after another.

    A step is written with the seconds since the end of the previous call, so that a replay can repeat it however long
    that call takes in the replay.

    Arguments:
      number: counts from 1.
      origin: when the recording began.
      orders: counts the steps of all threads.
      done: when the previous call ended; at first, the beginning of the recording or of the enclosing attempt.
      write: writes a line.
    """

    __slots__ = ("_asked", "_orders", "_origin", "_pauses", "_read", "_reads", "_write", "done", "number", "steps")

    def __init__(
        self, number: int, origin: float, done: float, orders: Iterator[int], write: Callable[[Line], object]
    ) -> None:
        self.number = number
        self._origin = origin
        self.done = done
        self._orders = orders
        self.steps = 0
        self._write = write
        # Consecutive reads of one stream are one step, with the pauses before each read if there are any.
        self._read: int | None = None
        self._reads = 0
        self._pauses: list[float] = []
        self._asked = done

    def step(self, at: float) -> list[float]:
        """A step that begins now: its thread, number there, the pause before it, its time, and its overall number."""
        self.end_reads()
        gap, self.done = max(0.0, at - self.done), max(at, self.done)
        return self._numbered(gap, at)

    def _numbered(self, gap: float, at: float) -> list[float]:
        self.steps += 1
        return [self.number, self.steps, seconds(gap), seconds(at - self._origin), next(self._orders)]

    def asked(self, at: float) -> None:
        """Record that a reader begins to wait for the next result of a stream."""
        self._asked = at

    def has_read(self, stream: int, now: float) -> None:
        """Record that a result of a stream was read."""
        pause = seconds(max(0.0, self._asked - self.done))
        if self._read != stream or len(self._pauses) == MOST_PAUSES:
            self.end_reads()
        self._read = stream
        self._reads += 1
        if pause or self._pauses:
            self._pauses += [0.0] * (self._reads - 1 - len(self._pauses))
            self._pauses.append(pause)
        self.done = now

    def end_reads(self) -> None:
        """Write the reads so far as a step."""
        if self._reads:
            line: Line = {"step": self._numbered(0.0, self._asked), "read": self._read}
            self._write({**line, "pauses": self._pauses} if self._pauses else {**line, "times": self._reads})
        self._read, self._reads, self._pauses = None, 0, []


class Threads:
    """The threads of a recording: one for each task that calls the pool, whether outside of jobs or in an attempt.

    Arguments:
      engine: the engine of the pool.
      origin: when the recording began.
      inside: finds the threads in the attempt of a job.
      write: writes a line.
    """

    def __init__(
        self,
        engine: Engine,
        origin: float,
        inside: Callable[[Job[Any]], dict[object, Thread]],
        write: Callable[[Line], object],
    ) -> None:
        self._engine = engine
        self._origin = origin
        self._inside = inside
        self._write = write
        self._outside: WeakKeyDictionary[trio.lowlevel.Task, Thread] = WeakKeyDictionary()
        self._numbers = count(1)
        self._orders = count(1)

    def of_caller(self, job: JobRecord | None = None) -> Thread:
        """The thread of the calling task, or of the call that submits ``job``; in an attempt if it is part of one."""
        context = None if job is None else job._context
        parent = current.get() if context is None else context.get(current)
        task = trio.lowlevel.current_task()
        run = None if parent is None or parent._host is not self._engine else parent._run
        if parent is None or run is None:
            thread = self._outside.get(task)
            if thread is None:
                thread = self._outside[task] = self._make(self._origin)
            return thread
        threads = self._inside(parent)
        thread = threads.get(task)
        if thread is None:
            thread = threads[task] = self._make(run.started_at)
            began = seconds(run.started_at - self._origin)
            self._write({"thread": thread.number, "job": parent.id, "attempt": parent.attempt_count + 1, "at": began})
        return thread

    def end_reads(self) -> None:
        """Write the reads that are held back."""
        for thread in self._outside.values():
            thread.end_reads()

    def _make(self, done: float) -> Thread:
        return Thread(next(self._numbers), self._origin, done, self._orders, self._write)
