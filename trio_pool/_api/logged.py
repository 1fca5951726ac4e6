"""Logging the events of a pool."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypedDict, cast

import trio

from .._basics.error_text import first_leaf, in_words
from .._basics.text import one_line, qualified_type_name, shown
from .._model.states import JobState
from .._model.text import arguments, attempt_line, attempt_lines, counted, how_far, shortcomings, title
from .._policies import validate
from .origins import engine_of, outcome_of
from .pool import Instrument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from .._model.handles import Job, Worker
    from .._model.states import Attempt
    from .._model.statistics import PoolStatistics
    from .job_group import JobGroup, SlotJobGroup
    from .pool import Pool, SlotPool


class LogLevels(TypedDict, total=False):
    """The kinds of events that `Logged` logs, as its keyword arguments. ``None`` disables a kind."""

    pool_opened: int | None
    """``INFO`` by default"""
    pool_closed: int | None
    """``INFO`` by default"""
    pool_paused: int | None
    """``INFO`` by default"""
    pool_resumed: int | None
    """``INFO`` by default"""
    pool_resting: int | None
    """``INFO`` by default"""
    job_submitted: int | None
    """``DEBUG`` by default"""
    attempt_started: int | None
    """``DEBUG`` by default"""
    attempt_succeeded: int | None
    """``DEBUG`` by default"""
    attempt_failed: int | None
    """``DEBUG`` by default"""
    attempt_cut_short: int | None
    """``DEBUG`` by default"""
    job_delayed: int | None
    """``DEBUG`` by default"""
    job_progress: int | None
    """``DEBUG`` by default"""
    job_succeeded: int | None
    """``DEBUG`` by default"""
    job_dead: int | None
    """``WARNING`` by default; with a line for each kept attempt"""
    job_cancelled: int | None
    """``DEBUG`` by default"""
    job_discarded: int | None
    """``INFO`` by default"""
    group_opened: int | None
    """``DEBUG`` by default"""
    group_closed: int | None
    """``DEBUG`` by default"""
    worker_started: int | None
    """``DEBUG`` by default"""
    worker_paused: int | None
    """``INFO`` by default"""
    worker_resumed: int | None
    """``INFO`` by default"""
    worker_resting: int | None
    """``INFO`` by default"""
    worker_quarantined: int | None
    """``WARNING`` by default"""
    worker_reopening: int | None
    """``WARNING`` by default: the resource is broken, or can't be opened"""
    worker_recycling: int | None
    """``DEBUG`` by default: the resource has reached ``max_jobs`` or ``max_age``"""
    worker_stopped: int | None
    """``DEBUG`` by default"""


_LEVELS: Mapping[str, int] = {
    "pool_opened": logging.INFO,
    "pool_closed": logging.INFO,
    "pool_paused": logging.INFO,
    "pool_resumed": logging.INFO,
    "pool_resting": logging.INFO,
    "job_submitted": logging.DEBUG,
    "attempt_started": logging.DEBUG,
    "attempt_succeeded": logging.DEBUG,
    "attempt_failed": logging.DEBUG,
    "attempt_cut_short": logging.DEBUG,
    "job_delayed": logging.DEBUG,
    "job_progress": logging.DEBUG,
    "job_succeeded": logging.DEBUG,
    "job_dead": logging.WARNING,
    "job_cancelled": logging.DEBUG,
    "job_discarded": logging.INFO,
    "group_opened": logging.DEBUG,
    "group_closed": logging.DEBUG,
    "worker_started": logging.DEBUG,
    "worker_paused": logging.INFO,
    "worker_resumed": logging.INFO,
    "worker_resting": logging.INFO,
    "worker_quarantined": logging.WARNING,
    "worker_reopening": logging.WARNING,
    "worker_recycling": logging.DEBUG,
    "worker_stopped": logging.DEBUG,
}


