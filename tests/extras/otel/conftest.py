"""An SDK of OpenTelemetry for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.extras.otel.sdk import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()
