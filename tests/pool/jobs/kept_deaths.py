"""Pools of both kinds that raise no deaths at their end, and functions for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from trio_pool import open_pool


async def echo(*args: Any) -> Any:
    return args[-1]


async def whoami(resource: str) -> str:
    return resource


def over_resources() -> AbstractAsyncContextManager[Any]:
    return open_pool(["a"], on_dead="keep")


def over_slots() -> AbstractAsyncContextManager[Any]:
    return open_pool(1, on_dead="keep")


both = pytest.mark.parametrize("opened", [over_resources, over_slots])
OpenPool = Callable[[], AbstractAsyncContextManager[Any]]
