"""What errors, statistics, jobs and workers look like to those who read them."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from copy import copy
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from tests.actors import Doors, fails, sleeps, sleeps_forever, works
from tests.platforms import adds_notes
from trio_pool import (
    Attempt,
    CircuitBreaker,
    JobFailedError,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)
from trio_pool._basics.text import one_line
from trio_pool._model.text import attempt_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

A = [Resource("a", name="A")]


async def failure_of(fn: Callable[[Any], Awaitable[Any]], *, attempts: int = 1, **options: Any) -> JobFailedError:
    """The error of a job that this function has failed."""
    retry = RetryPolicy.immediate(max_attempts=attempts)
    async with open_pool(A, retry=retry) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fn, **options)
    return caught.value


def raises(error: Exception) -> Callable[[Any], Awaitable[None]]:
    async def fail(resource: object) -> None:
        raise error

    return fail


async def counts(resource: str) -> None:
    """Fails with the number of the attempt."""
    await trio.sleep(0.25)
    raise OSError(f"jammed, {current_job().attempt_count}")


# The notes of a failure


async def test_each_attempt_is_told_in_a_note(autojump_clock: MockClock) -> None:
    failure = await failure_of(counts, attempts=3)
    assert failure.__notes__ == [
        "attempt 1 on A, 0.250 s: OSError: jammed, 0",
        "attempt 2 on A, 0.250 s: OSError: jammed, 1",
        "attempt 3 on A, 0.250 s: OSError: jammed, 2",
    ]


async def test_of_many_attempts_the_notes_say_how_many_are_left_out(autojump_clock: MockClock) -> None:
    failure = await failure_of(counts, attempts=100)
    assert len(failure.__notes__) == 33
    assert failure.__notes__[:3] == [
        "attempt 1 on A, 0.250 s: OSError: jammed, 0",
        "(68 attempts left out)",
        "attempt 70 on A, 0.250 s: OSError: jammed, 69",
    ]
    assert failure.__notes__[-1].startswith("attempt 100 ")


@pytest.mark.parametrize(("attempts", "expected"), [(32, []), (33, ["(1 attempt left out)"])])
async def test_nothing_is_said_to_be_left_out_before_it_is(
    attempts: int, expected: list[str], autojump_clock: MockClock
) -> None:
    failure = await failure_of(counts, attempts=attempts)
    assert [note for note in failure.__notes__ if "left out" in note] == expected


async def test_a_job_that_never_ran_has_no_notes() -> None:
    async with open_pool(A, no_worker="bury") as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(works, requires=["gpu"])
    assert caught.value.__notes__ == []


async def test_a_timeout_is_told_like_any_other_error(autojump_clock: MockClock) -> None:
    failure = await failure_of(sleeps_forever, attempt_timeout=1.5)
    assert failure.__notes__ == ["attempt 1 on A, 1.500 s: AttemptTimeoutError: the attempt took longer than 1.5 s"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\r\n\tthree", "one two three"),
        ("red \x1b[31m bell \x07 zero \x00", r"red \x1b[31m bell \x07 zero \x00"),
        ("caf\udce9 ☕", "caf\\udce9 ☕"),
        ("x" * 500, "x" * 190 + "…"),
    ],
)
async def test_a_note_is_one_line_whatever_the_error_says(text: str, expected: str, autojump_clock: MockClock) -> None:
    failure = await failure_of(raises(OSError(text)))
    assert failure.__notes__ == [f"attempt 1 on A, 0.000 s: OSError: {expected}"]


async def test_an_error_whose_text_is_at_fault_is_told_without_it(autojump_clock: MockClock) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failure = await failure_of(raises(Mute()))
    assert failure.__notes__ == ["attempt 1 on A, 0.000 s: Mute: <its text can't be read>"]
    assert str(failure).endswith("no attempts left; last error: Mute: <its text can't be read>")


def test_an_attempt_on_several_workers_names_them_all() -> None:
    attempt = Attempt(2, 1, "A", 1.0, 3.5, OSError("jammed"), ((2, "B"), (3, "C\n")))
    assert attempt_line(attempt) == "attempt 2 on A and B and C, 2.500 s: OSError: jammed"


def test_a_text_that_just_fits_is_not_cut() -> None:
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("x" * 11, 10) == "x" * 9 + "…"


async def test_each_error_has_its_notes_once(autojump_clock: MockClock) -> None:
    async with open_pool(A) as pool:
        job = await pool.submit(counts)
        await pool.join()
        errors: list[JobFailedError] = []
        for _ in range(3):
            with pytest.raises(JobFailedError) as caught:
                job.result()
            errors.append(caught.value)
            caught.value.__notes__.append("seen")
    assert [error.__notes__ for error in errors] == [["attempt 1 on A, 0.250 s: OSError: jammed, 0", "seen"]] * 3


async def test_the_notes_are_made_only_when_somebody_looks() -> None:
    asked: list[None] = []

    class Asked(Exception):
        def __str__(self) -> str:
            asked.append(None)
            return "no luck"

    failure = await failure_of(raises(Asked()))
    assert asked == []
    assert failure.__notes__[0].endswith(" s: Asked: no luck")
    assert asked != []


async def test_the_notes_can_be_replaced(autojump_clock: MockClock) -> None:
    failure = await failure_of(fails)
    failure.__notes__ = ["something else"]
    assert "something else\n" in traceback.format_exception(failure)


if sys.version_info >= (3, 11):

    @adds_notes
    async def test_a_note_can_be_added(autojump_clock: MockClock) -> None:
        failure = await failure_of(fails)
        failure.add_note("mine")
        assert failure.__notes__ == ["attempt 1 on A, 0.000 s: ValueError: failed", "mine"]


# As it is printed

PROGRAM = """
import trio
from trio_pool import RetryPolicy, open_pool

