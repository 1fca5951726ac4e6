"""Telling OpenTelemetry what a pool does: spans for jobs and attempts, and metrics.

Needs the extra ``trio-pool[otel]``, which brings OpenTelemetry's API. Without an SDK, which a
program brings, nothing is recorded.
"""

from .._basics.public_names import publish
from ._telemetry import Telemetry

__all__ = ["Telemetry"]

publish(__name__, __all__)
