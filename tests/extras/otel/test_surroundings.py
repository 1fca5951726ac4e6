"""Without an SDK, without OpenTelemetry, and with a real Prometheus."""

from __future__ import annotations

import importlib
import subprocess
import sys
import urllib.request

import pytest
import trio
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import start_http_server
from trio.testing import wait_all_tasks_blocked

from tests.actors import fails, sleeps_forever, works
from tests.extras.otel.sdk import A
from trio_pool import open_pool
from trio_pool.otel import Telemetry

# Without an SDK, or without OpenTelemetry


async def test_without_an_sdk_nothing_is_recorded_and_all_goes_on() -> None:
    async with open_pool(A, instruments=[Telemetry()], on_dead="keep") as pool:
        await pool.submit(fails)
        assert await pool.run(works) == "done"


GLOBAL = """
import trio
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from trio_pool import open_pool
from trio_pool.otel import Telemetry

async def main():
    before = Telemetry()
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics.set_meter_provider(provider)
    for telemetry in (before, Telemetry(), Telemetry(meter_provider=provider)):
        async with open_pool(3, instruments=[telemetry]):
            [resource] = reader.get_metrics_data().resource_metrics
            for metric in resource.scope_metrics[0].metrics:
                if metric.name == "trio_pool.worker.count":
                    print(sum(point.value for point in metric.data.data_points))

trio.run(main)
"""


def test_the_global_provider_may_be_set_before_or_after() -> None:
    answer = subprocess.run([sys.executable, "-c", GLOBAL], capture_output=True, text=True, check=False)
    assert (answer.stdout.split(), answer.stderr) == (["3", "3", "3"], "")


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [name for name in sys.modules if name.startswith("trio_pool.otel")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r'pip install "trio-pool\[otel\]"'):
        importlib.import_module("trio_pool.otel")


def test_the_package_itself_does_not_need_opentelemetry() -> None:
    import trio_pool

    assert "otel" not in trio_pool.__all__


# For real


async def test_prometheus_can_scrape_it() -> None:
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader])
    server, thread = start_http_server(0, addr="127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}/metrics"

    def scrape() -> list[str]:
        with urllib.request.urlopen(address) as answer:
            return [line for line in answer.read().decode().splitlines() if line.startswith("trio_pool_")]

    telemetry = Telemetry(NoOpTracerProvider(), provider)
    async with open_pool([*A, "b"], instruments=[telemetry], name="printers", on_dead="keep") as pool:
        await pool.run(works)
        await pool.submit(fails)
        for _ in range(3):
            await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        lines = await trio.to_thread.run_sync(scrape)
        pool.cancel()
    server.shutdown()
    server.server_close()
    thread.join()
    provider.shutdown()
    values = {
        (line.partition("{")[0], label): float(line.rpartition(" ")[2])
        for line in lines
        for label in ("succeeded", "dead", "failed", "queued", "running", "busy")
        if f'"{label}"' in line and 'pool_name="printers"' in line
    }
    assert values["trio_pool_finished_jobs_total", "succeeded"] == 1
    assert values["trio_pool_finished_jobs_total", "dead"] == 1
    assert values["trio_pool_job_attempts_total", "failed"] == 1
    assert values["trio_pool_job_count", "queued"] == 1
    assert values["trio_pool_job_count", "running"] == 2
    assert values["trio_pool_worker_count", "busy"] == 2
    assert values["trio_pool_attempt_duration_seconds_count", "succeeded"] == 1
