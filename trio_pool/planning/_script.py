"""A recording in the form that a replay needs: what each task does, and the course of each job."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._model.handles import Job

Line = dict[str, Any]
Step: TypeAlias = "tuple[float, int, Line | Script]"


_A_MOMENT = 0.001  # seconds


class Script:
    """The course of a job.

    Attributes:
      id: the job's number in the recording.
      line: the line of the job.
      recorded: the lines of its attempts, in order, without those that were cut short and repeated.
      attempts: the lines among these that are not `Mishaps`.
      threads: what tasks inside its attempts do, by the number of the attempt.
      usual: how many seconds an attempt takes if none of the job was recorded.
      begun: in a replay, how many attempts have begun.
      mishaps: in a replay, how many mishaps the job has had.
      at: in a replay, how many of the recorded attempts have begun.
      current: in a replay, the line of the last of these.
      has_ended_as_recorded: in a replay, whether that attempt has ended as its line says.
      job: in a replay, the job.
      goes_on: in a replay, whether the job is not cancelled, since its pool is not.
    """

    # fmt: off
    __slots__ = (
        "_runs", "at", "attempts", "begun", "current", "goes_on", "has_ended_as_recorded", "id", "job", "line",
        "mishaps", "recorded", "threads", "usual",
    )
    # fmt: on

    def __init__(self, line: Line, attempts: list[Line], usual: float) -> None:
        self.id: int = line["job"]
        self.line = line
        self.attempts = attempts
        self.usual = usual
        self.threads: dict[int, list[ThreadScript]] = {}
        self.begun = 0
        self.recorded = attempts
        self.at = 0
        self.mishaps = 0
        self.current: Line = {}
        self.has_ended_as_recorded = True
        self._runs = 0
        self.job: Job[Any] | None = None
        self.goes_on = False

    def copy(self) -> Script:
        """The script for one more replay."""
        fresh = Script(self.line, self.attempts, self.usual)
        fresh.recorded = self.recorded
        fresh.threads = dict(self.threads)
        return fresh

    def begin(self, *, is_further: bool) -> tuple[Line, list[Any]]:
        """Begin a run; return the line of its attempt, and the recorded run: its worker, its seconds, and how it ended.

        After the recorded attempts, the last one is repeated; after the recorded runs of an attempt, its last run is.
        """
        if is_further:
            self._runs += 1
        else:
            self.begun += 1
            self._runs = 0
            at = min(self.begun, len(self.attempts)) - 1
            self.current = self.attempts[at] if self.attempts else {"end": "value", "seconds": self.usual}
        attempt = self.current
        runs = attempt.get("runs")
        if runs is None:
            return attempt, [None, attempt["seconds"], attempt["end"]]
        return attempt, runs[min(self._runs, len(runs) - 1)]

    def take_back(self) -> None:
        """Make the attempt that has begun the next one again."""
        self.begun -= 1
        self.at -= 1

    def take_threads(self, attempt: Line) -> list[ThreadScript]:
        """What tasks in an attempt do, if the attempt is one of this job and they have not been performed yet."""
        return self.threads.pop(attempt["number"], []) if attempt in self.attempts else []

    @property
    def is_cancelled_alone(self) -> bool:
        """Whether the program has cancelled the job itself, and not the end of a stream or of anything else."""
        return self.line["end"] == "cancelled" and "stream" not in self.line and not self.goes_on

    def go_on_after(self, cancelled_at: float) -> None:
        """Let the job run to its end if it was cancelled with its pool, at this time."""
        self.goes_on = self.line["at"] + self.line["lasted"] > cancelled_at - _A_MOMENT


class Cursor:
    """Goes through the steps of a thread.

    Attributes:
      last: the content of the last step that was returned.
    """

    def __init__(self, steps: list[Step]) -> None:
        self._steps = iter(steps)
        self.last: Line | Script | None = None

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        step = next(self._steps)
        self.last = step[2]
        return step

    def skip_to(self, end: Line) -> None:
        """Skip the steps up to the one that ends the block, unless it was the last one returned."""
        if not is_end(self.last, end):
            for _, _, step in self:
                if is_end(step, end):
                    break


def is_end(step: Line | Script | None, end: Line | None) -> bool:
    """Whether a step ends a block."""
    return isinstance(step, dict) and end is not None and step.items() >= end.items()


class ThreadScript:
    """What one task of the program does with the pool.

    Attributes:
      number: counts from 1.
      steps: the steps in order; each has the seconds since the end of the previous step, its number among the steps of
          all threads, and a line or the script of a job.
    """

    __slots__ = ("number", "steps")

    def __init__(self, number: int, steps: list[Step]) -> None:
        self.number = number
        self.steps = steps


class Contents:
    """The contents of a recording.

    Attributes:
      opening: the options of the pool.
      workers: the workers with which the pool was opened, then those that were added.
      opened_with: the number of workers with which the pool was opened.
      sessions: for each worker, the seconds of each time that it entered its lifespan; as text if that failed.
      exits: for each worker, the seconds of each time that it left its lifespan.
      threads: what the tasks outside of jobs do.
      scripts: the jobs by their numbers, in the order in which they entered.
      mishaps: for each worker, its attempts in order: the attempt if it failed because of the worker, else None.
      streams: the jobs of each stream, in order.
      elapsed: seconds from the opening to the end, or to the last event that was written.
      tail: seconds between the program's last call and the end of the pool's body.
      waits: whether all jobs had ended before the end of the body: then the tail begins at the end of the last job.
      body_has_ended: whether the pool's body has ended without an error.
      broken_off: when the pool was cancelled, or its block left because of an error; otherwise None.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self.opening: Line = {}
        self.workers: list[Line] = []
        self.opened_with: int = 0
        self.enters: dict[int, list[tuple[float, bool]]] = {}
        self.exits: dict[int, list[float]] = {}
        self.threads: list[ThreadScript] = []
        self.scripts: dict[int, Script] = {}
        self.mishaps: dict[int, list[Line | None]] = {}
        self.streams: dict[int, list[Script]] = {}
        self.elapsed: float = 0.0
        self.tail: float = 0.0
        self.waits: bool = False
        self.body_has_ended: bool = False
        self._attempts: dict[int, list[Line]] = {}
        self._jobs: list[Line] = []
        self._steps: dict[int, list[tuple[list[Any], Line | Script]]] = {}
        self._last_step = 0.0
        self._inner: dict[int, Line] = {}
        self.broken_off: float | None = None
        self._body_ended: float | None = None
        self._ended_before_body = 0  # jobs
        for line in lines:
            self._add(line)
        if not self.opening:
            raise ValueError("the recording is empty: no pool was opened with its recorder")
        self._put_together()

    def _add(self, line: Line) -> None:
        if "job" in line and "end" in line:
            self._jobs.append(line)
            self.elapsed = max(self.elapsed, line["at"] + line["lasted"])
        elif "attempt" in line and "seconds" in line:
            self._attempts.setdefault(line["attempt"], []).append(line)
            self.elapsed = max(self.elapsed, line["at"] + line["seconds"])
        elif "thread" in line:
            self._inner[line["thread"]] = line
        elif "step" in line:
            self._add_step(line["step"], line)
            if line.get("do") == "add":
                self.workers.append(line["worker"])
        elif "entered" in line or "not_entered" in line:
            worker: int = line["entered"] if "entered" in line else line["not_entered"]
            self.enters.setdefault(worker, []).append((line["seconds"], "entered" in line))
        elif "left" in line:
            self.exits.setdefault(line["left"], []).append(line["seconds"])
        elif "pool" in line:
            self.opening = line["pool"]
            self.workers = self.opening["workers"]
            self.opened_with = len(self.workers)
        elif "left_group" in line:
            self._last_step = max(self._last_step, line["at"])
        elif "body_ended" in line:
            self._body_ended = line["body_ended"]
            self._ended_before_body = len(self._jobs)
        elif "broken_off" in line:
            self.broken_off = line["broken_off"]
        elif "closed" in line:
            self.elapsed = max(self.elapsed, line["closed"])

    def _add_step(self, step: list[float], what: Line | Script) -> None:
        self._steps.setdefault(int(step[0]), []).append((step, what))
        self._last_step = max(self._last_step, step[3])

    def _put_together(self) -> None:
        self._jobs.sort(key=lambda line: line["job"])
        times = [line["last"]["seconds"] for line in self._jobs if "last" in line]
        usual = median(times) if times else 0.0
        for line in self._jobs:
            # Attempts that were cut short and repeated are left out: a replay has cuts of its own.
            attempts = [attempt for attempt in self._attempts.get(line["job"], ()) if attempt["end"] != "cut"]
            if "last" in line:
                attempts.append(line["last"])
            script = self.scripts[line["job"]] = Script(line, attempts, usual)
            self._last_step = max(self._last_step, line.get("entered", 0.0))
            if "stream" in line:
                self.streams.setdefault(line["stream"], []).append(script)
            else:
                self._add_step(line["step"], script)
        self._give_mishaps_to_workers()
        for number, steps in sorted(self._steps.items()):
            thread = ThreadScript(number, _with_gaps(steps))
            origin = self._inner.get(number)
            if origin is None:
                self.threads.append(thread)
            elif (parent := self.scripts.get(origin["job"])) is not None:
                parent.threads.setdefault(origin["attempt"], []).append(thread)
            else:  # the job was under way when the recording ended
                gap, order, first = thread.steps[0]
                thread.steps[0] = (gap + origin["at"], order, first)
                self.threads.append(thread)
        ends = [line["at"] + line["lasted"] for line in self._jobs]
        self.body_has_ended = self._body_ended is not None
        if self._body_ended is not None:
            last = max([0.0, *ends])
            # Not determined by times: jobs that ended at the same instant may have ended because of the body's end.
            self.waits = self._ended_before_body == len(self._jobs)
            self.tail = max(0.0, self._body_ended - (max(self._last_step, last) if self.waits else self._last_step))

    def _give_mishaps_to_workers(self) -> None:
        """Move failed attempts that the workers caused from the jobs to the workers.

        See `Mishaps`. Attempts with tasks that call the pool, and hedged ones, stay with their jobs.
        """
        with_threads = {(origin["job"], origin["attempt"]) for origin in self._inner.values()}
        by_worker: dict[int, list[tuple[float, Line | None]]] = {}
        for script in self.scripts.values():
            own: list[Line] = []
            for counted, attempt in enumerate(script.attempts, 1):
                attempt["number"] = counted
                decision = attempt.get("decision", {})
                is_workers = "again" in decision and (
                    "rest" in decision
                    or decision["placement"] == "other"
                    or (decision.get("failure", False) and self.has_breaker(attempt["worker"]))
                )
                if "runs" in attempt or (script.id, counted) in with_threads:
                    is_workers = False
                by_worker.setdefault(attempt["worker"], []).append((attempt["at"], attempt if is_workers else None))
                attempt["is_mishap"] = is_workers
                if not is_workers:
                    own.append(attempt)
            script.recorded, script.attempts = script.attempts, own
        for worker, attempts in by_worker.items():
            attempts.sort(key=lambda attempt: attempt[0])
            mishaps = [attempt for _, attempt in attempts]
            if any(mishaps):
                self.mishaps[worker] = mishaps

    def has_breaker(self, worker: int) -> bool:
        """Whether failures count against a worker, which its circuit breaker would take out of use."""
        elastic: Line | None = self.opening.get("elastic")
        given = [each for each in self.workers if each["id"] == worker] if elastic is None else [elastic]
        return any(each.get("breaker") is not None for each in [self.opening, *given])


def _with_gaps(steps: list[tuple[list[Any], Line | Script]]) -> list[Step]:
    """The steps of a task in order, each with the seconds since the end of the previous step."""
    found: list[Step] = []
    last, last_at = 0.0, 0.0
    for (_, number, gap, at, order), what in sorted(steps, key=lambda step: step[0][1]):
        # Steps of jobs that were under way when the recording ended are missing.
        found.append((gap if number == last + 1 or not found else max(0.0, at - last_at), order, what))
        last, last_at = number, at
    return found
