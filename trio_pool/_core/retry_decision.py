"""The decision about a job after a failed attempt, as a pure function."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .._basics.error_text import MOST_OF_ERROR
from .._basics.exceptions import CANCELLATIONS, as_error, leaves
from .._basics.is_a import is_a
from .._basics.text import said
from .._basics.tracebacks import clear_frames, context_of, set_context
from .._model.setback import Setback
from .._model.states import DeadReason
from .._policies import validate
from .._policies.error_rule import matches
from .._policies.retry import (
    PLACEMENTS,
    Discard,
    GiveUp,
    HandBack,
    Placement,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    checked_rest,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from random import Random

    from .._basics.error_text import Words
    from .._model.handles import Job
    from .._model.pool_config import Control, OnFailure
    from .._policies.circuit_breaker import Breaker


_FIRST_TIME: Setback[Any] = Setback()
_CONTROLS = (RetryAfter, GiveUp, Discard, ResourceBroken)
_TELLING = (*_CONTROLS, BaseExceptionGroup)

# Named tuples, since generating attrs classes takes most of the package's import time.


class Retry(NamedTuple):
    """Another attempt in ``delay`` seconds."""

    delay: float
    placement: Placement
    front: bool
    counts: bool


class Die(NamedTuple):
    """No further attempt: the job is dead because of ``error``."""

    reason: DeadReason
    words: Words
    error: Exception


class Drop(NamedTuple):
    """No further attempt, but no failure either: the job is discarded."""

    words: Words
    # Seconds after which an engine in front of the pool submits the job again, or None for never.
    handed_back: float | None = None


class Verdict(NamedTuple):
    """The decision about the job, and the effect of the failure on its worker and its key."""

    fate: Retry | Die | Drop
    rest: float = 0.0
    # How long the job's key rests.
    key_rest: float = 0.0
    broken: bool = False
    # Whether the worker's breaker counts the failure.
    is_failure: bool = False

    @property
    def is_the_last_word(self) -> bool:
        """Whether the function itself has decided about the job."""
        fate = self.fate
        return isinstance(fate, Drop) or (isinstance(fate, Die) and fate.reason is DeadReason.GAVE_UP)


def control_of(error: Exception) -> Control | None:
    """Return the strongest control exception in ``error``, or None.

    Also return None if ``error`` contains anything else: a group with an ordinary error is an ordinary failure.
    """
    if not issubclass(type(error), _TELLING):  # as `is_a` does
        return None
    found = cast("list[Control]", [leaf for leaf in leaves(error) if is_a(leaf, _CONTROLS)])
    if len(found) < len(leaves(error)):
        return None
    return found[0] if len(found) == 1 else max(found, key=_strength)


def _delay_of(pause: RetryAfter | HandBack) -> float:
    return validate.seconds("delay", pause.delay, finite=True)


def _strength(control: Control) -> tuple[int, float, bool]:
    """The order of control exceptions: by type, then by delay, then by whether they count."""
    if is_a(control, RetryAfter):
        return 0, _delay_of(control), control.counts
    if is_a(control, ResourceBroken):
        return 1, 0.0, control.counts
    if is_a(control, HandBack):
        return 2, _delay_of(control), True
    return (4 if is_a(control, GiveUp) else 3), 0.0, True


def judge(
    job: Job[Any],
    error: Exception,
    *,
    policy: RetryPolicy,
    on_failure: OnFailure | None,
    breaker: Breaker | None = None,
    rng: Random,
) -> Verdict:
    """Decide about ``job`` after an attempt that failed with ``error``.

    This does not change the job or read the clock. However, it calls the user's code: ``on_failure``,
    ``retry_on``, ``delay``, and ``counts`` of a breaker.
    """
    try:
        control = control_of(error)
    except BaseException as fault:  # a class of the program can define its own delay, which may fail
        return Verdict(_misjudged(fault, error, "what the function has raised"))
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
    try:
        return _as_told(job, error, control, policy, rng)
    except BaseException as fault:  # a class of the program can define its own attributes, which may fail
        return Verdict(_misjudged(fault, error, "what the function has raised"))


def judge_block(error: Exception, breaker: Breaker | None) -> Verdict:
    """Decide about a lease whose block has raised ``error``: it is never tried again.

    This calls ``counts`` of a breaker, which is the user's code.
    """
    is_broken = matches(error, (ResourceBroken,))
    try:
        is_failure = is_broken or (breaker is not None and breaker.counts_error(error))
    except BaseException as fault:
        return Verdict(_misjudged(fault, error, "the breaker's counts"), broken=is_broken)
    fate = Die(DeadReason.NOT_RETRYABLE, ("its block failed: {}", error), error)
    return Verdict(fate, broken=is_broken, is_failure=is_failure)


def _as_told(job: Job[Any], error: Exception, control: Control, policy: RetryPolicy, rng: Random) -> Verdict:
    if is_a(control, GiveUp):
        reason = said(control.reason, MOST_OF_ERROR)
        return Verdict(Die(DeadReason.GAVE_UP, f"given up: {reason}" if reason else "given up", error))
    if is_a(control, HandBack):
        delay = _delay_of(control)
        return Verdict(Drop(said(control.reason, MOST_OF_ERROR) or f"handed back for {delay:g} s", delay))
    if is_a(control, Discard):
        return Verdict(Drop(said(control.reason, MOST_OF_ERROR) or "discarded by its function"))
    if is_a(control, RetryAfter):
        delay, rests = _delay_of(control), checked_rest(control.rest)
        if rests is not True:
            fate = _again_after(job, error, control, delay, policy)
            return Verdict(fate, key_rest=delay if rests else 0.0)
        return Verdict(_again_after(job, error, control, 0.0, policy), rest=delay)
    return Verdict(_by_policy(job, error, policy, rng, control), broken=True, is_failure=True)


def _checked(answer: object) -> Control | None:
    if answer is None or is_a(answer, _CONTROLS):
        return cast("Control | None", answer)
    validate.answer("on_failure", answer)
    raise TypeError(
        f"on_failure must return RetryAfter, GiveUp, Discard, ResourceBroken or None, {validate.got(answer)}"
    )


def _again_after(
    job: Job[Any], error: Exception, control: RetryAfter, delay: float, policy: RetryPolicy
) -> Retry | Die:
    counts, asked = validate.instance("counts", control.counts, bool), control.placement
    if counts and policy._is_last((job._setback or _FIRST_TIME).counted + 1):
        return _exhausted(job, error)
    placement = policy.placement if asked is None else validate.one_of("placement", asked, PLACEMENTS)
    if control.rest is True and asked is None and placement == "same":
        placement = "any"  # the same worker is the one that must rest
    return Retry(delay, placement, policy.front, counts)


def _by_policy(
    job: Job[Any], error: Exception, policy: RetryPolicy, rng: Random, broken: ResourceBroken | None = None
) -> Retry | Die:
    try:
        counts = broken is None or validate.instance("counts", broken.counts, bool)
        # Types match the ResourceBroken, even if on_failure has returned it for another error.
        by_types = isinstance(policy.retry_on, (type, tuple))
        if not policy.covers(broken if broken is not None and by_types else error):
            return Die(DeadReason.NOT_RETRYABLE, ("not retryable: {}", error), error)
        setback = job._setback or _FIRST_TIME
        if counts and policy._is_last(setback.counted + 1):
            return _exhausted(job, error)
        delay = policy.delay(setback.counted + 1, error, setback.delay, rng)
        if type(policy) is not RetryPolicy:
            validate.answer("delay", delay)
            validate.seconds("the delay of a RetryPolicy", delay, finite=True)
    except BaseException as fault:
        return _misjudged(fault, error, "the retry policy")
    return Retry(delay, policy.placement, policy.front, counts)


def _exhausted(job: Job[Any], error: Exception) -> Die:
    counted = (job._setback or _FIRST_TIME).counted
    words = "no attempts left"
    if counted < job.attempt_count:  # explains why there were more attempts than max_attempts
        words = f"{words}: {counted + 1} of {job.attempt_count + 1} count"
    return Die(DeadReason.ATTEMPTS_EXHAUSTED, words, error)


def _misjudged(fault: BaseException, error: Exception, source: str) -> Die:
    """Handle an error in the user's own code for the decision, which a retry can't fix.

    Anything other than an `Exception` is raised again.
    """
    fault = as_error(fault, source)
    if not is_a(fault, Exception):
        raise fault
    if fault is not error and context_of(fault) is None:
        set_context(fault, error)
    clear_frames(fault, strangers=CANCELLATIONS)
    return Die(DeadReason.NOT_RETRYABLE, ("the decision about its failure failed: {}", fault), fault)
