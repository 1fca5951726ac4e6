"""Makes the options and values that the pool takes from what a program says."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from tests.programs.frames import Base
from tests.programs.raising import in_words
from tests.programs.world import Errand, Usable
from trio_pool import CircuitBreaker, HealthCheck, Hedge, PerKey, RateLimit, Resource, RetryPolicy, SharedRateLimit

if TYPE_CHECKING:
    from random import Random

    from tests.programs import language as lang


class OwnCurve(RetryPolicy):
    """A policy with delays of its own."""

    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        return 0.25 * failed


def _asked(value: Any, key: str) -> Any:
    """What the field is for every key."""
    assert key
    return value


class Making(Base):
    """Makes what the pool takes from what the program says."""

    def options_of(self, call: lang.Call) -> dict[str, Any]:
        """The keyword arguments of a call."""
        options: dict[str, Any] = {}
        if call.retry is not None:
            options["retry"] = self.policy(call.retry)
        setup = self.world.program.setup
        timeouts = (call.attempt_timeout, call.total_timeout, setup.attempt_timeout, setup.total_timeout)
        self.world.cancellations += any(timeout is not None for timeout in timeouts)
        if call.attempt_timeout is not None:
            options["attempt_timeout"] = call.attempt_timeout
        if call.total_timeout is not None:
            options["total_timeout"] = call.total_timeout
        if call.priority:
            options["priority"] = call.priority
        if call.requires:
            options["requires"] = call.requires
        workers = self.world.pool.workers
        if call.worker is not None and workers:
            options["worker"] = workers[call.worker % len(workers)]
        if call.uses:
            options["uses"] = dict(call.uses)
        if call.key:
            options["key"] = call.key
        if call.hedge is not None:
            self.world.cancellations += 1  # of those that lose, and of what they wait for
            options["hedge"] = Hedge(call.hedge[0], extra=call.hedge[1])
        return options

    def with_after(self, errand: Errand) -> dict[str, Any]:
        """The same for one that may stand behind others."""
        errand.options = self.options_of(errand.call)
        jobs = list(self.world.books)
        if errand.call.after and jobs:
            errand.behind = tuple(jobs[-1 - number % len(jobs)] for number in errand.call.after)
            return errand.options | {"after": errand.behind}
        return errand.options

    def rate(self, rate: lang.Rate | None) -> RateLimit | None:
        """A limit."""
        return None if rate is None else RateLimit(rate.count, rate.per, rate.burst, unit=rate.unit or None)

    def rates_of(self, part: lang.Device | lang.Setup) -> list[RateLimit | SharedRateLimit]:
        """The limits of a device, or of the pool."""
        limits: list[RateLimit | SharedRateLimit] = []
        limits += [limit for limit in (self.rate(part.rate), self.rate(part.unit_rate)) if limit is not None]
        setup = self.world.program.setup
        if setup.is_shared and setup.unit_rate is not None:
            if self.world.shared is None:
                limit = self.rate(setup.unit_rate)
                assert limit is not None
                self.world.shared = limit.shared()
            if part is setup:
                limits.pop()
            limits.append(self.world.shared)
        return limits

    def per_key(self) -> PerKey | None:
        """The bounds of keys."""
        bounds = self.world.program.setup.per_key
        if bounds is None:
            return None
        fields: dict[str, Any] = {"max_running": bounds.max_running, "rate_limit": self.rate(bounds.rate)}
        if bounds.weighs:
            fields["weight"] = {"k": 1, "l": 2, "m": 0.5}.__getitem__
        if bounds.asks:
            fields |= {name: partial(_asked, value) for name, value in fields.items() if name != "weight"}
        return PerKey(**fields)

    def policy(self, policy: lang.Policy) -> RetryPolicy:
        """A retry policy."""
        kind = {"plain": RetryPolicy, "own": OwnCurve}.get(policy.curve) or self._bad_curve(policy.curve)
        return kind(
            max_attempts=policy.max_attempts,
            base_delay=policy.delay,
            multiplier=policy.multiplier,
            jitter=policy.jitter,
            placement=policy.placement,
            front=policy.front,
            retry_on=self._rule(policy.retry_on),
        )

    def _bad_curve(self, curve: str) -> type[RetryPolicy]:
        world = self.world

        class Bad(RetryPolicy):
            def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
                if curve == "raises":
                    raise world.raising("os")
                return math.nan

        return Bad

    def _rule(self, rule: str) -> Any:
        def raises(_: Exception) -> bool:
            raise self.world.raising("os")

        def is_value(error: Exception) -> bool:
            return isinstance(error, ValueError)

        rules: dict[str, Any] = {
            "all": Exception,
            "value": ValueError,
            "function": is_value,
            "raises": raises,
            "nonsense": in_words,
        }
        return rules[rule]

    def breaker(self, breaker: lang.Breaker | None) -> CircuitBreaker | None:
        """A circuit breaker."""
        if breaker is None:
            return None
        return CircuitBreaker(
            breaker.failures,
            breaker.reset_after,
            breaker.max_reset_after,
            self._rule(breaker.counts),
            rate=breaker.rate,
            window=5.0,
        )

    def health(self, device: lang.Device) -> dict[str, Any]:
        """What keeps a device with a lifespan usable."""
        if not self.world.program.setup.lifespan:
            return {}
        check = None
        if device.check is not None:
            self.world.breakages += 1
            check = HealthCheck(self._check, every=device.check, timeout=1.0)
        if device.reopens:
            self.world.breakages += 1
        return {"on_cut": "reopen" if device.reopens else None, "check": check}

    async def _check(self, usable: Usable) -> None:
        world = self.world
        if usable.users:
            world.fail(f"check: {usable.name} was checked while {[*usable.users]!r} use it")
        world.checks += 1
        await trio.sleep(0.25 * (world.checks % 6))
        if usable.users or usable.left:
            world.fail(f"check: {usable.name} was used or left while it was checked")
        if world.checks % 4 == 0:
            raise world.raising("os")

    def resource(self, device: lang.Device, key: int) -> Resource[Any]:
        """A resource: what its lifespan is called with, or what jobs get where there is none."""
        value: Any = (device, key) if self.world.program.setup.lifespan else Usable(f"device {key}", device)
        return Resource(
            value,
            tags=device.tags,
            max_running=device.places or math.inf,
            rate_limit=self.rates_of(device),
            breaker=self.breaker(device.breaker),
            max_jobs=device.max_jobs,
            max_age=device.max_age,
            **self.health(device),
        )
