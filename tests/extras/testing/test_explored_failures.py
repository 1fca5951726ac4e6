"""What ``trio_pool.testing.explore`` finds, and what it says about that."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.extras.testing.test_explore import AGAIN, works
from trio_pool import open_pool
from trio_pool.testing import explore


def notes_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", []))


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
    assert "3 attempts failed, 0 resources broken, 0 workers lost; the last of these:" in note
    assert note.endswith(": an attempt of works(1) on worker-1 failed")


def test_its_traceback_ends_in_the_test() -> None:
    async def test() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError

    with pytest.raises(LookupError) as caught:
        explore(test, seeds=[1])
    assert caught.traceback[-1].name == "test"
    shown = [frame.name for frame in caught.traceback.filter(caught)]
    assert not {"explore", "_explore", "perform", "_main"} & set(shown)


def test_an_interrupt_ends_it_and_names_the_seed() -> None:
    runs = 0

    async def test() -> None:
        nonlocal runs
        async with open_pool(1) as pool:
            runs += 1
            if runs == 3:
                signal.raise_signal(signal.SIGINT)
            await pool.run(works, 1)

    with pytest.raises(KeyboardInterrupt) as caught:
        explore(test, seeds=range(5))
    assert runs == 3
    assert "seed 2: " in notes_of(caught.value)


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
    silent: type[Exception] = type("SilentError", (Exception,), {"__notes__": property(lambda _: [])})

    async def test() -> None:
        await trio.lowlevel.checkpoint()
        raise silent

    with caplog.at_level(logging.ERROR, "trio_pool"), pytest.raises(silent):
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
