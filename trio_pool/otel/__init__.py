"""OpenTelemetry for a pool: spans for jobs and attempts, and metrics.

Needs the extra ``trio-pool[otel]``, which installs OpenTelemetry's API. The program must install
and configure an SDK; without one nothing is recorded.
"""

from .._basics.public_names import publish
from ._telemetry import Telemetry

__all__ = ["Telemetry"]

publish(__name__, __all__)
