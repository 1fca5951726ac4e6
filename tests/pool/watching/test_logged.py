"""What is logged of a pool, at which level, with which facts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import Doors, fails, sleeps, sleeps_forever, works
from trio_pool import (
    CircuitBreaker,
    Discard,
    GiveUp,
    Instrument,
    Logged,
    LogLevels,
    Resource,
    ResourceBroken,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

A = [Resource("a", name="A")]
PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class Heard(logging.Handler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self, level: int = logging.DEBUG) -> list[str]:
        return [f"{each.levelname} {each.getMessage()}" for each in self.records if each.levelno >= level]

    def told(self, event: str) -> list[dict[str, Any]]:
        """The facts of the records of this kind of event."""
        found = [vars(record) for record in self.records]
        return [
            {name: value for name, value in facts.items() if name not in PLAIN and name != "pool_event"}
            for facts in found
            if facts["pool_event"] == event
        ]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def logger(heard: Heard) -> logging.Logger:
    """A logger of the program's own, with everything on."""
    made = logging.Logger("program", logging.DEBUG)
    made.addHandler(heard)
    return made


# What is said


async def test_the_life_of_a_pool_with_one_job(logger: logging.Logger, heard: Heard, autojump_clock: MockClock) -> None:
    async with open_pool(A, instruments=[Logged(logger)], name="P") as pool:
        await pool.run(sleeps, 2)
    assert heard.lines() == [
        "DEBUG worker 1 (A) has started",
        "INFO the pool 'P' is open with 1 worker",
        "DEBUG job 1 (sleeps(2)) is submitted",
        "DEBUG job 1 (sleeps(2)): attempt 1 on A begins",
        "DEBUG job 1 (sleeps(2)): attempt 1 on A, 2.000 s: succeeded",
        "DEBUG job 1 (sleeps(2)) has succeeded after 1 attempt",
        "DEBUG worker 1 (A) has stopped",
        "INFO the pool 'P' is closed after 1 job: 1 succeeded, 0 dead, 0 cancelled, 0 discarded",
    ]


async def test_a_death_is_a_warning_with_a_line_for_each_attempt(
    logger: logging.Logger, heard: Heard, autojump_clock: MockClock
) -> None:
    retry = RetryPolicy.fixed(5, max_attempts=2)
    async with open_pool(A, instruments=[Logged(logger)], retry=retry, on_dead="keep") as pool:
        await pool.submit(fails, name="print")
    assert heard.lines(logging.WARNING) == [
        "WARNING job 1 (print) is dead after 2 attempts: no attempts left; last error: ValueError: failed\n"
        "  attempt 1 on A, 0.000 s: ValueError: failed\n"
        "  attempt 2 on A, 0.000 s: ValueError: failed"
    ]


async def test_a_retry_is_no_more_than_debug(logger: logging.Logger, heard: Heard, autojump_clock: MockClock) -> None:
    async def flaky(resource: str) -> None:
        if not current_job().attempt_count:
            raise OSError("jammed")

    async with open_pool(A, instruments=[Logged(logger)], retry=RetryPolicy.fixed(5)) as pool:
        await pool.submit(flaky, name="print")
    assert heard.lines()[4:6] == [
        "DEBUG job 1 (print): attempt 1 on A, 0.000 s: OSError: jammed",
        "DEBUG job 1 (print) backs off for 5.000 s",
    ]
    assert not [line for line in heard.lines(logging.INFO) if "job 1 " in line]


async def test_a_job_that_is_cancelled_says_so(logger: logging.Logger, heard: Heard, autojump_clock: MockClock) -> None:
    async with open_pool(A, instruments=[Logged(logger)]) as pool:
        job = await pool.submit(sleeps_forever)
        await trio.sleep(3)
        job.cancel()
    assert heard.lines()[4:6] == [
        "DEBUG job 1 (sleeps_forever): attempt 1 on A, 3.000 s: cut short",
        "DEBUG job 1 (sleeps_forever) was cancelled after 0 attempts: cancelled while it ran, by job.cancel()",
    ]
    assert [facts["attempt_number"] for facts in heard.told("attempt_cut_short")] == [1]


async def test_a_discarded_job_is_info_with_its_reason(logger: logging.Logger, heard: Heard) -> None:
    async def discard(resource: str) -> None:
        raise Discard("nobody wants it")

    async with open_pool(A, instruments=[Logged(logger)]) as pool:
        await pool.submit(discard, name="print")
    assert "INFO job 1 (print) was discarded after 1 attempt: nobody wants it" in heard.lines()


