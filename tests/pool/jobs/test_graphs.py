"""4.9: a whole graph of jobs at once."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps, sleeps_forever, state_of, works
from tests.effort import part_of
from trio_pool import (
    DeadReason,
    GraphError,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Node,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    PoolError,
    Resource,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import Flaky, assert_settled

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKED = JobState.BLOCKED
CANCELLED = JobState.CANCELLED
DEAD = JobState.DEAD
DISCARDED = JobState.DISCARDED
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED

any_node: Any = Node


def gives(*things: object) -> Iterator[object]:
    """An iterable of them that is no collection."""
    yield from things


class Log:
    """A function that notes when it is called with what, and takes a second."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    async def __call__(self, resource: object, name: str) -> str:
        self.calls.append((name, trio.current_time()))
        await trio.sleep(1.0)
        return name.upper()

    @property
    def order(self) -> str:
        """What it was called with."""
        return "".join(name for name, _ in self.calls)


def diamond(log: Log) -> dict[str, Node]:
    """One, two after it, and one after both."""
    return {
        "d": Node(log, "d", after=["b", "c"]),
        "b": Node(log, "b", after=["a"]),
        "a": Node(log, "a"),
        "c": Node(log, "c", after=["a"]),
    }


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


# All or nothing.


async def check_refused(
    pool: Pool[Any], nodes: Any, kind: type[Exception], message: str, *, reverse: bool = False
) -> None:
    """Submitting it raises, and queues nothing."""
    with pytest.raises(kind, match=message):
        await pool.submit_graph(nodes, reverse=reverse)
    await wait_all_tasks_blocked()
    assert pool.statistics().submitted == 0


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_cycle_is_named(reverse: bool) -> None:
    nodes = {
        "start": Node(works),
        "one": Node(works, after=["three", "start"]),
        "two": Node(works, after=["one"]),
        "three": Node(works, after=["two"]),
        "end": Node(works, after=["three"]),
    }
    async with open_pool(["a"]) as pool:
        with pytest.raises(GraphError) as caught:
            await pool.submit_graph(nodes, reverse=reverse)
        assert pool.statistics().submitted == 0
    cycle = str(caught.value).removeprefix("the graph has a cycle: ").split(" -> ")
    assert set(cycle) == {"'one'", "'two'", "'three'"}
    assert cycle[0] == cycle[-1]
    assert len(cycle) == 4
    assert isinstance(caught.value, PoolError)
    assert caught.value.__suppress_context__


async def test_a_cycle_reads_in_the_order_in_which_the_jobs_would_run() -> None:
    nodes = {"a": Node(works, after=["c"]), "b": Node(works, after=["a"]), "c": Node(works, after=["b"])}
    async with open_pool(["a"]) as pool:
        with pytest.raises(GraphError) as caught:
            await pool.submit_graph(nodes)
    cycle = str(caught.value).removeprefix("the graph has a cycle: ")
    assert cycle in ("'a' -> 'b' -> 'c' -> 'a'", "'b' -> 'c' -> 'a' -> 'b'", "'c' -> 'a' -> 'b' -> 'c'")


async def test_a_node_after_itself_is_a_cycle() -> None:
    async with open_pool(["a"]) as pool:
        await check_refused(pool, {"a": Node(works, after=["a"])}, GraphError, "^the graph has a cycle: 'a' -> 'a'$")


