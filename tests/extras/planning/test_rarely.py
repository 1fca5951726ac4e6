"""What happens seldom: replays that stand still, odd files, mishaps of workers, changes that can't be followed."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.extras.planning.lives import FailingError, durations, work
from trio_pool import (
    Elastic,
    PerKey,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    current_job,
    current_worker,
    open_pool,
)
from trio_pool.planning import Recorder, Recording, _traces
from trio_pool.planning._mishaps import Mishaps
from trio_pool.planning._script import Contents, Cursor

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from typing_extensions import Self


def record(path: Path, life: Callable[[Any], Awaitable[None]], resources: Any, **options: Any) -> Recording:
    async def main() -> None:
        opening: Any = open_pool
        async with opening(resources, instruments=[recorder], **options) as pool:
            await life(pool)

    recorder = Recorder(path)
    trio.run(main, clock=MockClock(autojump_threshold=0))
    return recorder.recording()


def test_a_replay_that_stands_still_says_so(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        async with pool.map(work, [1, 1], requires=["x"]) as results:
            async for _ in results:
                pass

    recording = record(tmp_path / "file", life, ["a", Resource("b", tags=["x"])], no_worker="wait")
    assert recording.replay().elapsed == 2.0
    with pytest.raises(RuntimeError, match="stands still"):
        recording.replay(workers=1)


def test_a_caller_that_gives_up_its_wait_for_a_resource_does_so_again(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        async def borrow(within: float, seconds: float, **options: Any) -> None:
            with trio.move_on_after(within):
                async with pool.acquire(**options):
                    await trio.sleep(seconds)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(borrow, 100, 10)
            await trio.sleep(1)
            nursery.start_soon(borrow, 2, 50)  # would hold the resource long after the first
            nursery.start_soon(partial(borrow, 3, 50, requires=["none has it"]))
            await trio.sleep(8)
            nursery.start_soon(borrow, 100, 1)

    recording = record(tmp_path / "file", life, ["a"], no_worker="wait")
    replay = recording.replay()
    assert replay.elapsed == pytest.approx(recording.elapsed) == 11
    assert replay.statistics.cancelled == 2


def test_a_job_that_dies_because_the_body_has_ended_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        await pool.submit(work, 1, requires=["none has it"])
        await trio.sleep(2)

    recording = record(tmp_path / "file", life, ["a"], no_worker="wait", on_dead="keep")
    replay = recording.replay()
    assert replay.elapsed == 2
    assert replay.statistics.dead == 1


def test_a_failure_that_was_to_be_tried_again_is_not_repeated_for_ever(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        async def fails(_: object) -> None:
            await trio.sleep(2)
            raise RetryAfter(1)

        async with pool.acquire(requires=["other"]):
            job = await pool.submit(fails, requires=["tag"])
            await trio.sleep(2.5)
            worker = next(worker for worker in pool.workers if "tag" in worker.tags)
            await worker.remove()
            await trio.sleep(1)
            assert job.state.name == "DEAD"

    resources = [Resource("a", tags=["tag"]), Resource("b", tags=["other"])]
    recording = record(
        tmp_path / "file", life, resources, no_worker="bury", on_dead="keep", retry=RetryPolicy(max_attempts=None)
    )
    assert recording.replay().elapsed == recording.elapsed
    assert recording.replay(workers=2).elapsed < 10  # nobody removes the worker there


def test_an_error_of_the_callers_own_function_comes_out(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        async with pool.open_group() as group:
            await group.submit(trio.sleep, 1, key="a")
            await trio.sleep(1)

    recording = record(tmp_path / "file", life, 2)

    def weigh(key: object) -> float:
        raise KeyError(key)

    with pytest.raises(KeyError, match="a"):
        recording.replay(per_key=PerKey(weight=weigh))


def test_limits_of_keys_may_be_changed_to_shared_ones(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        for at in range(20):
            await pool.submit(trio.sleep, 0.1, key=at % 2)
        await pool.submit(trio.sleep, 0.1)

    per_key = PerKey(max_running=lambda key: 1)
    recording = record(tmp_path / "file", life, 20, per_key=per_key)
    shared = RateLimit(2).shared()
    each = recording.replay(per_key=PerKey(rate_limit=RateLimit(2)))
    assert each.elapsed == pytest.approx(4.6, abs=0.1)
    both = recording.replay(per_key=PerKey(rate_limit=shared))
    assert both.elapsed == pytest.approx(9.6, abs=0.1)
    assert recording.replay(per_key=PerKey(rate_limit=lambda key: shared)).elapsed == pytest.approx(both.elapsed)
    assert recording.replay(per_key=PerKey(weight=2.0)).elapsed == pytest.approx(0.2)


def test_lines_of_other_kinds_and_half_lines_are_passed_over(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        await pool.submit(trio.sleep, 1)

    recording = record(tmp_path / "file", life, 2)
    with (tmp_path / "file").open("a") as file:
        file.write('{"kind":"of later"}\n{"half\n[]\n')
    assert Recording.load(tmp_path / "file").replay() == recording.replay()


def test_a_missing_step_leaves_the_later_ones_where_they_were(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        for _ in range(3):
            await pool.submit(trio.sleep, 1)
            await trio.sleep(5)

    path = tmp_path / "file"
    record(path, life, 2)
    lines = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line).get("job") != 2]
    path.write_text("".join(lines))
    replay = Recording.load(path).replay()
    assert (replay.statistics.submitted, replay.elapsed) == (2, 15.0)


def test_a_pool_that_was_opened_without_workers_has_as_many_as_are_asked_for(tmp_path: Path) -> None:
    async def nothing(pool: Any) -> None:
        await trio.sleep(1)

    assert len(record(tmp_path / "file", nothing, []).replay(workers=3).statistics.workers) == 3


def test_added_and_removed_workers_count_as_recorded_ones(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        await pool.add("b", name="added")
        for seconds in (1, 2, 3):
            await pool.submit(work, seconds, worker=pool.workers[1])
        await pool.submit(work, 1)
        await pool.workers[0].remove()

    recording = record(tmp_path / "file", life, ["a"])
    assert recording.replay().elapsed == recording.elapsed
    names = [worker.name for worker in recording.replay(workers=3).statistics.workers]
    assert names == ["worker-1", "added", "worker-1 (2)"]
    assert recording.replay(workers=1).elapsed == 7.0


def test_what_was_done_to_a_worker_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    class Opening:
        async def __aenter__(self) -> str:
            await trio.lowlevel.checkpoint()
            return ""

        async def __aexit__(self, *_: object) -> None:
            await trio.lowlevel.checkpoint()

    async def life(pool: Any) -> None:
        for seconds in durations(10):
            await pool.submit(work, seconds)
        await trio.sleep(0.2)
        pool.workers[2].pause()
        await trio.sleep(1)
        pool.workers[2].resume()

    recording = record(tmp_path / "file", life, Elastic(Opening, max=3))
    assert recording.replay(workers=1).elapsed == pytest.approx(sum(durations(10)))


async def refused_at_times(resource: str, seconds: float) -> None:
    await trio.sleep(seconds)
    used = USED[resource] = USED.get(resource, 0) + 1
    if not used % (3 if resource == "a" else 7):
        raise RetryAfter(4.0, rest=True, counts=False)


USED: dict[str, int] = {}


def test_a_worker_rests_as_often_among_its_attempts_as_it_did(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        async with pool.as_completed(refused_at_times, durations(200)) as jobs:
            async for _ in jobs:
                pass

    USED.clear()
    recording = record(tmp_path / "file", life, ["a", "b"], retry=RetryPolicy(max_attempts=3))
    assert recording.replay().elapsed == pytest.approx(recording.elapsed, rel=0.02)
    for worker in recording.replay(workers=6).statistics.workers:
        assert worker.failed == pytest.approx(worker.attempts / (3 if worker.name.startswith("worker-1") else 7), abs=1)


def test_a_worker_that_only_has_to_rest_does_not_keep_a_job_for_ever(tmp_path: Path) -> None:
    async def refused(resource: str) -> None:
        await trio.sleep(1)
        if current_worker().name == "worker-1":
            raise RetryAfter(1.0, rest=True, counts=False)

    async def life(pool: Any) -> None:
        for _ in range(4):
            await pool.submit(refused)

    recording = record(tmp_path / "file", life, ["a", "b"], retry=RetryPolicy(max_attempts=3))
    assert recording.replay(workers=1).statistics.succeeded == 4
    assert recording.replay(workers=3).statistics.succeeded == 4


def attempt(worker: int, at: float, **decision: object) -> dict[str, Any]:
    end = {"end": "error", "decision": {"again": 0.0, "placement": "any", **decision}} if decision else {"end": "value"}
    return {"worker": worker, "at": at, "seconds": 1.0, **end}


def test_a_mishap_that_misses_its_job_meets_the_next_on_that_worker() -> None:
    first: dict[str, Any] = {"job": 1, "at": 0.0, "end": "succeeded", "lasted": 2.0, "step": [1, 1, 0.0, 0.0, 1]}
    lines: list[dict[str, Any]] = [
        {"pool": {"workers": []}},
        {"attempt": 1, **attempt(7, 0.0, rest=5.0)},
        {**first, "last": attempt(8, 1.0)},
        {**first, "job": 2, "step": [1, 2, 0.0, 0.0, 2], "last": attempt(7, 5.0)},
        {**first, "job": 3, "step": [1, 3, 0.0, 0.0, 3]},
    ]
    contents = Contents(lines)
    one, two, three = (script.copy() for script in contents.scripts.values())
    mishaps = Mishaps(contents, lambda worker: worker, is_unchanged=True)
    assert mishaps.next_of(one, 8) is None  # it has gone to another worker
    assert mishaps.next_of(three, 8) is None
    missed = mishaps.next_of(two, 7)
    assert missed is not None
    assert missed["decision"]["rest"] == 5.0
    assert mishaps.next_of(two, 7) is None
    assert mishaps.next_of(three, 7) is None


def test_a_mishap_meets_its_own_job_at_its_turn() -> None:
    line: dict[str, Any] = {"job": 1, "at": 0.0, "end": "succeeded", "lasted": 2.0, "step": [1, 1, 0.0, 0.0, 1]}
    lines: list[dict[str, Any]] = [
        {"pool": {"workers": []}},
        {"attempt": 1, **attempt(7, 0.0, rest=5.0)},
        {**line, "last": attempt(7, 5.0)},
    ]
    contents = Contents(lines)
    (script,) = (script.copy() for script in contents.scripts.values())
    mishaps = Mishaps(contents, lambda worker: worker, is_unchanged=True)
    assert mishaps.next_of(script, 7) is not None
    assert mishaps.next_of(script, 7) is None


@pytest.mark.parametrize("left_out", ["stream", "leave_stream"])
def test_a_recording_that_broke_off_in_a_stream_is_read_to_its_end(left_out: str, tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        async with pool.map(trio.sleep, durations(20)) as results:
            async for _ in results:
                pass

    path = tmp_path / "file"
    recording = record(path, life, 2)
    lines = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line).get("do") != left_out]
    path.write_text("".join(lines))
    replay = Recording.load(path).replay()
    assert replay.elapsed == (recording.elapsed if left_out == "leave_stream" else 0.0)


def test_a_block_whose_end_is_missing_lasts_to_the_end(tmp_path: Path) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise FailingError

    async def life(pool: Any) -> None:
        with suppress(Exception):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fail)
                await trio.sleep(5)

    path = tmp_path / "file"
    recording = record(path, life, 2)
    assert recording.replay().elapsed == recording.elapsed == 1.0
    lines = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line).get("do") != "end_group"]
    path.write_text("".join(lines))
    assert Recording.load(path).replay().elapsed == 1.0


def test_what_was_done_in_a_group_after_its_end_is_left_out(tmp_path: Path) -> None:
    async def fail(seconds: float) -> None:
        await trio.sleep(seconds)
        raise FailingError

    async def life(pool: Any) -> None:
        with suppress(Exception):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(trio.sleep, 3)
                await group.submit(fail, 1)
                for _ in range(9):
                    await trio.sleep(1)
                    await group.submit(trio.sleep, 1)
        await pool.submit(trio.sleep, 1)

    recording = record(tmp_path / "file", life, 1)
    assert recording.elapsed == 5.0
    assert recording.replay(workers=2).elapsed == 2.0


def test_attempts_fail_as_recorded_where_a_lifespan_ended_by_itself(tmp_path: Path) -> None:
    async def break_off() -> None:
        await trio.sleep(9.7)
        raise OSError

    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(break_off)
            await trio.sleep(0.5)
            yield resource
            nursery.cancel_scope.cancel()

    async def life(pool: Any) -> None:
        async with pool.map(work, durations(40)) as results:
            async for _ in results:
                pass

    policy = RetryPolicy(max_attempts=9, base_delay=0.0)
    recording = record(tmp_path / "file", life, ["a", "b"], lifespan=connect, retry=policy)
    replay = recording.replay()
    assert replay.statistics.failures > 0
    assert replay.statistics.succeeded == 40
    assert replay.elapsed == pytest.approx(recording.elapsed, rel=0.1)


def test_of_an_attempt_with_very_many_steps_the_first_are_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lend(_: object) -> None:
        async with current_job().lend():
            await trio.sleep(2)

    async def life(pool: Any) -> None:
        await pool.submit(lend)

    monkeypatch.setattr(_traces, "MOST_STEPS", 1)
    assert record(tmp_path / "file", life, ["a"]).replay().elapsed == 2.0


class PickyError(Exception):
    """One that can't be made without an argument."""

    def __new__(cls, *needed: str) -> Self:
        if not needed:
            raise TypeError("an argument is needed")
        return super().__new__(cls)

    def __init__(self, *needed: str) -> None:
        super().__init__(*needed)


