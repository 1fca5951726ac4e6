"""What replays and plans give, and what they refuse."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.extras.planning.lives import durations, work
from trio_pool import Elastic, HealthCheck, PoolError, RateLimit, Resource, RetryPolicy, open_pool
from trio_pool.planning import Plan, PlanError, Quantiles, Recorder, Recording, Replay
from trio_pool.timeline import Timeline

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Of 40 jobs of one second by four workers."""

    async def main() -> None:
        async with open_pool(4, instruments=[recorder], max_queue=10) as pool:
            for _ in range(40):
                await pool.submit(trio.sleep, 1)

    recorder = Recorder(tmp_path / "recording.jsonl")
    trio.run(main, clock=MockClock(autojump_threshold=0))
    return recorder.recording()


def test_it_tells_how_long_jobs_waited_and_took(recording: Recording) -> None:
    replay = recording.replay()
    assert (replay.elapsed, replay.statistics.succeeded) == (10.0, 40)
    assert replay.waiting == Quantiles(p50=3.0, p90=3.0, p99=3.0, max=3.0)
    assert replay.total.max == replay.waiting.max + 1
    assert replay.explain()


def test_without_jobs_all_times_are_zero(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_pool(1, instruments=[recorder]):
            pass

    recorder = Recorder(tmp_path / "file")
    trio.run(main)
    replay = recorder.recording().replay(workers=3)
    assert replay.waiting == replay.total == Quantiles(p50=0.0, p90=0.0, p99=0.0, max=0.0)


def test_results_can_not_be_changed(recording: Recording) -> None:
    replay = recording.replay()
    plan = recording.plan(60)
    values: list[Any] = [replay, plan, replay.waiting, recording]
    for value in values:
        with pytest.raises(AttributeError):
            value.elapsed = 1.0
    assert isinstance(replay, Replay)
    assert isinstance(plan, Plan)


def test_inside_of_trio_it_is_refused(recording: Recording) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"in a thread, as by trio\.to_thread\.run_sync\(\)"):
            recording.replay()
        with pytest.raises(RuntimeError, match=r"plan\(\) runs Trio itself"):
            recording.plan(10)

    trio.run(main)


def test_in_a_thread_it_works_also_for_a_job(recording: Recording) -> None:
    async def replay() -> Replay:
        return await trio.to_thread.run_sync(recording.replay)

    async def main() -> list[Replay]:
        async with open_pool(2) as pool, pool.map(lambda _: replay(), range(3)) as results:
            return [result async for result in results]

    replays = trio.run(main)
    assert replays == [recording.replay()] * 3


