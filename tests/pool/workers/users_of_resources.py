"""Functions of jobs that get their resource or break it, and a policy that tries them elsewhere."""

from __future__ import annotations

from trio_pool import ResourceBroken, RetryPolicy

BOUNCE = RetryPolicy.fixed(1.0, placement="other")


async def gets(resource: str) -> str:
    """Returns what it is given."""
    return resource


async def breaks(resource: str) -> None:
    raise ResourceBroken("torn")
