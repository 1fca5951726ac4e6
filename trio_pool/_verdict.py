"""What becomes of a job after a failed attempt: one pure decision."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import trio

from . import _validate
from ._error_rule import as_error, leaves
from ._job import DeadReason
from ._retry import Discard, GiveUp, Placement, ResourceBroken, RetryAfter, RetryPolicy
from ._setback import Setback
from ._tracebacks import clear_frames, context_of, in_words, set_context

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from ._job import Job
    from ._meters import Breaker

Control: TypeAlias = RetryAfter | GiveUp | Discard | ResourceBroken
OnFailure: TypeAlias = "Callable[[Job[Any], Exception], Control | None]"


_FIRST_TIME = Setback()
_CONTROLS = (RetryAfter, GiveUp, Discard, ResourceBroken)
_TELLING = (*_CONTROLS, BaseExceptionGroup)

# Named tuples, since generating classes is most of what importing the package takes.


class Retry(NamedTuple):
    """Another attempt in ``delay`` seconds."""

    delay: float
    placement: Placement
    front: bool
    counts: bool


class Die(NamedTuple):
    """No further attempt: the job is dead of ``error``."""

    reason: DeadReason
    words: str
    error: Exception


class Drop(NamedTuple):
    """No further attempt, and no harm done: the job is discarded."""

    words: str


class Verdict(NamedTuple):
    """What becomes of the job, and what the failure means for its worker."""

    fate: Retry | Die | Drop
    rest: float = 0.0
    broken: bool = False
    # Whether the worker's breaker counts it.
    is_failure: bool = False

    @property
    def is_the_last_word(self) -> bool:
        """Whether the function itself has said what becomes of the job."""
        fate = self.fate
        return isinstance(fate, Drop) or (isinstance(fate, Die) and fate.reason is DeadReason.GAVE_UP)


def control_of(error: Exception) -> Control | None:
    """What the function says by ``error``: the strongest control exception in it.

    Only where there is nothing else in it: a group in which something ordinary failed too
    is an ordinary failure.
    """
    if not isinstance(error, _TELLING):
        return None
    found = leaves(error)
    for kind in (GiveUp, Discard, ResourceBroken):
        for leaf in found:
            if isinstance(leaf, kind):
                return leaf if _only_controls(found) else None
    pauses = [leaf for leaf in found if isinstance(leaf, RetryAfter)]
    if len(pauses) != len(found):
        return None
    return max(pauses, key=lambda pause: pause.delay)


def _only_controls(found: list[BaseException]) -> bool:
    return all(isinstance(leaf, _CONTROLS) for leaf in found)


def judge(
    job: Job[Any],
    error: Exception,
    *,
    policy: RetryPolicy,
    on_failure: OnFailure | None,
    breaker: Breaker | None = None,
    rng: Random,
) -> Verdict:
    """Decide what becomes of ``job`` after an attempt that failed with ``error``.

    Neither the job nor the clock is touched; but ``on_failure``, ``retry_on`` and
    ``delay`` are the user's code, as is what a breaker ``counts``, and are called here.
    """
    control = control_of(error)
    if control is None and on_failure is not None:
        try:
            control = _checked(on_failure(job, error))
        except BaseException as fault:
            return Verdict(_misjudged(fault, error, "on_failure"))
    if control is None:
        try:
            is_failure = breaker is not None and breaker.counts_error(error)
        except BaseException as fault:
            return Verdict(_misjudged(fault, error, "the breaker's counts"))
        return Verdict(_by_policy(job, error, policy, rng), is_failure=is_failure)
    if isinstance(control, GiveUp):
        words = f"given up: {control.reason}" if control.reason else "given up"
        return Verdict(Die(DeadReason.GAVE_UP, words, error))
    if isinstance(control, Discard):
        return Verdict(Drop(control.reason or "discarded by its function"))
    if isinstance(control, RetryAfter):
        rest = control.delay if control.rest else 0.0
        return Verdict(_again_after(job, error, control, policy), rest=rest)
    return Verdict(_by_policy(job, error, policy, rng), broken=True, is_failure=True)


def _checked(answer: object) -> Control | None:
    if answer is None or isinstance(answer, _CONTROLS):
        return answer
    raise TypeError(f"on_failure must return RetryAfter, GiveUp, Discard, ResourceBroken or None, got {answer!r}")


def _again_after(job: Job[Any], error: Exception, control: RetryAfter, policy: RetryPolicy) -> Retry | Die:
    if control.counts and _used_up(job, policy):
        return _exhausted(error)
    delay = 0.0 if control.rest else control.delay
    placement = control.placement or policy.placement
    if control.rest and control.placement is None and placement == "same":
        placement = "any"  # the same worker is the one that can't take it now
    return Retry(delay, placement, policy.front, control.counts)


def _by_policy(job: Job[Any], error: Exception, policy: RetryPolicy, rng: Random) -> Retry | Die:
    try:
        if not policy.covers(error):
            return Die(DeadReason.NOT_RETRYABLE, f"not retryable: {in_words(error)}", error)
        if _used_up(job, policy):
            return _exhausted(error)
        setback = job._setback or _FIRST_TIME
        delay = policy.delay(setback.counted + 1, error, setback.delay, rng)
        if type(policy) is not RetryPolicy:
            _validate.seconds("the delay of a RetryPolicy", delay, finite=True)
    except BaseException as fault:
        return _misjudged(fault, error, "the retry policy")
    return Retry(delay, policy.placement, policy.front, counts=True)


def _used_up(job: Job[Any], policy: RetryPolicy) -> bool:
    """Whether the attempt that has just failed, if it counts, was the last one allowed."""
    most = math.inf if policy.max_attempts is None else policy.max_attempts
    return (job._setback or _FIRST_TIME).counted + 1 >= most


def _exhausted(error: Exception) -> Die:
    return Die(DeadReason.ATTEMPTS_EXHAUSTED, "no attempts left", error)


def _misjudged(fault: BaseException, error: Exception, source: str) -> Die:
    """The user's own code for deciding is at fault: that isn't mended by trying again.

    What is no `Exception` is raised on.
    """
    fault = as_error(fault, source)
    if not isinstance(fault, Exception):
        raise fault
    if fault is not error and context_of(fault) is None:
        set_context(fault, error)
    clear_frames(fault, strangers=(trio.Cancelled,))
    words = f"the decision about its failure failed: {in_words(fault)}"
    return Die(DeadReason.NOT_RETRYABLE, words, fault)