async def print_page(printer):
    await trio.lowlevel.checkpoint()
    raise OSError("out of\\npaper")

async def main():
    async with open_pool(["laser", "ink"], retry=RetryPolicy.immediate()) as pool:
        await pool.{call}(print_page)

trio.run(main)
"""


@pytest.mark.parametrize("call", ["run", "submit"])
def test_an_uncaught_failure_shows_the_cause_and_then_the_attempts(call: str) -> None:
    program = PROGRAM.replace("{call}", call)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    lines = [line.strip(" |") for line in answer.stderr.splitlines()]
    cause = lines.index("OSError: out of")
    [failed] = [at for at, line in enumerate(lines) if "JobFailedError: job 1 (print_page) is dead after 3" in line]
    assert cause < lines.index("The above exception was the direct cause of the following exception:") < failed
    told = [line.partition(" on ")[0] for line in lines[failed + 1 : failed + 4]]
    assert told == ["attempt 1", "attempt 2", "attempt 3"]
    assert all(line.endswith(" s: OSError: out of paper") for line in lines[failed + 1 : failed + 4])


async def test_a_death_that_is_logged_shows_its_attempts(caplog: pytest.LogCaptureFixture) -> None:
    async with open_pool(A, on_dead="keep") as pool:
        await pool.submit(fails)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    lines = caplog.text.splitlines()
    assert [line for line in lines if line.startswith("attempt 1 on A, ")] != []


# Jobs


async def test_a_job_that_backs_off_shows_until_when_and_why(autojump_clock: MockClock) -> None:
    async with open_pool(A, retry=RetryPolicy.fixed(5)) as pool:
        job = await pool.submit(fails, name="print")
        await trio.sleep(1)
        assert repr(job) == ("<trio_pool.Job 1 print, delayed until 5.0, 1 attempt: last error: ValueError: failed>")
        pool.cancel()
    assert repr(job) == (
        "<trio_pool.Job 1 print, cancelled, 1 attempt: the pool was cancelled; last error: ValueError: failed>"
    )


async def test_a_job_that_has_succeeded_in_the_end_shows_no_error(autojump_clock: MockClock) -> None:
    async def flaky(resource: str) -> None:
        if not current_job().attempt_count:
            raise OSError("jammed")

    async with open_pool(A, retry=RetryPolicy.fixed(5)) as pool:
        job = await pool.submit(flaky, name="print")
    assert repr(job) == "<trio_pool.Job 1 print, succeeded, 2 attempts>"


async def test_what_a_job_shows_is_one_line_of_some_length() -> None:
    async with open_pool([Resource("a", name="of\nthree")], on_dead="keep") as pool:
        job = await pool.submit(raises(OSError("x\n" * 1000)), name="a\nb")
        assert repr(job) == "<trio_pool.Job 1 a b, running on of three, 0 attempts>"
    assert repr(job).startswith("<trio_pool.Job 1 a b, dead, 1 attempt: no attempts left; last error: OSError: x x")
    assert len(repr(job)) < 300


# Workers


async def shown(worker: Worker) -> str:
    """What comes after its name."""
    await trio.lowlevel.checkpoint()
    return repr(worker).partition(f"{worker.name}, ")[2].removesuffix(">")


async def test_a_worker_shows_with_what_it_is_busy_and_for_how_long(autojump_clock: MockClock) -> None:
    async with open_pool(A) as pool:
        await pool.submit(sleeps, 9, name="print")
        await trio.sleep(2.5)
        assert repr(pool.workers[0]) == "<trio_pool.Worker 1 A, busy with job 1 (print) for 2.5 s>"


async def test_a_worker_shows_what_holds_it_back_and_until_when(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=30)
    limited = Resource("a", name="A", breaker=breaker, rate_limit=RateLimit(1, per=60))
    async with open_pool([limited], on_dead="keep") as pool:
        [worker] = pool.workers
        assert await shown(worker) == "idle"
        await pool.run(works)
        await trio.sleep(10)
        assert await shown(worker) == "idle, limited until 60.0 (50.0 s left)"
        await trio.sleep(50)
        await pool.submit(fails)
        await trio.sleep(10)
        assert await shown(worker) == "quarantined until 90.0 (20.0 s left), limited until 120.0 (50.0 s left)"
        worker.rest(1)
        worker.pause()
        assert await shown(worker) == (
            "paused, quarantined until 90.0 (20.0 s left), resting until 71.0 (1.0 s left), "
            "limited until 120.0 (50.0 s left)"
        )


async def test_a_busy_worker_shows_what_comes_after_that(autojump_clock: MockClock) -> None:
    async with open_pool(A) as pool, trio.open_nursery() as nursery:
        [worker] = pool.workers
        await pool.submit(sleeps, 9, name="print")
        await trio.sleep(1)
        worker.rest(20)
        worker.pause()
        nursery.start_soon(worker.remove)
        await trio.sleep(1)
        assert await shown(worker) == (
            "busy with job 1 (print) for 2.0 s, then paused, resting until 21.0 (19.0 s left), leaving"
        )


async def test_a_worker_shows_that_its_resource_is_opened(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=5)
    async with open_pool(A, lifespan=doors.lifespan, on_dead="keep") as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.add, "b")
        await trio.sleep(1)
        assert await shown(pool.workers[1]) == "starting"
        await pool.submit(raises(ResourceBroken("jammed")))
        await trio.sleep(1)
        assert await shown(pool.workers[0]) == "reopening"


async def test_a_worker_can_be_looked_at_from_another_thread() -> None:
    async with open_pool(A) as pool:
        [worker] = pool.workers
        await pool.submit(sleeps_forever, name="print")
        worker.rest(1000)
        seen = await trio.to_thread.run_sync(repr, worker)
        pool.cancel()
    assert seen.startswith("<trio_pool.Worker 1 A, busy with job 1 (print) for ")
    assert ", then resting until " in seen


# Statistics


async def test_the_statistics_of_a_pool_are_printed_as_a_table(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=30)
    resources = [Resource("a", name="laser"), "b", Resource("c", name="ink", breaker=breaker)]
    async with open_pool(resources, name="printers", on_dead="keep", retry=RetryPolicy.fixed(100)) as pool:
        laser, second, ink = pool.workers
        await pool.submit(sleeps, 4, worker=laser)
        await pool.submit(raises(OSError("out of\npaper")), worker=ink)
        for _ in range(3):
            await pool.submit(sleeps, 12.5, worker=second)
        laser.pause()
        await trio.sleep(5)
        table = str(pool.statistics())
        pool.cancel()
    assert (
        table
        == """\
