"""Why a job's state has changed, in the words of its history."""

from __future__ import annotations

import gc
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps, works
from tests.platforms import frees_at_once
from trio_pool import (
    Discard,
    GiveUp,
    Hedge,
    Job,
    JobState,
    Node,
    Pool,
    Resource,
    RetryAfter,
    RetryBudget,
    RetryPolicy,
    Transition,
    open_pool,
)
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

A, B = Resource("a", name="A"), Resource("b", name="B")
QUEUED, RUNNING, DELAYED, BLOCKED = JobState.QUEUED, JobState.RUNNING, JobState.DELAYED, JobState.BLOCKED
SUCCEEDED, DEAD, CANCELLED, DISCARDED = (
    JobState.SUCCEEDED,
    JobState.DEAD,
    JobState.CANCELLED,
    JobState.DISCARDED,
)


def told(job: Job[Any]) -> list[tuple[JobState, str]]:
    """The states that a job has entered, and why."""
    return [(transition.state, transition.reason) for transition in job.history]


async def test_where_the_states_say_it_there_is_no_reason(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        job = await pool.submit(sleeps, 1)
    assert told(job) == [(QUEUED, ""), (RUNNING, ""), (SUCCEEDED, "")]


async def test_a_delay_names_the_error_and_the_worker(autojump_clock: MockClock) -> None:
    async with open_pool([A], retry=RetryPolicy.fixed(1)) as pool:
        job = await pool.submit(Flaky(1, error=ValueError("no luck")))
    assert told(job) == [
        (QUEUED, ""),
        (RUNNING, ""),
        (DELAYED, "failed on A: ValueError: no luck"),
        (QUEUED, ""),
        (RUNNING, ""),
        (SUCCEEDED, ""),
    ]


async def test_so_does_a_retry_without_a_delay() -> None:
    async with open_pool([A], retry=RetryPolicy.immediate()) as pool:
        job = await pool.submit(Flaky(1, error=ValueError("no luck")))
    assert told(job)[2] == (QUEUED, "failed on A: ValueError: no luck")


async def test_so_does_a_retry_that_the_function_has_asked_for(autojump_clock: MockClock) -> None:
    async with open_pool([A], retry=RetryPolicy()) as pool:
        job = await pool.submit(Flaky(1, error=RetryAfter(5, rest=True)))
    assert told(job)[2] == (QUEUED, "failed on A: RetryAfter: the worker rests 5 s")


async def test_the_retry_of_a_hedged_attempt_names_the_error_alone(autojump_clock: MockClock) -> None:
    async def work(resource: str) -> None:
        await trio.sleep(2)
        raise ValueError(resource)

    async with open_pool([A, B], retry=RetryPolicy.fixed(1, max_attempts=2), on_dead="keep") as pool:
        job = await pool.submit(work, hedge=Hedge(after=1))
    assert told(job)[2] == (DELAYED, "failed: ValueError: b")


async def test_a_timeout_of_an_attempt_is_such_an_error(autojump_clock: MockClock) -> None:
    async with open_pool([A], retry=RetryPolicy.fixed(1, max_attempts=2), on_dead="keep") as pool:
        job = await pool.submit(sleeps, 9, attempt_timeout=1)
    state, reason = told(job)[2]
    assert state is DELAYED
    assert reason.startswith("failed on A: AttemptTimeoutError: ")


async def test_a_job_that_lost_its_worker_names_it(autojump_clock: MockClock) -> None:
    async with open_pool([A, B]) as pool:
        job = await pool.submit(sleeps, 5)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
    assert told(job) == [(QUEUED, ""), (RUNNING, ""), (QUEUED, "A was removed"), (RUNNING, ""), (SUCCEEDED, "")]


async def test_a_hedged_job_that_lost_its_workers_names_the_last(autojump_clock: MockClock) -> None:
    async with open_pool([A, B, "c"]) as pool:
        pool.workers[2].pause()
        job = await pool.submit(sleeps, 5, hedge=Hedge(after=1))
        await trio.sleep(2)
        for worker in pool.workers[:2]:
            await worker.remove(cancel=True)
    assert told(job)[2] == (QUEUED, "B was removed")
    assert job.state is SUCCEEDED


async def test_an_attempt_that_a_broken_lifespan_has_prevented_names_the_worker(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def connect(resource: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            yield resource

    scopes: list[trio.CancelScope] = []
    async with open_pool([A], lifespan=connect) as pool:
        scopes[0].cancel()
        job = pool.submit_nowait(works)
    assert told(job)[2] == (QUEUED, "the resource of A had to be reopened before the attempt began")
    assert job.state is SUCCEEDED


# Jobs that wait for others


async def test_a_blocked_job_names_what_it_waits_for(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        first = await pool.submit(sleeps, 1, name="fetch")
        job = await pool.submit(works, after=[first])
        jobs = [await pool.submit(works, name=name) for name in ("x", "y", "z")]
        third = await pool.submit(works, after=jobs)
    assert told(job)[:2] == [(BLOCKED, "waits for job 1 (fetch)"), (QUEUED, "")]
    assert told(third)[0] == (BLOCKED, "waits for job 3 (x) and 2 more")


async def test_so_does_a_node_of_a_graph_that_had_to_wait_for_a_place(autojump_clock: MockClock) -> None:
    async with open_pool([A], max_queue=1) as pool:
        await pool.submit(sleeps, 1)
        await pool.submit(sleeps, 1)
        jobs = await pool.submit_graph({"one": Node(works), "two": Node(works, after=["one"])})
    assert told(jobs["two"])[0] == (BLOCKED, "waits for job 3 (one)")


async def test_a_discarded_job_names_what_it_waited_for_in_vain(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        await pool.submit(sleeps, 1)
        first = await pool.submit(fails, name="fetch")
        job = await pool.submit(works, after=[first])
    assert told(job) == [
        (BLOCKED, "waits for job 2 (fetch)"),
        (DISCARDED, "it waited for fetch, which is dead"),
    ]


async def test_in_a_group_that_must_succeed_the_dead_job_is_named(autojump_clock: MockClock) -> None:
    jobs: list[Job[str]] = []

    async def fail_in_a_group(pool: Pool[str]) -> None:
        async with pool.open_group(must_succeed=True) as group:
            await group.submit(fails, name="first")
            jobs.append(await group.submit(works))

    async with open_pool([A]) as pool:
        with pytest.raises(BaseException, match="the group ended with errors"):
            await fail_in_a_group(pool)
    assert told(jobs[0]) == [(QUEUED, ""), (DISCARDED, "first, of the same group, is dead")]


# The end


async def test_the_end_tells_what_the_job_tells(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(retry_on=ValueError)
    async with open_pool([A], on_dead="keep", retry=policy, retry_budget=RetryBudget(minimum=0)) as pool:
        ends = {
            "exhausted": await pool.submit(fails, retry=RetryPolicy.never()),
            "no budget": await pool.submit(fails),
            "wrong error": await pool.submit(Flaky(1, error=KeyError("x"))),
            "given up": await pool.submit(Flaky(1, error=GiveUp("closed"))),
            "discarded": await pool.submit(Flaky(1, error=Discard("old"))),
            "timed out": await pool.submit(sleeps, 9, total_timeout=1),
            "cancelled": await pool.submit(sleeps, 9),
        }
        await trio.sleep(2)
        ends["cancelled"].cancel()
    assert {name: told(job)[-1] for name, job in ends.items()} == {
        "exhausted": (DEAD, "no attempts left; last error: ValueError: failed"),
        "no budget": (DEAD, "the pool has retried too much lately: ValueError: failed"),
        "wrong error": (DEAD, "not retryable: KeyError: 'x'"),
        "given up": (DEAD, "given up: closed"),
        "discarded": (DISCARDED, "old"),
        "timed out": (DEAD, told(ends["timed out"])[-1][1]),
        "cancelled": (CANCELLED, "cancelled while it ran, by job.cancel()"),
    }
    assert told(ends["timed out"])[-1][1].startswith("its total timeout passed")


async def test_a_cancelled_pool_says_so(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        await pool.submit(sleeps, 9)
        job = await pool.submit(sleeps, 9)
        pool.cancel()
    assert told(job)[-1] == (CANCELLED, "the pool was cancelled")


async def test_a_job_without_a_worker_says_so() -> None:
    async with open_pool([A], no_worker="bury", on_dead="keep") as pool:
        job = await pool.submit(works, requires=["gpu"])
    assert told(job)[-1] == (DEAD, "no worker of the pool can run it")


# In words when read


async def test_errors_are_put_into_words_only_when_the_history_is_read(autojump_clock: MockClock) -> None:
    class Costly(Exception):
        read = 0

        def __str__(self) -> str:
            Costly.read += 1
            return "costly"

    async with open_pool([A], retry=RetryPolicy.fixed(1)) as pool:
        job = await pool.submit(Flaky(1, error=Costly()))
        await job.wait()
        assert Costly.read == 0
        assert told(job)[2] == (DELAYED, "failed on A: Costly: costly")


async def test_an_error_whose_text_can_not_be_had_hides_nothing(autojump_clock: MockClock) -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    async with open_pool([Resource("a", name="{0}\n{}")], retry=RetryPolicy.fixed(1)) as pool:
        job = await pool.submit(Flaky(1, error=Rude()))
    assert told(job)[2] == (DELAYED, "failed on {0} {}: Rude: <its text can't be read>")


@frees_at_once
async def test_the_history_keeps_nothing_of_a_failed_call_alive(autojump_clock: MockClock) -> None:
    class Big:
        """What a failed call has in a variable."""

    kept: list[weakref.ref[Big]] = []

    async def work(resource: str) -> None:
        if kept:
            return
        big = Big()
        kept.append(weakref.ref(big))
        raise ValueError("no luck")

    async with open_pool([A], retry=RetryPolicy.fixed(1)) as pool:
        job = await pool.submit(work)
    gc.collect()
    assert kept[0]() is None
    assert told(job)[2] == (DELAYED, "failed on A: ValueError: no luck")


async def test_nor_the_jobs_that_it_has_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        first = weakref.ref(await pool.submit(works))
        job = await pool.submit(works, after=[first()])  # type: ignore[list-item]
        await job.wait()
        gc.collect()
        assert first() is None
    assert job.history[-1].state is SUCCEEDED


def test_the_reason_is_words_and_not_compared() -> None:
    assert Transition(QUEUED, 1.0) == Transition(QUEUED, 1.0, "A was removed")
    assert Transition(QUEUED, 1.0).reason == ""
