"""A program that uses the package where nothing but its wheel has been installed. It needs nothing from this folder."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from importlib.metadata import distribution, distributions
from pathlib import Path

import trio

import trio_pool
from trio_pool import RetryPolicy, open_pool
from trio_pool.planning import Recorder, Recording
from trio_pool.testing import Flaky
from trio_pool.timeline import Timeline

NEEDED = {"attrs", "exceptiongroup", "trio"}
"""What the package says that it needs; what else is installed, these need."""


def check_what_is_installed() -> None:
    """It is the wheel, with its types, its license and what it needs."""
    package = distribution("trio-pool")
    folder = Path(trio_pool.__file__).parent
    assert "site-packages" in folder.parts, folder
    assert package.version == trio_pool.__version__
    assert (folder / "py.typed").is_file()
    assert package.metadata["License-Expression"] == "MIT"
    installed = {each.metadata["Name"].lower() for each in distributions()}
    assert installed >= (NEEDED if sys.version_info < (3, 11) else NEEDED - {"exceptiongroup"}), installed
    assert not installed & {"rich", "opentelemetry-api", "pytest", "hypothesis"}, installed


def check_extras() -> None:
    """Each says how to install it."""
    for extra in distribution("trio-pool").metadata.get_all("Provides-Extra") or []:
        said = ""
        try:
            importlib.import_module(f"trio_pool.{extra}")
        except ImportError as error:
            said = str(error)
        assert f'pip install "trio-pool[{extra}]"' in said, (extra, said)


async def run(path: Path) -> Timeline:
    """Run a few jobs, one of which is tried again, with what records them."""
    timeline = Timeline()
    policy = RetryPolicy(max_attempts=3, base_delay=0.01)
    async with (
        open_pool(["a", "b"], retry=policy, instruments=[timeline, Recorder(path)]) as pool,
        pool.map(Flaky(1, result="done"), range(8)) as results,
    ):
        assert [result async for result in results] == ["done"] * 8
    assert (pool.statistics().succeeded, pool.statistics().retries) == (8, 1)
    return timeline


def main() -> None:
    """Do all of it."""
    check_what_is_installed()
    check_extras()
    with tempfile.TemporaryDirectory() as folder:
        timeline = trio.run(run, Path(folder, "recording"))
        timeline.write_html(Path(folder, "page.html"))
        timeline.write_trace(Path(folder, "trace.json"))
        assert "<html" in Path(folder, "page.html").read_text(encoding="utf-8")
        assert json.loads(Path(folder, "trace.json").read_text(encoding="utf-8"))
        assert Recording.load(Path(folder, "recording")).replay().statistics.succeeded == 8
    print(f"trio-pool {trio_pool.__version__} runs alone on Python {sys.version}")


if __name__ == "__main__":
    main()
