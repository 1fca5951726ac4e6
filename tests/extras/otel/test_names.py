"""What workers, pools and errors are called in OpenTelemetry."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from tests.actors import Mint, works
from tests.extras.otel.sdk import A, Backend, attributes
from trio_pool import Elastic, Resource, open_pool
from trio_pool.otel import Telemetry


async def test_workers_with_a_resource_are_told_apart(backend: Backend) -> None:
    async with open_pool([*A, Resource("b", name="B")], instruments=[backend.telemetry()]) as pool:
        for worker in pool.workers:
            await pool.run(works, worker=worker)
    assert backend.values("job.attempts", "worker.name") == {"A": 1, "B": 1}
    assert len(backend.points("attempt.duration")) == 2


async def test_slots_are_not_told_apart(backend: Backend) -> None:
    async with open_pool(2, instruments=[backend.telemetry()]) as pool:
        await pool.run(trio.sleep, 0)
        await pool.run(trio.sleep, 0)
    assert backend.values("job.attempts", "worker.name") == {None: 2}


async def test_workers_of_an_elastic_pool_are_not_told_apart(backend: Backend) -> None:
    async with open_pool(Elastic(Mint(), max=2), instruments=[backend.telemetry()]) as pool:
        await pool.run(works)
    assert backend.values("job.attempts", "worker.name") == {None: 1}


@pytest.mark.parametrize(("per_worker", "names"), [(True, {"worker-1"}), (False, {None})])
@pytest.mark.parametrize("resources", [["a"], Elastic(Mint(), max=1)])
async def test_it_can_be_said_whether_workers_are_told_apart(
    backend: Backend, resources: Any, per_worker: bool, names: set[str | None]
) -> None:
    untyped: Any = open_pool
    async with untyped(resources, instruments=[backend.telemetry(per_worker=per_worker)]) as pool:
        await pool.run(works)
    assert set(backend.values("job.attempts", "worker.name")) == names


async def test_names_are_bounded(backend: Backend) -> None:
    async def first(resource: str) -> None:
        await trio.lowlevel.checkpoint()

    async def second(resource: str) -> None:
        await trio.lowlevel.checkpoint()

    async def third(resource: str) -> None:
        await trio.lowlevel.checkpoint()

    for number in range(4):
        worker = Resource("a", name=f"W{number}")
        telemetry = backend.telemetry(max_names=2)
        async with open_pool([worker], instruments=[telemetry], name=f"P{number}") as pool:
            await pool.run(first)
            await pool.run(second)
            await pool.run(third)
    assert backend.values("finished.jobs", "pool.name") == {"P0": 3, "P1": 3, "_OTHER": 6}
    assert backend.values("job.attempts", "worker.name") == {"W0": 3, "W1": 3, "_OTHER": 6}
    functions = backend.values("job.attempts", "job.function")
    assert [name.rpartition(".")[2] for name in functions] == ["first", "second", "_OTHER"]


async def test_names_that_utf_8_cannot_hold_are_made_exportable(backend: Backend) -> None:
    odd = "caf\udce9\n☕"
    async with open_pool([Resource("a", name=odd)], instruments=[backend.telemetry()], name=odd) as pool:
        await pool.run(works, name=odd)
    texts = [str(value) for span in backend.named("") for value in attributes(span).values()]
    texts += [str(value) for name in ("pool.name", "worker.name") for value in backend.values("job.attempts", name)]
    assert [text for text in texts if "caf" in text] == ["caf\\udce9\n☕"] * 5


async def test_texts_of_errors_that_utf_8_cannot_hold_are_made_exportable(backend: Backend) -> None:
    async def fails_oddly(resource: str) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("can't read caf\udce9")

    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(fails_oddly)
    recorded = [event.attributes or {} for span in backend.named("") for event in span.events]
    assert [event["exception.message"] for event in recorded] == ["can't read caf\\udce9"] * len(recorded)
    assert "ValueError: can't read caf\\udce9" in str(recorded[0]["exception.stacktrace"])


@pytest.mark.parametrize(("most", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_max_names_is_a_whole_number_of_at_least_one(most: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_names must be"):
        Telemetry(NoOpTracerProvider(), NoOpMeterProvider(), max_names=most)


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("tracer_provider", "a TracerProvider"),
        ("meter_provider", "a MeterProvider"),
        ("record_exceptions", "a bool"),
        ("per_worker", "a bool"),
    ],
)
def test_what_it_is_given_is_checked(option: str, rule: str) -> None:
    make: Any = Telemetry
    with pytest.raises(TypeError, match=rf"^{option} must be {rule}, got 5$"):
        make(**{option: 5})
