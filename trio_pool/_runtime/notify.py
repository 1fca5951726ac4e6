"""How instruments are told, whatever they make of it."""

from __future__ import annotations

from typing import Any

from .._basics.logs import report
from .._basics.text import shown
from .._policies import validate


def is_among(instruments: list[Any], instrument: object) -> bool:
    """Whether this very instrument is one of these, whatever it makes of being compared."""
    return any(each is instrument for each in instruments)


def remove(instruments: list[Any], instrument: object) -> bool:
    """Take out this very instrument; returns whether it was there."""
    for place, each in enumerate(instruments):
        if each is instrument:
            del instruments[place]
            return True
    return False


def notify(instruments: list[Any], event: str, *arguments: object) -> None:
    """Call one method of all instruments; remove those that raise."""
    for instrument in list(instruments):
        if not is_among(instruments, instrument):
            continue  # another one has just removed it
        try:
            answer = getattr(instrument, event)(*arguments)
            if answer is not None:
                validate.answer(event, answer)
        except BaseException as error:  # as Trio does: whatever it is, it is the instrument's fault
            remove(instruments, instrument)  # unless it has removed itself before
            report("instrument %s raised in %s and was removed", shown(instrument), event, error=error)
