"""The workers of an elastic pool, which come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_pool import Pool, Worker


def crew(pool: Pool[int]) -> tuple[Worker, ...]:
    """The workers; unlike the attribute they may change for type checkers too."""
    return pool.workers
