"""Errors and values can be pickled and copied; what stands for something of this process refuses to be."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest
import trio

from tests.actors import fails, sleeps_forever, works
from tests.platforms import adds_notes
from trio_pool import (
    Attempt,
    AttemptTimeoutError,
    CircuitBreaker,
    Discard,
    Elastic,
    GiveUp,
    GraphError,
    HandBack,
    Hedge,
    Instrument,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobNotFinishedError,
    JobState,
    JobTimeoutError,
    Node,
    NoEligibleWorkerError,
    PoolClosedError,
    PoolError,
    PoolStatistics,
    Progress,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    Transition,
    WorkerState,
    WorkerStatistics,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

T = TypeVar("T")

Way = Callable[[Any], Any]


def through_pickle(protocol: int) -> Way:
    def way(thing: T) -> T:
        found: T = pickle.loads(pickle.dumps(thing, protocol))
        return found

    return way


WAYS = {
    **{f"pickled by protocol {number}": through_pickle(number) for number in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copied": copy.copy,
    "copied deeply": copy.deepcopy,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


FAILURE = "job 1 (fetch) is dead after 1 attempt: no attempts left; last error: OSError: no paper"


async def failure_of(error: Exception, **options: Any) -> JobFailedError:
    """The error of a job that has died of this one."""

    async def fail(resource: object) -> None:
        raise error

    async with open_pool([Resource("a", name="A")], **options) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fail, name="fetch")
    return caught.value


async def cancelled_error() -> JobCancelledError:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps_forever, name="fetch")
        job.cancel()
        with pytest.raises(JobCancelledError) as caught:
            await job.wait()
    return caught.value


# The errors that tell of a job


@every_way
async def test_a_failure_keeps_its_words_and_loses_its_job(way: Way, autojump_clock: MockClock) -> None:
    failure = await failure_of(OSError("no paper"))
    copied = way(failure)
    assert type(copied) is JobFailedError
    assert str(copied) == str(failure) == FAILURE
    assert copied.__notes__ == failure.__notes__ == ["attempt 1 on A, 0.000 s: OSError: no paper"]
    assert copied.job is None


@every_way
async def test_a_cancellation_keeps_its_words_and_loses_its_job(way: Way) -> None:
    error = await cancelled_error()
    copied = way(error)
    assert type(copied) is JobCancelledError
    assert str(copied) == str(error) == f"job 1 (fetch) was cancelled: {error.job.reason}"
    assert copied.job is None


@every_way
async def test_what_is_copied_stays_as_it_was(way: Way) -> None:
    failure = await failure_of(OSError("no paper"))
    job, text, cause = failure.job, str(failure), failure.__cause__
    way(failure)
    assert (failure.job, str(failure), failure.__cause__, failure.args) == (job, text, cause, (job,))


@every_way
async def test_a_copy_can_be_copied_again(way: Way) -> None:
    once = way(await failure_of(OSError("no paper")))
    again = way(once)
    assert (str(again), again.__notes__, again.args) == (str(once), once.__notes__, once.args)


@every_way
async def test_the_cause_of_a_failure_may_be_such_that_it_cannot_be_pickled(way: Way) -> None:
    failure = await failure_of(OSError("locked", Lock()))
    assert str(way(failure)) == str(failure)


if sys.version_info >= (3, 11):

    @every_way
    @adds_notes
    async def test_a_note_that_was_added_goes_along(way: Way) -> None:
        failure, cancelled = await failure_of(OSError("no paper")), await cancelled_error()
        for error in (failure, cancelled):
            error.add_note("seen by me")
            assert way(error).__notes__[-1] == "seen by me"


@every_way
async def test_groups_that_hold_them_can_be_copied(way: Way) -> None:
    failure, cancelled = await failure_of(OSError("no paper")), await cancelled_error()
    group = ExceptionGroup("both", [ExceptionGroup("one", [failure]), cancelled])
    [inner, second] = way(group).exceptions
    assert [str(inner.exceptions[0]), str(second)] == [str(failure), str(cancelled)]


@every_way
async def test_what_comes_out_of_the_block_can_be_copied(way: Way) -> None:
    async def leaves() -> None:
        async with open_pool(["a"]) as pool:
            for _ in range(3):
                await pool.submit(fails)

    with pytest.raises(ExceptionGroup) as caught:
        await leaves()
    assert [str(error) for error in way(caught.value).exceptions] == [str(error) for error in caught.value.exceptions]


async def test_the_error_of_an_attempt_that_was_cut_short_says_always_the_same(autojump_clock: MockClock) -> None:
    ended: list[Attempt] = []

    class Watch(Instrument):
        def attempt_ended(self, job: Any, attempt: Attempt) -> None:
            ended.append(attempt)

    async with open_pool(2, instruments=[Watch()]) as pool:
        job = await pool.submit(trio.sleep, 9, name="fetch")
        await job.wait_started()
        first = job.worker
        assert first is not None
        await first.remove(cancel=True)
        error = ended[0].error
        before = copy.copy(error)
        await job.wait()
    assert isinstance(error, JobCancelledError)
    assert str(before) == str(copy.copy(error)) == str(error) == "job 1 (fetch) was cut short"


async def test_what_a_failure_has_said_once_it_says_always() -> None:
    paper = ["A4"]

    async def jams(resource: object, paper: list[str]) -> None:
        raise OSError(paper)

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(jams, paper)
    text = str(caught.value)
    assert "jams(['A4'])" in text
    paper.append("A3")
    assert str(caught.value) == str(copy.copy(caught.value)) == text


# Across processes


def run_a_job_that_fails() -> None:
    async def main() -> None:
        async with open_pool(["a"]) as pool:
            await pool.run(fails, name="fetch")

    trio.run(main)


def test_a_failure_comes_out_of_a_process_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    # The new process has to find this module.
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[3])])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        error = processes.submit(run_a_job_that_fails).exception()
    assert isinstance(error, JobFailedError)
    assert str(error) == "job 1 (fetch) is dead after 1 attempt: no attempts left; last error: ValueError: failed"
    assert error.job is None


# The other errors, and what functions raise


class TooManyRequests(RetryAfter):
    """Takes arguments of its own."""

    def __init__(self, *, url: str, seconds: float) -> None:
        super().__init__(seconds, rest=True, placement="other", counts=False)
        self.url = url


@dataclass(frozen=True)
class NoSuchPage(GiveUp):
    """Refuses to be assigned to, and leaves out the __init__ of its base."""

    url: str


class ServerError(ResourceBroken, OSError):
    """Is two things at once."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class GraphOfMineError(GraphError):
    def __init__(self, *, key: str) -> None:
        super().__init__(f"the key {key}")
        self.key = key


