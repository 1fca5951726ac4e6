"""All that shows a pool to people, in one: the log, the live view, the timeline, and OpenTelemetry."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.traces import Slice, Trace
from trio_pool import Instrument, Logged, Pool, SlotPool
from trio_pool._live_frame import frame, plain_line
from trio_pool._live_reading import Failures, Readings
from trio_pool.otel import Telemetry
from trio_pool.timeline import Timeline


class Kept(logging.Handler):
    """Keeps the records that it gets."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Watchers:
    """Give `instruments` to the pool, and call `watch` once it is open."""

    def __init__(self) -> None:
        self._kept = Kept()
        logger = logging.Logger("program", logging.DEBUG)
        logger.addHandler(self._kept)
        self._timeline = Timeline()
        self._spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.metrics = InMemoryMetricReader()
        self._failures = Failures(10)
        self.instruments: list[Instrument] = [
            Logged(logger),
            self._timeline,
            Telemetry(tracers, MeterProvider([self.metrics])),
            self._failures,
        ]
        self._readings: Readings | None = None

    def watch(self, pool: Pool[Any] | SlotPool) -> None:
        """Begin the live view."""
        self._readings = Readings(pool, None, self._failures)

    def records(self, event: str) -> list[logging.LogRecord]:
        """What was logged of this kind of event."""
        return [record for record in self._kept.records if vars(record)["pool_event"] == event]

    def log(self) -> list[str]:
        """What was logged, as text."""
        return [record.getMessage() for record in self._kept.records]

    def live(self, pool: Pool[Any] | SlotPool, width: int = 240) -> list[str]:
        """The lines of the live view now, the one for where there is no terminal among them."""
        assert self._readings is not None
        reading = self._readings.take(pool.statistics())
        lines = ["".join(segment.text for segment in line) for line in frame(reading, width, 60)]
        return [*lines, plain_line(reading)]

    def attempts(self) -> list[Slice]:
        """The attempts in the timeline."""
        return Trace(self._timeline).attempts

    def page(self) -> str:
        """The timeline as a page."""
        return self._timeline.html()

    def spans(self, start: str) -> list[ReadableSpan]:
        """The spans whose names start so."""
        return [span for span in self._spans.get_finished_spans() if span.name.startswith(start)]
