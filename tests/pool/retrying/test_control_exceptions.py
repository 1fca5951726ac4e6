"""What a function can say by raising, and what ``on_failure`` can say by returning it."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pool import (
    DeadReason,
    Discard,
    GiveUp,
    HandBack,
    Job,
    JobFailedError,
    JobState,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

NO_DELAY = RetryPolicy.immediate(max_attempts=3)


class Script:
    """Raises one error after another, then returns; knows when and with what it was called."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.starts: list[tuple[Any, float]] = []

    async def __call__(self, resource: Any) -> str:
        self.starts.append((resource, trio.current_time()))
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)
        return "done"


# RetryAfter


async def test_retry_after_tries_again_in_that_time(autojump_clock: MockClock) -> None:
    script = Script(RetryAfter(7), RetryAfter(3))
    async with open_pool(["a"], retry=NO_DELAY) as pool:
        assert await pool.run(script) == "done"
    assert script.starts == [("a", 0), ("a", 7), ("a", 10)]


async def test_retry_after_counts_whatever_retry_on_says() -> None:
    script = Script(RetryAfter(0))
    async with open_pool(["a"], retry=RetryPolicy.immediate(retry_on=())) as pool:
        assert await pool.run(script) == "done"


async def test_retry_after_counts_against_max_attempts(autojump_clock: MockClock) -> None:
    script = Script(RetryAfter(1), RetryAfter(1), RetryAfter(1))
    async with open_pool(["a"], retry=NO_DELAY, on_dead="keep") as pool:
        job = await pool.submit(script)
    assert job.attempt_count == 3
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_never_ends_even_a_retry_after_that_counts() -> None:
    async with open_pool(["a"], retry=RetryPolicy.never(), on_dead="keep") as pool:
        job = await pool.submit(Script(RetryAfter(1)))
    assert job.attempt_count == 1
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_a_retry_after_that_does_not_count_never_uses_attempts_up(autojump_clock: MockClock) -> None:
    script = Script(*[RetryAfter(1, counts=False) for _ in range(50)])
    async with open_pool(["a"], retry=RetryPolicy.never()) as pool:
        assert await pool.run(script) == "done"
    assert len(script.starts) == 51


async def test_between_those_that_do_not_count_the_others_count(autojump_clock: MockClock) -> None:
    free, ordinary = RetryAfter(1, counts=False), ValueError("no luck")
    script = Script(ordinary, free, ordinary, free, ordinary)
    async with open_pool(["a"], retry=NO_DELAY, on_dead="keep") as pool:
        job = await pool.submit(script)
    assert job.attempt_count == 5
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED
    assert job.reason == "no attempts left: 3 of 5 count"


async def test_retry_after_holds_no_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=NO_DELAY) as pool:
        waiting = await pool.submit(Script(RetryAfter(10)))
        await wait_all_tasks_blocked()
        assert waiting.state is JobState.DELAYED
        assert await pool.run(Script()) == "done"
        assert trio.current_time() == 0


@pytest.mark.parametrize(("placement", "expected"), [("same", "aa"), ("other", "ab")])
async def test_the_placement_of_retry_after_goes_before_that_of_the_policy(
    placement: Literal["same", "other"], expected: str, autojump_clock: MockClock
) -> None:
    policy: Literal["same", "other"] = "other" if placement == "same" else "same"
    script = Script(RetryAfter(1, placement=placement))
    async with open_pool(["a", "b"], retry=RetryPolicy.immediate(placement=policy), pick="last_used") as pool:
        await pool.workers[1].remove()
        await pool.add("b")
        first, second = pool.workers
        second.pause()
        job = await pool.submit(script)
        await job.wait_started()
        second.resume()
        await job.wait()
    assert job.state is JobState.SUCCEEDED
    assert first.resource == "a"
    assert [resource for resource, _ in script.starts] == list(expected)


async def test_without_a_placement_of_its_own_retry_after_leaves_it_to_the_policy(autojump_clock: MockClock) -> None:
    script = Script(RetryAfter(1), RetryAfter(1))
    async with open_pool(["a", "b"], retry=RetryPolicy.immediate(placement="other")) as pool:
        await pool.run(script)
    places = [resource for resource, _ in script.starts]
    assert places[0] != places[1] != places[2]


# RetryAfter with rest


async def test_with_rest_it_is_the_worker_that_waits_and_the_job_goes_to_another(autojump_clock: MockClock) -> None:
    script = Script(RetryAfter(10, rest=True))
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(3)) as pool:
        first, _ = pool.workers
        assert await pool.run(script) == "done"
        assert script.starts == [("a", 0), ("b", 0)]
        assert first.state is WorkerState.RESTING
        assert first.statistics().available_at == 10


