"""A graph is submitted whole or not at all, and the error says what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, works
from tests.pool.jobs.diamond import Log, diamond
from trio_pool import GraphError, Node, NoEligibleWorkerError, Pool, PoolClosedError, PoolError, Resource, open_pool
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from collections.abc import Iterator

any_node: Any = Node


def gives(*things: object) -> Iterator[object]:
    """An iterable of them that is no collection."""
    yield from things


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
        message = "^no worker of the pool can ever run the job c, which asks for the tags 'gpu'$"
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
        (any_node(works, color="red"), TypeError, r"got an unexpected keyword argument 'color'"),
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
            any_node(works, color="red"),
            TypeError,
            r"^Node\(\) got an unexpected .*'color'.*\(the node \('bad', 1\)\)$",
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
