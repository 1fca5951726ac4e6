"""What the scheduler decides, for the shell to carry out in this order.

The seats are known to the shell as its workers, hence Any.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

if TYPE_CHECKING:
    from ._job import Job


@attrs.define(eq=False)
class Start:
    """Hand the job to a worker that waits for one."""

    seat: Any
    job: Job[Any]


@attrs.define(eq=False)
class Interrupt:
    """Cancel the attempt under way on a worker."""

    seat: Any


@attrs.define(eq=False)
class Recall:
    """Wake a worker that waits for a job: it has to leave or to reopen its resource."""

    seat: Any


@attrs.define(eq=False)
class Changed:
    """Tell those who watch the job that its state has changed."""

    job: Job[Any]


@attrs.define(eq=False)
class Admitted:
    """Let the submitter go on: its job has got a place in the queue, or has ended."""

    job: Job[Any]


@attrs.define(eq=False)
class Refused:
    """Let the submitter go on without its job: no worker may take it."""

    job: Job[Any]


@attrs.define(eq=False)
class Died:
    """A job is dead."""

    job: Job[Any]


@attrs.define(eq=False)
class Quiet:
    """No job is left that has not ended."""


@attrs.define(eq=False)
class Tell:
    """Tell the instruments of an event."""

    event: str
    arguments: tuple[object, ...]


Effect: TypeAlias = Start | Interrupt | Recall | Changed | Admitted | Refused | Died | Quiet | Tell
Effects: TypeAlias = deque[Effect]