async def test_with_rest_the_job_goes_to_the_same_worker_afterwards_if_there_is_no_other(
    autojump_clock: MockClock,
) -> None:
    script = Script(RetryAfter(10, rest=True))
    async with open_pool(["a"], retry=NO_DELAY) as pool:
        job = await pool.submit(script)
        await wait_all_tasks_blocked()
        assert job.state is JobState.QUEUED
        await job.wait()
    assert script.starts == [("a", 0), ("a", 10)]


async def test_with_rest_and_the_same_placement_the_job_waits_for_the_worker_that_rests(
    autojump_clock: MockClock,
) -> None:
    script = Script(RetryAfter(10, rest=True, placement="same"))
    async with open_pool(["a", "b"], retry=RetryPolicy(max_attempts=2)) as pool:
        assert await pool.run(script) == "done"
    assert script.starts == [("a", 0), ("a", 10)]


async def test_a_worker_that_rests_takes_no_other_job_either(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=NO_DELAY) as pool:
        await pool.submit(Script(RetryAfter(10, rest=True)))
        await wait_all_tasks_blocked()
        other = Script()
        await pool.run(other)
    assert other.starts == [("a", 10)]


async def test_with_rest_the_worker_rests_even_if_the_job_is_dead_of_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(Script(RetryAfter(10, rest=True)))
        await pool.join()
        assert job.state is JobState.DEAD
        assert pool.workers[0].state is WorkerState.RESTING


async def test_with_rest_the_attempt_counts_like_any_other(autojump_clock: MockClock) -> None:
    pauses = [RetryAfter(1, rest=True) for _ in range(3)]
    async with open_pool(["a"], retry=NO_DELAY, on_dead="keep") as pool:
        job = await pool.submit(Script(*pauses))
    assert job.attempt_count == 3
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


# GiveUp


async def test_give_up_makes_the_job_dead_without_a_further_attempt() -> None:
    async with open_pool(["a"], retry=NO_DELAY, on_dead="keep") as pool:
        job = await pool.submit(Script(GiveUp("the account is closed")))
    assert job.state is JobState.DEAD
    assert job.attempt_count == 1
    assert job.dead_reason is DeadReason.GAVE_UP
    assert job.reason == "given up: the account is closed"


async def test_give_up_needs_no_reason() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(Script(GiveUp()))
    assert job.dead_reason is DeadReason.GAVE_UP
    assert job.reason == "given up"


# Discard


async def test_discard_forgets_the_job_which_is_not_dead() -> None:
    async with open_pool(["a"], retry=NO_DELAY) as pool:
        job = await pool.submit(Script(Discard("somebody else did it")))
    assert job.state is JobState.DISCARDED
    assert job.attempt_count == 1
    assert job.reason == "somebody else did it"
    assert len(pool.dead) == 0


async def test_discard_needs_no_reason() -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(Script(Discard()))
    assert job.state is JobState.DISCARDED
    assert job.reason == "discarded by its function"


# HandBack


async def test_without_an_engine_hand_back_discards_the_job() -> None:
    async with open_pool(["a"], retry=NO_DELAY) as pool:
        job = await pool.submit(Script(HandBack(30, "no quota until noon")))
    assert job.state is JobState.DISCARDED
    assert job.attempt_count == 1
    assert job.reason == "no quota until noon"
    assert len(pool.dead) == 0


async def test_hand_back_needs_no_reason() -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(Script(HandBack(30)))
    assert job.state is JobState.DISCARDED
    assert job.reason == str(HandBack(30)) == "handed back for 30 s"


async def test_on_failure_can_hand_a_job_back() -> None:
    async with open_pool(["a"], on_failure=lambda job, error: HandBack(5)) as pool:
        job = await pool.submit(Script(ValueError()))
    assert job.state is JobState.DISCARDED


# ResourceBroken


async def test_resource_broken_is_a_failure_like_any_other() -> None:
    async with open_pool(["a"], retry=NO_DELAY, on_dead="keep") as pool:
        job = await pool.submit(Script(*[ResourceBroken("no answer") for _ in range(3)]))
    assert job.attempt_count == 3
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_resource_broken_is_subject_to_a_function_as_retry_on() -> None:
    def refuses(error: Exception) -> bool:
        return not isinstance(error, ResourceBroken)

    policy = RetryPolicy.immediate(retry_on=refuses)
    async with open_pool(["a"], retry=policy, on_dead="keep") as pool:
        job = await pool.submit(Script(ResourceBroken("no answer")))
    assert job.attempt_count == 1
    assert job.dead_reason is DeadReason.NOT_RETRYABLE