@pytest.mark.parametrize("reverse", [False, True])
async def test_an_unknown_key_is_named(reverse: bool) -> None:
    nodes = {"a": Node(works), "b": Node(works, after=["a", "x"])}
    async with open_pool(["a"]) as pool:
        await check_refused(pool, nodes, GraphError, "^'b' is after 'x', which is not in the graph$", reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
async def test_an_edge_that_stands_there_twice_is_named(reverse: bool) -> None:
    nodes = {"a": Node(works), "b": Node(works, after=["a", "a"])}
    async with open_pool(["a"]) as pool:
        await check_refused(pool, nodes, GraphError, "^'b' is after 'a' twice$", reverse=reverse)


async def test_a_node_that_no_worker_may_take_is_found_before_any_job_is_queued() -> None:
    nodes = {"a": Node(works), "b": Node(works, after=["a"]), "c": Node(works, after=["b"], requires=["gpu"])}
    async with open_pool(["a"]) as pool:
        message = "^no worker of the pool may ever take the job c, which asks for the tags 'gpu'$"
        await check_refused(pool, nodes, NoEligibleWorkerError, message)


async def test_a_graph_for_a_pool_without_workers_is_refused() -> None:
    nobody: list[str] = []
    async with open_pool(nobody) as pool:
        await check_refused(pool, {"a": Node(works)}, NoEligibleWorkerError, "the job a: the pool has no workers")


@pytest.mark.parametrize(
    ("node", "kind", "message"),
    [
        (Node(works, total_timeout=-1), ValueError, "^total_timeout must not be negative, got -1"),
        (any_node(works, retry=3), TypeError, "^retry must be a RetryPolicy, got 3"),
        (any_node(works, colour="red"), TypeError, r"got an unexpected keyword argument 'colour'"),
        (any_node(3), TypeError, "^the first argument must be an async function, got 3"),
    ],
)
async def test_a_bad_node_is_found_before_any_job_is_queued(node: Node, kind: type[Exception], message: str) -> None:
    nodes = {"good": Node(works), "bad": node, "behind": Node(works, after=["bad"])}
    async with open_pool(["a"]) as pool:
        await check_refused(pool, nodes, kind, message)


class Ours(ValueError):
    """An error of the program's own, which takes what it takes."""

    def __init__(self, code: int, *, words: str) -> None:
        super().__init__(f"{words}, code {code}")


def raises_ours() -> Iterator[str]:
    yield "x"
    raise Ours(3, words="no tags")


@pytest.mark.parametrize(
    ("node", "kind", "message"),
    [
        (any_node(works, priority="x"), TypeError, r"^priority must be a number, got 'x' \(the node \('bad', 1\)\)$"),
        (Node(works, attempt_timeout=-1), ValueError, r"^attempt_timeout must not be negative, got -1 \(the node \("),
        (any_node(works, retry=3), TypeError, r"^retry must be a RetryPolicy, got 3 \(the node \('bad', 1\)\)$"),
        (any_node(works, requires="gpu"), TypeError, r"'gpu' \(the node \('bad', 1\)\)$"),
        (any_node(works, requires=gives(1)), TypeError, r" \(the node \('bad', 1\)\)$"),
        (any_node(works, metadata=3), TypeError, r"^metadata must be a mapping, got 3 \(the node \('bad', 1\)\)$"),
        (any_node(works, worker=3), TypeError, r"^worker must be a Worker, got 3 \(the node \('bad', 1\)\)$"),
        (
            any_node(works, colour="red"),
            TypeError,
            r"^Node\(\) got an unexpected .*'colour'.*\(the node \('bad', 1\)\)$",
        ),
        (any_node(3), TypeError, r"^the first argument must be an async function, got 3 \(the node \('bad', 1\)\)$"),
        (Node(works, name="n", requires=["gpu"]), NoEligibleWorkerError, r"the job n, .*\(the node \('bad', 1\)\)$"),
        (Node(works, requires=["gpu"]), NoEligibleWorkerError, r"the job \('bad', 1\), which asks for the tags 'gpu'$"),
        (Node(works, requires=raises_ours()), Ours, r"^no tags, code 3$"),
    ],
)
async def test_what_is_wrong_with_a_node_is_said_with_its_key(node: Node, kind: type[Exception], message: str) -> None:
    async with open_pool(["a"]) as pool:
        await check_refused(pool, {"good": Node(works), ("bad", 1): node}, kind, message)


async def test_a_worker_of_another_pool_is_said_with_the_key_of_its_node() -> None:
    async with open_pool(["a"]) as pool, open_pool(["b"]) as other:
        nodes = {"bad": Node(works, worker=other.workers[0])}
        await check_refused(pool, nodes, ValueError, r"^worker must be a worker of this pool, .* \(the node 'bad'\)$")


async def test_a_graph_that_is_turned_away_while_it_waits_says_which_node_it_is(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0) as pool:
        for _ in pool.workers:
            await pool.submit(sleeps, 5.0)
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(NoEligibleWorkerError, match=r"the job n, .* \(the node 'one'\)$"):
                    await pool.submit_graph({"one": Node(works, requires=["x"], name="n")})

            nursery.start_soon(waits)
            await wait_all_tasks_blocked()
            await pool.workers[0].remove(cancel=True)


async def test_a_worker_of_another_pool_is_found_before_any_job_is_queued() -> None:
    async with open_pool(["a"]) as pool, open_pool(["b"]) as other:
        nodes = {"good": Node(works), "bad": Node(works, worker=other.workers[0])}
        await check_refused(pool, nodes, ValueError, "^worker must be a worker of this pool")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node(works)], r"^a graph must be a mapping of keys to Nodes, got \[Node\(works\)\]$"),
        ({"a": works}, "^a graph must be a mapping of keys to Nodes, got <function works.*> for 'a'$"),
    ],
)
async def test_a_graph_must_be_a_mapping_of_nodes(nodes: Any, message: str) -> None:
    async with open_pool(["a"]) as pool:
        await check_refused(pool, nodes, TypeError, message)


