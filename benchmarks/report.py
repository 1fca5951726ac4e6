"""The results as JSON, with the machine and the versions that they hold for."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .rows import Measured, Scale

PACKAGES = ("trio-pool", "trio", "attrs", "aiometer", "anyio", "tenacity", "stamina")


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def version(package: str) -> str | None:
    """The version that is installed, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def surroundings() -> dict[str, Any]:
    """What the figures depend on, besides the library."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {package: version(package) for package in PACKAGES},
    }


def as_data(measured: Iterable[Measured], scale: Scale, *, quick: bool, left_out: Mapping[str, str]) -> dict[str, Any]:
    """Everything that was found out."""
    return {
        "quick": quick,
        "rounds": scale.rounds,
        "surroundings": surroundings(),
        "left_out": left_out,
        "rows": [
            {
                "name": each.row.name,
                "what": each.what,
                "unit": each.row.unit,
                "figure": each.figure.median,
                "spread": each.figure.spread,
                "to_reach": each.row.bound,
                "aim": each.row.aim,
                "met": each.met,
                "counts": each.row.counts,
                "values": each.figure.values,
                "pairs": each.figure.pairs,
            }
            for each in measured
        ],
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write it down."""
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
