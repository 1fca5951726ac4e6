"""What ``build_graph.py`` shows: a line of progress now and then, and a table of what was done at its end."""

from __future__ import annotations

import math
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trio_pool import Job, JobState, SlotPool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from import_graph import ImportGraph, Unit


@dataclass(frozen=True)
class Report:
    """A build that has ended, whichever way.

    Attributes:
        graph: The files and the units.
        jobs: Those of the units, by their names, in an order in which they may run.
        slots: How many of them could run at once.
        thread_seconds: How long threads were at what was compiled.
        cpu_seconds: For how much of that they were on a processor.
    """

    graph: ImportGraph
    jobs: Mapping[str, Job[Any]]
    slots: int
    thread_seconds: float
    cpu_seconds: float

    def lines(self) -> Iterator[str]:
        if not self.jobs:
            yield "stopped before anything was compiled"
            return
        yield from self._lines_on_nodes()
        yield ""
        yield from self._lines_on_time()
        for name, job in self.jobs.items():
            if job.state is JobState.DEAD:
                yield ""
                yield f"{self.graph.units[name]} failed: {job.reason}"

    def _lines_on_nodes(self) -> Iterator[str]:
        units = self.graph.units
        yield f"{'':<20}{'nodes':>10}{'files':>10}"
        yield count("to compile", units.values())
        for what, state in {
            "compiled": JobState.SUCCEEDED,
            "failed": JobState.DEAD,
            "discarded": JobState.DISCARDED,
            "cancelled": JobState.CANCELLED,
        }.items():
            yield count(what, [units[name] for name, job in self.jobs.items() if job.state is state])
        cycles = [unit for unit in units.values() if len(unit.modules) > 1]
        yield count("cycles contracted", cycles)
        if cycles:
            largest = max(cycles, key=lambda unit: len(unit.modules))
            yield f"{count('largest cycle', [largest])}   with {largest.name}"
        yield f"{'edges':<20}{sum(len(unit.after) for unit in units.values()):>10}"

    def _lines_on_time(self) -> Iterator[str]:
        path = self.critical_path()
        critical = sum(seconds(self.jobs[unit.name]) for unit in path)
        work = sum(map(seconds, self.jobs.values()))
        least = max(critical, work / self.slots)
        ends = [job.finished_at for job in self.jobs.values() if job.finished_at is not None]
        elapsed = max(ends) - min(job.submitted_at for job in self.jobs.values())
        actual = f"{self.thread_seconds:.2f} s of it in threads, of which {self.cpu_seconds:.2f} s on a processor"
        for what, amount, remark in [
            ("elapsed", elapsed, ""),
            ("work", work, actual),
            ("critical path", critical, f"in {len(path)} nodes"),
            ("at least", least, f"the critical path, or the work / {self.slots}, whichever is longer"),
            ("idle", self.idle_seconds(), "a slot, with a node ready for it"),
        ]:
            yield f"{what:<20}{amount:>8.2f} s   {remark}".rstrip()
        if critical > 0:
            yield f"{'elapsed / critical':<20}{elapsed / critical:>8.2f}"
            yield f"{'elapsed / at least':<20}{elapsed / least:>8.2f}"
        yield ""
        names = " > ".join(map(str, path))
        yield from textwrap.wrap(f"critical path: {names}", width=100, break_long_words=False, break_on_hyphens=False)

    def critical_path(self) -> list[Unit]:
        """Of all ways through the graph, the one whose nodes took longest."""
        longest: dict[str, float] = {}
        before: dict[str, str | None] = {}
        for name, job in self.jobs.items():
            last = max(self.graph.units[name].after, key=longest.__getitem__, default=None)
            before[name] = last
            longest[name] = seconds(job) + (0.0 if last is None else longest[last])
        path: list[Unit] = []
        step = max(longest, key=longest.__getitem__, default=None)
        while step is not None:
            path.append(self.graph.units[step])
            step = before[step]
        return path[::-1]

    def idle_seconds(self) -> float:
        """For how long fewer nodes ran than there are slots, though there was one ready to."""
        changes: list[tuple[float, JobState | None, JobState]] = []
        for job in self.jobs.values():
            left: JobState | None = None
            for change in job.history:
                changes.append((change.at, left, change.state))
                left = change.state
        changes.sort(key=lambda change: change[0])
        idle, last = 0.0, math.inf
        now_in = Counter[JobState | None]()
        for at, left, entered in changes:
            if now_in[JobState.QUEUED] and now_in[JobState.RUNNING] < self.slots:
                idle += at - last
            now_in[left] -= 1
            now_in[entered] += 1
            last = at
        return idle


def count(what: str, units: Collection[Unit]) -> str:
    return f"{what:<20}{len(units):>10}{sum(len(unit.modules) for unit in units):>10}"


def seconds(job: Job[Any]) -> float:
    """How long the job held a slot, by its attempts that ended by themselves."""
    return sum(attempt.ended_at - attempt.started_at for attempt in job.attempts)


async def show_progress(pool: SlotPool) -> None:
    async for now in pool.snapshots(1.0):
        print(
            f"{now.succeeded:>4} of {now.submitted} nodes compiled, "
            f"{now.running} running, {now.queued} ready, {now.blocked} waiting for others",
            file=sys.stderr,
            flush=True,
        )
