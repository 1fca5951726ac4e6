"""The spans of a job and its attempts."""

from __future__ import annotations

import time
from traceback import format_exception
from typing import TYPE_CHECKING, Any

import trio
from opentelemetry import context as otel
from opentelemetry.trace import StatusCode, set_span_in_context

from .._api.origins import engine_of, outcome_of
from .._basics.error_text import MOST_OF_ERROR, first_leaf, in_words
from .._basics.text import call_name, full_type_name, one_line, said
from .._model.text import shortcomings
from ._attributes import (
    ATTEMPT_DELAY,
    ATTEMPT_NUMBER,
    ATTEMPT_OUTCOME,
    ATTEMPT_USED,
    ERROR_TYPE,
    JOB_ATTEMPTS,
    JOB_DEAD_REASON,
    JOB_FUNCTION,
    JOB_GROUP,
    JOB_ID,
    JOB_KEY,
    JOB_NAME,
    JOB_OUTCOME,
    JOB_PRIORITY,
    JOB_REASON,
    POOL_NAME,
    PROGRESS_DONE,
    PROGRESS_NOTE,
    PROGRESS_TOTAL,
    WORKER_ID,
    WORKER_NAME,
    exportable,
    key_of,
    value_of,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from .._model.handles import Job
    from .._model.job_extra import Progress
    from .._model.states import Attempt

_NANOSECONDS = 1_000_000_000


class JobSpans:
    """The span of one job, and the span of the running attempt.

    The job's span begins with its submission, even if the job is first seen later.

    Arguments:
      records: whether to record the errors of attempts with their tracebacks.

    Attributes:
      context: the context of the running attempt, or else of the job.
      number: the number of the last attempt that was seen to start, or 0.
    """

    __slots__ = (
        "_attempt",
        "_delay",
        "_epoch",
        "_function",
        "_job_context",
        "_records",
        "_span",
        "_tracer",
        "context",
        "number",
    )

    def __init__(self, tracer: Tracer, job: Job[Any], *, records: bool) -> None:
        self._tracer = tracer
        self._records = records
        # The wall clock's time when Trio's clock shows zero. Spans use Trio's clock, since the wall
        # clock may jump. The offset is measured for each job, since the two clocks drift apart.
        self._epoch = time.time_ns() - round(trio.current_time() * _NANOSECONDS)
        self._function = exportable(call_name(job.fn))
        attributes: dict[str, AttributeValue] = {
            JOB_ID: job.id,
            JOB_NAME: exportable(job.name),
            JOB_FUNCTION: self._function,
            JOB_PRIORITY: float(job.priority),  # always a float, whatever was given
        }
        if (pool_name := engine_of(job).config.name) is not None:
            attributes[POOL_NAME] = exportable(pool_name)
        if (group := job._options.group) is not None and group.name is not None:
            attributes[JOB_GROUP] = exportable(group.name)
        if (key := key_of(job)) is not None:
            attributes[JOB_KEY] = key
        parent = _submitters_context(job)
        start = self._wall(job.submitted_at)
        self._span = tracer.start_span(f"job {self._function}", parent, attributes=attributes, start_time=start)
        self.context = self._job_context = set_span_in_context(self._span, parent)
        self._attempt: Span | None = None
        self._delay = 0.0
        self.number = 0

    def start_attempt(self, job: Job[Any], worker_id: int, worker_name: str) -> None:
        """Begin the span of an attempt that starts now, and make it the function's current span."""
        self._end_unseen(trio.current_time())
        self.number = job.attempt_count + 1
        span = self._start(self.number, worker_id, worker_name, trio.current_time())
        self._attempt = span
        self.context = set_span_in_context(span, self._job_context)
        # Each attempt runs in a copy of the job's context. The jobs of a stream share one context,
        # so it is copied before the span is attached.
        assert job._context is not None
        job._context = job._context.copy()
        job._context.run(otel.attach, self.context)

    def end_attempt(self, job: Job[Any], attempt: Attempt) -> None:
        """End the span of an attempt, even if its start was missed."""
        if self.number != attempt.number:
            self._end_unseen(attempt.started_at)
            self.number = attempt.number
        span, self._attempt = self._attempt, None
        if span is None:
            span = self._start(attempt.number, attempt.worker_id, attempt.worker_name, attempt.started_at)
        ended = self._wall(attempt.ended_at)
        if span.is_recording():
            outcome = outcome_of(job, attempt)
            span.set_attribute(ATTEMPT_OUTCOME, outcome)
            for unit, amount in attempt.used.items():
                span.set_attribute(ATTEMPT_USED + exportable(unit), amount)
            if outcome == "failed":
                assert attempt.error is not None
                self._tell_error(span, attempt.error, ended)
        span.end(ended)
        self.context = self._job_context

    def report(self, progress: Progress) -> None:
        """Add an event with the progress of the running attempt."""
        told: dict[str, AttributeValue] = {PROGRESS_DONE: progress.done}
        if progress.total is not None:
            told[PROGRESS_TOTAL] = progress.total
        if progress.note:
            told[PROGRESS_NOTE] = exportable(progress.note)
        span = self._span if self._attempt is None else self._attempt
        span.add_event("progress", told, self._wall(progress.at))

    def delay(self, seconds: float) -> None:
        """Record the delay of the next attempt."""
        self._delay = seconds

    def finish(self, job: Job[Any]) -> None:
        """End the job's span."""
        assert job.finished_at is not None
        self._end_unseen(job.finished_at)
        span = self._span
        if span.is_recording():
            span.set_attributes({JOB_OUTCOME: job.state.value, JOB_ATTEMPTS: job.attempt_count})
            if job.reason:
                span.set_attribute(JOB_REASON, exportable(job.reason))
            if job.dead_reason is not None:
                span.set_attribute(JOB_DEAD_REASON, value_of(job.dead_reason))
                if job._error is not None:
                    span.set_attribute(ERROR_TYPE, full_type_name(first_leaf(job._error)))
                span.set_status(StatusCode.ERROR, exportable(one_line(shortcomings(job))))
        span.end(self._wall(job.finished_at))

    def abandon(self) -> None:
        """End the spans of a job that goes on unwatched."""
        now = trio.current_time()
        self._end_unseen(now)
        self._span.set_attribute(JOB_OUTCOME, "unwatched")
        self._span.end(self._wall(now))

    def _start(self, number: int, worker_id: int, worker_name: str, at: float) -> Span:
        attributes: dict[str, AttributeValue] = {
            ATTEMPT_NUMBER: number,
            WORKER_ID: worker_id,
            WORKER_NAME: exportable(worker_name),
        }
        if self._delay:
            attributes[ATTEMPT_DELAY] = self._delay
            self._delay = 0.0
        return self._tracer.start_span(
            f"attempt {self._function}", self._job_context, attributes=attributes, start_time=self._wall(at)
        )

    def _tell_error(self, span: Span, error: Exception, at: int) -> None:
        span.set_attribute(ERROR_TYPE, full_type_name(first_leaf(error)))
        span.set_status(StatusCode.ERROR, exportable(one_line(in_words(error))))
        if self._records:
            # Like record_exception; but that calls the error's own methods, which may
            # fail.
            told = {
                "exception.type": full_type_name(error),
                "exception.message": exportable(said(error, MOST_OF_ERROR)),
                "exception.stacktrace": exportable(_traceback_of(error)),
            }
            span.add_event("exception", told, at)

    def _end_unseen(self, at: float) -> None:
        """If the end of an attempt was missed, end its span at this time."""
        if self._attempt is not None:
            self._attempt.set_attribute(ATTEMPT_OUTCOME, "unwatched")
            self._attempt.end(self._wall(at))
            self._attempt = None

    def _wall(self, at: float) -> int:
        """Convert a time of Trio's clock to nanoseconds of the wall clock."""
        return self._epoch + round(at * _NANOSECONDS)


def _traceback_of(error: Exception) -> str:
    try:
        return "".join(format_exception(error))
    except KeyboardInterrupt:
        raise
    except BaseException:  # groups may be nested too deeply to format, and the error's own methods may fail
        return in_words(error)


def _submitters_context(job: Job[Any]) -> Context:
    """Return the OpenTelemetry context of the job's submitter, which holds the current span."""
    if job._context is not None:
        return job._context.copy().run(otel.get_current)
    # The job has ended, so its context is gone. If it ended in the call that submitted it, that
    # call is still running. Otherwise the submitter waited, and the current context is unrelated.
    return otel.get_current() if job.finished_at == job.submitted_at else otel.Context()
