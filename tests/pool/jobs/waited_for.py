"""Jobs that others wait for, and what a job tells of its states."""

from __future__ import annotations

from typing import Any

import trio

from trio_pool import Job, JobState


def states(job: Job[Any]) -> list[JobState]:
    """The states that a job has been in."""
    return [each.state for each in job.history]


async def fails_after_a_second(resource: str) -> None:
    """Fails, but not at once."""
    await trio.sleep(1.0)
    raise ValueError("failed")