async def test_after_resource_broken_the_resource_is_opened_anew_before_the_worker_goes_on() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        log.append("open")
        yield resource
        log.append("close")

    async def work(resource: str) -> None:
        log.append("work")
        if log.count("work") == 1:
            raise ResourceBroken("no answer")

    async with open_pool(["a"], lifespan=connect, retry=NO_DELAY) as pool:
        await pool.run(work)
    assert log == ["open", "work", "close", "open", "work", "close"]


# on_failure


async def test_what_a_function_raises_of_these_decides_alone(autojump_clock: MockClock) -> None:
    asked: list[Exception] = []

    def ask(job: Job[Any], error: Exception) -> GiveUp:
        asked.append(error)
        return GiveUp("no")

    controls = [RetryAfter(1), ResourceBroken(), Discard()]
    async with open_pool(["a"], retry=NO_DELAY, on_failure=ask) as pool:
        job = await pool.submit(Script(*controls))
    assert asked == []
    assert job.state is JobState.DISCARDED


async def test_on_failure_is_asked_first_for_every_other_failure(autojump_clock: MockClock) -> None:
    errors = [ValueError("one"), OSError("two")]

    def ask(job: Job[Any], error: Exception) -> RetryAfter:
        return RetryAfter(5)

    script = Script(*errors)
    async with open_pool(["a"], retry=RetryPolicy.immediate(retry_on=()), on_failure=ask) as pool:
        await pool.run(script)
    assert script.starts == [("a", 0), ("a", 5), ("a", 10)]


