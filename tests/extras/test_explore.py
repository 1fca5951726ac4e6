"""A test that is run under many seeds: ``trio_pool.testing.explore``."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_pool import Elastic, Instrument, Job, JobCancelledError, JobState, RetryPolicy, open_pool
from trio_pool.testing import _repeatable, explore, one_at_a_time
from trio_pool.testing._repeatable import Seeded

AGAIN = RetryPolicy(max_attempts=4)


def notes_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", []))


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
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(partial(pool.run, works_with, number, name=f"run-{number}"))
                nursery.start_soon(partial(other.run, works, number, name=f"other-{number}"))
        async with pool.map(works_with, range(8), name="mapped") as results:
            assert [result async for result in results] == list(range(8))
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


TROUBLE: dict[str, Any] = {"failures": 0.2, "losing_workers": 0.05, "breaking": 0.05}


# Seeds


def test_a_test_runs_once_for_each_seed_with_its_arguments() -> None:
    calls: list[tuple[int, str]] = []

    async def test(number: int, word: str) -> None:
        await trio.lowlevel.checkpoint()
        calls.append((number, word))

    explore(test, 1, "a", seeds=range(3))
    assert calls == [(1, "a")] * 3


def test_the_same_seed_repeats_the_same_events_whatever_ran_before() -> None:
    many = events_of(list(range(12)), **TROUBLE)
    alone = events_of([7], **TROUBLE)
    assert alone[7] == many[7]
    assert any("Disturbance" in event for event in many[7])


def test_other_seeds_have_other_events() -> None:
    lives = events_of(list(range(12)), **TROUBLE)
    assert len({tuple(events) for events in lives.values()}) == 12


def test_other_seeds_have_other_orders_even_without_trouble() -> None:
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

    async def fails(failed: list[None]) -> None:
        if not failed:
            failed.append(None)
            raise OSError

    async def test() -> None:
        async with open_pool(1, retry=RetryPolicy(), rng=random.Random(5)) as pool:
            start = trio.current_time()
            await pool.run(fails, [])
            delays.add(trio.current_time() - start)

    explore(test, seeds=range(5), failures=0, delays=0)
    assert len(delays) == 1


SCRIPT = """
import sys
from tests.extras.test_explore import TROUBLE, events_of
print(events_of([3, 4], **TROUBLE))
"""


def test_another_process_has_the_same_events() -> None:
    expected = repr(events_of([3, 4], **TROUBLE))
    for hash_seed in "12":
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == expected


# Failures


def test_a_failure_has_its_seed_in_a_note() -> None:
    runs = 0

    async def test() -> None:
        nonlocal runs
        await trio.lowlevel.checkpoint()
        runs += 1
        assert runs < 4, "the fourth"

    with pytest.raises(AssertionError, match="the fourth") as caught:
        explore(test, seeds=range(10, 20))
    assert "seed 13: trio_pool.testing.explore(..., seeds=[13]) repeats it" in notes_of(caught.value)
    assert runs == 4


def test_the_note_says_what_was_done() -> None:
    async def test() -> None:
        async with open_pool(1, retry=AGAIN, name="mine") as pool:
            await pool.run(works, 1)
        raise LookupError

    with pytest.raises(LookupError) as caught:
        explore(test, seeds=[1], failures=1, delays=0)
    note = notes_of(caught.value)
    assert "3 attempts failed, 0 resources broken, 0 workers lost, at last:" in note
    assert note.endswith(": an attempt of works(1) on worker-1 failed")


def test_a_note_is_added_to_those_that_are_there() -> None:
    async def test() -> None:
        await trio.lowlevel.checkpoint()
        error: Any = LookupError()
        error.__notes__ = ["a note"]
        raise error

    with pytest.raises(LookupError) as caught:
        explore(test, seeds=[1])
    assert notes_of(caught.value).startswith("a note\nseed 1: ")


def test_an_exception_that_refuses_assignment_has_the_note_too() -> None:
    class FrozenError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    async def test() -> None:
        await trio.lowlevel.checkpoint()
        raise FrozenError

    caught: BaseException | None = None
    try:
        explore(test, seeds=[1])
    except FrozenError as error:
        caught = error
    assert caught is not None
    assert "seed 1: " in notes_of(caught)


def test_the_seed_of_an_exception_that_takes_no_notes_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class SilentError(Exception):
        @property
        def __notes__(self) -> list[str]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
            return []

    async def test() -> None:
        await trio.lowlevel.checkpoint()
        raise SilentError

    with caplog.at_level(logging.ERROR, "trio_pool"), pytest.raises(SilentError):
        explore(test, seeds=[1])
    assert "seed 1: trio_pool.testing.explore(..., seeds=[1]) repeats it" in caplog.text


def test_a_test_that_waits_for_ever_fails_at_once_and_names_its_jobs() -> None:
    async def test() -> None:
        async with open_pool(1) as pool:
            await pool.run(trio.sleep_forever, name="the endless one")

    with pytest.raises(trio.TooSlowError, match=r"not over after 86400 s on its clock.*the endless one") as caught:
        explore(test, seeds=[5])
    assert "seed 5: " in notes_of(caught.value)


def test_a_test_without_jobs_that_waits_for_ever_fails_too() -> None:
    with pytest.raises(trio.TooSlowError, match=r"the test was not over after 60 s on its clock\nseed"):
        explore(trio.sleep_forever, seeds=[5], timeout=60)


def test_the_timeout_is_no_deadline_that_the_test_could_see() -> None:
    deadlines: list[float] = []

    async def test() -> None:
        await trio.lowlevel.checkpoint()
        deadlines.append(trio.current_effective_deadline())

    explore(test, seeds=[1], timeout=60)
    assert deadlines == [float("inf")]


# Planted bugs


async def loses_an_item() -> None:
    """Takes items from a list of its own, and forgets one if its worker is removed meanwhile."""
    todo, done = list(range(10)), list[int]()

    async def next_item(_: str) -> None:
        item = todo.pop()
        await trio.sleep(1)
        done.append(item)

    async with open_pool(["a", "b", "c"]) as pool:
        for _ in range(10):
            await pool.submit(next_item, retry=AGAIN)
        await pool.join()
        assert pool.statistics().dead == 0
    assert len(done) == 10


async def keeps_an_item() -> None:
    """The same, mended."""
    todo, done = list(range(10)), list[int]()

    async def next_item(_: str) -> None:
        item = todo.pop()
        try:
            await trio.sleep(1)
        except BaseException:
            todo.append(item)
            raise
        done.append(item)

    async with open_pool(["a", "b", "c"]) as pool:
        for _ in range(10):
            await pool.submit(next_item, retry=AGAIN)
    assert len(done) == 10


async def relies_on_the_order() -> None:
    """Takes the order in which jobs end for that in which they were submitted."""
    async with open_pool(3) as pool, pool.as_completed(works, [1, 1, 1]) as jobs:
        assert [job.id async for job in jobs] == [1, 2, 3]


@pytest.mark.parametrize(("test", "error"), [(loses_an_item, Exception), (relies_on_the_order, AssertionError)])
def test_a_planted_bug_is_found(test: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        explore(test, seeds=range(30), losing_workers=0.1)
    seed = int(notes_of(caught.value).split("seed ", 1)[1].split(":", 1)[0])
    with pytest.raises(error) as again:
        explore(test, seeds=[seed], losing_workers=0.1)
    assert notes_of(again.value) == notes_of(caught.value)


def test_without_losing_workers_that_bug_is_not_seen() -> None:
    explore(loses_an_item, seeds=range(30))


def test_once_mended_it_is_not_found_any_more() -> None:
    explore(keeps_an_item, seeds=range(30), losing_workers=0.1)


# With the rest of the library


def test_a_program_of_two_pools_with_every_kind_of_call_stands_it() -> None:
    lives = events_of(list(range(40)), **TROUBLE)
    everything = [event for events in lives.values() for event in events]
    assert any("Disturbance" in event for event in everything)
    assert any("ResourceBroken" in event for event in everything)
    assert any("JobCancelledError" in event for event in everything)


def test_pools_opened_by_other_tasks_are_disturbed_too() -> None:
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
            async with pool.as_completed(lambda _, number: works(number), range(10)) as jobs:
                assert [job.state async for job in jobs] == [JobState.SUCCEEDED] * 10
            assert len(pool.workers) >= 1

    explore(test, seeds=range(20), losing_workers=0.3)


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
async def test_a_decorated_test_gets_its_fixtures(tmp_path: Path) -> None:
    await trio.lowlevel.checkpoint()
    assert tmp_path.is_dir()


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
    original = _repeatable.import_module
    monkeypatch.setattr(_repeatable, "import_module", lambda _: original(module))
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
