"""The commands of the core, told apart by their types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from trio_pool._core import commands

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_pool._core.commands import Command
    from trio_pool._core.stream_window import StreamWindow
    from trio_pool._core.waits import Wait
    from trio_pool._model.records import Group, Run


class Start(NamedTuple):
    run: Run


class Interrupt(NamedTuple):
    run: Run


class Regain(NamedTuple):
    run: Run


class Recall(NamedTuple):
    worker: Any


class Hire(NamedTuple):
    nothing: None


class Changed(NamedTuple):
    job: Any


class Admitted(NamedTuple):
    job: Any


class Refused(NamedTuple):
    job: Any


class Died(NamedTuple):
    job: Any


class GroupQuiet(NamedTuple):
    group: Group


class Reserved(NamedTuple):
    group: Group


class TurnedAway(NamedTuple):
    group: Group


class WaitsInVain(NamedTuple):
    wait: Wait


class Moved(NamedTuple):
    window: StreamWindow[Any]


class Quiet(NamedTuple):
    nothing: None


class Tell(NamedTuple):
    subject: tuple[str, tuple[Any, ...]]

    @property
    def event(self) -> str:
        return self.subject[0]

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.subject[1]


class TellOfPool(Tell):
    """The same, about the pool as a whole."""


Typed: TypeAlias = (
    Start
    | Interrupt
    | Regain
    | Recall
    | Hire
    | Changed
    | Admitted
    | Refused
    | Died
    | GroupQuiet
    | Reserved
    | TurnedAway
    | WaitsInVain
    | Moved
    | Quiet
    | Tell
    | TellOfPool
)

KINDS: dict[str, type[Any]] = {
    commands.START: Start,
    commands.INTERRUPT: Interrupt,
    commands.REGAIN: Regain,
    commands.RECALL: Recall,
    commands.HIRE: Hire,
    commands.CHANGED: Changed,
    commands.ADMITTED: Admitted,
    commands.REFUSED: Refused,
    commands.DIED: Died,
    commands.GROUP_QUIET: GroupQuiet,
    commands.RESERVED: Reserved,
    commands.TURNED_AWAY: TurnedAway,
    commands.WAITS_IN_VAIN: WaitsInVain,
    commands.MOVED: Moved,
    commands.QUIET: Quiet,
    commands.TELL: Tell,
    commands.TELL_OF_POOL: TellOfPool,
}


def typed(command: Command) -> Typed:
    """A command as one of these."""
    kind, subject = command
    found: Typed = KINDS[kind](subject)
    return found


def of_kind(kind: type[Any], found: Iterable[Command]) -> list[Any]:
    """Those of one kind."""
    return [each for each in map(typed, found) if isinstance(each, kind)]
