"""Notifying instruments; their errors never affect the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._basics.logs import report
from .._basics.text import shown
from .._policies import validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core.retry_decision import Verdict
    from .._core.stream_window import StreamWindow
    from .._model.handles import Job, Worker
    from .._model.records import Group, JobRecord, Run
    from .._policies.rate_meter import Amount


class InnerEvents:
    """A second base class of instruments, for additional events: only extras of this package use it.

    These events are not part of the public interface. Their names begin with an underscore, and `notify` does not call
    them on other instruments.
    """

    def _added(self, pool: Any) -> None:
        """A pool that is open is about to notify this instrument."""

    def _lined_up(self, job: Job[Any]) -> None:
        """A call that submits a job begins to wait for a place in the queue."""

    def _depends(self, job: Job[Any], after: tuple[JobRecord, ...]) -> None:
        """A job was made that starts after others."""

    def _judged(self, run: Run, verdict: Verdict) -> None:
        """The decision about a failed run has been made; followed by ``attempt_ended``."""

    def _run_left(self, run: Run, how: str) -> None:
        """One of several runs of an attempt has ended: with a ``"value"``, an ``"error"``, or ``"cut"``."""

    def _used(self, run: Run, amounts: Mapping[str, Amount]) -> None:
        """A run has reported how much it has used."""

    def _lent(self, run: Run, step: str) -> None:
        """A run has ``"lent"`` its place, has requested it (``"claimed"``), or goes on (``"returned"``)."""

    def _session(self, worker: Worker, step: str) -> None:
        """A worker begins to enter or to leave its lifespan, or has left it: ``"entering"`` and so on."""

    def _removing(self, worker: Worker, cancel: bool) -> None:
        """The program removes a worker, and waits until it has left."""

    def _stream(self, window: StreamWindow[Any], step: str, detail: object = None) -> None:
        """The block of a stream was ``"entered"`` or ``"left"``; or a reader ``"asked"`` for a job or ``"read"`` one.

        ``"brought"``: the source has yielded an item; ``detail`` is the number of seconds that this took.
        """

    def _group(self, group: Group, step: str) -> None:
        """The block of a group is being entered (``"entering"``), or its body has ended (``"leaving"``)."""

    def _body_ended(self, pool: object) -> None:
        """The body of the pool's block has ended without an exception."""

    def _broken_off(self, pool: object) -> None:
        """The pool stops everything, since an error has left its body or it has been cancelled."""


def is_among(instruments: list[Any], instrument: object) -> bool:
    """Whether the list contains this instrument, compared by identity and not by ``==``."""
    return any(each is instrument for each in instruments)


def remove(instruments: list[Any], instrument: object) -> bool:
    """Remove this instrument, compared by identity; return whether it was in the list."""
    for place, each in enumerate(instruments):
        if each is instrument:
            del instruments[place]
            return True
    return False


def notify(instruments: list[Any], event: str, *arguments: object) -> None:
    """Call a method of all instruments; remove instruments that raise an exception."""
    for instrument in list(instruments):
        if not is_among(instruments, instrument):
            continue  # another instrument has just removed it
        if event[0] == "_" and not isinstance(instrument, InnerEvents):
            continue
        try:
            answer = getattr(instrument, event)(*arguments)
            if answer is not None:
                validate.answer(event, answer)
        except BaseException as error:  # as in Trio, an instrument's exception of any type is only logged
            remove(instruments, instrument)  # unless it has already removed itself
            report("instrument %s raised in %s and was removed", shown(instrument), event, error=error)