class Logged(Instrument):
    """An `Instrument` that logs the events of a pool.

    By default it logs to ``trio_pool.pools``, ``trio_pool.groups``, ``trio_pool.jobs`` and
    ``trio_pool.workers``, so that each can have its own level. A message is formatted only if its
    level is enabled.

    Each log record has the data of the event as attributes too. ``pool_event`` is the kind of
    event, ``pool_name`` is the pool's name or None. Further attributes begin with ``job_``,
    ``group_``, ``attempt_``, ``worker_``, ``error_`` or ``pool_``, where they apply; ``group_name``
    also where a job belongs to a group. Durations are in seconds.

    Arguments:
      logger: one logger for all events instead.
      **levels: the level of a kind of event, or None to disable it; see `LogLevels`.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    def __init__(self, logger: logging.Logger | None = None, **levels: Unpack[LogLevels]) -> None:
        validate.optional("logger", logger, logging.Logger)
        self._levels = dict(_LEVELS)
        for kind, level in cast("Mapping[str, object]", levels).items():
            if kind not in _LEVELS:
                raise TypeError(
                    f"Logged() got an unexpected keyword argument {shown(kind)}; it knows {', '.join(_LEVELS)}"
                )
            self._levels[kind] = 0 if level is None else validate.count(kind, level, least=1)
        self._pools = logging.getLogger("trio_pool.pools") if logger is None else logger
        self._groups = logging.getLogger("trio_pool.groups") if logger is None else logger
        self._jobs = logging.getLogger("trio_pool.jobs") if logger is None else logger
        self._workers = logging.getLogger("trio_pool.workers") if logger is None else logger

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        """Logged with the number of workers."""
        if level := self._level("pool_opened", self._pools):
            number = len(pool.workers)
            facts = _facts("pool_opened", pool.name, pool_workers=number)
            self._pools.log(level, "%s is open with %s", _pool(pool), counted(number, "worker"), extra=facts)

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        """Logged with the number of jobs in each final state."""
        if level := self._level("pool_closed", self._pools):
            words, numbers = _ends(pool.statistics(), "pool")
            facts = _facts("pool_closed", pool.name, **numbers)
            self._pools.log(level, "%s is closed after %s", _pool(pool), words, extra=facts)

    def pool_paused(self, pool: Pool[Any] | SlotPool) -> None:
        """Logged."""
        self._tell_of_pool(pool, "pool_paused", "is paused")

    def pool_resumed(self, pool: Pool[Any] | SlotPool) -> None:
        """Logged."""
        self._tell_of_pool(pool, "pool_resumed", "is resumed")

    def pool_resting(self, pool: Pool[Any] | SlotPool, until: float) -> None:
        """Logged with the duration of the rest."""
        delay = until - trio.current_time()
        self._tell_of_pool(pool, "pool_resting", f"rests for {delay:.3f} s", pool_delay=delay)

    def job_submitted(self, job: Job[Any]) -> None:
        """Logged with its priority."""
        if level := self._level("job_submitted", self._jobs):
            facts = _facts_of_job("job_submitted", job, job_priority=job.priority)
            self._jobs.log(level, "%s is submitted", title(job), extra=facts)

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        """Logged with its worker."""
        if level := self._level("attempt_started", self._jobs):
            number = job.attempt_count + 1
            facts = _facts_of_job(
                "attempt_started", job, attempt_number=number, worker_id=worker.id, worker_name=worker.name
            )
            self._jobs.log(level, "%s: attempt %d on %s begins", title(job), number, one_line(worker.name), extra=facts)

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        """Logged with its worker, its duration and its error."""
        outcome = outcome_of(job, attempt)
        event = f"attempt_{outcome}"
        if level := self._level(event, self._jobs):
            facts = _facts_of_job(
                event,
                job,
                attempt_number=attempt.number,
                attempt_seconds=attempt.ended_at - attempt.started_at,
                worker_id=attempt.worker_id,
                worker_name=attempt.worker_name,
            )
            if outcome == "failed":
                facts |= _facts_of_error(attempt.error)
            line = attempt_line(attempt, "cut short" if outcome == "cut_short" else "")
            self._jobs.log(level, "%s: %s", title(job), line, extra=facts)

    def job_delayed(self, job: Job[Any], until: float) -> None:
        """Logged with the delay."""
        if level := self._level("job_delayed", self._jobs):
            delay = until - trio.current_time()
            facts = _facts_of_job("job_delayed", job, job_delay=delay)
            self._jobs.log(level, "%s backs off for %.3f s", title(job), delay, extra=facts)

    def job_progress(self, job: Job[Any]) -> None:
        """Logged with what is done, the total and the note."""
        if level := self._level("job_progress", self._jobs):
            progress = job.progress
            assert progress is not None
            told = {"job_done": progress.done, "job_total": progress.total, "job_note": progress.note}
            facts = _facts_of_job("job_progress", job, **told)
            self._jobs.log(level, "%s: %s", title(job), how_far(progress), extra=facts)

    def job_finished(self, job: Job[Any]) -> None:
        """Logged with the reason if it has no result; a dead job with its attempts."""
        event = f"job_{job.state.value}"
        if level := self._level(event, self._jobs):
            assert job.finished_at is not None
            facts = _facts_of_job(
                event,
                job,
                job_attempts=job.attempt_count,
                job_seconds=job.finished_at - job.submitted_at,
                job_reason=job.reason,
                job_dead_reason=None if job.dead_reason is None else job.dead_reason.name,
                **_facts_of_error(job._error),
            )
            words = f"{_ENDS[job.state]} after {counted(job.attempt_count, 'attempt')}"
            if job.reason:
                words = f"{words}: {one_line(shortcomings(job))}"
            if job.state is JobState.DEAD:
                words = "\n  ".join([words, *attempt_lines(job)])
            self._jobs.log(level, "%s %s", title(job), words, extra=facts)

    def group_opened(self, group: JobGroup[Any] | SlotJobGroup) -> None:
        """Logged."""
        if level := self._level("group_opened", self._groups):
            facts = _facts("group_opened", group._engine.config.name, group_name=group.name)
            self._groups.log(level, "%s is open", _group(group), extra=facts)

    def group_closed(self, group: JobGroup[Any] | SlotJobGroup) -> None:
        """Logged with the number of jobs in each final state."""
        if level := self._level("group_closed", self._groups):
            words, numbers = _ends(group.statistics(), "group")
            facts = _facts("group_closed", group._engine.config.name, group_name=group.name, **numbers)
            self._groups.log(level, "%s is closed after %s", _group(group), words, extra=facts)

    def worker_started(self, worker: Worker) -> None:
        """Logged."""
        self._tell(worker, "worker_started", "has started")

    def worker_paused(self, worker: Worker) -> None:
        """Logged."""
        self._tell(worker, "worker_paused", "is paused")

    def worker_resumed(self, worker: Worker) -> None:
        """Logged."""
        self._tell(worker, "worker_resumed", "is resumed")

    def worker_resting(self, worker: Worker, until: float) -> None:
        """Logged with the duration of the rest."""
        self._tell(worker, "worker_resting", "rests", until=until)

    def worker_quarantined(self, worker: Worker, until: float) -> None:
        """Logged with the duration and the error that opened the breaker."""
        self._tell(worker, "worker_quarantined", "is quarantined", until=until, error=worker._last_error)

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        """Logged with the resource's error, if there is one."""
        event = "worker_recycling" if error is None else "worker_reopening"
        self._tell(worker, event, "reopens its resource", error=error)

    def worker_stopped(self, worker: Worker) -> None:
        """Logged."""
        self._tell(worker, "worker_stopped", "has stopped")

    def _tell_of_pool(self, pool: Pool[Any] | SlotPool, event: str, words: str, **facts: object) -> None:
        if level := self._level(event, self._pools):
            self._pools.log(level, "%s %s", _pool(pool), words, extra=_facts(event, pool.name, **facts))

    def _tell(
        self, worker: Worker, event: str, words: str, until: float | None = None, error: Exception | None = None
    ) -> None:
        if level := self._level(event, self._workers):
            facts = _facts(event, engine_of(worker).config.name, worker_id=worker.id, worker_name=worker.name)
            if until is not None:
                facts["worker_delay"] = delay = until - trio.current_time()
                words = f"{words} for {delay:.3f} s"
            if error is not None:
                facts |= _facts_of_error(error)
                words = f"{words}: {one_line(in_words(error))}"
            self._workers.log(level, "worker %d (%s) %s", worker.id, one_line(worker.name), words, extra=facts)

    def _level(self, event: str, logger: logging.Logger) -> int:
        """The level at which to log an event, or 0 if it isn't logged."""
        level = self._levels[event]
        return level if level and logger.isEnabledFor(level) else 0


