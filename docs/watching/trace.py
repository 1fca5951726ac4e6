"""What OpenTelemetry is told of one request, as a tree."""

import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trio_pool import Resource, RetryPolicy, current_job, open_pool
from trio_pool.otel import Telemetry

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("shop")


async def print_page(printer: str, page: int) -> None:
    with tracer.start_as_current_span("spool"):
        await trio.sleep(1)
    if page == 2 and current_job().attempt_count == 0:
        raise OSError("paper jam")


def show(spans: list[ReadableSpan], parent: ReadableSpan | None = None, indent: str = "") -> None:
    for span in sorted(spans, key=lambda span: span.start_time):
        if (span.parent and span.parent.span_id) == (parent and parent.context.span_id):
            worker = span.attributes.get("trio_pool.worker.name", "")
            print(f"{indent}{span.name} {worker} {span.status.description or ''}".rstrip())
            show(spans, span, indent + "    ")


async def main() -> None:
    printers = [Resource("laser", name="laser"), Resource("ink", name="ink")]
    telemetry = Telemetry(provider)
    async with open_pool(printers, retry=RetryPolicy(placement="other"), instruments=[telemetry]) as pool:
        with tracer.start_as_current_span("POST /orders"):
            async with pool.map(print_page, [1, 2]) as pages:
                async for _ in pages:
                    pass
    show(list(exporter.get_finished_spans()))


if __name__ == "__main__":
    trio.run(main)
