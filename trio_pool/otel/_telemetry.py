"""The instrument that reports a pool to OpenTelemetry."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, cast

import trio

try:
    from opentelemetry import metrics, trace
except ImportError as _missing:
    raise ImportError('trio_pool.otel needs OpenTelemetry: pip install "trio-pool[otel]"') from _missing

from .._api.origins import engine_of
from .._api.pool import Instrument
from .._policies import validate
from .._version import __version__
from ._metrics import Metrics
from ._spans import JobSpans

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .._api.pool import Pool, SlotPool
    from .._model.handles import Job, Worker
    from .._model.states import Attempt


class Telemetry(Instrument):
    """An `~trio_pool.Instrument` that reports all jobs and attempts to OpenTelemetry, as spans and as metrics.

    Each job gets a span, from ``submit`` to the job's end. The parent of this span is the one that
    was current when the job was submitted. Each attempt gets a child span of the job's span, which
    is the current span while the job's function runs.

    One instance can watch several pools. If it is added to a running pool, it reports the jobs with
    events from then on. After ``remove_instrument``, call `end_spans`.

    Arguments:
      tracer_provider: where the spans go; by default to the global provider, including one that is
          set later. Use an OpenTelemetry ``NoOpTracerProvider`` for no spans.
      meter_provider: where the metrics go; by default to the global provider, including one that is
          set later. Use an OpenTelemetry ``NoOpMeterProvider`` for no metrics.
      record_exceptions: whether to record the errors of attempts with their tracebacks, as events
          of their spans. Their types and texts are always recorded.
      max_names: how many names of pools, of workers, of functions, and of types of errors, metrics
          distinguish, at least 1. Further names count as ``_OTHER``.
      per_worker: whether metrics of attempts distinguish workers. By default they do if the number
          of names is bounded: for workers with a resource, but not in an elastic pool.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        record_exceptions: bool = True,
        max_names: int = 50,
        per_worker: bool | None = None,
    ) -> None:
        validate.optional("tracer_provider", tracer_provider, cast("Any", trace.TracerProvider))
        validate.optional("meter_provider", meter_provider, cast("Any", metrics.MeterProvider))
        validate.instance("record_exceptions", record_exceptions, bool)
        validate.optional("per_worker", per_worker, bool)
        most = validate.count("max_names", max_names, least=1)
        self._metrics = Metrics(meter_provider, most=most, per_worker=per_worker)
        self._tracer = trace.get_tracer("trio_pool", __version__, tracer_provider)
        self._record_exceptions = record_exceptions
        # Weak, so that jobs whose end was missed leave nothing behind.
        self._spans: weakref.WeakKeyDictionary[Job[Any], JobSpans] = weakref.WeakKeyDictionary()

    def end_spans(self) -> None:
        """End the open spans, since the instrument no longer gets the ends of their jobs.

        Call it inside Trio after removing the instrument from a pool, since spans that don't end
        are never exported. Jobs that have ended since the removal get their real outcome; the
        others go on, and their outcome is ``unwatched``.
        """
        while self._spans:
            self._end(*self._spans.popitem())

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        """Start the pool's metrics."""
        self._metrics.watch(pool._engine, self)

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        """Stop the pool's metrics, and end the open spans of jobs whose end was missed."""
        self._metrics.close(pool._engine)
        for job in [ref() for ref in self._spans.keyrefs()]:
            if job is not None and engine_of(job) is pool._engine:
                self._end(job, self._spans.pop(job))

    def job_submitted(self, job: Job[Any]) -> None:
        """Begin the job's span."""
        self._spans_of(job)

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        """Begin the attempt's span, and make it the current span of the function."""
        spans = self._spans_of(job)
        is_first = not (spans.number or job.attempt_count)
        spans.start_attempt(job, worker.id, worker.name)
        if is_first:
            self._metrics.started(job, spans.context)

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        """End the attempt's span."""
        spans = self._spans_of(job)
        self._metrics.attempt_ended(job, attempt, spans.context)
        spans.end_attempt(job, attempt)

    def job_delayed(self, job: Job[Any], until: float) -> None:
        """Record the delay of the next attempt."""
        self._spans_of(job).delay(until - trio.current_time())

    def job_progress(self, job: Job[Any]) -> None:
        """Add an event to the attempt's span."""
        assert job.progress is not None
        self._spans_of(job).report(job.progress)

    def job_finished(self, job: Job[Any]) -> None:
        """End the job's span."""
        spans = self._spans_of(job)
        self._metrics.finished(job, spans.context)
        spans.finish(job)
        del self._spans[job]

    def _spans_of(self, job: Job[Any]) -> JobSpans:
        """Return the open spans of a job. A new span begins with the job's submission, even if that was missed."""
        spans = self._spans.get(job)
        if spans is None:
            self._metrics.watch(engine_of(job), self)
            spans = self._spans[job] = JobSpans(self._tracer, job, records=self._record_exceptions)
        return spans

    def _end(self, job: Job[Any], spans: JobSpans) -> None:
        if job.state.is_final:
            spans.finish(job)
        else:
            spans.abandon()