_ENDS = {
    JobState.SUCCEEDED: "has succeeded",
    JobState.DEAD: "is dead",
    JobState.CANCELLED: "was cancelled",
    JobState.DISCARDED: "was discarded",
}


def _pool(pool: Pool[Any] | SlotPool) -> str:
    return "the pool" if pool.name is None else f"the pool {one_line(pool.name)!r}"


def _group(group: JobGroup[Any] | SlotJobGroup) -> str:
    return "a group" if group.name is None else f"the group {one_line(group.name)!r}"


def _ends(seen: PoolStatistics, noun: str) -> tuple[str, dict[str, int]]:
    """How many jobs of a pool or a group there were and how they have ended, in words and as attributes."""
    ends: dict[str, int] = {state.value: getattr(seen, state.value) for state in JobState if state.is_final}
    words = ", ".join(f"{number} {end}" for end, number in ends.items())
    numbers = {f"{noun}_{end}": number for end, number in ends.items()}
    return f"{counted(seen.submitted, 'job')}: {words}", {f"{noun}_submitted": seen.submitted, **numbers}


def _facts(event: str, pool_name: str | None, **facts: object) -> dict[str, object]:
    return {"pool_event": event, "pool_name": pool_name, **facts}


def _facts_of_job(event: str, job: Job[Any], **facts: object) -> dict[str, object]:
    if shown_arguments := arguments(job):
        facts["job_arguments"] = shown_arguments
    if (group := job._options.group) is not None:
        facts["group_name"] = group.name
    return _facts(event, engine_of(job).config.name, job_id=job.id, job_name=job.name, **facts)


def _facts_of_error(error: Exception | None) -> dict[str, object]:
    if error is None:
        return {}
    return {"error_type": qualified_type_name(first_leaf(error)), "error_text": in_words(error)}
