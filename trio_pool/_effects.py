"""What the scheduler decides, for the shell to carry out in this order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

if TYPE_CHECKING:
    from ._job import Job
    from ._seat import Seat


@attrs.frozen
class Start:
    """Hand the job to a worker that waits for one."""

    seat: Seat
    job: Job[Any]


@attrs.frozen
class Interrupt:
    """Cancel the attempt under way on a worker."""

    seat: Seat


@attrs.frozen
class Recall:
    """Wake a worker that waits for a job: it has to leave or to reopen its resource."""

    seat: Seat


@attrs.frozen
class Changed:
    """Tell those who watch the job that its state has changed."""

    job: Job[Any]


@attrs.frozen
class Admitted:
    """Let the submitter go on: its job has got a place in the queue, or has ended."""

    job: Job[Any]


@attrs.frozen
class Refused:
    """Let the submitter go on without its job: no worker may take it."""

    job: Job[Any]


@attrs.frozen
class Died:
    """A job is dead."""

    job: Job[Any]


@attrs.frozen
class Quiet:
    """No job is left that has not ended."""


@attrs.frozen
class Tell:
    """Tell the instruments of an event."""

    event: str
    arguments: tuple[object, ...]


Effect: TypeAlias = Start | Interrupt | Recall | Changed | Admitted | Refused | Died | Quiet | Tell
Effects: TypeAlias = deque[Effect]
