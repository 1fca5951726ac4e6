"""Pools that run one attempt at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .._api.open_pool import forced_max_running

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def one_at_a_time() -> Generator[None]:
    """Make the pools that are opened inside the block run one attempt at a time.

    Such pools behave as if opened with ``max_running=1``, so that a test runs its jobs one after
    another. This includes pools opened by the code under test, as long as they are opened in this
    task or in one started inside the block.
    """
    token = forced_max_running.set(1)
    try:
        yield
    finally:
        forced_max_running.reset(token)
