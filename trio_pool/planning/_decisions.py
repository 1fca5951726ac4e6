"""Errors, policies and circuit breakers that reproduce the recorded decisions."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import attrs

from .._policies.retry import Discard, GiveUp, ResourceBroken, RetryAfter, RetryPolicy
from .._runtime.job_context import current_job
from ._values import policy_of

if TYPE_CHECKING:
    from random import Random

    from .._policies.circuit_breaker import CircuitBreaker
    from ._script import Line, Script


class RecordedError(Exception):
    """Stands for an error of which the recording has only the name."""


def error_of(attempt: Line, *, is_like_recorded: bool) -> Exception:
    """The error with which an attempt ends.

    Arguments:
      is_like_recorded: whether the recorded decision is repeated; if not, another policy decides by the error's type.
    """
    decision: Line = attempt.get("decision", {})
    delay = decision.get("again", 0.0)
    how: dict[str, Any] = {"placement": decision.get("placement"), "counts": decision.get("counts", True)}
    if "rest" in decision:
        return RetryAfter(decision["rest"], rest=True, **how)
    if "key_rest" in decision:
        return RetryAfter(decision["key_rest"], rest="key", **how)
    if "broken" in decision:
        return ResourceBroken(counts=how["counts"])
    if "discarded" in decision:
        return Discard()
    if decision.get("dead") == "GAVE_UP":
        return GiveUp()
    if "again" in decision and "told" in attempt:
        return RetryAfter(delay, **how)
    name = attempt.get("error", "")
    return RecordedError(name) if is_like_recorded else _like(name)


def _like(name: str) -> Exception:
    """An error of the type with this name, if the program has it; it is made without calling ``__init__``."""
    module, dot, rest = name.rpartition(".")
    while dot:
        found: Any = sys.modules.get(module)
        for part in rest.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type) and issubclass(found, Exception):
            try:
                return found.__new__(found)
            except Exception:  # it needs arguments
                break
        module, dot, last = module.rpartition(".")
        rest = f"{last}.{rest}"
    return RecordedError(name)


def _recorded_decision() -> Line | None:
    """The recorded decision about the attempt that has just ended; None if it did not end as recorded."""
    script: Script = current_job().args[0]
    return script.current.get("decision") if script.has_ended_as_recorded else None


@attrs.frozen(kw_only=True)
class AsRecorded(RetryPolicy):
    """Repeats the recorded decisions; if an attempt does not end as recorded, decides like the recorded policy."""

    most: float | None = None

    def covers(self, error: Exception) -> bool:
        """Whether the job was tried again."""
        decision = _recorded_decision()
        if decision is not None:
            return "again" in decision
        setback = current_job()._setback
        counted = 0 if setback is None else setback.counted
        return counted + 1 < (math.inf if self.most is None else self.most)

    def _is_last(self, counted: int) -> bool:
        """Whether the job was not tried again."""
        decision = _recorded_decision()
        return decision is not None and "again" not in decision

    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        """The recorded delay."""
        decision = _recorded_decision()
        return RetryPolicy.delay(self, failed, error, previous, rng) if decision is None else decision["again"]


def as_recorded(data: Line) -> AsRecorded:
    """The policy that repeats the decisions of a recorded one."""
    policy: RetryPolicy = policy_of(data)
    fields: dict[str, Any] = {field.name: getattr(policy, field.name) for field in attrs.fields(RetryPolicy)}
    fields |= {"max_attempts": None, "most": policy.max_attempts}
    return AsRecorded(**fields)


def _counts_as_recorded(_: Exception) -> bool:
    decision = _recorded_decision()
    return decision is None or "failure" in decision


def breaker_as_recorded(data: Line | None) -> CircuitBreaker | None:
    """A circuit breaker like a recorded one; it counts the failures that were counted in the recording."""
    breaker: CircuitBreaker | None = policy_of(data)
    return None if breaker is None else attrs.evolve(breaker, counts=_counts_as_recorded)
