"""A check that every job has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._api.pool import checked_pool

if TYPE_CHECKING:
    from .._api.pool import Pool, SlotPool
    from .._model.handles import Job

_MOST_NAMED = 10  # how many jobs a message names


def some_of(jobs: list[Job[Any]]) -> str:
    """The first of these jobs, and how many more there are."""
    named = ", ".join(map(repr, jobs[:_MOST_NAMED]))
    rest = len(jobs) - _MOST_NAMED
    return f"[{named}]{f' and {rest} more' if rest > 0 else ''}"


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
        raise AssertionError(f"jobs that have not ended: {some_of(unsettled)}")