async def test_what_happens_to_workers_is_said(logger: logging.Logger, heard: Heard, autojump_clock: MockClock) -> None:
    async with open_pool(A, instruments=[Logged(logger)]) as pool:
        [worker] = pool.workers
        worker.pause()
        worker.resume()
        worker.rest(5)
    assert heard.lines()[2:5] == [
        "INFO worker 1 (A) is paused",
        "INFO worker 1 (A) is resumed",
        "INFO worker 1 (A) rests for 5.000 s",
    ]
    assert heard.told("worker_resting") == [
        {"pool_name": None, "worker_id": 1, "worker_name": "A", "worker_delay": 5.0}
    ]


async def test_a_quarantine_is_a_warning_with_the_error_that_did_it(
    logger: logging.Logger, heard: Heard, autojump_clock: MockClock
) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=30)
    async with open_pool(A, instruments=[Logged(logger)], breaker=breaker, on_dead="keep") as pool:
        await pool.submit(fails)
    assert heard.lines(logging.WARNING)[0] == "WARNING worker 1 (A) is quarantined for 30.000 s: ValueError: failed"
    [facts] = heard.told("worker_quarantined")
    assert (facts["worker_delay"], facts["error_type"]) == (30, "ValueError")


async def test_a_broken_resource_is_a_warning_and_one_that_has_done_its_jobs_is_not(
    logger: logging.Logger, heard: Heard
) -> None:
    async def jams(resource: str) -> None:
        raise ResourceBroken("jammed")

    worn = Resource("a", name="A", max_jobs=1)
    async with open_pool([worn], instruments=[Logged(logger)], lifespan=Doors().lifespan, on_dead="keep") as pool:
        await pool.run(works)
        await pool.run(works)
    assert heard.lines().count("DEBUG worker 1 (A) reopens its resource") == 2
    async with open_pool(A, instruments=[Logged(logger)], lifespan=Doors().lifespan, on_dead="keep") as pool:
        await pool.submit(jams)
    assert heard.lines(logging.WARNING)[0] == ("WARNING worker 1 (A) reopens its resource: ResourceBroken: jammed")


async def test_odd_names_stay_in_one_line(logger: logging.Logger, heard: Heard) -> None:
    odd = [Resource("a", name="of\nthree\x1b[31m 100%s")]
    async with open_pool(odd, instruments=[Logged(logger)], name="P\nQ %d") as pool:
        await pool.run(works, name="x\ny %s")
    assert all(len(line.splitlines()) == 1 for line in heard.lines())
    assert "DEBUG worker 1 (of three\\x1b[31m 100%s) has started" in heard.lines()
    assert "DEBUG job 1 (x y %s) is submitted" in heard.lines()
    assert "INFO the pool 'P Q %d' is open with 1 worker" in heard.lines()


async def test_a_pool_without_a_name_is_the_pool(logger: logging.Logger, heard: Heard) -> None:
    async with open_pool(2, instruments=[Logged(logger)]):
        pass
    assert heard.lines(logging.INFO) == [
        "INFO the pool is open with 2 workers",
        "INFO the pool is closed after 0 jobs: 0 succeeded, 0 dead, 0 cancelled, 0 discarded",
    ]


# The facts


async def test_the_facts_of_a_job_are_attributes_of_its_records(
    logger: logging.Logger, heard: Heard, autojump_clock: MockClock
) -> None:
    async def fail(resource: str) -> None:
        await trio.sleep(2)
        raise GiveUp("no such page")

    async with open_pool(A, instruments=[Logged(logger)], name="P", on_dead="keep") as pool:
        await pool.submit(fail, name="fetch", priority=3)
    job = {"pool_name": "P", "job_id": 1, "job_name": "fetch"}
    worker = {"worker_id": 1, "worker_name": "A"}
    error = {"error_type": "GiveUp", "error_text": "GiveUp: no such page"}
    assert heard.told("job_submitted") == [job | {"job_priority": 3}]
    assert heard.told("attempt_started") == [job | worker | {"attempt_number": 1}]
    assert heard.told("attempt_failed") == [job | worker | error | {"attempt_number": 1, "attempt_seconds": 2.0}]
    assert heard.told("job_dead") == [
        job
        | error
        | {
            "job_attempts": 1,
            "job_seconds": 2.0,
            "job_reason": "given up: no such page",
            "job_dead_reason": "GAVE_UP",
        }
    ]


