"""The retry policy, and the exceptions by which a job's function controls its retries."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import attrs

from .._basics.pickling import Portable
from .._basics.text import shown
from . import validate
from .error_rule import NotOfTheFunction, applies

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from typing_extensions import Self

Placement: TypeAlias = Literal["any", "same", "other"]
Jitter: TypeAlias = Literal["full", "equal", "decorrelated", "none"]
Rest: TypeAlias = bool | Literal["key"]

PLACEMENTS: tuple[Placement, ...] = ("any", "same", "other")
JITTERS: tuple[Jitter, ...] = ("full", "equal", "decorrelated", "none")

TOO_LATE = 1e11
"""POSIX seconds in the year 5138. A larger number is most likely in milliseconds or smaller units."""


def checked_rest(value: object) -> Rest:
    """Return who rests, after checking it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and str.__str__(value) == "key":
        return "key"
    raise TypeError(f"rest must be a bool or 'key', {validate.got(value)}")


class RetryAfter(Portable, Exception):
    """Raise it in a job's function: try again in ``delay`` seconds, whatever ``retry_on`` is.

    Arguments:
      delay: seconds to wait, finite, zero or more.
      rest: let the worker wait instead of the job. The worker rests for ``delay`` seconds, while
          the job is queued again at once, for another worker or for this one afterward. Use it for
          ``429 Too Many Requests``, where the token is exhausted and not the job. With ``"key"``,
          the job waits, and so do all others with its key: none of them starts for ``delay``
          seconds. Use it where the server speaks of a tenant or a host. That needs
          ``open_pool(per_key=)``; without it, and without a key, only the job waits.
      placement: where the next attempt runs, instead of the policy's placement.
      counts: whether this attempt counts against ``max_attempts``. A `RetryBudget` always counts
          the retry.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    # Defaults for a derived class that doesn't call this class's __init__().
    delay: float = 0.0
    rest: Rest = False
    placement: Placement | None = None
    counts: bool = True

    def __init__(
        self,
        delay: float,
        *,
        rest: Rest = False,
        placement: Placement | None = None,
        counts: bool = True,
    ) -> None:
        self.delay = validate.seconds("delay", delay, finite=True)
        self.rest = checked_rest(rest)
        if placement is not None:
            self.placement = validate.one_of("placement", placement, PLACEMENTS)
        self.counts = validate.instance("counts", counts, bool)
        super().__init__(delay)

    # The header may be None only if there is a default.
    @overload
    @classmethod
    def parse(
        cls,
        value: str,
        *,
        default: None = None,
        max_delay: float = 3600.0,
        now: float | None = None,
        rest: Rest = False,
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
        rest: Rest = False,
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
        rest: Rest = False,
        placement: Placement | None = None,
        counts: bool = True,
    ) -> Self:
        """Create an instance from the ``Retry-After`` header of an HTTP server.

        The header is parsed according to RFC 9110, section 10.2.3. The header holds seconds,
        optionally with a fraction, or a date in one of the three formats of HTTP, which are always
        in UTC. A date in the past gives a delay of zero.

        Arguments:
          value: the header's text, or None if there is no header; surrounding white space is
              ignored.
          default: seconds to wait if there is no header or it can't be parsed; without a default
              that is an error.
          max_delay: the upper bound for the server's delay in seconds; finite.
          now: the time that a date is compared with, in POSIX seconds; the system's clock by
              default.
          rest, placement, counts: as for the class itself.

        Raises:
          ValueError: if the header can't be parsed and there is no default, or an argument is out
              of its range.
          TypeError: if an argument is of the wrong type, including None as ``value`` without a
              default.
        """
        # Imported here and not with the package: the module needs datetime and three regular
        # expressions, which neither Trio nor attrs needs, for a header that few programs read.
        from .retry_after_header import seconds_to_wait

        otherwise = 0.0 if default is None else validate.seconds("default", default, finite=True)
        # With a default, a missing header is treated like an unreadable one.
        header = validate.instance("value", "" if value is None and default is not None else value, str)
        highest = validate.seconds("max_delay", max_delay, finite=True)
        at = time.time() if now is None else validate.seconds("now", now, finite=True)
        if at >= TOO_LATE:
            raise ValueError(f"now must be POSIX seconds before the year 5138, {validate.got(now)}")
        try:
            delay = min(max(0.0, seconds_to_wait(header, at)), highest)
        except ValueError:
            if default is None:
                raise
            delay = otherwise
        return cls(delay, rest=rest, placement=placement, counts=counts)

    def __str__(self) -> str:
        who = "its key rests" if self.rest == "key" else "the worker rests" if self.rest else "try again in"
        return f"{who} {self.delay:g} s"


class _Reasoned(Portable, Exception):
    """A control exception that carries a reason."""

    reason: str = ""  # for a derived class that doesn't call this class's __init__()

    def __init__(self, reason: str = "") -> None:
        self.reason = str.__str__(validate.instance("reason", reason, str))
        super().__init__(self.reason)


class GiveUp(_Reasoned):
    """Raise it in a job's function: the job is dead now, without a further attempt.

    Arguments:
      reason: why, in words; it becomes part of the job's ``reason``.

    Raises:
      TypeError: if ``reason`` is not a str.
    """


class Discard(_Reasoned):
    """Raise it in a job's function: drop the job, which ends without a result, but is not dead.

    Arguments:
      reason: why, in words; it becomes the job's ``reason``.

    Raises:
      TypeError: if ``reason`` is not a str.
    """


class HandBack(Discard):
    """Raise it in a job's function: the job must wait too long for this process, which gives it back.

    A `Discard` for an engine in front of the pool, such as that of ``trio_pool.dramatiq``: the engine
    delivers the job again after the delay, here or to another process. Without an engine, the job is
    discarded.

    Arguments:
      delay: seconds that the job waits outside of the pool, finite, zero or more.
      reason: why, in words; it becomes the job's ``reason``.

    Raises:
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """

    delay: float = 0.0  # for a derived class that doesn't call this class's __init__()

    def __init__(self, delay: float, reason: str = "") -> None:
        super().__init__(reason)
        self.delay = validate.seconds("delay", delay, finite=True)

    def __str__(self) -> str:
        return self.reason or f"handed back for {self.delay:g} s"


class ResourceBroken(_Reasoned, NotOfTheFunction):
    """Raise it in a job's function: the attempt failed, and the resource must be reopened.

    The worker leaves and reenters its lifespan before it takes another job. The error is the
    resource's and not the function's, so the job is tried again whatever types ``retry_on`` of its
    policy names. If ``retry_on`` is a function, that function decides.

    Arguments:
      reason: what is wrong with the resource, in words.
      counts: whether this attempt counts against ``max_attempts``. A `RetryBudget` always counts
          the retry, and a `CircuitBreaker` always counts the failure.

    Raises:
      TypeError: if ``reason`` is not a str or ``counts`` not a bool.
    """

    counts: bool = True

    def __init__(self, reason: str = "", *, counts: bool = True) -> None:
        super().__init__(reason)
        self.counts = validate.instance("counts", counts, bool)


def _check_multiplier(name: str, value: object) -> None:
    if validate.seconds(name, value, finite=True) < 1:
        raise ValueError(f"{name} must be at least 1, {validate.got(value)}")


def _check_jitter(name: str, value: object) -> None:
    if isinstance(value, str):
        validate.one_of(name, value, JITTERS)
    else:
        validate.seconds(name, value, finite=True)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Whether, when and where a failed job is tried again.

    An immutable value: instances compare and print by their fields.

    The delay after the ``n``-th failure, before jitter, is ``min(max_delay, base_delay * multiplier
    ** (n - 1))``. The kinds of jitter are those that Marc Brooker compares in "Exponential Backoff
    And Jitter" (AWS Architecture Blog, 2015):

    - ``"full"`` draws from zero to the delay
    - ``"equal"`` draws from half of the delay to the whole delay
    - ``"decorrelated"`` draws from ``base_delay`` to three times the previous delay, limited to
      ``max_delay``
    - ``"none"`` takes the delay unchanged
    - a number adds a random time of up to that many seconds

    Arguments:
      max_attempts: the total number of attempts, including the first; ``None`` for no bound.
      base_delay: seconds before the second attempt.
      multiplier: the factor from one delay to the next, at least 1.
      max_delay: the longest delay before jitter, in seconds; ``inf`` or ``None`` for no bound.
      jitter: ``"full"``, ``"equal"``, ``"decorrelated"``, ``"none"`` or seconds.
      retry_on: which errors are tried again: an exception type, a tuple of types, or a function
          that takes the error and returns a bool. A type matches an exception group if it matches
          the group itself or every leaf of the group. Types apply to errors of the function only:
          an `AttemptTimeoutError` and a `ResourceBroken` are always tried again, also as leaves of
          a group. A function is called with these errors too, and decides.
      placement: which worker gets the next attempt: ``"any"`` worker, the ``"same"``, or an
          ``"other"`` (the bounce).
      front: whether a retried job goes before the waiting jobs of its priority.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    max_attempts: float | None = attrs.field(default=3, validator=validate.by(validate.bound, least=1))
    base_delay: float = attrs.field(default=0.1, validator=validate.by(validate.seconds, finite=True))
    multiplier: float = attrs.field(default=2.0, validator=validate.by(_check_multiplier))
    max_delay: float = attrs.field(
        default=20.0, converter=validate.no_bound_if_none, validator=validate.by(validate.seconds)
    )
    jitter: Jitter | float = attrs.field(default="full", validator=validate.by(_check_jitter))
    retry_on: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool] = attrs.field(
        default=Exception, validator=validate.by(validate.error_rule), repr=shown
    )
    placement: Placement = attrs.field(default="any", validator=validate.by(validate.one_of, PLACEMENTS))
    front: bool = attrs.field(default=False, validator=validate.by(validate.instance, bool))

    def __attrs_post_init__(self) -> None:
        if type(self) is not RetryPolicy:
            validate.call("delay", self.delay)

    @classmethod
    def never(cls) -> Self:
        """Create a policy of a single attempt."""
        return cls(max_attempts=1)

    @classmethod
    def fixed(cls, delay: float, **fields: Any) -> Self:
        """Create a policy that always waits ``delay`` seconds, without jitter.

        Arguments:
          delay: seconds between two attempts.
          **fields: further fields of the policy.
        """
        curve: dict[str, Any] = {"base_delay": delay, "max_delay": delay, "multiplier": 1.0}
        curve["jitter"] = "none"
        return cls(**(curve | fields))

    @classmethod
    def immediate(cls, **fields: Any) -> Self:
        """Create a policy that retries without delay on the same worker, before the waiting jobs of its priority.

        Arguments:
          **fields: further fields of the policy.
        """
        at_once: dict[str, Any] = {"base_delay": 0.0, "jitter": "none"}
        at_once |= {"front": True, "placement": "same"}
        return cls(**(at_once | fields))

    @classmethod
    def endless(cls, **fields: Any) -> Self:
        """Create a policy without a bound on attempts, whose delays grow to half a minute.

        Use it for failures that will pass at some time.

        Arguments:
          **fields: further fields of the policy.
        """
        curve: dict[str, Any] = {"max_attempts": None, "base_delay": 0.1, "max_delay": 30.0, "jitter": "equal"}
        return cls(**(curve | fields))

    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        """Calculate how long to wait before the next attempt. Override it for another curve.

        Arguments:
          failed: the number of failed attempts that count so far, from 1.
          error: the error of the last attempt.
          previous: the delay before that attempt in seconds, 0.0 before the first.
          rng: the source of random numbers.

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
        """Whether the policy runs none of the user's code."""
        return type(self) is RetryPolicy and isinstance(self.retry_on, (type, tuple))

    def _is_last(self, counted: int) -> bool:
        """Whether the attempt that has just failed, the ``counted``-th that counts, is the last one allowed."""
        return self.max_attempts is not None and counted >= self.max_attempts

    def covers(self, error: Exception) -> bool:
        """Whether the policy retries this error, regardless of the number of attempts.

        Raises:
          TypeError: if ``retry_on`` is a function and returns something other than a bool.
        """
        return applies("retry_on", self.retry_on, error)
