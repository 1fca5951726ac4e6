"""Retrying: the policy as a value, and what a function can say by raising."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import attrs

from . import _validate
from ._error_rule import applies
from ._errors import AttemptTimeoutError
from ._portable import Portable
from ._shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from typing_extensions import Self

Placement: TypeAlias = Literal["any", "same", "other"]
Jitter: TypeAlias = Literal["full", "equal", "decorrelated", "none"]

PLACEMENTS: tuple[Placement, ...] = ("any", "same", "other")
JITTERS: tuple[Jitter, ...] = ("full", "equal", "decorrelated", "none")

TOO_LATE = 1e11
"""POSIX seconds in the year 5138. It is milliseconds, or smaller units still, that come to more."""


class RetryAfter(Portable, Exception):
    """Raise it in a job's function: try again in ``delay``, whatever ``retry_on`` says.

    Arguments:
      delay: seconds to wait, finite, zero or more.
      rest: let the worker wait instead of the job: it rests for ``delay``, while the job
          is queued again at once, for another worker or for this one afterwards. This is
          the answer to ``429 Too Many Requests``: the token is worn out, not the job.
      placement: where the job is tried next, instead of what its policy says.
      counts: whether this attempt counts against ``max_attempts``. A `RetryBudget` counts the
          retry in any case.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    # As long as nothing else has been said, as in a derived class that doesn't call this one's __init__().
    delay: float = 0.0
    rest: bool = False
    placement: Placement | None = None
    counts: bool = True

    def __init__(
        self,
        delay: float,
        *,
        rest: bool = False,
        placement: Placement | None = None,
        counts: bool = True,
    ) -> None:
        self.delay = _validate.seconds("delay", delay, finite=True)
        self.rest = _validate.instance("rest", rest, bool)
        if placement is not None:
            self.placement = _validate.one_of("placement", placement, PLACEMENTS)
        self.counts = _validate.instance("counts", counts, bool)
        super().__init__(delay)

    # With a default there need not be a header.
    @overload
    @classmethod
    def parse(
        cls,
        value: str,
        *,
        default: None = None,
        max_delay: float = 3600.0,
        now: float | None = None,
        rest: bool = False,
        placement: Placement | None = None,
        counts: bool = True,
    ) -> Self: ...

    @overload
    @classmethod
    def parse(
        cls,
        value: str | None,
        *,
        default: float,
        max_delay: float = 3600.0,
        now: float | None = None,
        rest: bool = False,
        placement: Placement | None = None,
        counts: bool = True,
    ) -> Self: ...

    @classmethod
    def parse(
        cls,
        value: str | None,
        *,
        default: float | None = None,
        max_delay: float = 3600.0,
        now: float | None = None,
        rest: bool = False,
        placement: Placement | None = None,
        counts: bool = True,
    ) -> Self:
        """One with the delay that an HTTP server asks for in its ``Retry-After`` header.

        The header is read as RFC 9110, section 10.2.3, has it: seconds, fractions included, or a date in
        one of the three formats of HTTP, which are always in UTC. A date in the past gives a delay
        of zero.

        Arguments:
          value: the header's text; white space around it is passed over. None if there is no header.
          default: seconds to wait where there is no header or it says neither; without a default
              that is an error.
          max_delay: seconds that no delay exceeds that a server asks for; finite.
          now: what a date is held against, in POSIX seconds; by default the system's clock.
          rest, placement, counts: as for the class itself.

        Raises:
          ValueError: if the header says neither and there is no default, or an argument is out of its range.
          TypeError: if an argument is of the wrong type; so for None as ``value`` without a default.
        """
        # Not imported with the package: it takes datetime and three regular expressions along,
        # which neither Trio nor attrs needs, for a header that few programs read.
        from ._retry_after import seconds_to_wait

        otherwise = 0.0 if default is None else _validate.seconds("default", default, finite=True)
        # No header at all is as good as one that says nothing.
        header = _validate.instance("value", "" if value is None and default is not None else value, str)
        highest = _validate.seconds("max_delay", max_delay, finite=True)
        at = time.time() if now is None else _validate.seconds("now", now, finite=True)
        if at >= TOO_LATE:
            raise ValueError(f"now must be POSIX seconds before the year 5138, {_validate.got(now)}")
        try:
            delay = min(max(0.0, seconds_to_wait(header, at)), highest)
        except ValueError:
            if default is None:
                raise
            delay = otherwise
        return cls(delay, rest=rest, placement=placement, counts=counts)

    def __str__(self) -> str:
        who = "the worker rests" if self.rest else "try again in"
        return f"{who} {self.delay:g} s"