async def test_the_facts_of_a_delay_are_attributes_of_its_record(
    logger: logging.Logger, heard: Heard, autojump_clock: MockClock
) -> None:
    retry = RetryPolicy.fixed(5, max_attempts=2)
    async with open_pool(A, instruments=[Logged(logger)], retry=retry, on_dead="keep") as pool:
        await pool.submit(fails)
    assert heard.told("job_delayed") == [{"pool_name": None, "job_id": 1, "job_name": "fails", "job_delay": 5.0}]


async def test_the_facts_of_a_pool_are_attributes_of_its_records(logger: logging.Logger, heard: Heard) -> None:
    async with open_pool(A, instruments=[Logged(logger)], name="P", on_dead="keep") as pool:
        await pool.submit(fails)
        await pool.submit(works)
    assert heard.told("pool_opened") == [{"pool_name": "P", "pool_workers": 1}]
    assert heard.told("pool_closed") == [
        {
            "pool_name": "P",
            "pool_submitted": 2,
            "pool_succeeded": 1,
            "pool_dead": 1,
            "pool_cancelled": 0,
            "pool_discarded": 0,
        }
    ]


async def test_the_life_of_a_group_is_logged_with_its_jobs(logger: logging.Logger, heard: Heard) -> None:
    async with open_pool(A, instruments=[Logged(logger)], name="P", on_dead="keep") as pool:
        async with pool.open_group(name="G") as group:
            await group.submit(works)
            await group.submit(fails)
        async with pool.open_group():
            pass
    lines = [line for line in heard.lines() if "group" in line]
    assert lines == [
        "DEBUG the group 'G' is open",
        "DEBUG the group 'G' is closed after 2 jobs: 1 succeeded, 1 dead, 0 cancelled, 0 discarded",
        "DEBUG a group is open",
        "DEBUG a group is closed after 0 jobs: 0 succeeded, 0 dead, 0 cancelled, 0 discarded",
    ]
    assert heard.told("group_opened") == [
        {"pool_name": "P", "group_name": "G"},
        {"pool_name": "P", "group_name": None},
    ]
    assert heard.told("group_closed")[0] == {
        "pool_name": "P",
        "group_name": "G",
        "group_submitted": 2,
        "group_succeeded": 1,
        "group_dead": 1,
        "group_cancelled": 0,
        "group_discarded": 0,
    }
    assert heard.told("job_submitted")[0]["group_name"] == "G"


async def test_progress_is_logged_with_what_is_done(logger: logging.Logger, heard: Heard) -> None:
    async def work(resource: str) -> None:
        job = current_job()
        job.report(3)
        job.report(1, 3)
        job.report(2.5, 2.5, "all\nread")
        job.report(5, 4)
        job.report(0, 0)

    async with open_pool(A, instruments=[Logged(logger)]) as pool:
        await pool.run(work, name="print")
    assert heard.lines()[4:9] == [
        "DEBUG job 1 (print): 3",
        "DEBUG job 1 (print): 1 of 3 (33 %)",
        "DEBUG job 1 (print): 2.5 of 2.5 (100 %), all read",
        "DEBUG job 1 (print): 5 of 4",
        "DEBUG job 1 (print): 0 of 0",
    ]
    assert heard.told("job_progress")[1] == {
        "pool_name": None,
        "job_id": 1,
        "job_name": "print",
        "job_done": 1,
        "job_total": 3,
        "job_note": "",
    }


# Where it goes, and what is left out


async def test_by_default_there_is_a_logger_for_each_kind_of_thing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_pool")
    async with open_pool(A, instruments=[Logged()]) as pool:
        await pool.run(works)
        async with pool.open_group():
            pass
    names = {vars(record)["pool_event"]: record.name for record in caplog.records}
    assert names == {
        "worker_started": "trio_pool.workers",
        "pool_opened": "trio_pool.pools",
        "job_submitted": "trio_pool.jobs",
        "attempt_started": "trio_pool.jobs",
        "attempt_succeeded": "trio_pool.jobs",
        "job_succeeded": "trio_pool.jobs",
        "group_opened": "trio_pool.groups",
        "group_closed": "trio_pool.groups",
        "worker_stopped": "trio_pool.workers",
        "pool_closed": "trio_pool.pools",
    }


