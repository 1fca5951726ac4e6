"""Short descriptions of jobs, attempts and workers for messages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._basics.error_text import in_words
from .._basics.text import call_arguments, one_line
from .states import WorkerState

if TYPE_CHECKING:
    from .job_extra import Progress
    from .records import Group, JobRecord, WorkerRecord
    from .states import Attempt


def label(job: JobRecord) -> str:
    """A job's label in messages: its name, or the call with its arguments. Built once, then kept."""
    extra = job._extras
    if extra.label is None:
        name = one_line(job.name)
        shows = job._options.show_arguments and not job._options.name
        arguments = call_arguments(job._fn, job._args) if shows else ""
        extra.label = f"{name}({arguments})" if arguments else name
    return extra.label


def full_label(job: JobRecord) -> str:
    """A job's label, but with the user's name for the job in full and unchanged."""
    return job._options.name or label(job)


def arguments(job: JobRecord) -> str:
    """The arguments in a job's label, or an empty string if the label shows none."""
    return "" if job._options.name else label(job)[len(one_line(job.name)) + 1 : -1]


def title(job: JobRecord) -> str:
    """The job's number and label."""
    return f"job {job.id} ({label(job)})"


def how_far(progress: Progress) -> str:
    """A job's progress in words: ``30 of 100 (30 %), reading``."""
    done, total = progress.done, progress.total
    words = _number(done)
    if total is not None:
        words = f"{words} of {_number(total)}"
        if 0 < total >= done:
            words = f"{words} ({int(100 * (done / total))} %)"
    return f"{words}, {one_line(progress.note, 80)}" if progress.note else words


def _number(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.12g}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 attempt``, ``2 attempts``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortcomings(job: JobRecord) -> str:
    """Why a job has no result so far, and its last error unless the reason contains it."""
    reason = " ".join(job.reason.split())
    last = job.attempts[-1].error if job.attempts else None
    if last is None:
        return reason
    words = in_words(last)
    text = words.partition(": ")[2]
    # The reason already contains the pool's own errors, and the reason that a function gave for giving up.
    if words in reason or reason in (text, f"given up: {text}"):
        return reason
    return f"{reason}; last error: {words}" if reason else f"last error: {words}"


def attempt_line(attempt: Attempt, outcome: str = "") -> str:
    """An attempt in one line: its number, its workers, its duration, and its error or the given outcome."""
    names = [attempt.worker_name, *(name for _, name in attempt.hedges)]
    workers = " and ".join(one_line(name) for name in names)
    if not outcome:
        outcome = "succeeded" if attempt.error is None else one_line(in_words(attempt.error))
    return f"attempt {attempt.number} on {workers}, {attempt.ended_at - attempt.started_at:.3f} s: {outcome}"


def attempt_lines(job: JobRecord) -> list[str]:
    """One line for each kept attempt of a job, and one for the attempts left out in between."""
    lines: list[str] = []
    number = 0
    for attempt in job.attempts:
        if left_out := attempt.number - number - 1:
            lines.append(f"({counted(left_out, 'attempt')} left out)")
        lines.append(attempt_line(attempt))
        number = attempt.number
    return lines


def reservation(worker: WorkerRecord) -> str:
    """The group for which a worker is reserved, in words, or an empty string."""
    group = worker._kind.group
    if group is not None:
        return f"reserved for {_name_of(group)}"
    kept = ", ".join(f"{places} for {_name_of(group)}" for group, places in tuple(worker._kept.items()))
    return f"places reserved: {kept}" if kept else ""


def _name_of(group: Group) -> str:
    return "a group" if group.name is None else f"the group {one_line(group.name)!r}"


def places(taken: int, most: float) -> str:
    """How many of a worker's places are taken: ``12/20``."""
    return f"{taken}/{'inf' if most == math.inf else most}"


def doings(worker: WorkerRecord, now: float) -> str:
    """What a worker is doing, and what holds it back until when."""
    state = worker.state
    if state is WorkerState.STARTING or state is WorkerState.STOPPED:
        return state.name.lower()
    holds: list[str] = []
    for hold in sorted(worker._holds, key=lambda hold: hold.value):
        until = worker._holds[hold]
        left = "" if until == math.inf else f" until {until:.1f} ({max(until - now, 0):.1f} s left)"
        holds.append(f"{hold.name.lower()}{left}")
    if reserved := reservation(worker):
        holds.append(reserved)
    if run := next(iter(worker._runs), None):
        busy = f"busy with {title(run.job)} for {now - run.started_at:.1f} s"
        if worker._max_running != 1:
            busy = f"{busy} ({places(len(worker._runs), worker._max_running)} places)"
        return f"{busy}, then {', '.join(holds)}" if holds else busy
    if state is WorkerState.IDLE:
        holds.insert(0, state.name.lower())
    return ", ".join(holds)
