"""Both kinds of pools, for the tests of what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from trio_pool import open_pool

OpenPool = Callable[..., AbstractAsyncContextManager[Any]]


def over_resources(workers: int = 1, **options: Any) -> AbstractAsyncContextManager[Any]:
    """A pool whose jobs get a resource before their own arguments."""
    return open_pool([None] * workers, **options)


def over_slots(workers: int = 1, **options: Any) -> AbstractAsyncContextManager[Any]:
    """A pool whose jobs get their own arguments only."""
    return open_pool(workers, **options)


both = pytest.mark.parametrize("opened", [over_resources, over_slots])
