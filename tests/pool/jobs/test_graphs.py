"""A whole graph of jobs at once: how it runs, what fails in it, and what disturbs it."""

from __future__ import annotations

import gc
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps, sleeps_forever, state_of, works
from tests.effort import part_of
from tests.platforms import frees_at_once
from tests.pool.jobs.diamond import Log, diamond
from trio_pool import (
    DeadReason,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Node,
    NoEligibleWorkerError,
    Resource,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import Flaky, assert_settled

BLOCKED = JobState.BLOCKED
CANCELLED = JobState.CANCELLED
DEAD = JobState.DEAD
DISCARDED = JobState.DISCARDED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


# Running it.


async def test_each_job_starts_after_those_that_it_names(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_pool(list("wxyz")) as pool:
        jobs = await pool.submit_graph(diamond(log))
        assert {key: state_of(job) for key, job in jobs.items()} == {
            "a": RUNNING,
            "b": BLOCKED,
            "c": BLOCKED,
            "d": BLOCKED,
        }
        assert await jobs["d"].wait() == "D"
        assert trio.current_time() == 3.0
    assert sorted(log.calls) == [("a", 0.0), ("b", 1.0), ("c", 1.0), ("d", 2.0)]


async def test_in_reverse_each_job_starts_before_those_that_it_names(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_pool(list("wxyz")) as pool:
        jobs = await pool.submit_graph(diamond(log), reverse=True)
        await jobs["a"].wait()
        assert trio.current_time() == 3.0
    assert (log.order[0], log.order[-1]) == ("d", "a")


async def test_the_jobs_come_back_by_their_keys_in_an_order_in_which_they_may_run(autojump_clock: MockClock) -> None:
    async with open_pool(list("wx")) as pool:
        jobs = await pool.submit_graph(diamond(Log()))
        assert list(jobs) == ["a", "b", "c", "d"]
        assert [job.id for job in jobs.values()] == [1, 2, 3, 4]
        for key, job in jobs.items():
            assert await job.wait() == key.upper()


async def test_a_key_may_be_anything_that_can_be_one(autojump_clock: MockClock) -> None:
    keys = [1, ("a", 2), None, frozenset("x"), ""]
    nodes = {key: Node(works, after=keys[:number]) for number, key in enumerate(keys)}
    async with open_pool(["a"]) as pool:
        jobs = await pool.submit_graph(nodes)
        assert list(jobs) == keys
        await pool.join()
        assert {job.state for job in jobs.values()} == {SUCCEEDED}


async def test_an_empty_graph_is_no_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(sleeps, 1.0)
        assert await pool.submit_graph({}) == {}
        assert pool.statistics().submitted == 1
        assert trio.current_time() == 0.0


async def test_jobs_without_edges_run_side_by_side(autojump_clock: MockClock) -> None:
    async with open_pool(list("xyz")) as pool:
        await pool.submit_graph({number: Node(sleeps, 1.0) for number in range(6)})
        await pool.join()
        assert trio.current_time() == 2.0


async def test_a_job_is_named_by_its_key_unless_it_has_a_name(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        jobs = await pool.submit_graph({("a", 1): Node(works), "b": Node(works, name="the second")})
        assert [job.name for job in jobs.values()] == ["('a', 1)", "the second"]


async def test_each_node_has_options_of_its_own(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], retry=RetryPolicy.never()) as pool:
        jobs = await pool.submit_graph(
            {
                "x": Node(works, requires=["x"], metadata={"number": 1}, priority=3),
                "flaky": Node(Flaky(1, result="done"), retry=RetryPolicy.fixed(1.0), after=["x"]),
                "slow": Node(sleeps_forever, attempt_timeout=2.0, worker=pool.workers[1]),
                "late": Node(works, after=["slow"], total_timeout=1.0),
            }
        )
        await jobs["flaky"].wait()
        await trio.sleep(2.0)
        assert (jobs["x"].attempts[0].worker_id, jobs["x"].metadata, jobs["x"].priority) == (1, {"number": 1}, 3)
        assert jobs["slow"].attempts[0].worker_id == 2
        assert [jobs[key].dead_reason for key in ("slow", "late")] == [
            DeadReason.ATTEMPTS_EXHAUSTED,
            DeadReason.TIMED_OUT,
        ]
        assert len(pool.dead.pop_all()) == 2


async def test_nodes_may_be_used_again(autojump_clock: MockClock) -> None:
    log = Log()
    nodes = diamond(log)
    async with open_pool(list("wx")) as pool:
        first = await pool.submit_graph(nodes)
        second = await pool.submit_graph(nodes)
        await pool.join()
    assert len(log.calls) == 8
    assert first["a"] is not second["a"]


async def test_one_node_may_stand_under_several_keys(autojump_clock: MockClock) -> None:
    node = Node(works)
    async with open_pool(["a"]) as pool:
        jobs = await pool.submit_graph({"a": node, "b": node})
        assert jobs["a"] is not jobs["b"]


async def test_slots_take_graphs_too(autojump_clock: MockClock) -> None:
    async def adds(left: int, right: int) -> int:
        return left + right

    async with open_pool(1) as pool:
        jobs = await pool.submit_graph({"a": Node(adds, 1, 2), "b": Node(adds, 3, 4, after=["a"])})
        assert await jobs["b"].wait() == 7


async def test_the_jobs_of_a_graph_see_the_context_of_their_submitter(autojump_clock: MockClock) -> None:
    async def opens_another(resource: str) -> None:
        jobs = await pool.submit_graph({"a": Node(works), "b": Node(works, after=["a"])})
        await jobs["b"].wait()

    async with open_pool(list("ab"), max_queue=0) as pool:
        await pool.run(opens_another)  # as a job of the pool it is let in always
        assert pool.statistics().succeeded == 3


async def test_submit_graph_to_a_group_makes_jobs_of_the_group(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        async with pool.open_group(max_running=1) as group:
            await group.submit_graph({number: Node(sleeps, 1.0) for number in range(3)})
        assert trio.current_time() == 3.0
        assert group.statistics().succeeded == 3


async def test_a_job_of_a_closed_group_may_submit_a_graph_to_it(autojump_clock: MockClock) -> None:
    async def has_children(resource: str) -> None:
        await trio.sleep(1.0)
        await group.submit_graph({"a": Node(works), "b": Node(works, after=["a"])})

    async with open_pool(list("ab")) as pool:
        async with pool.open_group() as group:
            await group.submit(has_children)
        assert group.statistics().succeeded == 3


# What fails in it.


async def test_what_stands_behind_a_dead_job_is_discarded_and_the_rest_is_done(autojump_clock: MockClock) -> None:
    async with open_pool(list("xy"), on_dead="keep") as pool:
        jobs = await pool.submit_graph(
            {
                "bad": Node(fails),
                "good": Node(sleeps, 1.0),
                "behind": Node(works, after=["bad", "good"]),
                "further": Node(works, after=["behind"]),
                "beside": Node(works, after=["good"]),
            }
        )
        with pytest.raises(JobCancelledError, match=r"job 3 \(behind\) was discarded: it waited for bad, which is de"):
            await jobs["behind"].wait()
        assert trio.current_time() == 0.0
        assert jobs["further"].reason == "it waited for behind, which is discarded"
    assert {key: job.state for key, job in jobs.items()} == {
        "bad": DEAD,
        "good": SUCCEEDED,
        "behind": DISCARDED,
        "further": DISCARDED,
        "beside": SUCCEEDED,
    }


async def test_with_bury_what_no_worker_may_take_is_dead_and_what_stands_behind_it_discarded(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], no_worker="bury", on_dead="keep") as pool:
        jobs = await pool.submit_graph(
            {"gpu": Node(works, requires=["gpu"]), "behind": Node(works, after=["gpu"]), "beside": Node(works)}
        )
        await pool.join()
    assert [jobs[key].state for key in ("gpu", "behind", "beside")] == [DEAD, DISCARDED, SUCCEEDED]


# Disturbed in the middle.


class Disturbs(Instrument):
    """Does something as soon as the first job of a graph has been submitted."""

    def __init__(self) -> None:
        self.disturb: Any = None

    def job_submitted(self, job: Job[Any]) -> None:
        if self.disturb is not None:
            disturb, self.disturb = self.disturb, None
            disturb()


@pytest.mark.parametrize("full", [False, True])
async def test_an_instrument_that_cancels_the_pool_cancels_the_whole_graph(
    full: bool, autojump_clock: MockClock
) -> None:
    log, disturbs = Log(), Disturbs()
    async with open_pool(["a"], max_queue=0, instruments=[disturbs]) as pool:
        if full:
            await pool.submit(sleeps, 1.0)
        disturbs.disturb = pool.cancel
        await pool.submit_graph({name: Node(log, name) for name in "uvwxyz"})
        await trio.sleep(math.inf)
    assert_settled(pool)
    assert log.calls == []
    assert pool.statistics().cancelled == 6


@pytest.mark.parametrize("full", [False, True])
async def test_an_instrument_that_cancels_the_group_cancels_the_whole_graph(
    full: bool, autojump_clock: MockClock
) -> None:
    log, disturbs = Log(), Disturbs()
    async with open_pool(["a"], max_queue=0, instruments=[disturbs]) as pool:
        if full:
            await pool.submit(sleeps, 1.0)
        async with pool.open_group() as group:
            disturbs.disturb = group.cancel
            await group.submit_graph({name: Node(log, name) for name in "uvwxyz"})
            await trio.sleep(math.inf)
        assert group.statistics().cancelled == 6
        assert await pool.run(works) == "done"
    assert log.calls == []


async def test_an_instrument_that_closes_the_pool_leaves_the_graph_whole(autojump_clock: MockClock) -> None:
    disturbs = Disturbs()
    async with open_pool(["a"], instruments=[disturbs]) as pool:
        disturbs.disturb = pool.close
        jobs = await pool.submit_graph(diamond(Log()))
    assert {job.state for job in jobs.values()} == {SUCCEEDED}


async def test_with_on_dead_cancel_a_graph_is_cancelled_by_a_death_in_it(autojump_clock: MockClock) -> None:
    jobs: dict[str, Job[Any]] = {}
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool:
            jobs |= await pool.submit_graph(
                {"bad": Node(fails), "behind": Node(works, after=["bad"]), "beside": Node(sleeps_forever)}
            )
    assert [jobs[key].state for key in ("bad", "behind", "beside")] == [DEAD, DISCARDED, CANCELLED]


# Very many.


MANY = part_of(100_000)
THOUSANDS = 20_000


async def nothing() -> None:
    """Takes no time at all."""


async def test_a_graph_that_is_a_very_long_chain(autojump_clock: MockClock) -> None:
    nodes = {number: Node(nothing, after=[number - 1] if number else []) for number in reversed(range(MANY))}
    async with open_pool(2, history=False) as pool:
        jobs = await pool.submit_graph(nodes)
        assert next(iter(jobs)) == 0
        await pool.join()
    assert pool.statistics().succeeded == MANY


async def test_a_graph_that_is_a_fan_of_thousands_in_reverse(autojump_clock: MockClock) -> None:
    nodes = {number: Node(nothing) for number in range(THOUSANDS)}
    nodes[-1] = Node(nothing, after=range(THOUSANDS))
    async with open_pool(2, history=False) as pool:
        jobs = await pool.submit_graph(nodes, reverse=True)
        assert next(iter(jobs)) == -1
        await pool.join()
    assert pool.statistics().succeeded == THOUSANDS + 1


def jobs_in_memory() -> int:
    """How many there are."""
    gc.collect()
    return sum(isinstance(thing, Job) for thing in gc.get_objects())


@frees_at_once
async def test_a_chain_of_thousands_that_is_turned_away_leaves_nothing(autojump_clock: MockClock) -> None:
    before = jobs_in_memory()
    nodes = {number: Node(nothing, after=[number - 1] if number else []) for number in range(THOUSANDS)}
    nodes[THOUSANDS] = Node(nothing, requires=["gpu"])
    async with open_pool(2, history=False) as pool:
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit_graph(nodes)
        assert jobs_in_memory() == before
