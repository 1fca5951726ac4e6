"""A job's history: how its changes of state are stored, and the form in which users read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from .._basics.error_text import MOST_OF_ERROR, worded
from .._basics.text import one_line
from .states import KEPT_TRANSITIONS, TRANSITION_FIELDS, JobState, Transition
from .text import shortcomings

if TYPE_CHECKING:
    from .records import JobRecord
    from .states import History

Why: TypeAlias = "tuple[object, ...]"
"""The reason for a change of state, formatted when it is read: a format string and its parts; empty for no reason."""

_FIRST = KEPT_TRANSITIONS * TRANSITION_FIELDS
_MOST = 2 * _FIRST


def longer(history: History, state: JobState, at: float, why: Why = ()) -> History:
    """Return a history with one more transition; if there are too many, one in the middle is dropped."""
    if len(history) == _MOST:
        history = history[:_FIRST] + history[_FIRST + TRANSITION_FIELDS :]
    return (*history, (state._value_, *why) if why else state._value_, at)


def transitions(job: JobRecord) -> tuple[Transition, ...]:
    """Return the transitions of a job, with their reasons in words."""
    fields = job._history or ()
    return tuple(
        _transition(job, fields[at], cast("float", fields[at + 1])) for at in range(0, len(fields), TRANSITION_FIELDS)
    )


def _transition(job: JobRecord, field: object, at: float) -> Transition:
    if isinstance(field, tuple):
        value, *why = cast("tuple[object, ...]", field)
        return Transition(JobState(value), at, worded(tuple(why)))
    state = JobState(field)
    if state.is_final and state is not JobState.SUCCEEDED:  # the job itself stores why it has no result
        return Transition(state, at, one_line(shortcomings(job), MOST_OF_ERROR))
    return Transition(state, at)
