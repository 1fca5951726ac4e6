"""Notifying instruments; their errors never affect the pool."""

from __future__ import annotations

from typing import Any

from .._basics.logs import report
from .._basics.text import shown
from .._policies import validate


def is_among(instruments: list[Any], instrument: object) -> bool:
    """Whether the list contains this instrument, compared by identity, without the instrument's own comparison."""
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
        try:
            answer = getattr(instrument, event)(*arguments)
            if answer is not None:
                validate.answer(event, answer)
        except BaseException as error:  # as in Trio, an instrument's exception of any type is only logged
            remove(instruments, instrument)  # unless it has already removed itself
            report("instrument %s raised in %s and was removed", shown(instrument), event, error=error)