async def test_a_graph_for_a_closed_pool_or_group_is_refused() -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            group.close()
            for nodes in ({}, {"a": Node(works)}):
                with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
                    await group.submit_graph(nodes)
        pool.close()
        for nodes in ({}, {"a": Node(works)}):
            with pytest.raises(PoolClosedError, match=r"^the pool is closed$"):
                await pool.submit_graph(nodes)
        assert pool.statistics().submitted == 0


async def test_a_cancelled_submit_graph_leaves_no_jobs() -> None:
    async with open_pool(["a"]) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            await pool.submit_graph(diamond(Log()))
        assert scope.cancelled_caught
        assert pool.statistics().submitted == 0


def test_a_node_says_what_it_is() -> None:
    node = Node(works, 1, "x", after=["a", 2], name="n")
    assert repr(node) == "Node(works, 1, 'x', after=['a', 2], name='n')"
    assert repr(Node(works)) == "Node(works)"
    assert repr(Node(Flaky(1))).startswith("Node(Flaky(")
    assert (node.fn, node.args, node.after, node.options) == (works, (1, "x"), ("a", 2), {"name": "n"})


@pytest.mark.parametrize("after", ["ab", b"cd"])
def test_after_must_not_be_a_single_key(after: Any) -> None:
    with pytest.raises(TypeError, match=f"^after must be an iterable of keys, not the single {after!r}$"):
        Node(works, after=after)


def test_after_must_be_an_iterable_of_keys() -> None:
    with pytest.raises(TypeError, match=r"^after must be an iterable of keys, got 3$"):
        any_node(works, after=3)


# A full queue.


async def test_a_graph_waits_for_one_place_and_then_enters_whole(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=1) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0)
        jobs = await pool.submit_graph({number: Node(sleeps, 1.0) for number in range(5)})
        assert trio.current_time() == 1.0
        assert pool.statistics().queued == len(jobs) == 5


async def test_a_graph_of_which_an_idle_worker_may_take_a_job_enters_at_once(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), Resource("b", tags=["y"])], max_queue=0) as pool:
        await pool.submit(sleeps, 5.0, requires=["x"])
        jobs = await pool.submit_graph(
            {"one": Node(works, requires=["x"]), "two": Node(works, requires=["y"]), "three": Node(works)}
        )
        assert trio.current_time() == 0.0
        await jobs["three"].wait()
        assert trio.current_time() == 0.0


