"""The error for a job that would wait forever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._basics.text import one_line, shown
from .._model.errors import JobDeadlockError
from .._model.states import Hold
from .._model.text import label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._core.waits import Wait
    from .._model.records import JobRecord, Run


_MOST_OF_KEY = 40


def deadlock_of(wait: Wait) -> JobDeadlockError:
    """Return the error for a wait that would never end."""
    job, name = wait.run.job, one_line(wait.run.worker.name)
    if wait.for_place:
        held_by = _holders(run for run in wait.stuck if run.job is not job)
        words = (
            f"the job {label(job)} would wait forever to get {name} back, which it has lent: "
            f"it has to end before {held_by} can go on. It goes on without a worker, and must not use the resource"
        )
        return JobDeadlockError(f"{words}; {_cure(job)}" if wait.lending_helps else words)
    wish = "workers for its group alone" if wait.group is not None else _names_of(wait.jobs())
    held_by = _holders(wait.stuck)
    words = f"the job {label(job)} would wait forever for {wish}: that can't happen while these jobs wait: {held_by}"
    if wait.full_keys:
        full = _in_short(
            [f"{shown(key.value, _MOST_OF_KEY)} (max_running={key.max_running})" for key in wait.full_keys]
        )
        words += f"; no more jobs of these keys can run: {full}"
    return JobDeadlockError(f"{words}; {_cure(job)}" if wait.lending_helps else words)


def _cure(job: JobRecord) -> str:
    lender = "lease.job" if job._options.is_lease else "current_job()"
    return f"'async with {lender}.lend():' around the wait lets other jobs use the worker meanwhile"


def _names_of(jobs: Iterable[JobRecord]) -> str:
    """The labels of the jobs that have not ended."""
    return _in_short([label(job) for job in jobs if not job.state.is_final])


def _holders(runs: Iterable[Run]) -> str:
    """The labels of waiting jobs, with the state of their workers."""
    return _in_short([f"{label(run.job)} ({_hold_of(run)})" for run in runs])


def _in_short(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _hold_of(run: Run) -> str:
    """The relation of a waiting job to its worker."""
    worker = run.worker
    name = one_line(worker.name)
    if not run.is_lent:
        return f"on {name}"
    if run.is_forfeited:
        return f"has lent {name} and goes on without it"
    if worker._is_leaving:
        return f"has lent {name}, which is about to leave"
    if Hold.REOPENING in worker._holds:
        return f"has lent {name}, whose resource is broken"
    return f"has lent {name}"
