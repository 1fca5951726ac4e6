"""Telling OpenTelemetry what a pool does: spans for jobs and attempts, and metrics.

Needs the extra ``trio-pool[otel]``, which brings OpenTelemetry's API. Without an SDK, which a
program brings, nothing is recorded.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, cast

import trio

try:
    from opentelemetry import metrics, trace
except ImportError as _missing:
    raise ImportError('trio_pool.otel needs OpenTelemetry: pip install "trio-pool[otel]"') from _missing

from . import _validate
from ._instrument import Instrument
from ._otel_metrics import Metrics
from ._otel_spans import JobSpans
from ._public import publish
from ._telling import engine_of
from ._version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ._job import Attempt, Job
    from ._pool import Pool, SlotPool
    from ._worker import Worker

__all__ = ["Telemetry"]


class Telemetry(Instrument):
    """An `~trio_pool.Instrument` that tells OpenTelemetry of all jobs and attempts, as spans and as metrics.

    Each job gets a span, from ``submit`` to its end, below the span that was current where it was
    submitted; and below that a span for each attempt, which is the current one while the
    job's function runs.

    One may watch several pools. Added to a pool that has been running, it tells of the jobs
    that it comes to see from then on. After ``remove_instrument``, call `end_spans`.

    Arguments:
      tracer_provider: where the spans go; by default to the global provider, also to one that
          is set later. An OpenTelemetry ``NoOpTracerProvider`` for no spans.
      meter_provider: the same for the metrics.
      record_exceptions: whether the errors of attempts are recorded with their tracebacks, as
          events of their spans. Their types and texts are told in any case.
      max_names: how many names of pools, of workers, of functions, and of types of errors,
          tell metrics apart. What comes later counts as ``_OTHER``. At least 1.
      per_worker: whether metrics of attempts tell workers apart; by default they do where
          that is bounded: workers with a resource, but not those of an elastic pool.

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
        if tracer_provider is not None:
            _validate.instance("tracer_provider", tracer_provider, cast("Any", trace.TracerProvider))
        if meter_provider is not None:
            _validate.instance("meter_provider", meter_provider, cast("Any", metrics.MeterProvider))
        _validate.instance("record_exceptions", record_exceptions, bool)
        if per_worker is not None:
            _validate.instance("per_worker", per_worker, bool)
        most = _validate.count("max_names", max_names, least=1)
        self._metrics = Metrics(meter_provider, most=most, per_worker=per_worker)
        self._tracer = trace.get_tracer("trio_pool", __version__, tracer_provider)
        self._record_exceptions = record_exceptions
        # Weak, so that nothing is left of a job of whose end it wasn't told.
        self._spans: weakref.WeakKeyDictionary[Job[Any], JobSpans] = weakref.WeakKeyDictionary()

    def end_spans(self) -> None:
        """End the spans that are open, as it is no longer told of the ends of their jobs.

        Meant for when it was removed from a pool, since spans that don't end are never exported.
        Jobs that have ended since then are told as they are; the outcome of the others is
        ``unwatched``, and they go on. Call it inside Trio.
        """
        while self._spans:
            self._end(*self._spans.popitem())

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        """Begin to count what is in the pool."""
        self._metrics.watch(pool._engine, self)

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        """Count what is in the pool no longer, and end what is open of jobs whose end was missed."""
        self._metrics.close(pool._engine)
        for job in [ref() for ref in self._spans.keyrefs()]:
            if job is not None and engine_of(job) is pool._engine:
                self._end(job, self._spans.pop(job))

    def job_submitted(self, job: Job[Any]) -> None:
        """Begin the job's span."""
        self._spans_of(job)

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        """Begin the attempt's span, and let the function find it."""
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
        """Keep in mind how long the next attempt has to wait."""
        self._spans_of(job).delay(until - trio.current_time())

    def job_finished(self, job: Job[Any]) -> None:
        """End the job's span."""
        spans = self._spans_of(job)
        self._metrics.finished(job, spans.context)
        spans.finish(job)
        del self._spans[job]

    def _spans_of(self, job: Job[Any]) -> JobSpans:
        """What is open of a job; from its submission on, even if it is only now seen."""
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


publish(__name__, __all__)
