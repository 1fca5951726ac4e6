"""The instrument that records what a pool does."""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import trio

from .._api.origins import engine_of, outcome_of
from .._api.pool import Instrument
from .._basics.is_a import is_a
from .._core.stream_window import InOrder
from .._model.errors import AttemptTimeoutError, JobTimeoutError
from .._runtime.job_context import current
from .._runtime.notify import InnerEvents
from ._file import LineWriter
from ._opening import described, differs_by_key, options_of, plain_options
from ._recording import Recording
from ._threads import Line, Threads
from ._traces import Coming, OpenStream, Trace, is_told, plain_verdict
from ._values import SharedLimits, error_name, plain_amounts, plain_number, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from pathlib import Path

    from .._api.job_group import JobGroup, SlotJobGroup
    from .._api.pool import Pool, SlotPool
    from .._core.retry_decision import Verdict
    from .._core.stream_window import StreamWindow
    from .._model.handles import Job, Worker
    from .._model.records import Group, JobRecord, JobSpec, Run
    from .._model.states import Attempt
    from .._policies.rate_meter import Amount
    from .._runtime.engine import Engine
    from ._threads import Thread

_A_MOMENT = 0.1  # seconds


class Recorder(Instrument, InnerEvents):
    """An instrument that writes what a pool does to a file, to be replayed as a `Recording`.

    Pass it as one of the ``instruments`` of `trio_pool.open_pool`. The file has one JSON value per line: the arguments
    with which the pool was opened, as far as they are plain values; how and when each job was submitted, with its
    options; and for each attempt, which worker ran it, how long it took, and how it ended. The jobs' names and keys are
    written, but no arguments, results or messages of errors.

    A recorder records one pool. It keeps unfinished jobs in memory, and writes ended ones within about a second, so
    that the file can be read after a crash. If the file can't be written, the pool logs the error once and removes the
    recorder, like every instrument that raises an exception.

    Arguments:
      path: the file; what is in it is overwritten.

    Raises:
      OSError: if the file can't be written.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._file = LineWriter(path)
        self._engine: Engine | None = None
        self._began = 0.0
        self._is_open = False
        self._limits = SharedLimits()
        self._traces: dict[Job[Any], Trace] = {}
        # How jobs were submitted that wait for a place in the queue, or that depend on others.
        self._coming: WeakKeyDictionary[JobRecord, Coming] = WeakKeyDictionary()
        self._threads: Threads
        self._streams: dict[StreamWindow[Any], OpenStream] = {}
        self._stream_numbers = count(1)
        self._groups: dict[Group, int] = {}
        self._group_numbers = count(1)
        # The first workers, and those that have joined since; and when each began to enter or leave its lifespan.
        self._workers: set[int] = set()
        # The lines from before the pool is open.
        self._early: list[dict[str, Any]] = []
        self._since: dict[int, float] = {}
        self._stages: dict[int, str] = {}
        # The threads that wait until a worker has left.
        self._removers: dict[int, Thread] = {}
        self._is_ending = False
        self._has_bounds_by_key = False
        # The rests that result from decisions about failures, by worker.
        self._expected_rests: dict[int, float] = {}
        # The options of the last job as plain values, kept since most jobs have the same.
        self._last_options: tuple[JobSpec, dict[str, Any]] | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def recording(self) -> Recording:
        """Return the recording so far, also while the pool runs.

        Not a checkpoint: the call blocks Trio's event loop.

        Raises:
          OSError: if the file can't be written or read.
          ValueError: if no pool has been opened with the recorder yet.
        """
        if self._is_open:
            self._file.flush()
        return Recording.load(self.path)

    # The pool.

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        self._meet(pool._engine)

    def _added(self, pool: Any) -> None:
        self._meet(pool._engine)

    def _body_ended(self, pool: object) -> None:
        self._is_ending = True
        self._write({"body_ended": self._now()})

    def _broken_off(self, pool: object) -> None:
        self._write({"broken_off": self._now()})

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        self._meet(pool._engine)
        self._threads.end_reads()
        self._write({"closed": self._now()})
        self._file.flush()
        self._is_open = False

    def _meet(self, engine: Engine) -> None:
        """Begin the recording at the first event of the pool."""
        if self._is_open and engine is self._engine:
            return
        if self._engine is not None:
            raise RuntimeError("a Recorder records one pool; make another one for this pool")
        self._engine, self._is_open = engine, True
        self._has_bounds_by_key = differs_by_key(engine.config.per_key)
        self._began = trio.current_time()
        self._threads = Threads(engine, self._began, lambda job: self._trace(job).threads, self._write)
        pool: Any = engine.pool
        elastic = pool._staff.elastic
        workers = [] if elastic is not None else list(engine.roster.by_id.values())
        self._workers.update(engine.roster.by_id)
        line = options_of(engine.config, elastic, self._limits)
        line["workers"] = [described(worker, engine.config, self._limits) for worker in workers]
        for each in ({"pool": line}, *self._early):
            self._write(each)
        self._early.clear()

    def _write(self, line: dict[str, Any]) -> None:
        if self._is_open:
            self._file.write(line, trio.current_time())
        else:
            self._early.append(line)

    def _now(self) -> float:
        return seconds(trio.current_time() - self._began)

    # Jobs.

    def job_submitted(self, job: Job[Any]) -> None:
        self._meet(engine_of(job))
        now = trio.current_time()
        line: dict[str, Any] = {"at": seconds(job._submitted_at - self._began)}
        coming = self._coming.pop(job, None)
        stream = None if job._window is None else self._streams.get(job._window)  # type: ignore[call-overload]
        if stream is not None:
            line["stream"] = stream.number
            if stream.took:
                line["took"], stream.took = seconds(stream.took), 0.0
        elif coming is not None and coming.thread is not None:
            line["step"] = coming.step
            coming.thread.done = max(now, coming.thread.done)
        else:
            line["step"] = self._step(job._submitted_at, job)
        if coming is not None and coming.after:
            line["after"] = coming.after
        if coming is not None and now > job._submitted_at:
            line["entered"] = seconds(now - self._began)
        group = job._options.group
        if group is not None:
            line["group"] = self._groups.get(group)
        line["name"] = job.name
        if options := self._options_of(job):
            line["options"] = options
        self._traces[job] = Trace(line)

    def _options_of(self, job: Job[Any]) -> dict[str, Any]:
        spec = job._options
        if self._last_options is None or self._last_options[0] is not spec:
            assert self._engine is not None
            self._last_options = spec, plain_options(spec, self._engine.config, self._limits)
        options = self._last_options[1]
        key = job._key
        if key is not None and self._has_bounds_by_key and job.key is not None:
            limits = None if key.meters is None else key.meters.limits
            bounds = {"max_running": plain_number(key.max_running), "weight": key._weight}
            return {**options, "bounds": {**bounds, "rate_limit": self._limits.plain(limits)}}
        return options

    def _lined_up(self, job: JobRecord) -> None:
        self._meet(engine_of(job))  # type: ignore[arg-type]
        if job._window is None:
            coming = self._coming.setdefault(job, Coming())
            coming.thread = self._threads.of_caller(job)
            coming.step = coming.thread.step(job._submitted_at)

    def _depends(self, job: JobRecord, after: tuple[JobRecord, ...]) -> None:
        self._coming.setdefault(job, Coming()).after = [other._id for other in after]

    def _trace(self, job: Job[Any]) -> Trace:
        """The trace of a job; a new one if the job was already under way when the recording began."""
        if job not in self._traces:
            self.job_submitted(job)
        return self._traces[job]

    def job_finished(self, job: Job[Any]) -> None:
        trace = self._trace(job)
        del self._traces[job]
        trace.begin()
        line = {"job": job.id, **trace.line, "end": job.state.name.lower()}
        assert job.finished_at is not None
        line["lasted"] = seconds(job.finished_at - job.submitted_at)
        if trace.last is not None:
            line["last"] = trace.last
        self._write(line)

    # Attempts.

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        self._trace(job).begin()

    def _judged(self, run: Run, verdict: Verdict) -> None:
        trace = self._trace(run.job)  # type: ignore[arg-type]
        trace.verdict = verdict
        if verdict.rest:
            self._expected_rests[run.worker._id] = trio.current_time() + verdict.rest

    def _run_left(self, run: Run, how: str) -> None:
        now = trio.current_time()
        self._trace(run.job).runs.append(  # type: ignore[arg-type]
            [run.number, run.worker._id, seconds(now - run.started_at), how]
        )

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        trace, error = self._trace(job), attempt.error
        line: dict[str, Any] = {"worker": attempt.worker_id, "at": seconds(attempt.started_at - self._began)}
        line["seconds"] = seconds(attempt.ended_at - attempt.started_at)
        outcome = outcome_of(job, attempt)
        line["end"] = "value" if outcome == "succeeded" else "cut" if outcome == "cut_short" else "error"
        if outcome == "failed" and error is not None:
            line["error"] = error_name(type(error))
            if is_a(error, (AttemptTimeoutError, JobTimeoutError)):
                line["end"] = "timeout"
            if trace.verdict is not None:
                line["decision"] = plain_verdict(trace.verdict)
                if is_told(error):
                    line["told"] = True
        if attempt.used:
            line["used"] = plain_amounts(attempt.used)
        if len(trace.runs) > 1:
            line["runs"] = [run[1:] for run in sorted(trace.runs)]
        if trace.steps:
            line["steps"] = trace.steps
        if job.state.is_final:
            trace.last = line
        else:
            self._write({"attempt": job.id, **line})

    def _used(self, run: Run, amounts: Mapping[str, Amount]) -> None:
        self._note(run, "used", plain_amounts(amounts))

    def _lent(self, run: Run, step: str) -> None:
        self._note(run, step, None)

    def _note(self, run: Run, what: str, value: object) -> None:
        trace = self._trace(run.job)  # type: ignore[arg-type]
        trace.note(trio.current_time() - run.started_at, what, value)

    # What the tasks of the program do, one call after another.

    def _step(self, at: float, job: JobRecord | None = None) -> list[float]:
        return self._threads.of_caller(job).step(at)

    def _do(self, what: str, details: Line | None = None, *, at: float | None = None) -> None:
        step = self._step(trio.current_time() if at is None else at)
        self._write({"step": step, "do": what, **(details or {})})

    def _stream(self, window: StreamWindow[Any], step: str, detail: object = None) -> None:
        assert self._engine is not None
        now, thread = trio.current_time(), self._threads.of_caller()
        stream = self._streams.get(window)
        if step == "entered":
            stream = self._streams[window] = OpenStream(next(self._stream_numbers), window)
            details: dict[str, Any] = {"stream": stream.number, "ordered": isinstance(window, InOrder)}
            self._do("stream", {**details, "buffer": plain_number(window._buffer)})
        elif stream is None:
            return  # entered before the recording began
        elif step == "asked":
            thread.asked(now)
        elif step == "read":
            thread.has_read(stream.number, now)
        elif step == "brought":
            stream.took = float(detail)  # type: ignore[arg-type]
        else:
            del self._streams[window]
            self._do("leave_stream", {"stream": stream.number})

    def _group(self, group: Group, step: str) -> None:
        if step == "entering":
            number = self._groups[group] = next(self._group_numbers)
            details = {"name": group.name, "must_succeed": group.must_succeed, "reserve": group.reserve}
            self._do("group", {"group": number, **details, "max_running": plain_number(group.max_running)})
        elif group in self._groups:  # otherwise it was entered before the recording began
            self._do("end_group", {"group": self._groups[group]})

    def group_opened(self, group: JobGroup[Any] | SlotJobGroup) -> None:
        self._threads.of_caller().done = trio.current_time()

    def group_closed(self, group: JobGroup[Any] | SlotJobGroup) -> None:
        number = self._groups.pop(group._record, None)
        if number is not None:
            self._threads.of_caller().done = trio.current_time()
            self._write({"left_group": number, "at": self._now()})

    # Workers, and what holds them and the pool back.

    def _check_pool(self, worker: Worker) -> None:
        if self._engine is not None and self._engine is not engine_of(worker):
            self._meet(engine_of(worker))

    def _session(self, worker: Worker, step: str) -> None:
        self._check_pool(worker)
        now = trio.current_time()
        if step != "left":
            self._since[worker.id] = now
        elif (since := self._since.pop(worker.id, None)) is not None:
            # The lifespan has been left, or could not be entered.
            what = "left" if self._stages.pop(worker.id, None) == "leaving" else "not_entered"
            self._write({what: worker.id, "seconds": seconds(now - since)})
        self._stages[worker.id] = step

    def worker_started(self, worker: Worker) -> None:
        self._check_pool(worker)
        now = trio.current_time()
        since = self._since.pop(worker.id, now)
        if self._stages.get(worker.id) == "entering":
            self._write({"entered": worker.id, "seconds": seconds(now - since)})
        if self._is_open and worker.id not in self._workers and not worker._elastic:
            assert self._engine is not None
            details = {"worker": described(worker, self._engine.config, self._limits)}
            self._do("add", details, at=since)
        self._workers.add(worker.id)

    def _removing(self, worker: Worker, cancel: bool) -> None:
        self._do("remove", {"worker": worker.id, "cancel": cancel})
        self._removers[worker.id] = self._threads.of_caller()

    def worker_stopped(self, worker: Worker) -> None:
        self._workers.discard(worker.id)
        self._stages.pop(worker.id, None)
        thread = self._removers.pop(worker.id, None)
        if thread is not None:
            thread.done = trio.current_time()

    def worker_paused(self, worker: Worker) -> None:
        self._do("pause", {"worker": worker.id})

    def worker_resumed(self, worker: Worker) -> None:
        if not self._is_own_doing():
            self._do("resume", {"worker": worker.id})

    def worker_resting(self, worker: Worker, until: float) -> None:
        # Real clocks go on between a decision and its effect.
        if abs(self._expected_rests.pop(worker.id, math.inf) - until) > _A_MOMENT:
            self._do("rest", {"worker": worker.id, "seconds": seconds(until - trio.current_time())})

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        if current.get() is not None:
            self._do("reopen", {"worker": worker.id})

    def pool_paused(self, pool: Pool[Any] | SlotPool) -> None:
        self._do("pause")

    def pool_resumed(self, pool: Pool[Any] | SlotPool) -> None:
        if not self._is_own_doing():
            self._do("resume")

    def pool_resting(self, pool: Pool[Any] | SlotPool, until: float) -> None:
        self._do("rest", {"seconds": seconds(until - trio.current_time())})

    def _is_own_doing(self) -> bool:
        """Whether the pool itself resumes everything, since its body has ended."""
        return self._is_ending and current.get() is None
