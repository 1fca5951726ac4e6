"""Programs of many kinds, each with a pool that a recorder watches."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from trio_pool import (
    CircuitBreaker,
    Discard,
    Elastic,
    GiveUp,
    Hedge,
    Node,
    PerKey,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    current_job,
    current_worker,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from trio_pool import Pool
    from trio_pool.planning import Recorder

KEEP: dict[str, Any] = {"on_dead": "keep"}


class FailingError(Exception):
    """What jobs fail with."""


async def work(_: object, seconds: float) -> None:
    await trio.sleep(seconds)


def durations(number: int, seed: int = 1) -> list[float]:
    rng = Random(seed)
    return [round(rng.uniform(0.1, 2.0), 3) for _ in range(number)]


async def flaky(_: object, seconds: float, share: float, rng: Random) -> None:
    await trio.sleep(seconds)
    if rng.random() < share:
        raise FailingError


async def all_of(pool: Pool[Any], fn: Callable[..., Awaitable[Any]], items: list[Any], **options: Any) -> None:
    async with pool.as_completed(fn, items, **options) as jobs:
        async for _ in jobs:
            pass


async def a_stream(recorder: Recorder) -> None:
    async with open_pool(3, instruments=[recorder]) as pool, pool.map(trio.sleep, durations(60)) as results:
        async for _ in results:
            pass


async def a_stream_with_a_slow_reader(recorder: Recorder) -> None:
    async with open_pool(3, instruments=[recorder]) as pool, pool.map(trio.sleep, durations(30)) as results:
        async for _ in results:
            await trio.sleep(1)


async def a_stream_of_slow_items(recorder: Recorder) -> None:
    async def items() -> AsyncGenerator[float]:
        for seconds in durations(30):
            await trio.sleep(0.9)
            yield seconds

    async with open_pool(3, instruments=[recorder]) as pool, pool.map(trio.sleep, items(), buffer=4) as results:
        async for _ in results:
            pass


async def a_stream_that_is_left_early(recorder: Recorder) -> None:
    async with open_pool(3, instruments=[recorder]) as pool:
        async with pool.as_completed(trio.sleep, durations(30)) as jobs:
            for _ in range(10):
                await anext(jobs)
        async with pool.map(trio.sleep, durations(10, 2)) as results:
            async for _ in results:
                pass


async def jobs_that_come_one_by_one(recorder: Recorder) -> None:
    async with open_pool(3, instruments=[recorder]) as pool:
        for seconds in durations(40):
            await pool.submit(trio.sleep, seconds)
            await trio.sleep(0.3)


async def jobs_of_many_tasks(recorder: Recorder) -> None:
    async with open_pool(3, instruments=[recorder]) as pool, trio.open_nursery() as nursery:
        for seconds in durations(40):
            nursery.start_soon(pool.run, trio.sleep, seconds)
            await trio.sleep(0.2)


async def a_full_queue(recorder: Recorder) -> None:
    async with open_pool(3, instruments=[recorder], max_queue=5) as pool:
        for seconds in durations(60):
            await pool.submit(trio.sleep, seconds)


async def many_at_a_full_queue(recorder: Recorder) -> None:
    async def submit_all(pool: Any, seed: int) -> None:
        for seconds in durations(20, seed):
            await pool.submit(trio.sleep, seconds)
            await trio.sleep(0.1)

    async with open_pool(3, instruments=[recorder], max_queue=2) as pool, trio.open_nursery() as nursery:
        for seed in range(4):
            nursery.start_soon(submit_all, pool, seed)


async def limits_of_workers(recorder: Recorder) -> None:
    resources = [
        Resource("a", rate_limit=RateLimit(2)),
        Resource("b", rate_limit=[RateLimit(10, burst=3), RateLimit(20, per=30)]),
        Resource("c"),
    ]
    async with open_pool(resources, instruments=[recorder]) as pool:
        await all_of(pool, work, [seconds / 4 for seconds in durations(100)])


async def a_limit_of_the_pool(recorder: Recorder) -> None:
    async with open_pool(["a", "b", "c"], rate_limit=RateLimit(3, burst=4), instruments=[recorder]) as pool:
        await all_of(pool, work, [seconds / 4 for seconds in durations(100)])


async def units(recorder: Recorder) -> None:
    shared = RateLimit(500, burst=300, unit="tokens").shared(name="organization")

    def estimate(tokens: int) -> dict[str, float]:
        return {"tokens": tokens}

    async def ask(_: object, tokens: int) -> None:
        await trio.sleep(0.2 + tokens / 1000)
        current_job().set_used(tokens=tokens * 0.7)

    resources = [
        Resource("a", max_running=4, rate_limit=[RateLimit(400, burst=200, unit="tokens"), shared]),
        Resource("b", max_running=4, rate_limit=[RateLimit(5), shared]),
        Resource("c", max_running=2, rate_limit=RateLimit(100, unit="tokens")),
    ]
    amounts = [int(100 * seconds) for seconds in durations(120)]
    async with open_pool(resources, instruments=[recorder]) as pool:
        await all_of(pool, ask, amounts, uses=estimate)


async def retries(recorder: Recorder) -> None:
    rng = Random(1)
    policy = RetryPolicy(max_attempts=6, base_delay=1.0, placement="other")
    async with open_pool(["a", "b", "c"], retry=policy, rng=Random(2), instruments=[recorder], **KEEP) as pool:
        await all_of(pool, partial(flaky, share=0.4, rng=rng), durations(60))


async def retries_with_a_budget(recorder: Recorder) -> None:
    rng = Random(1)
    options: dict[str, Any] = {"retry": RetryPolicy(max_attempts=6), "retry_budget": RetryBudget(0.2, window=20)}
    async with open_pool(["a", "b", "c"], rng=Random(2), instruments=[recorder], **KEEP, **options) as pool:
        await all_of(pool, partial(flaky, share=0.4, rng=rng), durations(60))


async def what_functions_say(recorder: Recorder) -> None:
    rng = Random(3)

    async def say(_: object, seconds: float) -> None:
        await trio.sleep(seconds)
        number = rng.randrange(12)
        if number == 0:
            raise RetryAfter(2.0, rest=True, counts=False)
        if number == 1:
            raise RetryAfter(1.5)
        if number == 2:
            raise GiveUp
        if number == 3:
            raise Discard
        if number == 4:
            raise RetryAfter(1.0, rest="key")

    def key_of(seconds: float) -> int:
        return int(seconds * 1000) % 5

    policy = RetryPolicy(max_attempts=4, placement="same")
    options: dict[str, Any] = {"retry": policy, "per_key": PerKey(max_running=2)}
    async with open_pool(["a", "b", "c"], instruments=[recorder], **KEEP, **options) as pool:
        await all_of(pool, say, durations(80), key=key_of)


async def dead_jobs_whose_workers_rest(recorder: Recorder) -> None:
    async def refused(_: object, first: bool) -> None:
        await trio.sleep(0.5)
        if first:
            raise RetryAfter(5.0, rest=True)

    async with open_pool(["a"], instruments=[recorder], retry=RetryPolicy.never(), **KEEP) as pool:
        for first in (True, False):
            pool.submit_nowait(refused, first)


async def dead_jobs_whose_keys_rest(recorder: Recorder) -> None:
    async def refused(_: object, first: bool) -> None:
        await trio.sleep(0.5)
        if first:
            raise RetryAfter(5.0, rest="key")

    options: dict[str, Any] = {"retry": RetryPolicy.never(), "per_key": PerKey(max_running=1)}
    async with open_pool(["a", "b"], instruments=[recorder], **KEEP, **options) as pool:
        for first in (True, False):
            pool.submit_nowait(refused, first, key="k")


async def on_failure(recorder: Recorder) -> None:
    rng = Random(3)

    def decide(job: Any, error: Exception) -> RetryAfter | None:
        return RetryAfter(1.0, rest=True) if job.attempt_count % 2 else None

    policy = RetryPolicy(max_attempts=5, base_delay=0.5)
    async with open_pool(["a", "b"], instruments=[recorder], retry=policy, on_failure=decide, **KEEP) as pool:
        await all_of(pool, partial(flaky, share=0.4, rng=rng), durations(60))


async def groups(recorder: Recorder) -> None:
    async def in_a_group(pool: Any, seed: int, **options: Any) -> None:
        async with pool.open_group(**options) as group:
            for seconds in durations(15, seed):
                await group.submit(trio.sleep, seconds)
            await trio.sleep(2)

    async with open_pool(4, instruments=[recorder]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(partial(in_a_group, pool, 1, max_running=1))
        nursery.start_soon(partial(in_a_group, pool, 2, reserve=2))
        await trio.sleep(3)
        nursery.start_soon(partial(in_a_group, pool, 3, reserve=2))


async def a_group_that_must_succeed(recorder: Recorder) -> None:
    async def fail(seconds: float) -> None:
        await trio.sleep(seconds)
        raise FailingError

    async with open_pool(2, instruments=[recorder]) as pool:
        with suppress(Exception):
            async with pool.open_group(must_succeed=True) as group:
                for seconds in durations(10):
                    await group.submit(trio.sleep, seconds)
                await group.submit(fail, 1.0, priority=-1)
                await trio.sleep(60)
        async with pool.map(trio.sleep, durations(10)) as results:
            async for _ in results:
                pass


async def a_graph_at_a_full_queue(recorder: Recorder) -> None:
    async with open_pool(1, max_queue=0, instruments=[recorder]) as pool:
        await pool.submit_graph({"a": Node(trio.sleep, 1.0), "b": Node(trio.sleep, 1.0, after=["a"])})
        await trio.sleep(0.5)
        pool.rest(5.0)


async def a_graph(recorder: Recorder) -> None:
    times = durations(30)
    nodes = {
        at: Node(trio.sleep, seconds, after=[other for other in {at // 2, at - 3} if 0 <= other < at])
        for at, seconds in enumerate(times)
    }
    async with open_pool(3, instruments=[recorder]) as pool:
        await pool.submit_graph(nodes)


async def keys(recorder: Recorder) -> None:
    per_key = PerKey(max_running=2, rate_limit=RateLimit(3, burst=2), weight=lambda key: 2.0 if key == "a" else 1.0)
    async with open_pool(4, per_key=per_key, instruments=[recorder]) as pool:
        for at, seconds in enumerate(durations(80)):
            await pool.submit(trio.sleep, seconds, key=[None, "a", "b", "c"][at % 4])


async def hedges(recorder: Recorder) -> None:
    rng = Random(5)

    async def sometimes_slow() -> None:
        await trio.sleep(10.0 if rng.random() < 0.2 else 0.5)

    async with open_pool(5, instruments=[recorder]) as pool:
        for _ in range(60):
            await pool.submit(sometimes_slow, hedge=Hedge(1.0, extra=2))
            await trio.sleep(0.6)


async def breakers(recorder: Recorder) -> None:
    rng = Random(6)

    async def fail_on_a(resource: str) -> None:
        await trio.sleep(0.5)
        if resource == "a" and rng.random() < 0.9:
            raise FailingError

    options: dict[str, Any] = {"breaker": CircuitBreaker(failures=2, reset_after=4.0, max_reset_after=20.0)}
    options["retry"] = RetryPolicy(max_attempts=10, placement="other", base_delay=0.2)
    async with open_pool(["a", "b", "c"], instruments=[recorder], rng=Random(1), **options) as pool:
        for _ in range(80):
            await pool.submit(fail_on_a)
            await trio.sleep(0.2)


async def an_elastic_pool(recorder: Recorder) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        await trio.sleep(1.5)
        yield "resource"
        await trio.sleep(0.5)

    elastic = Elastic(factory, min=1, max=6, idle_timeout=5.0, open_after=0.2)
    async with open_pool(elastic, instruments=[recorder]) as pool:
        for at, seconds in enumerate(durations(60)):
            await pool.submit(work, seconds)
            await trio.sleep(8.0 if at % 20 == 19 else 0.1)


async def lifespans(recorder: Recorder) -> None:
    rng = Random(7)
    opened: dict[str, int] = {}

    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        opened[resource] = opened.get(resource, 0) + 1
        await trio.sleep(2.0)
        if opened[resource] in (3, 4):
            raise OSError
        yield resource
        await trio.sleep(1.0)

    async def break_it(_: object, seconds: float) -> None:
        await trio.sleep(seconds)
        if rng.random() < 0.1:
            raise ResourceBroken(counts=False)

    resources = [Resource("a", max_jobs=10), Resource("b", max_age=20.0), Resource("c")]
    options: dict[str, Any] = {"lifespan": connect, "retry": RetryPolicy(max_attempts=9, base_delay=0.0)}
    options["reopening"] = RetryPolicy.fixed(0.5, max_attempts=None)
    async with open_pool(resources, instruments=[recorder], **options) as pool:
        await all_of(pool, break_it, durations(80))


async def timeouts(recorder: Recorder) -> None:
    async def clean_up(_: object, seconds: float) -> None:
        try:
            await trio.sleep(seconds)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.25)

    policy = RetryPolicy(max_attempts=3, base_delay=0.5, jitter="none")
    options: dict[str, Any] = {"retry": policy, "attempt_timeout": 1.2}
    async with open_pool(["a", "b", "c"], instruments=[recorder], **KEEP, **options) as pool:
        await all_of(pool, clean_up, durations(40))
        await all_of(pool, work, durations(40), total_timeout=2.5, attempt_timeout=None)


async def on_cut(recorder: Recorder) -> None:
    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        await trio.sleep(1.0)
        yield resource

    options: dict[str, Any] = {"lifespan": connect, "on_cut": "reopen", "attempt_timeout": 1.5}
    async with open_pool(["a", "b", "c"], instruments=[recorder], **KEEP, **options) as pool:
        await all_of(pool, work, durations(40))


async def jobs_of_jobs(recorder: Recorder) -> None:
    async def parent(seconds: float) -> None:
        await trio.sleep(seconds)
        for at in range(3):
            await pool.submit(trio.sleep, seconds, name=f"child {at}")
            await trio.sleep(0.2)

    async with open_pool(3, instruments=[recorder]) as pool:
        for seconds in durations(20):
            await pool.submit(parent, seconds)


async def lent_places(recorder: Recorder) -> None:
    async def parent(seconds: float) -> None:
        await trio.sleep(seconds)
        async with current_job().lend():
            current_job().set_used(tokens=3)
            for job in [await pool.submit(trio.sleep, seconds) for _ in range(3)]:
                await job.wait()
        await trio.sleep(seconds)

    async with open_pool(2, instruments=[recorder]) as pool:
        for seconds in durations(10):
            await pool.submit(parent, seconds)


async def leases(recorder: Recorder) -> None:
    async def hold(pool: Any, seconds: float) -> None:
        with suppress(FailingError):
            async with pool.acquire():
                await trio.sleep(seconds)
                if seconds > 1.5:
                    raise FailingError

    async with open_pool(3, instruments=[recorder]) as pool, trio.open_nursery() as nursery:
        for seconds in durations(40):
            nursery.start_soon(hold, pool, seconds)
            await trio.sleep(0.2)


async def cancelled_callers(recorder: Recorder) -> None:
    async def impatient(pool: Any, seconds: float) -> None:
        with trio.move_on_after(1.3):
            await pool.run(trio.sleep, seconds)

    async with open_pool(3, instruments=[recorder]) as pool, trio.open_nursery() as nursery:
        for seconds in durations(40):
            nursery.start_soon(impatient, pool, seconds)
            await trio.sleep(0.25)


async def pauses(recorder: Recorder) -> None:
    async def rest(resource: str, seconds: float) -> None:
        await trio.sleep(seconds)
        if seconds > 1.8:
            current_worker().rest(3.0)

    async with open_pool(["a", "b"], instruments=[recorder]) as pool:
        for seconds in durations(30):
            await pool.submit(rest, seconds)
        await trio.sleep(2)
        pool.pause()
        await trio.sleep(4)
        pool.resume()
        pool.workers[0].pause()
        await trio.sleep(5)
        pool.workers[0].resume()
        pool.workers[1].rest(6)
        await trio.sleep(3)
        pool.rest(2)


async def workers_that_come_and_go(recorder: Recorder) -> None:
    async with open_pool(["a", "b"], instruments=[recorder]) as pool:
        for seconds in durations(60):
            await pool.submit(work, seconds)
        await trio.sleep(4)
        await pool.add("c", tags=["new"])
        await pool.submit(work, 1.0, requires=["new"])
        await trio.sleep(6)
        await pool.workers[0].remove()


async def requirements(recorder: Recorder) -> None:
    resources = [Resource("a", tags=["x"]), Resource("b", tags=["x", "y"]), Resource("c", max_running=3)]
    async with open_pool(resources, instruments=[recorder], order="lifo", max_running=4) as pool:
        options: list[dict[str, Any]] = [{}, {"requires": ["x"]}, {"requires": ["y"]}, {"worker": pool.workers[0]}]
        for at, seconds in enumerate(durations(60)):
            await pool.submit(work, seconds, priority=at % 3, **options[at % 4])


async def a_body_that_goes_on(recorder: Recorder) -> None:
    async with open_pool(2, instruments=[recorder]) as pool:
        await pool.run(trio.sleep, 1)
        await trio.sleep(10)


async def a_pool_that_is_cancelled(recorder: Recorder) -> None:
    async with open_pool(2, instruments=[recorder]) as pool:
        for seconds in durations(20):
            await pool.submit(trio.sleep, seconds)
        await trio.sleep(5)
        pool.cancel()
        await trio.sleep(1)


async def the_first_death_ends_it(recorder: Recorder) -> None:
    async def fail(seconds: float) -> None:
        await trio.sleep(seconds)
        raise FailingError

    with suppress(Exception):
        async with open_pool(2, instruments=[recorder], on_dead="cancel") as pool:
            for seconds in durations(20):
                await pool.submit(trio.sleep, seconds)
            await pool.submit(fail, 3, priority=-1)
            await trio.sleep(60)


async def two_at_once(recorder: Recorder) -> None:
    async with open_pool(["a", "b", "c"], instruments=[recorder]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(all_of, pool, work, durations(30, 1))
        nursery.start_soon(all_of, pool, work, durations(30, 2))


async def a_stream_at_a_full_queue(recorder: Recorder) -> None:
    async with open_pool(2, instruments=[recorder], max_queue=1) as pool:
        async with pool.map(trio.sleep, durations(30), buffer=8) as results:
            async for _ in results:
                pass
        async with pool.open_group(name="group") as group:
            await pool.submit_graph({at: Node(trio.sleep, 1.0, after=[0] if at else []) for at in range(6)})
            await group.submit(trio.sleep, 1.0)


async def items_that_come_in_bursts(recorder: Recorder) -> None:
    async def items() -> AsyncGenerator[float]:
        for at, seconds in enumerate(durations(30)):
            if not at % 10:
                await trio.sleep(7)
            yield seconds

    async with open_pool(3, instruments=[recorder]) as pool, pool.map(trio.sleep, items()) as results:
        async for _ in results:
            pass


async def a_worker_that_is_taken_away(recorder: Recorder) -> None:
    async with open_pool(["a", "b", "c"], instruments=[recorder]) as pool:
        for seconds in durations(30):
            await pool.submit(work, seconds)
        await trio.sleep(3.3)
        await pool.workers[1].remove(cancel=True)


async def settings_of_resources(recorder: Recorder) -> None:
    rng = Random(8)

    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        await trio.sleep(1.0)
        yield resource

    async def reopen(resource: str, seconds: float) -> None:
        await trio.sleep(seconds)
        if seconds > 1.8:
            current_worker().reopen()
        if resource == "a" and rng.random() < 0.5:
            raise FailingError

    resources = [
        Resource("a", breaker=CircuitBreaker(2, reset_after=3.0)),
        Resource("b", on_cut="reopen"),
        Resource("c"),
    ]
    policy = RetryPolicy(max_attempts=9, placement="other", base_delay=0.3)
    async with open_pool(resources, lifespan=connect, instruments=[recorder], retry=policy, rng=Random(1)) as pool:
        await all_of(pool, reopen, durations(60), attempt_timeout=1.9)


async def a_resource_that_is_quarantined(recorder: Recorder) -> None:
    async def fails_on_a(resource: str, number: int) -> None:
        await trio.sleep(0.5)
        if resource == "a":
            raise FailingError

    policy, breaker = RetryPolicy(max_attempts=30, jitter="none"), CircuitBreaker(failures=3, reset_after=10)
    async with (
        open_pool(list("abc"), instruments=[recorder], retry=policy, breaker=breaker) as pool,
        pool.as_completed(fails_on_a, range(200)) as jobs,
    ):
        async for _ in jobs:
            pass


async def an_elastic_pool_with_a_worker_that_rests(recorder: Recorder) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        yield "resource"

    async with open_pool(Elastic(factory, min=1, max=2), instruments=[recorder]) as pool:
        for seconds in durations(20):
            await pool.submit(work, seconds)
        await trio.sleep(1)
        pool.workers[0].rest(5)
        pool.workers[1].pause()
        await trio.sleep(3)


async def nobody(recorder: Recorder) -> None:
    async with open_pool(2, instruments=[recorder]):
        await trio.sleep(3)


LIVES: list[Callable[[Recorder], Awaitable[None]]] = [
    thing
    for thing in list(globals().values())
    if getattr(thing, "__module__", None) == __name__
    and getattr(thing, "__annotations__", {}).keys() == {"recorder", "return"}
]
