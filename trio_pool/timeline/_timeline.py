"""The instrument that records a timeline, and its outputs."""

from __future__ import annotations

import json
import math
from collections import deque
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import trio

from .._api.origins import outcome_of
from .._api.pool import Instrument
from .._basics.error_text import in_words
from .._basics.is_a import is_a
from .._model.states import JobState
from .._model.text import counted, full_label, how_far
from .._policies import validate
from .._policies.retry import RetryAfter
from ._accounts import accounts_of, spent
from ._page import page
from ._recorder import Collector, Hold, Member, Pool, Setback
from ._trace import trace_events

if TYPE_CHECKING:
    from typing import TextIO

    from .._api.pool import Pool as AnyPool
    from .._api.pool import SlotPool
    from .._model.handles import Job, Worker
    from .._model.job_extra import Progress
    from .._model.states import Attempt
    from .._runtime.engine import Engine
    from .._runtime.workers import Workers
    from ._recorder import AnyGroup, Record
    from ._spans import Kind, Recording

_LONGEST_TEXT = 300


class Timeline(Instrument):
    """An instrument that records what workers do, and when.

    The timeline records each attempt and each delay of a job that backs off. For each worker it
    records rests, quarantines and pauses, the times when the resource was being reopened, and when
    the worker came and left. Pauses and rests of the whole pool have a row of their own. Groups are
    bands above the workers, and the tooltip of an attempt shows its last progress. Pass the
    timeline as one of the ``instruments`` of `trio_pool.open_pool`, and write the recording at any
    time, also while the pool runs. Unfinished periods are shown up to that moment, and marked.

    One timeline can watch several pools, at once or one after the other. A pool in a later
    ``trio.run`` follows where the earlier run ended. Errors are stored as text, so that they keep
    nothing alive. The text of an error and the name of a job are cut to 300 characters. A job
    without a name of its own is shown with its arguments, unless the pool was opened with
    ``show_arguments=False``.

    Arguments:
      keep: how many records to keep. If there are more, the oldest is dropped and counted in
          `dropped`, which both outputs show. Unfinished periods are kept in addition.
    """

    def __init__(self, *, keep: int = 100_000) -> None:
        self._keep = validate.count("keep", keep, least=1)
        self._records: deque[Record] = deque()
        self._dropped = 0
        # Weak, since a pool that could not be opened never reports its end.
        self._pools: WeakKeyDictionary[Engine, Pool] = WeakKeyDictionary()
        self._pools_seen = 0
        # The running attempts by job, with their start times, and how long the job waited if it is
        # the first; and the jobs to be tried again.
        self._running: dict[Job[Any], tuple[Member, float, float | None]] = {}
        self._setbacks: dict[Job[Any], Setback] = {}
        # What the running attempts have last reported.
        self._progress: dict[Job[Any], Progress] = {}
        # The clock of the current Trio run, and how far it is behind the first run's clock.
        self._clock: object = None
        self._shift = 0.0
        self._origin = 0.0

    @property
    def dropped(self) -> int:
        """How many records were dropped because there were more than ``keep``."""
        return self._dropped

    def trace(self) -> dict[str, Any]:
        """Return the recording as a trace for Perfetto and for Chrome, in the Trace Event Format.

        Each pool is a process and each worker a thread. Attempts, rests, quarantines, pauses and
        reopenings are slices. If two slices overlap and neither contains the other, the later one
        is on a further thread of the worker. Flows connect the attempts of a job. Delays and groups
        are asynchronous slices of the pool. Times are in microseconds since the timeline's beginning.

        Returns:
          dict: a value for ``json.dumps``.
        """
        return trace_events(self._recording())

    def html(self) -> str:
        """Return the recording as a self-contained HTML page with a chart, and a summary of each pool above it.

        The summary shows what the places of each worker have spent their time on, what has kept the
        pool from being faster, and quantiles of the recorded waiting and running times.
        """
        return page(self._recording())

    def write_trace(self, file: str | PathLike[str] | TextIO) -> None:
        """Write `trace` as JSON, which https://ui.perfetto.dev and chrome://tracing can open.

        Not a checkpoint: the call blocks Trio's event loop.

        Arguments:
          file: a path, or a text file that is open for writing.

        Raises:
          OSError: if the file can't be written.
        """
        _write(json.dumps(self.trace(), separators=(",", ":"), allow_nan=False), file)

    def write_html(self, file: str | PathLike[str] | TextIO) -> None:
        """Write the page of `html`, to be opened in a browser.

        Not a checkpoint: the call blocks Trio's event loop.

        Arguments:
          file: a path, or a text file that is open for writing.

        Raises:
          OSError: if the file can't be written.
        """
        _write(self.html(), file)

    # The methods that the pool calls.

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        # A job also has a setback after an attempt that was cut short and doesn't count.
        is_first = job.attempt_count == 0 and job not in self._setbacks
        self._end_delay(job)
        now = trio.current_time()
        self._running[job] = (self._member(worker), now, now - job.submitted_at if is_first else None)

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        error = attempt.error
        started_at = attempt.started_at
        running = self._running.pop(job, None)
        if running is not None:
            member, _, waited = running
        else:  # the attempt was running when the timeline was added to the pool
            member = self._member_of(cast("Engine", job._host), attempt.worker_id, attempt.worker_name)
            self._origin = min(self._origin, started_at + member.pool.shift)
            waited = started_at - job.submitted_at if attempt.number == 1 else None
        kind = _kind(job, attempt)
        text = "" if error is None else _in_words(error)
        name = _shortened(full_label(job))
        progress = self._progress_of(job)
        self._progress.pop(job, None)
        number, hedges = attempt.number, attempt.hedges
        self._append((member, kind, started_at, attempt.ended_at, job.id, name, number, text, hedges, progress, waited))
        if error is not None and not job.state.is_final:
            self._setbacks[job] = Setback(member, attempt.number)

    def job_delayed(self, job: Job[Any], until: float) -> None:
        setback = self._setbacks.get(job)
        if setback is not None:  # None if the timeline was added to the pool after the failure
            setback.started_at = trio.current_time()
            setback.until = until

    def job_progress(self, job: Job[Any]) -> None:
        assert job.progress is not None
        self._progress[job] = job.progress

    def job_finished(self, job: Job[Any]) -> None:
        self._end_delay(job)

    def group_opened(self, group: AnyGroup) -> None:
        self._pool_of(group._engine).groups[group] = trio.current_time()

    def group_closed(self, group: AnyGroup) -> None:
        pool = self._pool_of(group._engine)
        started_at = pool.groups.pop(group, None)
        if started_at is not None:  # None if the timeline was added to the pool after the group was opened
            name, jobs = _told_of(group)
            self._append((pool.whole, "group", started_at, trio.current_time(), 0, name, 0, jobs, (), "", None))

    def pool_paused(self, pool: AnyPool[Any] | SlotPool) -> None:
        self._hold(self._pool_of(pool._engine).whole, "paused")

    def pool_resumed(self, pool: AnyPool[Any] | SlotPool) -> None:
        self._release(self._pool_of(pool._engine).whole, "paused")

    def pool_resting(self, pool: AnyPool[Any] | SlotPool, until: float) -> None:
        self._hold(self._pool_of(pool._engine).whole, "resting", until)

    def pool_closed(self, pool: AnyPool[Any] | SlotPool) -> None:
        seen = self._pools.get(pool._engine)
        if seen is not None:
            self._release_all(seen.whole)
            seen.closing = accounts_of(pool.statistics(), closed=True)

    def worker_started(self, worker: Worker) -> None:
        self._release(self._member(worker), "reopening")

    def worker_paused(self, worker: Worker) -> None:
        self._hold(self._member(worker), "paused")

    def worker_resumed(self, worker: Worker) -> None:
        self._release(self._member(worker), "paused")

    def worker_resting(self, worker: Worker, until: float) -> None:
        self._hold(self._member(worker), "resting", until)

    def worker_quarantined(self, worker: Worker, until: float) -> None:
        self._hold(self._member(worker), "quarantined", until)

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        member = self._member(worker)
        self._release(member, "reopening")  # each failed attempt to reopen is a period of its own
        self._hold(member, "reopening", text="" if error is None else _in_words(error))

    def worker_stopped(self, worker: Worker) -> None:
        member = self._member(worker)
        self._release_all(member)
        member.time = spent(worker.statistics().time)
        self._append((member, "worker", member.started_at, trio.current_time(), 0, "", 0, "", (), "", None))
        del member.pool.members[worker.id]

    # Recording.

    def _append(self, record: Record) -> None:
        records = self._records
        if len(records) == self._keep:
            records.popleft()
            self._dropped += 1
        records.append(record)

    def _member(self, worker: Worker) -> Member:
        return self._member_of(cast("Workers", worker._host)._engine, worker.id, worker.name)

    def _member_of(self, engine: Engine, number: int, name: str) -> Member:
        pool = self._pool_of(engine)
        member = pool.members.get(number)
        if member is None:
            member = pool.members[number] = Member(pool, number, name, trio.current_time())
        return member

    def _pool_of(self, engine: Engine) -> Pool:
        return self._pools.get(engine) or self._meet(engine)

    def _meet(self, engine: Engine) -> Pool:
        """Register a pool at its first event."""
        clock, now = trio.lowlevel.current_clock(), trio.current_time()
        if self._clock is None:
            self._origin = now
        elif clock is not self._clock:  # another Trio run, whose clock is unrelated to the last one's
            self._shift = self._latest() - now
        self._clock = clock
        self._pools_seen += 1
        pool = self._pools[engine] = Pool(self._pools_seen, engine.config.name, self._shift, now)
        return pool

    def _hold(self, member: Member, kind: Kind, until: float = math.inf, text: str = "") -> None:
        now = trio.current_time()
        held = member.holds.get(kind)
        if held is not None and now < held.until:
            held.until = until  # the end has changed
        else:
            self._release(member, kind)
            member.holds[kind] = Hold(now, until, text)

    def _release(self, member: Member, kind: Kind) -> None:
        """Record the end of a hold, which may be in the past: no event reports the end of a rest or quarantine."""
        hold = member.holds.pop(kind, None)
        if hold is not None:
            ended_at = min(hold.until, trio.current_time())
            self._append((member, kind, hold.started_at, ended_at, 0, "", 0, hold.text, (), "", None))

    def _release_all(self, member: Member) -> None:
        for kind in tuple(member.holds):
            self._release(member, kind)

    def _end_delay(self, job: Job[Any]) -> None:
        setback = self._setbacks.pop(job, None)
        if setback is not None and setback.until is not None:
            ended_at = min(setback.until, trio.current_time())
            name = _shortened(full_label(job))
            started_at, number = setback.started_at, setback.number
            self._append((setback.member, "delay", started_at, ended_at, job.id, name, number, "", (), "", None))

    def _progress_of(self, job: Job[Any]) -> str:
        progress = self._progress.get(job)
        return "" if progress is None else how_far(progress)

    # Reading.

    def _latest(self) -> float:
        """The latest time of any record, on the timeline's clock."""
        return max((ended_at + member.pool.shift for member, _, _, ended_at, *_ in self._records), default=self._origin)

    def _now(self) -> float:
        """The current time on the timeline's clock, or the end of the last event if everything is over."""
        lasts = any(pool.members or pool.whole.holds for pool in self._pools.values())
        is_over = not (self._running or self._setbacks or lasts)
        try:
            if not is_over and trio.lowlevel.current_clock() is self._clock:
                return trio.current_time() + self._shift
        except RuntimeError:  # Trio isn't running
            pass
        return self._latest()

    def _recording(self) -> Recording:
        found = Collector(self._origin, self._now())
        for record in self._records:
            found.add(record)
        for engine, pool in self._pools.items():
            if pool.closing is None:
                statistics = cast("AnyPool[Any] | SlotPool", engine.pool).statistics()
                found.add_accounts(pool, accounts_of(statistics, closed=False))
        for pool in self._pools.values():
            for member in pool.members.values():
                found.add_open(member, "worker", member.started_at)
            for group, started_at in pool.groups.items():
                name, jobs = _told_of(group)
                found.add_open(pool.whole, "group", started_at, name=name, text=jobs)
            for member in (pool.whole, *pool.members.values()):
                for kind, hold in member.holds.items():
                    found.add_open(member, kind, hold.started_at, hold.until, text=hold.text)
        for job, (member, started_at, waited) in self._running.items():
            number, progress = job.attempt_count + 1, self._progress_of(job)
            found.add_open(member, "running", started_at, job=job, number=number, progress=progress, waited=waited)
        for job, setback in self._setbacks.items():
            if setback.until is not None:
                found.add_open(
                    setback.member, "delay", setback.started_at, setback.until, job=job, number=setback.number
                )
        return found.recording(self._dropped)


def _kind(job: Job[Any], attempt: Attempt) -> Kind:
    """Return the outcome of an attempt. The pool reports an attempt after deciding about the job."""
    outcome = outcome_of(job, attempt)
    if outcome != "failed":
        return "cut short" if outcome == "cut_short" else outcome
    if job.state is JobState.DEAD:
        return "dead"
    if job.state is JobState.DISCARDED:
        return "discarded"
    return "put off" if is_a(attempt.error, RetryAfter) else "failed"


def _told_of(group: AnyGroup) -> tuple[str, str]:
    """The name of a group, and its jobs by their states."""
    seen = group.statistics()
    states = ", ".join(f"{count} {state.value}" for state in JobState if (count := getattr(seen, state.value)))
    jobs = counted(seen.submitted, "job")
    return "a group" if group.name is None else _shortened(group.name), f"{jobs}: {states}" if states else jobs


def _in_words(error: Exception) -> str:
    return _shortened(in_words(error, raw=True))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _write(text: str, file: str | PathLike[str] | TextIO) -> None:
    if isinstance(file, (str, PathLike)):
        Path(file).write_text(text, encoding="utf-8")
    else:
        file.write(text)