def test_in_two_threads_at_once_it_gives_the_same(recording: Recording) -> None:
    found: list[Replay] = []
    threads = [threading.Thread(target=lambda: found.append(recording.replay())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [recording.replay()] * 2


async def check(_: object) -> None:
    pass


@pytest.mark.parametrize(
    "changes",
    [
        {"lifespan": None},
        {"on_failure": None},
        {"check": HealthCheck(check)},
        {"rng": Random(1)},
        {"history": True},
    ],
)
def test_what_can_not_be_changed_is_refused_with_the_reason(recording: Recording, changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=f"{name} can't be changed in a replay: "):
        recording.replay(**changes)


def test_what_is_no_option_is_refused(recording: Recording) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'color'"):
        recording.replay(color="red")
    with pytest.raises(TypeError, match="unexpected keyword argument 'priority'"):
        recording.plan(10, priority=1)
    with pytest.raises(ValueError, match="max_running must be at least 1"):
        recording.replay(max_running=0)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        recording.replay(workers=0)
    with pytest.raises(TypeError, match="workers must be an int"):
        recording.replay(workers=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="seed must be an int"):
        recording.replay(seed="x")  # type: ignore[arg-type]


def test_other_instruments_may_watch(recording: Recording) -> None:
    timeline = Timeline()
    recording.replay(instruments=[timeline])
    assert len(timeline.trace()["traceEvents"]) > 40


def test_seeds_differ_where_something_is_drawn(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_pool(4, instruments=[recorder], pick="random", max_running=3) as pool:
            for seconds in durations(40):
                await pool.submit(trio.sleep, seconds)
                await trio.sleep(0.5)

    recorder = Recorder(tmp_path / "file")
    trio.run(main, clock=MockClock(autojump_threshold=0))
    replays = [recorder.recording().replay(seed=seed) for seed in range(4)]
    assert len({tuple(worker.attempts for worker in replay.statistics.workers) for replay in replays}) > 1
    assert replays[2] == recorder.recording().replay(seed=2)


# Plans.


def test_a_plan_is_the_fewest_workers_that_end_in_time(recording: Recording) -> None:
    plan = recording.plan(5)
    assert plan.workers == 8
    assert plan.replay == recording.replay(workers=8)
    assert plan.tried[8] == 5.0
    assert plan.tried[7] > 5
    assert len(plan.tried) < 10
    assert list(plan.tried) == sorted(plan.tried)


def test_workers_whose_tags_jobs_require_are_needed(tmp_path: Path) -> None:
    async def tagged(recorder: Recorder) -> None:
        resources = [Resource("a", tags=["plain"]), Resource("b", tags=["gpu"])]
        async with open_pool(resources, instruments=[recorder]) as pool:
            for tag in ("plain", "gpu") * 5:
                await pool.submit(work, 1.0, requires=[tag])

    recorder = Recorder(tmp_path / "tagged.jsonl")
    trio.run(tagged, recorder, clock=MockClock(autojump_threshold=0))
    recording = recorder.recording()
    assert recording.replay(workers=1).statistics.succeeded == 5
    assert recording.plan(5.0, range(1, 3)).workers == 2


def test_limits_are_given_as_the_pool_takes_them(recording: Recording) -> None:
    limits = [RateLimit(100), RateLimit(1, per=2)]
    assert recording.replay(rate_limit=limits) == recording.replay(rate_limit=tuple(limits))
    with pytest.raises(TypeError, match="rate_limit must be a RateLimit, got 5"):
        recording.replay(rate_limit=5)


def test_a_plan_looks_only_at_the_given_numbers(recording: Recording) -> None:
    assert recording.plan(5, [20, 4, 10, 10]).workers == 10
    assert recording.plan(100, workers=[3]).workers == 3
    with pytest.raises(ValueError, match="at least one number"):
        recording.plan(5, [])
    with pytest.raises(ValueError, match="workers must be at least 1"):
        recording.plan(5, [0])
    with pytest.raises(TypeError, match="workers must be an iterable of ints, got 5"):
        recording.plan(5, 5)  # type: ignore[arg-type]  # what this is about
    with pytest.raises(ValueError, match="finish_within must not be negative"):
        recording.plan(-1)


def test_a_plan_may_change_options_too(recording: Recording) -> None:
    assert recording.plan(20, rate_limit=RateLimit(2, burst=4)).workers == 2


def test_if_no_number_is_enough_the_bottleneck_is_named(recording: Recording) -> None:
    with pytest.raises(PlanError, match="no number of workers finishes within 5 s") as info:
        recording.plan(5, range(1, 12), rate_limit=RateLimit(2))
    assert isinstance(info.value, PoolError)
    assert isinstance(info.value, ValueError)
    with pytest.raises(PlanError, match="with 1 worker; "):
        recording.plan(5, [1])


def test_more_workers_may_be_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Recording) -> None:
    real = Recording.replay
    times = {1: 40.0, 2: 20.0, 3: 9.0, 4: 15.0, 5: 16.0}

    def replay(self: Recording, *, workers: int, **options: Any) -> Replay:
        return attrs.evolve(real(self, workers=workers, **options), elapsed=times[workers])

    monkeypatch.setattr(Recording, "replay", replay)
    assert recording.plan(10, range(1, 6)).workers == 3


def test_of_an_elastic_pool_the_number_is_its_most(tmp_path: Path) -> None:
    class Opening:
        async def __aenter__(self) -> str:
            await trio.sleep(1)
            return "resource"

        async def __aexit__(self, *_: object) -> None:
            await trio.sleep(1)

    def factory() -> AbstractAsyncContextManager[str]:
        return Opening()

    async def main() -> None:
        async with open_pool(Elastic(factory, min=2, max=3), instruments=[recorder]) as pool:
            for seconds in durations(60):
                await pool.submit(work, seconds)

    recorder = Recorder(tmp_path / "file")
    trio.run(main, clock=MockClock(autojump_threshold=0))
    recording = recorder.recording()
    assert recording.replay(workers=6).elapsed < recording.elapsed * 0.6
    assert len(recording.replay(workers=1).statistics.workers) == 1
    assert recording.replay(workers=1, retry=RetryPolicy()).elapsed > recording.elapsed * 2
