"""What an engine does with a job, by what the pool says of its end; and with one that comes again."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps_forever, works
from trio_pool import Discard, GiveUp, HandBack, JobCancelledError, PoolClosedError, open_pool
from trio_pool.engines import Ending, Suspects

if TYPE_CHECKING:
    from trio_pool import Pool


class Raises:
    """A job's function that raises an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __call__(self, resource: str) -> None:
        await trio.lowlevel.checkpoint()
        raise self.error


async def ending(pool: Pool[str], fn: Any, *args: Any, **options: Any) -> Ending:
    try:
        return Ending("done", await pool.run(fn, *args, **options))
    except Exception as error:
        return Ending.of_error(error, pool)


async def test_a_value_is_the_result() -> None:
    async with open_pool(["a"]) as pool:
        assert (await ending(pool, works)).kind == "done"


async def test_a_dead_job_is_dead_with_its_words() -> None:
    async with open_pool(["a"]) as pool:
        end = await ending(pool, fails)
        assert end.kind == "dead"
        assert "is dead after 1 attempt" in end.reason
        assert (await ending(pool, Raises(GiveUp("gone")))).kind == "dead"


async def test_a_job_that_has_no_time_left_overstays(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert (await ending(pool, sleeps_forever, total_timeout=3)).kind == "overstayed"


async def test_a_job_that_no_worker_may_run_overstays() -> None:
    async with open_pool(["a"]) as pool:
        assert (await ending(pool, works, requires=["gpu"])).kind == "overstayed"
    async with open_pool(["a"], no_worker="bury", on_dead="keep") as pool:
        assert (await ending(pool, works, requires=["gpu"])).kind == "overstayed"


async def test_a_job_that_is_handed_back_is_returned_after_its_delay() -> None:
    async with open_pool(["a"]) as pool:
        assert await ending(pool, Raises(HandBack(7, "no quota"))) == Ending("returned", None, 7.0, "no quota")


async def test_what_on_failure_hands_back_is_returned_too() -> None:
    async with open_pool(["a"], on_failure=lambda job, error: HandBack(5)) as pool:
        assert await ending(pool, fails) == Ending("returned", None, 5.0, "handed back for 5 s")


async def test_a_discarded_job_is_done() -> None:
    async with open_pool(["a"]) as pool:
        assert await ending(pool, Raises(Discard("old"))) == Ending("done", reason="old")
        job = await pool.submit(works, after=[await pool.submit(Raises(Discard()))])
        with pytest.raises(JobCancelledError) as caught:
            await job.wait()
        assert Ending.of_error(caught.value, pool).kind == "done"


async def test_a_cancelled_job_is_done_unless_its_pool_ends() -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps_forever)
        job.cancel()
        with pytest.raises(JobCancelledError) as caught:
            await job.wait()
        assert Ending.of_error(caught.value, pool).kind == "done"
        pool.close()
        assert Ending.of_error(caught.value, pool).kind == "returned"


@pytest.mark.parametrize("error", [PoolClosedError("closed"), trio.RunFinishedError(), CancelledError()])
async def test_a_pool_that_takes_no_more_jobs_returns_them(error: Exception) -> None:
    async with open_pool(["a"]) as pool:
        assert Ending.of_error(error, pool) == Ending("returned", reason="its pool takes no more jobs")


async def test_anything_else_is_death() -> None:
    async with open_pool(["a"]) as pool:
        assert await ending(pool, works, priority="high") == Ending(
            "dead", reason="TypeError: priority must be a number, got 'high'"
        )


# Suspects


def test_a_job_without_crashes_starts() -> None:
    suspects = Suspects()
    assert [suspects.admit(number, 0) for number in range(5)] == ["start"] * 5
    suspects.dismiss(3)


def test_a_job_with_too_many_crashes_is_buried() -> None:
    assert [Suspects(2).admit("a", crashes) for crashes in (1, 2, 3)] == ["start", "bury", "bury"]
    assert Suspects(None).admit("a", 10**6) == "start"


def test_a_suspect_waits_for_the_end_of_another() -> None:
    suspects = Suspects()
    assert [suspects.admit(name, 1) for name in "aab"] == ["start", "start", "wait"]
    suspects.dismiss("b")
    assert suspects.admit("b", 1) == "wait"
    suspects.dismiss("a")
    assert suspects.admit("b", 1) == "start"


def test_a_suspect_that_has_done_no_harm_for_long_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    suspects = Suspects(patience=30)
    suspects.admit("a", 1)
    now[0] += 29.9
    assert suspects.admit("b", 1) == "wait"
    now[0] += 0.1
    assert suspects.admit("b", 1) == "start"
    suspects.dismiss("a")
    assert suspects.admit("c", 1) == "wait"


def test_suspects_come_back_at_different_times() -> None:
    suspects = Suspects()
    pauses = {suspects.pause() for _ in range(100)}
    assert len(pauses) == 100
    assert all(0.1 <= pause <= 1.0 for pause in pauses)


@pytest.mark.parametrize(("most", "patience"), [(0, 1), (True, 1), (3, -1), (3, "long")])
def test_settings_are_checked(most: Any, patience: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^(max_crashes|patience) must "):
        Suspects(most, patience=patience)
