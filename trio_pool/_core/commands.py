"""What the core decides, for the runtime to carry out in this order.

The workers and the jobs are known to the runtime as its handles, hence Any. Plain classes, here and in
the rest of the core: they are made by the thousand, and generating them costs more of the
time of importing the package than all the rest.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .._model.records import Group, Run
    from .waits import Wait


class _AboutRun:
    __slots__ = ("run",)

    def __init__(self, run: Run) -> None:
        self.run: Run = run


class Start(_AboutRun):
    """Hand a run over to its worker, which has a free loop for it."""

    __slots__ = ()


class Interrupt(_AboutRun):
    """Cancel a run that is under way."""

    __slots__ = ()


class Regain(_AboutRun):
    """A run has got the place back that its job had lent."""

    __slots__ = ()


class _AboutWorker:
    __slots__ = ("worker",)

    def __init__(self, worker: Any) -> None:
        self.worker: Any = worker


class Recall(_AboutWorker):
    """A worker is to leave or to reopen its resource: its loops have to end when they have nothing to do."""

    __slots__ = ()


class _AboutJob:
    __slots__ = ("job",)

    def __init__(self, job: Any) -> None:
        self.job: Any = job


class Changed(_AboutJob):
    """Tell those who watch the job that its state has changed."""

    __slots__ = ()


class Admitted(_AboutJob):
    """Let the submitter go on: its job has got a place in the queue, or has ended."""

    __slots__ = ()


class Refused(_AboutJob):
    """Let the submitter go on without its job: no worker may take it."""

    __slots__ = ()


class Died(_AboutJob):
    """A job is dead."""

    __slots__ = ()


class Hire:
    """Open another worker."""

    __slots__ = ()


class _AboutGroup:
    __slots__ = ("group",)

    def __init__(self, group: Group) -> None:
        self.group: Group = group


class GroupQuiet(_AboutGroup):
    """No job of the group is left that has not ended."""

    __slots__ = ()


class Reserved(_AboutGroup):
    """The group has the workers that it wants for itself."""

    __slots__ = ()


class TurnedAway(_AboutGroup):
    """The group will never have the workers that it wants for itself."""

    __slots__ = ()


class WaitsInVain:
    """Let whoever waits see that it would be for ever, if that is not over."""

    __slots__ = ("wait",)

    def __init__(self, wait: Wait) -> None:
        self.wait: Wait = wait


class Moved:
    """Let those look who wait for a stream's jobs, or for room for more of them."""

    __slots__ = ("window",)

    def __init__(self, window: Any) -> None:
        self.window: Any = window


class Quiet:
    """No job is left that has not ended."""

    __slots__ = ()


class Tell:
    """Tell the instruments of an event."""

    __slots__ = ("arguments", "event")

    def __init__(self, event: str, arguments: tuple[object, ...]) -> None:
        self.event: str = event
        self.arguments: tuple[object, ...] = arguments


Command: TypeAlias = (
    Start
    | Interrupt
    | Regain
    | Recall
    | Changed
    | Admitted
    | Refused
    | Died
    | Hire
    | GroupQuiet
    | Reserved
    | TurnedAway
    | WaitsInVain
    | Moved
    | Quiet
    | Tell
)
Commands: TypeAlias = deque[Command]