async def test_levels_can_be_changed(logger: logging.Logger, heard: Heard) -> None:
    logged = Logged(logger, job_dead=logging.ERROR, job_succeeded=25, worker_started=logging.INFO)
    async with open_pool(A, instruments=[logged], on_dead="keep") as pool:
        await pool.submit(works)
        await pool.submit(fails)
    levels = {vars(record)["pool_event"]: record.levelno for record in heard.records}
    assert (levels["job_dead"], levels["job_succeeded"], levels["worker_started"]) == (40, 25, 20)
    assert levels["worker_stopped"] == logging.DEBUG


async def test_an_event_can_be_left_out(logger: logging.Logger, heard: Heard) -> None:
    async with open_pool(A, instruments=[Logged(logger, job_submitted=None)]) as pool:
        await pool.run(works)
    assert heard.told("job_submitted") == []
    assert heard.told("job_succeeded") != []


async def test_progress_and_groups_can_be_left_out(logger: logging.Logger, heard: Heard) -> None:
    async def work(resource: str) -> None:
        current_job().report(1)

    logged = Logged(logger, job_progress=None, group_opened=None, group_closed=None)
    async with open_pool(A, instruments=[logged]) as pool, pool.open_group() as group:
        await group.run(work)
    events = {vars(record)["pool_event"] for record in heard.records}
    assert events.isdisjoint({"job_progress", "group_opened", "group_closed"})


async def test_nothing_is_made_for_a_level_that_is_off(
    logger: logging.Logger, heard: Heard, autojump_clock: MockClock
) -> None:
    class Costly(Exception):
        def __str__(self) -> str:
            raise AssertionError("nobody wanted to know")

    async def fail(resource: str) -> None:
        raise Costly

    logger.setLevel(logging.ERROR)
    retry = RetryPolicy.fixed(1, max_attempts=2)
    logged = Logged(logger)
    breaker = CircuitBreaker(failures=1)
    async with open_pool(A, instruments=[logged], retry=retry, on_dead="keep", breaker=breaker) as pool:
        job = await pool.submit(fail, name="Costly")
        await pool.join()
        pool.dead.pop_all()
        pool.workers[0].rest(1)
    pool.remove_instrument(logged)  # it is still there
    assert job.attempt_count == 2
    assert heard.records == []


async def test_every_kind_of_event_can_be_given_a_level(logger: logging.Logger) -> None:
    kinds = LogLevels.__annotations__
    assert Logged(logger, **dict.fromkeys(kinds, logging.INFO))._levels == dict.fromkeys(kinds, logging.INFO)
    documented = {method for method in vars(Instrument) if not method.startswith("_")}
    assert {method for method in documented if method in vars(Logged)} == documented


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"job_died": 20}, TypeError, r"unexpected keyword argument 'job_died'; it knows pool_opened, .*job_dead,"),
        ({"job_dead": "ERROR"}, TypeError, "job_dead must be an int, got 'ERROR'"),
        ({"job_dead": -1}, ValueError, "job_dead must be at least 1, got -1"),
        ({"logger": "app"}, TypeError, "logger must be a Logger, got 'app'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Logged(**arguments)


async def test_an_attribute_of_the_programs_own_does_not_disturb_it(logger: logging.Logger, heard: Heard) -> None:
    class Request(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.job_id = "the program's"
            return True

    logger.addFilter(Request())
    logged = Logged(logger)
    async with open_pool(A, instruments=[logged]) as pool:
        await pool.run(works)
    pool.remove_instrument(logged)  # it is still there
    assert heard.told("job_succeeded")[0]["job_id"] == "the program's"


async def test_what_happens_to_the_whole_pool_is_said(
    logger: logging.Logger, heard: Heard, autojump_clock: MockClock
) -> None:
    async with open_pool(A, instruments=[Logged(logger)], name="P") as pool:
        pool.pause()
        pool.resume()
        pool.rest(5)
    assert heard.lines()[2:5] == [
        "INFO the pool 'P' is paused",
        "INFO the pool 'P' is resumed",
        "INFO the pool 'P' rests for 5.000 s",
    ]
    assert heard.told("pool_paused") == [{"pool_name": "P"}]
    assert heard.told("pool_resting") == [{"pool_name": "P", "pool_delay": 5.0}]


async def test_what_happens_to_the_whole_pool_can_be_left_out(logger: logging.Logger, heard: Heard) -> None:
    async with open_pool(A, instruments=[Logged(logger, pool_paused=None)]) as pool:
        pool.pause()
    assert heard.told("pool_paused") == []
    assert len(heard.told("pool_resumed")) == 1
