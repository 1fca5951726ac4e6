"""Running a test many times, with a different order of tasks and different faults each time."""

from __future__ import annotations

from functools import partial, wraps
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, overload

import trio
import trio.testing

from .._api.open_pool import Adjuster, adjusters
from .._basics.logs import report
from .._model.text import counted
from .._policies import validate
from ._chaos import whole_number
from ._faults import FaultInjector, FaultRates, Faults, InjectedError
from ._repeatable import Seeded
from ._settled import some_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .._api.pool import BasePool
    from .._model.handles import Job
    from .._model.pool_config import Config

P = ParamSpec("P")

_A_DAY = 86400.0
_THREAD_SECONDS = 0.01  # real seconds for which the clock waits while threads work


class _Run(Adjuster):
    """One Trio run of the test, in which every pool has faults."""

    def __init__(self, seed: int, rates: FaultRates, timeout: float) -> None:
        self._seed = seed
        self._rates = rates
        self._timeout = timeout
        self._clock = trio.testing.MockClock(autojump_threshold=0)
        self._pools: list[BasePool] = []
        self._unfinished: list[Job[Any]] = []
        self.faults = Faults()

    def adjust(self, config: Config) -> None:
        config.pick = "random"
        if config.rng is None:
            config.rng = Random(f"{self._seed}/{len(self._pools)}")

    def made(self, pool: BasePool) -> None:
        FaultInjector(pool, f"{self._seed}/{len(self._pools)}", self._rates, self.faults).begin()
        self._pools.append(pool)

    def perform(self, test: Callable[[], Awaitable[object]]) -> None:
        """Run the test."""
        __tracebackhide__ = True
        token = adjusters.set((*adjusters.get(), self))
        try:
            with Seeded(str(self._seed)):
                trio.run(self._main, test, clock=self._clock)
        finally:
            adjusters.reset(token)

    async def _main(self, test: Callable[[], Awaitable[object]]) -> None:
        __tracebackhide__ = True
        with trio.CancelScope() as scope:
            # Not a deadline of the scope, which the test could see.
            trio.lowlevel.spawn_system_task(self._watch, scope)
            await test()
            return
        left = f"; jobs that had not ended: {some_of(self._unfinished)}" if self._unfinished else ""
        raise trio.TooSlowError(f"the test was not over after {self._timeout:g} s on its clock{left}")

    async def _watch(self, scope: trio.CancelScope) -> None:
        # If every task waits forever, the clock jumps here at once.
        await trio.sleep(self._timeout)
        while trio.to_thread.current_default_thread_limiter().borrowed_tokens:
            self._clock.autojump_threshold = _THREAD_SECONDS  # threads need real time
            await trio.sleep(self._timeout)
        self._unfinished = [job for pool in self._pools for job in pool.jobs()]
        scope.cancel()


def _explain(error: BaseException, seed: int, faults: Faults) -> None:
    """Add the seed to an exception of the test."""
    lines = [f"seed {seed}: trio_pool.testing.explore(..., seeds=[{seed}]) repeats it"]
    sums = f"{counted(faults.failed, 'attempt')} failed, {counted(faults.broken, 'resource')} broken, "
    lines.append(f"{sums}{counted(faults.lost, 'worker')} lost{'; the last of these:' if faults.incidents else ''}")
    lines += [f"  {incident}" for incident in faults.incidents]
    try:
        notes = list(getattr(error, "__notes__", ()))
        # Bypasses the class of the exception, which can intercept assignments.
        BaseException.__setattr__(error, "__notes__", [*notes, "\n".join(lines)])
    except Exception:
        report("%s", "\n".join(lines), error=error)


def _is_in_a_run() -> bool:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


def _explore(test: Callable[[], Awaitable[object]], seeds: Iterable[int], rates: FaultRates, timeout: float) -> None:
    __tracebackhide__ = True  # pytest leaves such frames out
    if _is_in_a_run():
        raise RuntimeError("explore() starts Trio runs of its own, so call it in a plain function")
    for seed in seeds:
        run = _Run(seed, rates, timeout)
        try:
            run.perform(test)
        except BaseException as error:
            _explain(error, seed, run.faults)
            raise


@overload
def explore(
    test: Callable[..., Awaitable[object]],
    /,
    *args: Any,
    seeds: Iterable[int],
    failures: float = 0.1,
    delays: float = 0.1,
    breaking: float = 0.0,
    losing_workers: float = 0.0,
    error: Exception | type[Exception] = InjectedError,
    fatal: bool = False,
    timeout: float = _A_DAY,
) -> None: ...


@overload
def explore(
    *,
    seeds: Iterable[int],
    failures: float = 0.1,
    delays: float = 0.1,
    breaking: float = 0.0,
    losing_workers: float = 0.0,
    error: Exception | type[Exception] = InjectedError,
    fatal: bool = False,
    timeout: float = _A_DAY,
) -> Callable[[Callable[P, Awaitable[object]]], Callable[P, None]]: ...


def explore(
    test: Callable[..., Awaitable[object]] | None = None,
    /,
    *args: Any,
    seeds: Iterable[int],
    failures: float = 0.1,
    delays: float = 0.1,
    breaking: float = 0.0,
    losing_workers: float = 0.0,
    error: Exception | type[Exception] = InjectedError,
    fatal: bool = False,
    timeout: float = _A_DAY,
) -> Any:
    """Run a test once for each seed, with a different order of tasks, delays and failures each time.

    Call it with an async function and its arguments, or use it as a decorator, which makes a plain
    function of an async test. Each seed has a Trio run of its own, on a mock clock that jumps to
    the next deadline whenever all tasks wait. In every pool that is opened inside of it, wherever
    that is, `chaos` is at work, free workers are picked at random, and ``rng`` is seeded unless the
    pool has one of its own. The first exception ends the exploration; a note on it contains the seed
    and the injected faults.

    The same seed repeats the same events, as far as they follow from what Trio, the pools and the
    ``random`` module choose. Threads, real input and output, the time of day, the order of sets
    and other generators of random numbers are not controlled.

    Arguments:
      test: an async function; then its arguments.
      seeds: ints, such as ``range(100)``.
      failures, delays, breaking, losing_workers, error, fatal: as for `chaos`.
      timeout: how many seconds a run may take on its mock clock. As that jumps, a program that
          waits forever fails at once.

    Raises:
      BaseException: the exception that the test has raised, with a note.
      trio.TooSlowError: if a run takes longer than ``timeout``. The message names the jobs that had not ended.
      RuntimeError: if called inside a Trio run.
      ValueError, TypeError: if an argument is out of its range or of the wrong type.
    """
    __tracebackhide__ = True
    try:
        given = list(seeds)
    except TypeError:
        raise TypeError(f"seeds must be an iterable of ints, {validate.got(seeds)}") from None
    chosen = [whole_number("each of the seeds", seed) for seed in given]
    if not chosen:
        raise ValueError("seeds must not be empty")
    validate.positive("timeout", timeout, finite=True)
    rates = FaultRates(
        failures=failures, delays=delays, breaking=breaking, losing_workers=losing_workers, error=error, fatal=fatal
    )
    if test is not None:
        return _explore(partial(test, *args), chosen, rates, timeout)

    def decorate(test: Callable[P, Awaitable[object]]) -> Callable[P, None]:
        @wraps(test)
        def explored(*args: P.args, **kwargs: P.kwargs) -> None:
            __tracebackhide__ = True
            _explore(partial(test, *args, **kwargs), chosen, rates, timeout)

        return explored

    return decorate
