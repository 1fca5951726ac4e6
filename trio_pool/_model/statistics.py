"""Snapshots of a pool and its workers."""

from __future__ import annotations

import math
from itertools import compress
from typing import TYPE_CHECKING, Protocol

import attrs

from .._basics.error_text import in_words, only_leaf
from .._basics.frozen_mapping import FrozenMapping
from .._basics.text import one_line, shown
from .._policies.draws import shown_uses
from .states import JobState
from .text import counted, places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._policies.rate_meter import Amount
    from .key_record import KeyRecord
    from .records import WorkerRecord
    from .states import WorkerState


class Counts(Protocol):
    """The counters of the jobs of a pool or a group."""

    count: dict[JobState, int]
    failures: int
    retries: int
    queue_peak: int
    used: dict[str, Amount]


_identity = id


@attrs.frozen(kw_only=True)
class WorkerStatistics:
    """A snapshot of a worker's work so far.

    Attributes:
      id: the worker's number.
      name: the worker's name.
      state: the worker's state.
      running: how many attempts run on the worker now.
      max_running: how many attempts may run on it at once.
      attempts: the worker's attempts that ended by themselves or by a timeout.
      succeeded: the number of these attempts that returned a value.
      failed: the number of these attempts that failed.
      busy_seconds: the durations of the worker's attempts added up, including those that run now.
      used: what the worker's runs have used in total, by units.
      time: what the worker's places have spent their time on since it joined the pool, in seconds by
          cause; see `PoolStatistics`.
      last_error: the error of the worker's last failed attempt, or of reopening its resource. If it
          is an exception group with a single error, that error.
      available_at: when, on Trio's clock, the worker's rest, its quarantine and the wait for its
          rate limits without a unit will all be over; None if none of these holds it back.
    """

    id: int
    name: str
    state: WorkerState
    running: int
    max_running: float
    attempts: int
    succeeded: int
    failed: int
    busy_seconds: float
    used: Mapping[str, float]
    time: Mapping[str, float]
    # The error's own comparison and repr may fail.
    last_error: Exception | None = attrs.field(eq=_identity, repr=shown)
    available_at: float | None


@attrs.frozen(kw_only=True)
class KeyStatistics:
    """A snapshot of the jobs of a key.

    Attributes:
      queued: the key's jobs that wait for a worker.
      delayed: the key's jobs that back off.
      running: the key's jobs with a running attempt.
      available_at: when, on Trio's clock, the key's rest and the wait for its rate limit will both
          be over; None if neither holds its jobs back.
    """

    queued: int
    delayed: int
    running: int
    available_at: float | None


class _Taken:
    """The data that the text of a snapshot needs besides the fields; a copy of the snapshot works without it."""

    __slots__ = ("_held", "_noun", "_now")

    _held: Mapping[str, float]
    _noun: str
    _now: float


@attrs.frozen(kw_only=True)
class PoolStatistics(_Taken):
    """A snapshot of a pool's work so far and its current jobs.

    Attributes:
      name: the pool's name, or None.
      submitted: jobs that have entered the pool; the sum of the following fields up to
          ``discarded``.
      blocked: jobs that wait for other jobs.
      queued: jobs that wait for a worker.
      delayed: jobs that back off.
      running: jobs with a running attempt.
      succeeded: jobs that have a result.
      dead: jobs that failed for good.
      cancelled: jobs that were cancelled.
      discarded: jobs that were discarded.
      attempts: attempts that ended by themselves or by a timeout.
      failures: the number of these attempts that failed.
      retries: how often the pool scheduled a retry for a failed job.
      queue_peak: the highest number of jobs that waited for a worker at the same time.
      submitters_waiting: calls of ``submit`` that wait for a place in the queue.
      used: what the attempts have used in total, by units.
      time: what the places of all workers have spent their time on since the pool was opened, in
          place-seconds by cause; empty for groups. See :doc:`/why`.
      workers: the statistics of the workers in the pool; after the pool's end, of its last workers.
    """

    name: str | None
    submitted: int
    blocked: int
    queued: int
    delayed: int
    running: int
    succeeded: int
    dead: int
    cancelled: int
    discarded: int
    attempts: int
    failures: int
    retries: int
    queue_peak: int
    submitters_waiting: int
    used: Mapping[str, float]
    time: Mapping[str, float]
    workers: tuple[WorkerStatistics, ...]

    def __str__(self) -> str:
        """The counts in a few lines, and a table with a line for each worker."""
        noun: str = getattr(self, "_noun", "pool")
        name = f"the {noun}" if self.name is None else f"the {noun} {one_line(self.name)!r}"
        states = ", ".join(f"{getattr(self, state.value)} {state.value}" for state in JobState)
        work = [
            counted(self.attempts, "attempt"),
            f"{self.failures} failed",
            f"{self.retries} retried",
            f"{self.queue_peak} queued at the peak",
            f"{counted(self.submitters_waiting, 'submitter')} waiting",
        ]
        lines = [f"{name}: {counted(self.submitted, 'job')} submitted", states, ", ".join(work)]
        if self.used:
            lines.append(f"used: {_amounts(self.used)}")
        if any(self.time.values()):
            lines.append(f"time: {shares(self.time)}")
        if self.workers:
            rows = [_COLUMNS, *(_row(worker, getattr(self, "_now", None)) for worker in self.workers)]
            unneeded: set[str] = set()
            if all(worker.max_running == 1 for worker in self.workers):
                unneeded.add("running")
            if not any(worker.used for worker in self.workers):
                unneeded.add("used")
            shown = [name not in unneeded for name in _COLUMNS]
            lines += _table([tuple(compress(row, shown)) for row in rows])
        return "\n  ".join(lines)


