"""A test that is run under many seeds: ``trio_pool.testing.explore``."""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_pool import Elastic, Instrument, Job, JobCancelledError, JobState, RetryPolicy, open_pool
from trio_pool.testing import Flaky, _repeatable, explore, one_at_a_time
from trio_pool.testing._repeatable import Seeded

AGAIN = RetryPolicy(max_attempts=4)


class Log(Instrument):
    """Writes down when which attempt began and ended, and how."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def attempt_started(self, job: Job[Any], worker: Any) -> None:
        self.events.append(f"{trio.current_time():.9f} {job.name} on {worker.name}")

    def attempt_ended(self, job: Job[Any], attempt: Any) -> None:
        self.events.append(f"{trio.current_time():.9f} {job.name} {type(attempt.error).__name__}")


async def works(number: int) -> int:
    await trio.sleep(number * 0.1)
    await trio.lowlevel.checkpoint()
    return number


async def works_with(_: str, number: int) -> int:
    return await works(number)


async def program(events: list[str]) -> None:
    """Two pools, with calls of every kind that compete."""
    async with (
        open_pool(["a", "b", "c"], retry=AGAIN, instruments=[Log(events)]) as pool,
        open_pool(2, retry=AGAIN, instruments=[Log(events)]) as other,
    ):

        async def run(number: int) -> None:
            await pool.run(works_with, number, name=f"run-{number}")
            await other.run(works, number, name=f"other-{number}")

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(run, number)
        async with pool.map(works_with, range(8), name="mapped") as results:
            assert [result async for result in results] == list(range(8))
        async with pool.as_completed(works_with, range(8), name="ended") as jobs:
            events += [f"{job.args} {job.state.name}" async for job in jobs]
        async with pool.open_group() as group:
            for number in range(3):
                await group.submit(works_with, number, name=f"grouped-{number}")
            try:
                async with pool.acquire(name="lease"):
                    await trio.sleep(0.3)
            except JobCancelledError:
                events.append("lease lost")
        events.append(f"{random.random()}")


def events_of(seeds: list[int], **options: Any) -> dict[int, list[str]]:
    """What happens in the program, by seed."""
    lives: list[list[str]] = []

    async def lived() -> None:
        lives.append([])
        await program(lives[-1])

    explore(lived, seeds=seeds, **options)
    return dict(zip(seeds, lives, strict=True))


FAULTS: dict[str, Any] = {"failures": 0.2, "losing_workers": 0.05, "breaking": 0.05}


# Seeds


def test_a_test_runs_once_for_each_seed_with_its_arguments() -> None:
    calls: list[tuple[int, str]] = []

    async def test(number: int, word: str) -> None:
        await trio.lowlevel.checkpoint()
        calls.append((number, word))

    explore(test, 1, "a", seeds=range(3))
    assert calls == [(1, "a")] * 3


def test_the_same_seed_repeats_the_same_events_whatever_ran_before() -> None:
    many = events_of(list(range(12)), **FAULTS)
    alone = events_of([7], **FAULTS)
    assert alone[7] == many[7]
    assert any("InjectedError" in event for event in many[7])


def test_other_seeds_have_other_events() -> None:
    lives = events_of(list(range(12)), **FAULTS)
    assert len({tuple(events) for events in lives.values()}) == 12


def test_other_seeds_have_other_orders_even_without_faults() -> None:
    starts: set[tuple[int, ...]] = set()

    async def test() -> None:
        begun: list[int] = []

        async def notes(number: int) -> None:
            begun.append(number)
            await trio.sleep(1)

        async with open_pool(4) as pool, pool.map(notes, range(4)) as results:
            assert [result async for result in results] == [None] * 4
        starts.add(tuple(begun))

    explore(test, seeds=range(30), failures=0)
    assert len(starts) > 10


def test_free_workers_are_picked_at_random() -> None:
    picked: set[str] = set()

    async def test() -> None:
        async def who(resource: str) -> str:
            return resource

        async with open_pool(["a", "b", "c"]) as pool:
            picked.add(await pool.run(who))

    explore(test, seeds=range(20))
    assert picked == {"a", "b", "c"}


def test_a_generator_that_the_pool_was_given_is_used() -> None:
    delays: set[float] = set()

    async def test() -> None:
        async with open_pool(1, retry=RetryPolicy(), rng=random.Random(5)) as pool:
            start = trio.current_time()
            await pool.run(Flaky(1))
            delays.add(trio.current_time() - start)

    explore(test, seeds=range(5), failures=0, delays=0)
    assert len(delays) == 1


SCRIPT = """
import sys
from tests.extras.testing.test_explore import FAULTS, events_of
print(events_of([3, 4], **FAULTS))
"""


def test_another_process_has_the_same_events() -> None:
    expected = repr(events_of([3, 4], **FAULTS))
    for hash_seed in "12":
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == expected


# With the rest of the library


def test_a_program_of_two_pools_with_every_kind_of_call_stands_it() -> None:
    lives = events_of(list(range(40)), **FAULTS)
    everything = [event for events in lives.values() for event in events]
    assert any("InjectedError" in event for event in everything)
    assert any("ResourceBroken" in event for event in everything)
    assert any("JobCancelledError" in event for event in everything)


def test_pools_opened_by_other_tasks_have_faults_too() -> None:
    failures = 0

    async def opens() -> None:
        nonlocal failures
        async with open_pool(1, retry=AGAIN) as pool:
            await pool.run(works, 1)
        failures += pool.statistics().failures

    async def test() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(opens)

    explore(test, seeds=[1], failures=1)
    assert failures == 9


def test_elastic_pools_open_another_worker_for_one_that_was_lost() -> None:
    async def test() -> None:
        pool: Any
        async with open_pool(Elastic(lambda: trio.open_nursery(), min=2, max=3), retry=AGAIN) as pool:
            async with pool.as_completed(works_with, range(10)) as jobs:
                assert [job.state async for job in jobs] == [JobState.SUCCEEDED] * 10
            assert len(pool.workers) >= 1

    explore(test, seeds=range(20), losing_workers=0.3)


def test_threads_have_the_time_that_they_take() -> None:
    def in_a_thread(pool: Any) -> None:
        reached = threading.Event()

        async def reaches() -> None:
            await trio.lowlevel.checkpoint()
            reached.set()

        pool.submit_from_thread(reaches)
        assert reached.wait(60)
        # The other threads of this process may be slower than the clock, which would jump by days meanwhile.
        for _ in range(10):
            assert pool.run_from_thread(works, 3) == 3

    async def test() -> None:
        async with open_pool(2, retry=AGAIN) as pool:
            await trio.to_thread.run_sync(in_a_thread, pool)
            assert trio.current_time() > 1

    explore(test, seeds=range(5), failures=0.3, timeout=20)


def test_the_time_is_up_only_after_the_threads_have_ended() -> None:
    def waits_until_the_clock_has_jumped() -> None:
        while trio.from_thread.run_sync(trio.current_time) < 10:
            pass

    async def test() -> None:
        await trio.to_thread.run_sync(waits_until_the_clock_has_jumped)

    explore(test, seeds=[1], timeout=10)


def test_it_goes_together_with_one_at_a_time() -> None:
    async def test() -> None:
        with one_at_a_time():
            async with open_pool(3) as pool:
                assert pool.max_running == 1
                await pool.run(works, 1)

    explore(test, seeds=range(3))


def test_a_run_that_is_cancelled_by_the_test_ends() -> None:
    async def test() -> None:
        with trio.move_on_after(0.3):
            async with open_pool(3, retry=AGAIN) as pool, pool.map(works, range(100)) as results:
                assert [result async for result in results]
        assert trio.current_time() <= 0.3

    explore(test, seeds=range(20), losing_workers=0.2, breaking=0.2)


def test_afterwards_pools_are_as_ever() -> None:
    with pytest.raises(LookupError):
        explore(_raises, seeds=[1])

    async def test() -> int:
        async with open_pool(1, retry=AGAIN) as pool:
            await pool.run(works, 0)
        return pool.statistics().failures

    assert trio.run(test) == 0


async def _raises() -> None:
    await trio.lowlevel.checkpoint()
    raise LookupError


# As a decorator


def test_it_makes_a_plain_function_of_an_async_test() -> None:
    calls: list[tuple[int, str]] = []

    @explore(seeds=range(3))
    async def test(number: int, *, word: str) -> None:
        """Its words."""
        await trio.lowlevel.checkpoint()
        calls.append((number, word))

    assert calls == []
    test(1, word="a")
    test(2, word="b")
    assert calls == [(1, "a")] * 3 + [(2, "b")] * 3
    assert test.__doc__ == "Its words."


@explore(seeds=range(3))
async def test_a_decorated_test_gets_its_fixtures(capsys: pytest.CaptureFixture[str]) -> None:
    await trio.lowlevel.checkpoint()
    print("seen")
    assert capsys.readouterr().out == "seen\n"


# Random choices


def test_the_random_module_goes_on_as_if_nothing_had_been() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    explore(_draws, seeds=range(3))
    assert random.random() == expected


async def _draws() -> None:
    await trio.lowlevel.checkpoint()
    random.random()


def test_the_scheduler_of_trio_goes_on_as_if_nothing_had_been() -> None:
    scheduler: Any = _repeatable._scheduler()
    before = (scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING)
    with Seeded("1"):
        assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING
        assert scheduler._r.getstate() != before[0]
    assert (scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING) == before


@pytest.mark.parametrize("module", ["no_such_module", "random"])
def test_a_trio_whose_scheduler_can_not_be_seeded_is_left_alone(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(_: str) -> Any:
        return importlib.import_module(module)

    monkeypatch.setattr(_repeatable, "import_module", another)
    drawn: list[float] = []

    async def test() -> None:
        async with open_pool(2, retry=AGAIN) as pool:
            await pool.run(works, 1)
        drawn.append(random.random())

    explore(test, seeds=[1, 1])
    assert drawn[0] == drawn[1]


# Wrong use


async def test_inside_of_a_run_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="call it in a plain function"):
        explore(trio.sleep, 0, seeds=[1])


def test_without_parentheses_it_says_so() -> None:
    decorate: Any = explore
    with pytest.raises(TypeError, match="seeds"):
        decorate(_raises)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"seeds": []}, ValueError, "seeds must not be empty"),
        ({"seeds": 5}, TypeError, "seeds must be an iterable of ints, got 5"),
        ({"seeds": ["a"]}, TypeError, r"each of the seeds must be an int, got 'a'"),
        ({"seeds": [1], "timeout": 0}, ValueError, "timeout must be more than 0"),
        ({"seeds": [1], "failures": 2}, ValueError, "failures must be at most 1"),
    ],
)
def test_wrong_arguments_are_told_at_the_call(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        explore(**options)


def test_a_test_that_is_not_async_is_told() -> None:
    not_async: Any = list
    with pytest.raises(TypeError):
        explore(not_async, seeds=[1])
