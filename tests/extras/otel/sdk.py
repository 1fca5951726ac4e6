"""An SDK of OpenTelemetry whose spans and metrics stay in memory, and how to read them."""

from __future__ import annotations

from typing import Any, cast

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trio_pool import Resource
from trio_pool.otel import Telemetry

A = [Resource("a", name="A")]


class Backend:
    """An SDK whose spans and metrics stay in memory."""

    def __init__(self, tracers: TracerProvider | None = None) -> None:
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = tracers or TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader])

    def telemetry(self, **options: Any) -> Telemetry:
        return Telemetry(self.tracers, self.meters, **options)

    def span(self, name: str) -> Any:
        """The context manager of a span of the program's own."""
        return self.tracers.get_tracer("program").start_as_current_span(name)

    def named(self, start: str) -> list[ReadableSpan]:
        """The spans that have ended whose name starts so, in the order of their starts."""
        found = [span for span in self.spans.get_finished_spans() if span.name.startswith(start)]
        return sorted(found, key=lambda span: span.start_time or 0)

    def points(self, name: str) -> dict[frozenset[tuple[str, Any]], Any]:
        """What a metric stands at, by its attributes without the library's prefix."""
        data: Any = self.reader.get_metrics_data()
        found: dict[frozenset[tuple[str, Any]], Any] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == f"trio_pool.{name}":
                        for point in metric.data.data_points:
                            found[frozenset(short(point.attributes).items())] = point
        return found

    def values(self, name: str, *keys: str) -> dict[Any, float]:
        """The sums of a counter by the values of these attributes."""
        found: dict[Any, float] = {}
        for attributes, point in self.points(name).items():
            values = tuple(dict(attributes).get(key) for key in keys)
            key = values[0] if len(keys) == 1 else values
            found[key] = found.get(key, 0) + point.value
        return found


def short(attributes: Any) -> dict[str, Any]:
    return {name.removeprefix("trio_pool."): value for name, value in attributes.items()}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return short(span.attributes)


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return child.parent is not None and child.parent.span_id == cast("Any", parent.context).span_id