def test_errors_that_can_not_be_made_are_stood_in_for(tmp_path: Path) -> None:
    class LocalError(Exception):
        pass

    async def fail(_: object, which: int) -> None:
        await trio.sleep(1)
        errors: list[Exception] = [PickyError("x"), LocalError(), FailingError()]
        raise errors[which]

    async def life(pool: Any) -> None:
        for which in range(3):
            await pool.submit(fail, which)

    options: dict[str, Any] = {"on_dead": "keep", "retry": RetryPolicy(max_attempts=1, retry_on=(OSError, KeyError))}
    recording = record(tmp_path / "file", life, ["a"], **options)
    assert recording.replay(retry=RetryPolicy.fixed(0.0, max_attempts=2)).statistics.attempts == 6
    narrow = RetryPolicy.fixed(0.0, max_attempts=2, retry_on=FailingError)
    assert recording.replay(retry=narrow).statistics.attempts == 4


def test_a_recorder_that_comes_late_leaves_out_what_it_has_not_seen_begin(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_pool(["a", "b"], rng=Random(1)) as pool:
            await pool.submit(work, 3)
            async with pool.map(work, durations(10)) as results:
                await anext(results)
                pool.add_instrument(recorder)
                async for _ in results:
                    pass
            async with pool.open_group() as group:
                await group.submit(work, 1)
            pool.workers[0].pause()
            pool.pause()

    recorder = Recorder(tmp_path / "file")
    trio.run(main, clock=MockClock(autojump_threshold=0))
    recording = recorder.recording()
    assert recording.replay().elapsed == pytest.approx(recording.elapsed, rel=0.25)


def test_jobs_of_a_stream_that_differ_keep_their_own_options(tmp_path: Path) -> None:
    def limit(seconds: float) -> float:
        return seconds + 0.5

    async def life(pool: Any) -> None:
        async with pool.map(work, [1, 2, 3, 4], attempt_timeout=limit) as results:
            async for _ in results:
                pass
        first = await pool.submit(work, 1)
        async with pool.map(work, [1], after=[first], retry=RetryPolicy.fixed(1.0)) as results:
            async for _ in results:
                pass

    recording = record(tmp_path / "file", life, ["a", "b"])
    assert recording.replay().elapsed == recording.elapsed
    assert recording.replay().statistics.succeeded == 6


def test_the_steps_up_to_an_end_are_left_out_and_all_if_there_is_none() -> None:
    end: dict[str, Any] = {"do": "end_group", "group": 1}
    cursor = Cursor([(0.0, 1, {"do": "pause"}), (0.0, 2, end), (0.0, 3, {"do": "resume"})])
    cursor.skip_to(end)
    assert cursor.last == end
    cursor.skip_to(end)
    assert cursor.last == end
    cursor.skip_to({"do": "end_group", "group": 2})
    assert list(cursor) == []