async def test_a_graph_that_waits_holds_one_place_in_the_line(autojump_clock: MockClock) -> None:
    entered: list[str] = []

    async def submits(pool: Pool[str], name: str) -> None:
        await pool.submit(sleeps, 1.0)
        entered.append(name)

    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 1.0)
        nursery.start_soon(submits, pool, "before")
        await wait_all_tasks_blocked()

        async def submits_a_graph() -> None:
            await pool.submit_graph({number: Node(sleeps, 1.0) for number in range(3)})
            entered.append("the graph")

        nursery.start_soon(submits_a_graph)
        await wait_all_tasks_blocked()
        nursery.start_soon(submits, pool, "behind")
        await wait_all_tasks_blocked()
        assert pool.statistics().submitters_waiting == 3
    assert entered == ["before", "the graph", "behind"]


async def test_a_graph_that_is_cancelled_while_it_waits_leaves_no_jobs(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(sleeps, 5.0)
        with trio.move_on_after(1.0) as scope:
            await pool.submit_graph(diamond(log))
        assert scope.cancelled_caught
        assert pool.statistics().submitters_waiting == 0
    assert pool.statistics().submitted == 1
    assert log.calls == []


async def test_a_graph_that_waits_is_turned_away_when_the_pool_is_closed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:

        async def waits() -> None:
            with pytest.raises(PoolClosedError, match=r"^the pool was closed$"):
                await pool.submit_graph(diamond(Log()))

        await pool.submit(sleeps, 1.0)
        nursery.start_soon(waits)
        await wait_all_tasks_blocked()
        pool.close()
    assert pool.statistics().submitted == 1


async def test_a_graph_that_waits_is_turned_away_when_its_group_is_closed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 1.0)
        async with pool.open_group() as group:

            async def waits() -> None:
                with pytest.raises(PoolClosedError, match=r"^the group was closed$"):
                    await group.submit_graph(diamond(Log()))

            nursery.start_soon(waits)
            await wait_all_tasks_blocked()
            assert group.statistics().submitters_waiting == 1
            group.close()
    assert pool.statistics().submitted == 1


async def test_a_job_of_the_pool_never_waits_for_a_place_for_its_graph(autojump_clock: MockClock) -> None:
    async def has_a_graph(resource: str) -> float:
        await pool.submit_graph(diamond(Log()))
        return trio.current_time()

    async with open_pool(["a"], max_queue=0) as pool:
        assert await pool.run(has_a_graph) == 0.0


async def test_a_worker_that_leaves_turns_away_a_graph_whose_first_job_only_it_may_take(
    autojump_clock: MockClock,
) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0) as pool:
        for _ in pool.workers:
            await pool.submit(sleeps, 5.0)
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(NoEligibleWorkerError):
                    await pool.submit_graph({"one": Node(works, requires=["x"]), "two": Node(works, after=["one"])})

            nursery.start_soon(waits)
            await wait_all_tasks_blocked()
            await pool.workers[0].remove(cancel=True)
        assert pool.statistics().submitted == 2


async def test_what_no_worker_may_take_any_more_when_the_graph_gets_its_place_is_dead(
    autojump_clock: MockClock,
) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 2.0, worker=pool.workers[0])
        await pool.submit(sleeps, 5.0, worker=pool.workers[1])
        jobs: dict[str, Job[Any]] = {}
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                nodes = {
                    "one": Node(works),
                    "gpu": Node(works, requires=["x"]),
                    "behind": Node(works, after=["gpu"]),
                    "beside": Node(works, after=["one"]),
                }
                jobs.update(await pool.submit_graph(nodes))

            nursery.start_soon(waits)
            await wait_all_tasks_blocked()
            await pool.workers[0].remove()
        await pool.join()
        assert trio.current_time() == 5.0
    assert {key: job.state for key, job in jobs.items()} == {
        "one": SUCCEEDED,
        "gpu": DEAD,
        "behind": DISCARDED,
        "beside": SUCCEEDED,
    }
    assert jobs["gpu"].dead_reason is DeadReason.NO_WORKER


