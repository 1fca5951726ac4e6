"""Jobs, attempts and workers in few words, for those who read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._seat import Phase, WorkerState
from ._tracebacks import in_words

if TYPE_CHECKING:
    from ._job import Attempt, Job
    from ._seat import Seat

_MOST = 200


def one_line(text: str, most: int = _MOST) -> str:
    """The text in one line of ``most`` characters at most, all of them printable."""
    text = " ".join(text.split())
    if not text.isprintable():
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def title(job: Job[Any]) -> str:
    """Which job it is."""
    return f"job {job.id} ({one_line(job.name)})"


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 attempt``, ``2 attempts``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortcomings(job: Job[Any]) -> str:
    """Why a job has no result so far, and its last error unless that says so already."""
    reason = " ".join(job.reason.split())
    last = job.attempts[-1].error if job.attempts else None
    if last is None:
        return reason
    words = in_words(last)
    text = words.partition(": ")[2]
    # What the pool has raised itself, and what a function gave up with, is the reason already.
    if words in reason or reason in (text, f"given up: {text}"):
        return reason
    return f"{reason}; last error: {words}" if reason else f"last error: {words}"


def attempt_line(attempt: Attempt, outcome: str = "") -> str:
    """An attempt in one line: its number, its worker, how long it took, and its error, or this outcome."""
    names = [attempt.worker_name, *(name for _, name in attempt.hedges)]
    workers = " and ".join(one_line(name) for name in names)
    if not outcome:
        outcome = "succeeded" if attempt.error is None else one_line(in_words(attempt.error))
    return f"attempt {attempt.number} on {workers}, {attempt.ended_at - attempt.started_at:.3f} s: {outcome}"


def attempt_lines(job: Job[Any]) -> list[str]:
    """A line for each kept attempt of a job, and one for those in between."""
    lines: list[str] = []
    number = 0
    for attempt in job.attempts:
        if left_out := attempt.number - number - 1:
            lines.append(f"({counted(left_out, 'attempt')} left out)")
        lines.append(attempt_line(attempt))
        number = attempt.number
    return lines


def doings(seat: Seat, now: float) -> str:
    """What a worker is doing, and what keeps it from jobs until when."""
    state = seat.state
    if state is WorkerState.STARTING or state is WorkerState.STOPPED:
        return state.name.lower()
    holds = ["paused"] if seat._paused else []
    for name, until in (
        ("quarantined", seat._quarantined_until),
        ("resting", seat._resting_until),
        ("limited", seat._limited_until),
    ):
        if until is not None:
            holds.append(f"{name} until {until:.1f} ({max(until - now, 0):.1f} s left)")
    if seat._phase is Phase.REOPENING:
        holds.append("reopening")
    if seat._departing:
        holds.append("leaving")
    if seat._current is not None:
        busy = f"busy with {title(seat._current)} for {now - seat._started_at:.1f} s"
        return f"{busy}, then {', '.join(holds)}" if holds else busy
    if state is WorkerState.IDLE:
        holds.insert(0, state.name.lower())
    return ", ".join(holds)
