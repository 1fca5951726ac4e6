"""Limits as values: a rate, a budget of retries, a circuit breaker, a hedge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from . import _validate
from ._shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable


def _check_finite(_: object, attribute: attrs.Attribute[float], value: object) -> None:
    _validate.seconds(attribute.name, value, finite=True)


def _check_positive(_: object, attribute: attrs.Attribute[float], value: object) -> None:
    if _validate.seconds(attribute.name, value, finite=True) == 0:
        raise ValueError(f"{attribute.name} must be more than 0, {_validate.got(value)}")


def _check_from_0(_: object, attribute: attrs.Attribute[int], value: object) -> None:
    _validate.count(attribute.name, value, least=0)


def _check_from_1(_: object, attribute: attrs.Attribute[int], value: object) -> None:
    _validate.count(attribute.name, value, least=1)


def _check_burst(_: object, attribute: attrs.Attribute[int], value: object) -> None:
    # The meter takes fractions of it, so it must be small enough for a float.
    _validate.real(attribute.name, _validate.count(attribute.name, value, least=1))


def _check_longest(breaker: CircuitBreaker, _: attrs.Attribute[float | None], value: object) -> None:
    if value is None:
        return
    if _validate.seconds("max_reset_after", value) < breaker.reset_after:
        raise ValueError(
            f"max_reset_after must be at least reset_after ({breaker.reset_after!r}), {_validate.got(value)}"
        )


def _check_counts(_: object, __: object, value: object) -> None:
    _validate.error_rule("counts", value)


@attrs.frozen
class RateLimit:
    """How often attempts may start: ``burst`` at once, ``count`` each ``per`` seconds in the long run.

    The rule is the generic cell rate algorithm, as virtual scheduling (ITU-T I.371, and the
    ATM Forum's Traffic Management Specification 4.0): starts are due ``per / count`` seconds
    apart, and one may come before it is due by ``burst - 1`` times that. So no ``per``
    seconds hold more than ``count + burst`` starts, wherever they begin, and of the time in
    which nothing started, no more than a burst is made up for. With the default burst of 1, a
    start that comes late, as all do by a little, makes all later ones late: who wants the
    whole rate takes 2 or more. A start counts when the job's function begins.

    A value: compare it, print it. Each pool and each worker that gets it counts for itself.

    Arguments:
      count: how many attempts may start each ``per`` seconds, more than zero; a fraction
          is fine.
      per: seconds, more than zero.
      burst: how many may start at one and the same instant, at least 1.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    count: float = attrs.field(validator=_check_positive)
    per: float = attrs.field(default=1.0, validator=_check_positive)
    burst: int = attrs.field(default=1, validator=_check_burst)


@attrs.frozen
class RetryBudget:
    """How many retries there may be for the attempts there are: retries must not feed an outage.

    Within ``window`` seconds there may be ``ratio`` times as many retries as attempts, those
    that are retries included, or ``minimum`` if that is more. Where that allows no further
    one, a failed job is dead (`DeadReason.BUDGET_EXHAUSTED`). After Finagle's
    ``RetryBudget``, and the retry budgets in Google's "Site Reliability Engineering"
    (O'Reilly 2016), chapter 21.

    A value: compare it, print it. Each pool that gets it counts for itself.

    Arguments:
      ratio: retries for each attempt, zero or more.
      minimum: how many retries are always allowed, zero or more.
      window: seconds after which attempts and retries no longer count, more than zero; exact
          to a thousandth of it.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    ratio: float = attrs.field(default=0.2, validator=_check_finite)
    minimum: int = attrs.field(default=3, validator=_check_from_0)
    window: float = attrs.field(default=60.0, validator=_check_positive)


@attrs.frozen
class CircuitBreaker:
    """When a worker gets no more jobs because it fails them, and when it is tried again.

    After ``failures`` of them in a row the worker is quarantined: the breaker is open. After
    ``reset_after`` seconds it gets one job as a probe. If the probe succeeds, the breaker is
    closed and all is as at the start; if it fails, the breaker is open again, for twice as
    long as before if ``max_reset_after`` allows it. If it ends as neither, the next job is
    the probe.

    Failures are errors that the breaker ``counts``, attempt timeouts, and
    `ResourceBroken` in any case. Whatever else ends an attempt without a value, such as
    `RetryAfter`, `GiveUp`, `Discard`, a total timeout or a cancellation, is neither success
    nor failure, and leaves the row as it is.

    The pattern is Michael T. Nygard's "Circuit Breaker" in "Release It!" (Pragmatic
    Bookshelf 2007).

    A value: compare it, print it. Each worker that gets it counts for itself.

    Arguments:
      failures: how many in a row open it, at least 1.
      reset_after: seconds from its opening to the first probe, more than zero.
      max_reset_after: seconds that no time until a probe exceeds, at least ``reset_after``;
          ``inf`` for no bound, ``None`` if it is always to be ``reset_after``.
      counts: which errors are failures: an exception type, a tuple of them, or a function of
          the error that returns a bool. Types match an exception group if they match the
          group itself or every leaf of it. An attempt timeout is a failure whatever types are
          given; a function is asked about it, as an `AttemptTimeoutError`.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    failures: int = attrs.field(default=5, validator=_check_from_1)
    reset_after: float = attrs.field(default=30.0, validator=_check_positive)
    max_reset_after: float | None = attrs.field(default=None, validator=_check_longest)
    counts: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool] = attrs.field(
        default=Exception, validator=_check_counts, repr=shown
    )


@attrs.frozen
class Hedge:
    """When a slow attempt is started on further workers too; the first success counts.

    An attempt that has run for ``after`` seconds is started on another worker that may take
    it and is idle, or on the first that becomes so; after as long again on one more, if
    ``extra`` allows it. Jobs that are queued go first. When it has ended with a value on one
    of them, it is cancelled on the others, and has ended when it has ended there. All
    together are one attempt, which has failed when it has failed on all of them. For jobs
    whose function may run more than once.

    After the hedged requests in "The Tail at Scale" (Jeffrey Dean and Luiz André Barroso,
    Communications of the ACM 56/2, 2013). A value: compare it, print it.

    Arguments:
      after: seconds that an attempt runs before it is started on another worker, finite,
          zero or more.
      extra: on how many further workers at most, at least 1.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    after: float = attrs.field(validator=_check_finite)
    extra: int = attrs.field(default=1, validator=_check_from_1)
