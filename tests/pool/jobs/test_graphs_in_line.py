"""A graph waits for a place in a full queue."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, sleeps_forever, works
from tests.pool.jobs.diamond import Log, diamond
from trio_pool import (
    DeadReason,
    Job,
    JobFailedError,
    JobState,
    Node,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    Resource,
    open_pool,
)
from trio_pool.testing import assert_settled

DEAD = JobState.DEAD
DISCARDED = JobState.DISCARDED
SUCCEEDED = JobState.SUCCEEDED


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