class _Reasoned(Portable, Exception):
    """A control exception that carries a reason."""

    reason: str = ""  # as above

    def __init__(self, reason: str = "") -> None:
        self.reason = str.__str__(_validate.instance("reason", reason, str))
        super().__init__(self.reason)


class GiveUp(_Reasoned):
    """Raise it in a job's function: the job is dead now, with no further attempt.

    Arguments:
      reason: why, in words; it becomes part of the job's ``reason``.

    Raises:
      TypeError: if ``reason`` is no str.
    """


class Discard(_Reasoned):
    """Raise it in a job's function: forget the job. It ends, but it is not dead.

    Arguments:
      reason: why, in words; it becomes the job's ``reason``.

    Raises:
      TypeError: if ``reason`` is no str.
    """


class ResourceBroken(_Reasoned):
    """Raise it in a job's function: a failure, and the resource has to be reopened.

    The worker leaves its lifespan and enters it again before it takes another job. The job is tried again,
    whatever types ``retry_on`` of its policy names, as it is no error of the function's; a function as
    ``retry_on`` is asked.

    Arguments:
      reason: what is wrong with the resource, in words.
      counts: whether this attempt counts against ``max_attempts``. A `RetryBudget` counts the
          retry, and a `CircuitBreaker` the failure, in any case.

    Raises:
      TypeError: if ``reason`` is no str or ``counts`` no bool.
    """

    counts: bool = True

    def __init__(self, reason: str = "", *, counts: bool = True) -> None:
        super().__init__(reason)
        self.counts = _validate.instance("counts", counts, bool)


NOT_OF_THE_FUNCTION = (AttemptTimeoutError, ResourceBroken)
"""What the pool says of an attempt and of a resource: rules that name types are about these in any case."""


def _check_attempts(_: object, __: object, value: object) -> None:
    _validate.bound("max_attempts", value, least=1)


def _check_multiplier(_: object, __: object, value: object) -> None:
    if _validate.seconds("multiplier", value, finite=True) < 1:
        raise ValueError(f"multiplier must be at least 1, {_validate.got(value)}")


def _check_finite(_: object, attribute: attrs.Attribute[float], value: object) -> None:
    _validate.seconds(attribute.name, value, finite=True)


def _check_seconds(_: object, attribute: attrs.Attribute[float], value: object) -> None:
    _validate.seconds(attribute.name, value)


def _check_jitter(_: object, __: object, value: object) -> None:
    if isinstance(value, str):
        _validate.one_of("jitter", value, JITTERS)
    else:
        _validate.seconds("jitter", value, finite=True)


def _check_retry_on(_: object, __: object, value: object) -> None:
    _validate.error_rule("retry_on", value)


def _check_flag(_: object, attribute: attrs.Attribute[bool], value: object) -> None:
    _validate.instance(attribute.name, value, bool)


