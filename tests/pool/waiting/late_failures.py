"""Jobs that fail after a second, or find their resource broken then."""

from __future__ import annotations

from typing import Any

import trio

from tests.actors import of_any_arguments
from trio_pool import ResourceBroken
from trio_pool.testing import Flaky


@of_any_arguments
async def breaks(*args: Any) -> None:
    await trio.sleep(1)
    raise ResourceBroken("gone")


def fails_once(error: Exception) -> Any:
    """A function that takes a second, and fails the first time."""
    flaky = Flaky(1, error=error, result="mended")

    @of_any_arguments
    async def work(*args: Any) -> str:
        await trio.sleep(1)
        return await flaky(*args)

    return work
