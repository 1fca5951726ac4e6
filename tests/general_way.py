"""Forbids the straight way of plain jobs: then each of them goes the general one, as all others do."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from trio_pool._core.lanes import Lane
from trio_pool._core.lifecycle import Lifecycle
from trio_pool._core.state import PoolState
from trio_pool._core.straight_way import StraightWay
from trio_pool._model.states import JobState

if TYPE_CHECKING:
    from collections.abc import Generator

    from trio_pool._model.records import JobRecord, Run, WorkerRecord


@contextmanager
def straight_way_forbidden() -> Generator[None]:
    """Let cores that are made in this block do everything in the general way."""
    with ExitStack() as patches:
        for owner, name, instead in (
            (StraightWay, "submit", _submit),
            (StraightWay, "succeeded", _succeeded),
            (Lifecycle, "enter", _enter),
            (StraightWay, "enter_running", _enter_running),
            (Lifecycle, "start", _start),
            (Lane, "append", _append),
            (Lane, "take", _take),
            # With this `Dispatcher.next_straight` leaves everything to `Settling.next_in_general`.
            (PoolState, "special", property(_is_special, _note_special)),
        ):
            patches.enter_context(patch.object(owner, name, instead))
        yield


def _submit(self: StraightWay, job: JobRecord, now: float) -> Run | bool:
    return False


def _succeeded(self: StraightWay, run: Run, value: object, now: float) -> Run | None:
    """What `AttemptEvents` does at the ends of attempts."""
    if run.race is not None:
        return self._ended_in_race(run, value, now)
    self._settling.advance(now)
    job, worker = self._lifecycle.end_attempt(run, now, None), run.worker
    job._value = value
    self._lifecycle.move(job, JobState.SUCCEEDED, now)
    if worker._limits is not None:
        worker._limits.succeeded(now, run.trial)
    return self._settling.next_in_general(worker, now)


def _enter(self: Lifecycle, job: JobRecord, now: float) -> None:
    self.move(job, JobState.QUEUED, now)


def _enter_running(self: StraightWay, job: JobRecord, worker: WorkerRecord, now: float) -> None:
    self._lifecycle.move(job, JobState.QUEUED, now)
    self._lifecycle.move(job, JobState.RUNNING, now, worker)


def _start(self: Lifecycle, job: JobRecord, worker: WorkerRecord, now: float) -> None:
    self.move(job, JobState.RUNNING, now, worker)


def _append(self: Lane, job: JobRecord) -> None:
    self.push((0, 0.0, job._ticket, job))


def _take(self: Lane) -> JobRecord | None:
    return None if self.head() is None else self.pop()


def _is_special(self: PoolState) -> bool:
    return True


def _note_special(self: PoolState, special: bool) -> None:
    """What it is changes nothing here."""
