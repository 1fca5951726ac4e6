"""Faults in one pool, in a test."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .._api.pool import checked_pool
from .._policies import validate
from ._faults import FaultInjector, FaultRates, Faults, InjectedError

if TYPE_CHECKING:
    from .._api.pool import Pool, SlotPool


def whole_number(name: str, value: object) -> int:
    """Return ``value``, after checking that it is an int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, {validate.got(value)}")
    return value


class _Chaos(AbstractContextManager[Faults]):
    """The block of `chaos`."""

    __slots__ = ("_faults", "_injector")

    def __init__(self, injector: FaultInjector, faults: Faults) -> None:
        self._injector = injector
        self._faults = faults

    def __enter__(self) -> Faults:
        self._injector.begin()
        return self._faults

    def __exit__(self, *_: object) -> None:
        self._injector.end()


def chaos(
    pool: Pool[Any] | SlotPool,
    *,
    seed: int,
    failures: float = 0.1,
    delays: float = 0.1,
    breaking: float = 0.0,
    losing_workers: float = 0.0,
    error: Exception | type[Exception] = InjectedError,
    fatal: bool = False,
) -> AbstractContextManager[Faults]:
    """Delay and fail attempts of a pool at random inside the block, break resources and remove workers.

    What happens to an attempt depends only on the seed, the job's number and how often the job was
    started before. The jobs should all succeed in spite of it: an attempt fails only if the retry
    policy of its job allows another one, and at most ten attempts of a job do. Other limits of the
    program still hold: a ``total_timeout``, a `trio_pool.RetryBudget`, a
    `trio_pool.CircuitBreaker` or ``on_failure`` may end a job that has failed.

    Arguments:
      pool: the pool.
      seed: an int; with another one, other attempts fail.
      failures: the probability, from 0 to 1, that an attempt fails with ``error`` before its
          function is called.
      delays: the maximum delay of the start of an attempt in seconds, but at most a tenth of the time
          that the attempt has. One in three attempts is delayed for a time, one in three only until
          other tasks have run. 0 for no delays.
      breaking: the probability that an attempt fails with ``ResourceBroken(counts=False)`` before
          its function is called. Its worker reopens the resource. This costs the job no attempt,
          so it happens to jobs without retries too.
      losing_workers: the probability that a worker is removed in the middle of an attempt, as by
          ``worker.remove(cancel=True)``: its jobs are cut short, and start again on other workers.
          Only a worker that runs something is removed, if another one has all of its tags and no
          job has it as ``worker=``.
      error: what the failing attempts raise, an exception or an exception type.
      fatal: whether attempts that are not tried again fail too, so that their jobs die. The attempts that
          ``breaking`` fails then also count against ``max_attempts``.

    The blocks of `trio_pool.Pool.acquire` are delayed, and lose their workers, but they don't fail.

    Returns:
      a context manager, to be entered once, that yields the `Faults` so far.

    Raises:
      RuntimeError: if the pool has faults already, or lives in another Trio run or thread.
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """
    checked = checked_pool(pool)
    number = whole_number("seed", seed)
    rates = FaultRates(
        failures=failures, delays=delays, breaking=breaking, losing_workers=losing_workers, error=error, fatal=fatal
    )
    checked._engine.check_caller()
    faults = Faults()
    return _Chaos(FaultInjector(checked, str(number), rates, faults), faults)