the pool 'printers': 5 jobs submitted
  0 blocked, 2 queued, 1 running, 1 delayed, 1 succeeded, 0 dead, 0 cancelled, 0 discarded
  2 attempts, 1 failed, 1 retried, 2 queued at the peak, 0 submitters waiting
  time: running 60 %, quarantined 33 %, paused 7 %
  worker    state        attempts  succeeded  failed   busy  available  last error
  laser     paused              1          1       0  4.0 s
  worker-2  busy                0          0       0  5.0 s
  ink       quarantined         1          0       1  0.0 s  in 25.0 s  OSError: out of paper"""
    )


async def test_the_table_has_what_was_used_in_all_if_units_are_in_use(autojump_clock: MockClock) -> None:
    resources = [Resource("a", name="laser", max_running=2), Resource("b", name="ink")]
    async with open_pool(resources) as pool:
        laser, _ = pool.workers
        await pool.run(sleeps, 4, worker=laser, uses={"tokens": 71_234, "pa\ng": 2})
        await pool.run(sleeps, 4, worker=laser, uses={"tokens": 0.1})
        await pool.run(sleeps, 4, worker=laser, uses={"tokens": 0.2})
        table = str(pool.statistics()).splitlines()
    assert table[3:] == [
        "  used: 2 pa g, 71234.3 tokens",
        "  time: running 33 %, idle 67 %",
        "  worker  state  running  attempts  succeeded  failed    busy                    used  available  last error",
        "  laser   idle       0/2         3          3       0  12.0 s  2 pa g, 71234.3 tokens",
        "  ink     idle       0/1         0          0       0   0.0 s",
    ]


async def test_the_table_of_a_group_says_that_it_is_one() -> None:
    async with open_pool(A) as pool, pool.open_group(name="urgent") as group, pool.open_group() as other:
        assert str(group.statistics()).startswith("the group 'urgent': 0 jobs submitted\n")
        assert str(other.statistics()).startswith("the group: 0 jobs submitted\n")


async def test_the_table_of_a_copy_says_when_a_worker_is_available_on_trios_clock(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", name="laser")]) as pool:
        await trio.sleep(2)
        pool.workers[0].rest(30)
        seen = pool.statistics()
        pool.cancel()
    for statistics, words in ((seen, "in 30.0 s"), (copy(seen), "at 32.0"), (attrs.evolve(seen), "at 32.0")):
        assert words in str(statistics)
        assert statistics == seen


async def test_a_worker_that_is_kept_for_a_group_says_so(autojump_clock: MockClock) -> None:
    async with open_pool(A) as pool:
        worker = pool.workers[0]
        async with pool.open_group(reserve=1, name="urgent") as group:
            assert repr(worker) == "<trio_pool.Worker 1 A, idle, reserved for the group 'urgent'>"
            await group.submit(sleeps, 1, name="print")
            expected = "busy with job 1 (print) for 0.0 s, then reserved for the group 'urgent'"
            assert repr(worker) == f"<trio_pool.Worker 1 A, {expected}>"
        async with pool.open_group(reserve=1):
            assert repr(worker) == "<trio_pool.Worker 1 A, idle, reserved for a group>"
        assert repr(worker) == "<trio_pool.Worker 1 A, idle>"


async def test_the_table_of_a_pool_without_workers_is_its_counts() -> None:
    nothing: list[str] = []
    async with open_pool(nothing) as pool:
        assert (
            str(pool.statistics())
            == """\
the pool: 0 jobs submitted
  0 blocked, 0 queued, 0 running, 0 delayed, 0 succeeded, 0 dead, 0 cancelled, 0 discarded
  0 attempts, 0 failed, 0 retried, 0 queued at the peak, 0 submitters waiting"""
        )


async def test_a_row_of_the_table_is_one_line_of_some_length(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", name="of\nthree" * 20)], name="P\nQ", on_dead="keep") as pool:
        await pool.submit(raises(OSError("x\n" * 1000)))
        await pool.join()
        lines = str(pool.statistics()).splitlines()
    assert lines[0] == "the pool 'P Q': 1 job submitted"
    assert len(lines) == 5
    assert max(map(len, lines)) < 200


async def test_the_repr_of_statistics_is_still_all_of_them() -> None:
    async with open_pool(A) as pool:
        seen = pool.statistics()
    assert repr(seen).startswith("PoolStatistics(name=None, submitted=0, ")
    assert f"{seen!r}" != f"{seen}"
