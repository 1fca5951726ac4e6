"""A check that every job has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._api.pool import checked_pool

if TYPE_CHECKING:
    from .._api.pool import Pool, SlotPool

_MOST_NAMED = 10  # jobs


def assert_settled(pool: Pool[Any] | SlotPool) -> None:
    """Check that every job of a pool has ended.

    Call it after the pool's block, or after ``join``.

    Raises:
      AssertionError: if a job has not ended; the message names the jobs.
      TypeError: if ``pool`` is not a pool.
    """
    checked_pool(pool)
    unsettled = list(pool.jobs())
    if unsettled:
        named = ", ".join(map(repr, unsettled[:_MOST_NAMED]))
        rest = len(unsettled) - _MOST_NAMED
        raise AssertionError(f"jobs that have not ended: [{named}]{f' and {rest} more' if rest > 0 else ''}")