async def test_on_failure_is_asked_about_attempt_timeouts_too(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    def ask(job: Job[Any], error: Exception) -> Discard:
        asked.append(type(error).__name__)
        return Discard("too slow")

    async with open_pool(1, attempt_timeout=1, on_failure=ask) as pool:
        job = await pool.submit(trio.sleep, 5)
    assert asked == ["AttemptTimeoutError"]
    assert job.state is JobState.DISCARDED


async def test_none_from_on_failure_leaves_it_to_the_policy() -> None:
    async with open_pool(["a"], retry=NO_DELAY, on_failure=lambda job, error: None) as pool:
        assert await pool.run(Script(ValueError("one"), ValueError("two"))) == "done"


async def test_on_failure_may_return_give_up() -> None:
    async with open_pool(["a"], retry=NO_DELAY, on_failure=lambda job, error: GiveUp("no"), on_dead="keep") as pool:
        job = await pool.submit(Script(ValueError("no luck")))
    assert job.dead_reason is DeadReason.GAVE_UP
    with pytest.raises(JobFailedError) as caught:
        job.result()
    assert str(caught.value.__cause__) == "no luck"


async def test_on_failure_may_return_discard() -> None:
    async with open_pool(["a"], retry=NO_DELAY, on_failure=lambda job, error: Discard("no")) as pool:
        job = await pool.submit(Script(ValueError("no luck")))
    assert job.state is JobState.DISCARDED


async def test_on_failure_may_return_resource_broken() -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        opened.append(resource)
        yield resource

    def ask(job: Job[Any], error: Exception) -> ResourceBroken:
        return ResourceBroken("it must be")

    async with open_pool(["a"], lifespan=connect, retry=NO_DELAY, on_failure=ask) as pool:
        await pool.run(Script(ValueError("no luck")))
    assert opened == ["a", "a"]


async def test_on_failure_may_let_the_worker_rest(autojump_clock: MockClock) -> None:
    script = Script(ValueError("too many requests"))
    retry = RetryPolicy(max_attempts=3)
    async with open_pool(["a", "b"], retry=retry, on_failure=lambda job, error: RetryAfter(9, rest=True)) as pool:
        await pool.run(script)
        assert pool.workers[0].state is WorkerState.RESTING
    assert script.starts == [("a", 0), ("b", 0)]


async def test_an_on_failure_that_raises_makes_the_job_dead_with_that_error() -> None:
    def ask(job: Job[Any], error: Exception) -> None:
        raise ZeroDivisionError("in the hook")

    async with open_pool(["a"], retry=NO_DELAY, on_failure=ask, on_dead="keep") as pool:
        job = await pool.submit(Script(ValueError("no luck")))
        assert await pool.run(Script()) == "done"  # the worker goes on
    assert job.attempt_count == 1
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    with pytest.raises(JobFailedError, match="ZeroDivisionError: in the hook") as caught:
        job.result()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("nonsense", [True, 5, "retry", ValueError("no"), GiveUp])
async def test_an_on_failure_that_returns_nonsense_makes_the_job_dead_with_an_error_that_says_so(
    nonsense: Any,
) -> None:
    async with open_pool(["a"], retry=NO_DELAY, on_failure=lambda job, error: nonsense, on_dead="keep") as pool:
        job = await pool.submit(Script(ValueError("no luck")))
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    with pytest.raises(
        JobFailedError, match="on_failure must return RetryAfter, GiveUp, Discard, ResourceBroken or None"
    ) as caught:
        job.result()
    assert isinstance(caught.value.__cause__, TypeError)


# Groups


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("several", errors)


def was_given_up(job: Job[Any]) -> bool:
    return job.dead_reason is DeadReason.GAVE_UP


def was_discarded(job: Job[Any]) -> bool:
    return job.state is JobState.DISCARDED and job.reason == "discarded by its function"


def was_handed_back(job: Job[Any]) -> bool:
    return job.state is JobState.DISCARDED and job.reason == "handed back for 9 s"


def was_exhausted(job: Job[Any]) -> bool:
    return job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


@pytest.mark.parametrize(
    ("error", "ended_so"),
    [
        pytest.param(group(RetryAfter(1), ResourceBroken(), Discard(), GiveUp()), was_given_up, id="GiveUp"),
        pytest.param(group(RetryAfter(1), ResourceBroken(), Discard()), was_discarded, id="Discard"),
        pytest.param(group(RetryAfter(1), group(GiveUp(), Discard())), was_given_up, id="at any depth"),
        pytest.param(group(Discard()), was_discarded, id="a single one"),
        pytest.param(group(RetryAfter(1), HandBack(9), ResourceBroken()), was_handed_back, id="HandBack"),
        pytest.param(group(Discard(), HandBack(9)), was_discarded, id="Discard before HandBack"),
        pytest.param(group(HandBack(3), HandBack(9)), was_handed_back, id="the longest HandBack"),
        pytest.param(group(ResourceBroken(), RetryAfter(1, counts=False)), was_exhausted, id="ResourceBroken"),
    ],
)
async def test_of_a_group_of_these_the_strongest_counts(error: Exception, ended_so: Callable[[Job[Any]], bool]) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(Script(error))
    assert ended_so(job)
    assert job.attempt_count == 1


async def test_of_a_group_of_pauses_the_longest_counts(autojump_clock: MockClock) -> None:
    script = Script(group(RetryAfter(3), group(RetryAfter(8), RetryAfter(5))))
    async with open_pool(["a"], retry=NO_DELAY) as pool:
        await pool.run(script)
    assert script.starts == [("a", 0), ("a", 8)]


async def test_a_group_with_something_ordinary_in_it_is_an_ordinary_failure() -> None:
    asked: list[Exception] = []

    def ask(job: Job[Any], error: Exception) -> None:
        asked.append(error)

    error = group(GiveUp(), ValueError("no luck"))
    async with open_pool(["a"], retry=NO_DELAY, on_failure=ask) as pool:
        assert await pool.run(Script(error)) == "done"
    assert asked == [error]


async def test_what_a_child_task_raises_counts(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def child() -> None:
        raise RetryAfter(4)

    async def work() -> str:
        starts.append(trio.current_time())
        if len(starts) == 1:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
        return "done"

    async with open_pool(1, retry=NO_DELAY) as pool:
        assert await pool.run(work) == "done"
    assert starts == [0, 4]


# The exceptions themselves


def test_the_control_exceptions_carry_what_they_were_given() -> None:
    pause = RetryAfter(2, rest=True, placement="other", counts=False)
    assert (pause.delay, pause.rest, pause.placement, pause.counts) == (2, True, "other", False)
    assert GiveUp("why").reason == Discard("why").reason == ResourceBroken("why").reason == "why"


def test_retry_after_counts_and_does_not_rest_by_default() -> None:
    pause = RetryAfter(2)
    assert (pause.rest, pause.placement, pause.counts) == (False, None, True)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RetryAfter(2.5), "try again in 2.5 s"),
        (RetryAfter(2, rest=True), "the worker rests 2 s"),
        (GiveUp("the account is closed"), "the account is closed"),
    ],
)
def test_the_control_exceptions_can_be_read(error: Exception, text: str) -> None:
    assert str(error) == text