async def test_the_total_timeouts_of_a_graph_that_waits_run(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        jobs = await pool.submit_graph(
            {"one": Node(works), "late": Node(works, total_timeout=2.0), "behind": Node(works, after=["late"])}
        )
        assert trio.current_time() == 5.0
        await pool.join()
        assert [jobs[key].state for key in ("one", "late", "behind")] == [SUCCEEDED, DEAD, DISCARDED]
        assert jobs["late"].dead_reason is DeadReason.TIMED_OUT


async def test_a_graph_that_waits_goes_on_doing_so_when_the_time_of_its_first_job_is_up(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        jobs = await pool.submit_graph({"one": Node(works, total_timeout=2.0), "two": Node(works)})
        assert trio.current_time() == 5.0
        assert (jobs["one"].dead_reason, jobs["one"].finished_at) == (DeadReason.TIMED_OUT, 2.0)
        assert await jobs["two"].wait() == "done"


async def test_what_runs_out_of_time_in_a_graph_that_waits_is_dead_at_once_and_what_is_behind_it_discarded(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        jobs = await pool.submit_graph(
            {
                "one": Node(works),
                "late": Node(works, after=["one"], total_timeout=2.0),
                "behind": Node(works, after=["late"]),
                "further": Node(works, after=["behind"]),
                "beside": Node(works, after=["one"]),
            }
        )
        assert trio.current_time() == 5.0
        assert [(jobs[key].state, jobs[key].finished_at) for key in ("late", "behind", "further")] == [
            (DEAD, 2.0),
            (DISCARDED, 2.0),
            (DISCARDED, 2.0),
        ]
        assert jobs["behind"].reason == "it waited for late, which is dead"
        assert await jobs["beside"].wait() == "done"


async def test_a_graph_of_which_nothing_is_left_waits_no_longer(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        jobs = await pool.submit_graph(
            {
                "one": Node(works, total_timeout=1.0),
                "behind": Node(works, after=["one"]),
                "two": Node(works, total_timeout=3.0),
            }
        )
        assert trio.current_time() == 3.0
        assert [jobs[key].state for key in ("one", "behind", "two")] == [DEAD, DISCARDED, DEAD]
        assert pool.statistics().submitters_waiting == 0


async def test_what_has_no_time_at_all_is_dead_before_the_rest_of_its_graph_begins_to_wait(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        jobs = await pool.submit_graph(
            {"one": Node(works, total_timeout=0), "behind": Node(works, after=["one"]), "two": Node(works)}
        )
        assert trio.current_time() == 5.0
        assert [(jobs[key].state, jobs[key].finished_at) for key in ("one", "behind")] == [
            (DEAD, 0.0),
            (DISCARDED, 0.0),
        ]


async def test_a_graph_that_has_no_time_at_all_does_not_wait(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        jobs = await pool.submit_graph({"one": Node(works, total_timeout=0), "behind": Node(works, after=["one"])})
        assert trio.current_time() == 0.0
        assert [jobs[key].state for key in ("one", "behind")] == [DEAD, DISCARDED]


async def test_with_bury_what_no_worker_may_take_does_not_let_the_rest_of_its_graph_in(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], max_queue=0, no_worker="bury", on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        jobs = await pool.submit_graph({"gpu": Node(works, requires=["gpu"]), "two": Node(works)})
        assert trio.current_time() == 5.0
        assert (jobs["gpu"].dead_reason, jobs["gpu"].finished_at) == (DeadReason.NO_WORKER, 0.0)


async def test_a_graph_keeps_its_turn_when_the_time_of_its_first_job_is_up(autojump_clock: MockClock) -> None:
    entered: list[str] = []

    async def submits(pool: Pool[str]) -> None:
        await pool.submit(works)
        entered.append("the job")

    async def submits_a_graph(pool: Pool[str]) -> None:
        await pool.submit_graph({"one": Node(works, total_timeout=1.0), "two": Node(works), "three": Node(works)})
        entered.append("the graph")

    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5.0)
        nursery.start_soon(submits_a_graph, pool)
        await wait_all_tasks_blocked()
        nursery.start_soon(submits, pool)
        await trio.sleep(2.0)
        assert pool.statistics().submitters_waiting == 2
    assert entered == ["the graph", "the job"]


async def test_a_graph_that_waits_enters_as_soon_as_a_worker_is_idle_that_may_take_any_of_its_jobs(
    autojump_clock: MockClock,
) -> None:
    resources = [Resource("a", tags=["x"]), Resource("b", tags=["y"])]
    async with open_pool(resources, max_queue=0) as pool:
        await pool.submit(sleeps, 9.0, requires=["x"])
        await pool.submit(sleeps, 2.0, requires=["y"])
        jobs = await pool.submit_graph(
            {
                "x": Node(works, requires=["x"]),
                "y": Node(works, requires=["y"]),
                "behind": Node(works, after=["y"], requires=["y"]),
            }
        )
        assert trio.current_time() == 2.0
        await jobs["behind"].wait()
        assert trio.current_time() == 2.0


async def test_a_graph_that_is_cancelled_while_it_waits_leaves_no_jobs_but_those_that_were_dead(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        await pool.submit(sleeps, 5.0)
        with trio.move_on_after(2.0) as scope:
            await pool.submit_graph({"one": Node(works, total_timeout=1.0), "two": Node(works), "three": Node(works)})
        assert scope.cancelled_caught
        assert pool.statistics().submitters_waiting == 0
    assert (pool.statistics().submitted, pool.statistics().dead) == (2, 1)


async def test_a_graph_whose_first_job_is_dead_is_turned_away_when_the_pool_is_closed(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool, trio.open_nursery() as nursery:

        async def waits() -> None:
            with pytest.raises(PoolClosedError, match=r"^the pool was closed$"):
                await pool.submit_graph({"one": Node(works, total_timeout=1.0), "two": Node(works)})

        await pool.submit(sleeps, 5.0)
        nursery.start_soon(waits)
        await trio.sleep(2.0)
        pool.close()
    assert pool.statistics().submitted == 2


async def test_with_on_dead_cancel_a_death_in_a_graph_that_waits_ends_the_pool(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], max_queue=0, on_dead="cancel") as pool:
            await pool.submit(sleeps_forever)
            await pool.submit_graph({"one": Node(works, total_timeout=1.0), "two": Node(works)})
    assert trio.current_time() == 1.0
    assert_settled(pool)
    assert pool.statistics().submitted == 2


async def test_a_death_in_a_graph_that_waits_ends_a_group_that_must_succeed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(sleeps, 5.0)
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit_graph(
                    {"one": Node(works), "late": Node(works, total_timeout=1.0), "behind": Node(works, after=["one"])}
                )
        assert trio.current_time() == 1.0
        assert (group.statistics().dead, group.statistics().discarded) == (1, 2)


async def test_what_no_worker_may_take_any_more_is_dead_while_the_rest_of_its_graph_waits(
    autojump_clock: MockClock,
) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0, on_dead="keep") as pool:
        for worker, seconds in zip(pool.workers, (2.0, 5.0), strict=True):
            await pool.submit(sleeps, seconds, worker=worker)
        jobs: dict[str, Job[Any]] = {}
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                nodes = {"one": Node(works), "gpu": Node(works, requires=["x"]), "behind": Node(works, after=["gpu"])}
                jobs.update(await pool.submit_graph(nodes))

            nursery.start_soon(waits)
            await trio.sleep(1.0)
            nursery.start_soon(pool.workers[0].remove)
        assert [jobs[key].state for key in ("gpu", "behind")] == [DEAD, DISCARDED]
        assert (jobs["gpu"].finished_at, trio.current_time()) == (2.0, 5.0)


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


async def test_a_chain_of_thousands_that_is_turned_away_leaves_nothing(autojump_clock: MockClock) -> None:
    before = jobs_in_memory()
    nodes = {number: Node(nothing, after=[number - 1] if number else []) for number in range(THOUSANDS)}
    nodes[THOUSANDS] = Node(nothing, requires=["gpu"])
    async with open_pool(2, history=False) as pool:
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit_graph(nodes)
        assert jobs_in_memory() == before