OTHERS: list[Exception] = [
    PoolError("one"),
    PoolClosedError("closed"),
    NoEligibleWorkerError("nobody"),
    JobNotFinishedError("not yet"),
    JobDeadlockError("forever"),
    GraphError("a cycle"),
    AttemptTimeoutError("the attempt"),
    JobTimeoutError("the job"),
    RetryAfter(2.5, rest=True, placement="same", counts=False),
    GiveUp("no such page"),
    Discard("nobody wants it"),
    HandBack(2.5, "no quota"),
    ResourceBroken("jammed"),
    TooManyRequests(url="/index", seconds=3),
    NoSuchPage("/index"),
    ServerError(503),
    GraphOfMineError(key="a"),
]


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
@every_way
def test_every_error_keeps_its_class_its_words_and_its_fields(way: Way, error: Exception) -> None:
    copied = way(error)
    assert type(copied) is type(error)
    assert (str(copied), copied.args, vars(copied)) == (str(error), error.args, vars(error))


def test_the_fields_of_control_exceptions_are_there_in_copies() -> None:
    pause = copy.deepcopy(RetryAfter(2.5, rest=True, placement="same", counts=False))
    assert (pause.delay, pause.rest, pause.placement, pause.counts) == (2.5, True, "same", False)
    assert pickle.loads(pickle.dumps(TooManyRequests(url="/index", seconds=3))).url == "/index"
    assert pickle.loads(pickle.dumps(NoSuchPage("/index"))).url == "/index"
    assert pickle.loads(pickle.dumps(ServerError(503))).reason == "code 503"


async def test_a_control_exception_without_the_fields_of_its_base_means_what_is_usual() -> None:
    class Busy(RetryAfter):
        def __init__(self) -> None:
            """Forgets its base."""

    class Gone(GiveUp):
        def __init__(self) -> None:
            """The same."""

    failure = await failure_of(Gone())
    assert failure.job.reason == "given up"
    failure = await failure_of(Busy(), retry=RetryPolicy(max_attempts=3))
    assert failure.job.attempt_count == 3


# Values


VALUES: list[object] = [
    RetryPolicy(max_attempts=7, jitter="equal", retry_on=(OSError, ValueError), placement="other"),
    RateLimit(5, per=2, burst=3),
    RetryBudget(0.5),
    CircuitBreaker(3, counts=OSError),
    Hedge(2.0, extra=2),
    Resource("a", name="A", tags=["gpu"], rate_limit=RateLimit(5)),
    Elastic(cast("Any", open), min=1, max=3),  # any function that can be pickled will do
    Transition(JobState.QUEUED, 1.5, "A was removed"),
    Progress(1, 2.5, "reading", 1.5),
    Attempt(1, 2, "A", 0.0, 1.5, None, ((3, "C"),)),
    JobState.DEAD,
    WorkerState.IDLE,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@every_way
def test_values_are_equal_to_their_copies(way: Way, value: object) -> None:
    assert way(value) == value


@every_way
def test_an_attempt_takes_its_error_along(way: Way) -> None:
    copied: Attempt = way(Attempt(1, 2, "A", 0.0, 1.5, OSError("no paper")))
    assert (type(copied.error), str(copied.error)) == (OSError, "no paper")


@every_way
async def test_statistics_can_be_copied(way: Way) -> None:
    async with open_pool(["a"], name="P", on_dead="keep") as pool:
        await pool.run(works)
        before = pool.statistics()
        await pool.submit(fails)
        await pool.join()
        after: PoolStatistics = way(pool.statistics())
    assert way(before) == before
    [worker] = after.workers
    assert isinstance(worker, WorkerStatistics)
    assert (after.failures, worker.failed, str(worker.last_error)) == (1, 1, "failed")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_node_of_a_graph_can_be_pickled(protocol: int) -> None:
    node: Node = pickle.loads(pickle.dumps(Node(works, 1, after=["a"], name="N"), protocol))
    assert repr(node) == "Node(works, 1, after=['a'], name='N')"


# Handles


@every_way
async def test_handles_refuse_and_say_what_they_are(way: Way) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        job = await pool.submit(works)
        [worker] = pool.workers
        handles: list[object] = [pool, group, job, worker, pool.dead]
        for handle in [*handles, (1, [job])]:
            if way is copy.copy and isinstance(handle, tuple):
                continue  # which copies no job
            with pytest.raises(TypeError, match=r"^an? \w+ can't be pickled or copied: it belongs to a pool"):
                way(handle)
    async with open_pool(1) as slots:
        with pytest.raises(TypeError, match=r"^a SlotPool can't be pickled or copied"):
            way(slots)