_COLUMNS = ("worker", "state", "running", "attempts", "succeeded", "failed", "busy", "used", "available", "last error")
_LEFT = frozenset({"worker", "state", "last error"})


def _row(worker: WorkerStatistics, now: float | None) -> tuple[str, ...]:
    return (
        one_line(worker.name, 40),
        worker.state.value,
        places(worker.running, worker.max_running),
        str(worker.attempts),
        str(worker.succeeded),
        str(worker.failed),
        f"{worker.busy_seconds:.1f} s",
        _amounts(worker.used),
        _moment(worker.available_at, now),
        "" if worker.last_error is None else one_line(in_words(worker.last_error), 80),
    )


def _amounts(used: Mapping[str, float]) -> str:
    """Amounts with their units: ``71200 tokens, 12.5 pages``."""
    words = {unit: str(amount) if isinstance(amount, int) else f"{amount:.12g}" for unit, amount in used.items()}
    return ", ".join(f"{words[unit]} {one_line(unit, 40)}" for unit in sorted(words))


def shares(time: Mapping[str, float]) -> str:
    """The causes with their shares of the time: ``running 63 %, rate_limit 37 %``."""
    whole = math.fsum(time.values())
    found = [(cause, round(100 * seconds / whole)) for cause, seconds in time.items() if seconds > 0]
    return ", ".join(f"{cause} {share or '<1'} %" for cause, share in found)


def _moment(until: float | None, now: float | None) -> str:
    if until is None:
        return ""
    return f"at {until:.1f}" if now is None else f"in {max(until - now, 0):.1f} s"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Format rows as lines, with columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<" if name in _LEFT else ">" for name in rows[0]]
    return ["  ".join(map("{:{}{}}".format, row, sides, widths)).rstrip() for row in rows]


def worker_statistics(worker: WorkerRecord, time: Mapping[str, float], now: float) -> WorkerStatistics:
    """Take a snapshot of a worker; ``time`` is what its places have spent their time on."""
    ends = [until for until in tuple(worker._holds.values()) if until != math.inf]
    if worker._limits is not None and now < (ready := worker._limits.shared_ready_at(now)) < math.inf:
        ends.append(ready)
    return WorkerStatistics(
        id=worker.id,
        name=worker.name,
        state=worker.state,
        running=len(worker._runs),
        max_running=worker._max_running,
        attempts=worker._succeeded + worker._failed,
        succeeded=worker._succeeded,
        failed=worker._failed,
        busy_seconds=time["running"],
        used=shown_uses(worker._used),
        time=FrozenMapping(time),
        last_error=None if worker._last_error is None else only_leaf(worker._last_error),
        available_at=max(ends, default=None),
    )


def key_statistics(key: KeyRecord) -> KeyStatistics:
    """Take a snapshot of a key."""
    ends = [until for until in (key.limited_until, key.resting_until) if until is not None and until != math.inf]
    return KeyStatistics(
        queued=key.queued, delayed=key.delayed, running=key.running, available_at=max(ends, default=None)
    )


def pool_statistics(
    name: str | None,
    counts: Counts,
    waiting: int,
    workers: tuple[WorkerStatistics, ...],
    now: float,
    time: Mapping[str, float] | None = None,
    held: Mapping[str, float] | None = None,
) -> PoolStatistics:
    """Take a snapshot of a pool, or of a group, which has no ``time``.

    Arguments:
      held: the shares of the time for which causes that concern the whole pool have applied.
    """
    noun = "group" if time is None else "pool"
    count = {state.value: counts.count[state] for state in JobState}
    taken = PoolStatistics(
        name=name,
        used=shown_uses(counts.used),
        time=FrozenMapping(time or {}),
        submitted=sum(count.values()),
        attempts=count["succeeded"] + counts.failures,
        failures=counts.failures,
        retries=counts.retries,
        queue_peak=counts.queue_peak,
        submitters_waiting=waiting,
        workers=workers,
        **count,
    )
    for slot, value in (("_noun", noun), ("_now", now), ("_held", held or {})):
        object.__setattr__(taken, slot, value)
    return taken
