"""3.11: which keys a pool knows, what it asks for them, and what it shows."""

from __future__ import annotations

import gc
import math
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import of_any_arguments
from trio_pool import (
    Job,
    JobFailedError,
    JobState,
    KeyStatistics,
    Node,
    PerKey,
    RateLimit,
    RetryAfter,
    RetryPolicy,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trio.testing import MockClock


@of_any_arguments
async def nap(*args: Any) -> float:
    await trio.sleep(args[-1])
    return trio.current_time()


def statistics(queued: int, delayed: int, running: int, available_at: float | None = None) -> KeyStatistics:
    return KeyStatistics(queued=queued, delayed=delayed, running=running, available_at=available_at)


# pool.keys


async def test_keys_with_live_jobs_are_shown_with_their_counts(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        raise RetryAfter(50)

    async with open_pool(2, per_key=PerKey(max_running=1), retry=RetryPolicy()) as pool:
        keys = pool.keys
        assert (len(keys), list(keys), "a" in keys) == (0, [], False)
        failing = await pool.submit(fails, key="b")
        await trio.sleep(1)
        for key in ("a", "a", "a", None):
            await pool.submit(nap, 10, key=key)
        await trio.sleep(1)
        assert dict(keys) == {"b": statistics(0, 1, 0), "a": statistics(2, 0, 1)}
        assert (len(keys), repr(keys)) == (2, "<trio_pool: 2 keys with jobs>")
        failing.cancel()
        assert list(keys) == ["a"]
        for missing in ("b", "c", None):
            with pytest.raises(KeyError):
                keys[missing]


async def test_a_key_is_shown_with_the_time_at_which_its_jobs_may_start(autojump_clock: MockClock) -> None:
    async def refused() -> None:
        raise RetryAfter(50, rest="key")

    per_key = PerKey(rate_limit=lambda key: RateLimit(1, per=20) if key == "a" else None)
    async with open_pool(2, per_key=per_key, retry=RetryPolicy()) as pool:
        jobs: list[Job[Any]] = [await pool.submit(nap, 0, key="a") for _ in range(2)]
        await trio.sleep(1)
        assert pool.keys["a"] == statistics(1, 0, 0, 20)
        jobs.append(await pool.submit(refused, key="b"))
        await trio.sleep(1)
        assert pool.keys["b"] == statistics(0, 1, 0, 51)
        jobs[-1].cancel()


async def test_the_live_view_of_the_keys_can_not_be_changed() -> None:
    async with open_pool(1, per_key=PerKey()) as pool:
        keys: Any = pool.keys
        with pytest.raises(AttributeError):
            keys.more = 1
        with pytest.raises(TypeError):
            keys["a"] = 1
        with pytest.raises(AttributeError):
            pool.keys = {}  # type: ignore[misc]


# What is asked, and when


async def test_the_bounds_of_a_key_are_asked_for_when_it_becomes_known(autojump_clock: MockClock) -> None:
    asked: list[tuple[str, Hashable]] = []

    def note(field: str, value: Any) -> Any:
        def ask(key: Hashable) -> Any:
            asked.append((field, key))
            return value

        return ask

    per_key = PerKey(
        max_running=note("max_running", 1), rate_limit=note("rate_limit", None), weight=note("weight", 2.0)
    )
    async with open_pool(1, per_key=per_key) as pool:
        for key in ("a", "b", "a", None):
            await pool.submit(nap, 1, key=key)
        await pool.join()
        fields = ["max_running", "rate_limit", "weight"]
        assert asked == [(field, key) for key in "ab" for field in fields]
        await pool.run(nap, 1, key="a")  # it has been forgotten
        assert asked[6:] == [(field, "a") for field in fields]


@pytest.mark.parametrize(
    ("field", "value", "kind", "rule"),
    [
        ("max_running", 0, ValueError, "must be at least 1, got 0"),
        ("max_running", "3", TypeError, "must be an int, got '3'"),
        ("rate_limit", 3, TypeError, "must be a RateLimit, got 3"),
        ("weight", 0, ValueError, "must be from 1e-06 to 1e\\+06, got 0"),
        ("weight", None, TypeError, r"must be an int or a float from 1e-06 to 1e\+06, got None"),
    ],
)
async def test_nonsense_raises_at_submit(
    autojump_clock: MockClock, field: str, value: object, kind: type[Exception], rule: str
) -> None:
    def ask(key: Hashable) -> Any:
        return value if key == "bad" else {"weight": 1}.get(field)

    options: dict[str, Any] = {field: ask}
    async with open_pool(1, per_key=PerKey(**options)) as pool:
        message = f"{field} of PerKey for the key 'bad' {rule}"
        with pytest.raises(kind, match=f"^{message}"):
            await pool.submit(nap, 1, key="bad")
        with pytest.raises(kind, match=f"^{message}"):
            pool.submit_nowait(nap, 1, key="bad")
        with pytest.raises(kind, match=f"^{message}"):
            await pool.run(nap, 1, key="bad")
        with pytest.raises(kind, match=message):
            await pool.submit_graph({"node": Node(nap, 1, key="bad")})
        async with pool.map(nap, [0, 1], key=lambda item: "bad" if item else "good") as naps:
            assert await anext(naps) == trio.current_time()
            with pytest.raises(kind, match=message):
                await anext(naps)
        assert pool.statistics().submitted == 1
        assert await pool.run(nap, 1, key="good") == 1


async def test_what_a_function_of_the_key_raises_comes_out_of_submit() -> None:
    def breaks(key: Hashable) -> float:
        raise LookupError(key)

    async with open_pool(1, per_key=PerKey(weight=breaks)) as pool:
        with pytest.raises(LookupError, match="who"):
            await pool.submit(nap, 1, key="who")
        await pool.run(nap, 0)


async def test_a_stray_cancellation_is_an_error_of_the_function(autojump_clock: MockClock) -> None:
    kept: list[BaseException] = []
    with trio.move_on_after(1):
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            kept.append(error)
            raise

    def breaks(key: Hashable) -> float:
        raise kept[0]

    async with open_pool(1, per_key=PerKey(weight=breaks)) as pool:
        with pytest.raises(RuntimeError, match=r"^a function of PerKey raised a trio\.Cancelled"):
            await pool.submit(nap, 1, key="a")
    kept.clear()


async def test_a_function_of_the_key_that_has_to_be_awaited_is_an_error() -> None:
    async def weigh(key: Hashable) -> float:
        return 1.0

    by_mistake: Any = weigh
    with pytest.raises(TypeError, match=r"^weight must be a plain function"):
        PerKey(weight=by_mistake)

    def hides_it(key: Hashable) -> Any:
        return weigh(key)

    async with open_pool(1, per_key=PerKey(weight=hides_it)) as pool:
        with pytest.raises(TypeError, match=r"^weight of PerKey for the key 'a' must be a plain function"):
            await pool.submit(nap, 1, key="a")


async def test_a_key_must_be_hashable() -> None:
    async with open_pool(1) as pool:
        with pytest.raises(TypeError, match=r"^key must be hashable, got \[\]"):
            await pool.submit(nap, 1, key=[])  # type: ignore[arg-type]


async def test_a_function_of_the_key_may_submit(autojump_clock: MockClock) -> None:
    inner: list[Job[float]] = []
    asked: list[Hashable] = []

    def weigh(key: Hashable) -> float:
        asked.append(key)
        if len(asked) == 1:
            inner.append(pool.submit_nowait(nap, 1, key=key))
        return 1.0

    async with open_pool(3, per_key=PerKey(weight=weigh, max_running=1)) as pool:
        job = await pool.submit(nap, 1, key="a")
        assert [await inner[0].wait(), await job.wait()] == [1, 2]


async def test_jobs_made_before_their_key_was_known_have_the_same_key(autojump_clock: MockClock) -> None:
    async with open_pool(3, per_key=PerKey(max_running=1)) as pool:
        nodes = {number: Node(nap, 1, key="a") for number in range(3)}
        jobs = await pool.submit_graph(nodes)
        assert [await job.wait() for job in jobs.values()] == [1, 2, 3]


# Keys are forgotten


class Tenant:
    """A key of which one can know whether it is kept."""


async def test_a_key_is_forgotten_after_its_last_job(autojump_clock: MockClock) -> None:
    async with open_pool(2, per_key=PerKey(max_running=1)) as pool:
        known: list[weakref.ref[Tenant]] = []

        async def run() -> None:
            tenant = Tenant()
            known.append(weakref.ref(tenant))
            await pool.run(nap, 1, key=tenant)

        for _ in range(3):
            await run()
        gc.collect()
        assert [each() for each in known] == [None] * 3


async def test_a_key_of_which_no_job_was_let_in_is_not_kept() -> None:
    async with open_pool(1, max_queue=0, per_key=PerKey()) as pool:
        blocker = pool.submit_nowait(nap, 100)
        tenant = Tenant()
        known = weakref.ref(tenant)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(nap, 1, key=tenant)
        with trio.move_on_after(0):
            await pool.submit(nap, 1, key=tenant)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(pool.submit, nap, 1, key=tenant))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        blocker.cancel()
        await pool.join()
        del tenant, nursery
        gc.collect()
        assert known() is None


async def test_a_key_is_forgotten_once_its_limits_are_full_and_others_have_had_their_turns(
    autojump_clock: MockClock,
) -> None:
    per_key = PerKey(rate_limit=RateLimit(1, per=10, burst=2))
    async with open_pool(1, per_key=per_key) as pool:
        tenant = Tenant()
        known = weakref.ref(tenant)
        await pool.run(nap, 1, key=tenant)
        del tenant
        gc.collect()
        assert known() is not None
        await trio.sleep(20)
        await pool.run(nap, 1)
        gc.collect()
        assert known() is None


async def test_no_more_idle_keys_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_pool._core.keys._MOST_REMEMBERED", 20)
    async with open_pool(1, per_key=PerKey()) as pool:
        keys = pool._engine.core.keys
        assert keys is not None
        most = 0
        waiting = await pool.submit(nap, 0, key="0")
        for number in range(1, 500):
            following = await pool.submit(nap, 0, key=str(number))
            await waiting.wait()
            waiting = following
            most = max(most, len(keys.all()))
        assert most < 50
    assert keys.all() == []


# The value


def test_the_fields_of_the_bounds_are_checked() -> None:
    bounds: Any = PerKey
    for options, kind, message in (
        ({"max_running": 0}, ValueError, "^max_running must be at least 1, got 0"),
        ({"weight": -1}, ValueError, "^weight must be from 1e-06 to"),
        ({"weight": math.inf}, ValueError, "^weight must be from 1e-06 to"),
        ({"weight": "1"}, TypeError, r"^weight must be an int or a float from 1e-06 to 1e\+06, got '1'"),
        ({"rate_limit": [3]}, TypeError, "^rate_limit must hold limits, got 3"),
    ):
        with pytest.raises(kind, match=message):
            bounds(**options)
    open_anything: Any = open_pool
    with pytest.raises(TypeError, match=r"^per_key must be a PerKey, got 3"):
        open_anything(1, per_key=3)


def test_bounds_are_values() -> None:
    assert PerKey(max_running=3) == PerKey(max_running=3, rate_limit=(), weight=1)
    assert PerKey(max_running=None).max_running == math.inf
    assert "weight=2" in repr(PerKey(weight=2))


async def test_a_job_that_ends_without_a_place_counts_for_no_key(autojump_clock: MockClock) -> None:
    async with open_pool(1, max_queue=0, per_key=PerKey(), on_dead="keep") as pool:
        blocker = await pool.submit(nap, 5)
        with pytest.raises(JobFailedError):
            await pool.run(nap, 1, key="a", total_timeout=1)
        assert len(pool.keys) == 0
        assert blocker.state is JobState.RUNNING


async def test_shared_limits_of_forgotten_keys_are_not_kept(autojump_clock: MockClock) -> None:
    common, of_pool = RateLimit(1, per=5).shared(), RateLimit(100).shared()
    limits: dict[Hashable, Any] = {"a": [common, RateLimit(1, per=50).shared()], "b": common, "c": of_pool}
    async with open_pool(2, rate_limit=of_pool, per_key=PerKey(rate_limit=lambda key: limits[key])) as pool:
        shares = pool._engine.core.metering._shares_of
        for key in limits:
            await pool.submit(nap, 1, key=key)
        assert list(shares) == [of_pool, common, limits["a"][1]]
        await trio.sleep(60)
        assert list(shares) == [of_pool]
        assert await pool.run(nap, 1, key="b") == trio.current_time()


async def test_a_key_that_waits_in_line_is_the_one_that_becomes_known_meanwhile(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=0, per_key=PerKey(max_running=1)) as pool:
        jobs: list[Job[float]] = []

        async def submit() -> None:
            jobs.append(await pool.submit(nap, 1, key="a", after=jobs[:1]))

        jobs.append(pool.submit_nowait(nap, 1, key="b"))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(submit)
        assert [await job.wait() for job in jobs] == [1, 2, 3, 4]


@pytest.mark.parametrize("good_calls", range(12))
async def test_a_key_that_raises_later_disturbs_nobody(good_calls: int, autojump_clock: MockClock) -> None:
    class Key:
        calls = 0

        def _count(self) -> None:
            Key.calls += 1
            if Key.calls > good_calls:
                raise RuntimeError("no")

        def __hash__(self) -> int:
            self._count()
            return 7

        def __eq__(self, other: object) -> bool:
            self._count()
            return self is other

    refused = 0
    async with open_pool(1, max_queue=1, per_key=PerKey(max_running=1, rate_limit=RateLimit(1))) as pool:
        for _ in range(4):
            try:
                await pool.submit(trio.sleep, 1, key=Key())
            except RuntimeError:
                refused += 1
        await pool.submit(trio.sleep, 1, key="fine")
        await pool.join()
        assert len(pool.keys) == 0
    assert pool.statistics().succeeded == 5 - refused


class Alike:
    """Keys that have one hash, and of which each equals only itself."""

    def __hash__(self) -> int:
        return 7


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
async def test_keys_with_one_hash_are_told_apart_whichever_ends_first(
    order: tuple[int, ...], autojump_clock: MockClock
) -> None:
    keys = [Alike() for _ in range(3)]
    async with open_pool(9, per_key=PerKey(max_running=1)) as pool:
        for number, key in enumerate(keys):
            await pool.submit(nap, 0.5 + order.index(number), key=key)
        left = list(keys)
        for number in order:
            assert set(pool.keys) == set(left)
            assert all(pool.keys[key] == statistics(0, 0, 1) for key in left)
            await trio.sleep(1)
            left.remove(keys[number])
        await trio.sleep(1)
        assert list(pool.keys) == []