def _check_placement(_: object, __: object, value: object) -> None:
    _validate.one_of("placement", value, PLACEMENTS)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Whether, when and where a failed job is tried again. A value: compare it, print it.

    The delay after the ``n``-th failure, before jitter, is ``min(max_delay, base_delay *
    multiplier ** (n - 1))``. The kinds of jitter are those that Marc Brooker compares in
    "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): ``"full"`` draws from
    zero to the delay, ``"equal"`` from half of it to the whole, ``"decorrelated"`` from
    ``base_delay`` to three times the delay before, never above ``max_delay``; ``"none"``
    takes it as it is; a number adds up to that many seconds.

    Arguments:
      max_attempts: attempts in all, the first included; ``None`` for no bound.
      base_delay: seconds before the second attempt.
      multiplier: how much longer each delay is than the one before, at least 1.
      max_delay: seconds that no delay before jitter exceeds; ``inf`` or ``None`` for no bound.
      jitter: ``"full"``, ``"equal"``, ``"decorrelated"``, ``"none"`` or seconds.
      retry_on: which errors are tried again: an exception type, a tuple of them, or a
          function of the error that returns a bool. Types match an exception group if they
          match the group itself or every leaf of it. They speak about errors of the function:
          an `AttemptTimeoutError` and a `ResourceBroken` are tried again whatever types are
          given, also as leaves of a group. A function is asked about these too.
      placement: on ``"any"`` worker, on the ``"same"``, or on an ``"other"`` (the bounce).
      front: whether a retried job goes before those of its priority that wait.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    max_attempts: float | None = attrs.field(default=3, validator=_check_attempts)
    base_delay: float = attrs.field(default=0.1, validator=_check_finite)
    multiplier: float = attrs.field(default=2.0, validator=_check_multiplier)
    max_delay: float = attrs.field(default=20.0, converter=_validate.no_bound_if_none, validator=_check_seconds)
    jitter: Jitter | float = attrs.field(default="full", validator=_check_jitter)
    retry_on: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool] = attrs.field(
        default=Exception, validator=_check_retry_on, repr=shown
    )
    placement: Placement = attrs.field(default="any", validator=_check_placement)
    front: bool = attrs.field(default=False, validator=_check_flag)

    def __attrs_post_init__(self) -> None:
        if type(self) is not RetryPolicy:
            _validate.call("delay", self.delay)

    @classmethod
    def never(cls) -> Self:
        """A policy of a single attempt."""
        return cls(max_attempts=1)

    @classmethod
    def fixed(cls, delay: float, **fields: Any) -> Self:
        """A policy that always waits ``delay`` seconds, without jitter.

        Arguments:
          delay: seconds between two attempts.
          **fields: further fields of the policy.
        """
        curve: dict[str, Any] = {"base_delay": delay, "max_delay": delay, "multiplier": 1.0}
        curve["jitter"] = "none"
        return cls(**(curve | fields))

    @classmethod
    def immediate(cls, **fields: Any) -> Self:
        """A policy without delay: on the same worker, before the jobs of its priority that wait.

        Arguments:
          **fields: further fields of the policy.
        """
        at_once: dict[str, Any] = {"base_delay": 0.0, "jitter": "none"}
        at_once |= {"front": True, "placement": "same"}
        return cls(**(at_once | fields))

    @classmethod
    def endless(cls, **fields: Any) -> Self:
        """A policy that tries again and again, with pauses that grow to half a minute: for what will be back some time.

        Arguments:
          **fields: further fields of the policy.
        """
        curve: dict[str, Any] = {"max_attempts": None, "base_delay": 0.1, "max_delay": 30.0, "jitter": "equal"}
        return cls(**(curve | fields))

    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        """How long to wait before the next attempt. Override it for another curve.

        Arguments:
          failed: how many attempts that count have failed so far, from 1.
          error: what the last one failed with.
          previous: the delay before that attempt in seconds, 0.0 before the first.
          rng: where random choices are drawn from.

        Returns:
          float: seconds, finite, zero or more.
        """
        try:
            grown = self.base_delay * float(self.multiplier) ** (failed - 1)
        except OverflowError:
            grown = sys.float_info.max if self.base_delay else 0.0
        delay = min(self.max_delay, grown, sys.float_info.max)
        if self.jitter == "full":
            return rng.uniform(0.0, delay)
        if self.jitter == "equal":
            return delay / 2 + rng.uniform(0.0, delay / 2)
        if self.jitter == "decorrelated":
            highest = max(previous, self.base_delay) * 3
            return min(self.max_delay, rng.uniform(self.base_delay, highest))
        if self.jitter == "none":
            return delay
        return delay + rng.uniform(0.0, self.jitter)

    @property
    def _is_plain(self) -> bool:
        """Whether none of the user's code is needed to apply it."""
        return type(self) is RetryPolicy and isinstance(self.retry_on, (type, tuple))

    def covers(self, error: Exception) -> bool:
        """Whether an error of this kind is tried again, the number of attempts aside.

        Raises:
          TypeError: if ``retry_on`` is a function and returns something else than a bool.
        """
        return applies("retry_on", self.retry_on, error, NOT_OF_THE_FUNCTION)
