"""The queue gives each worker the first job that it may take, and doesn't look at others."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.commands import Start
from tests.core.makers import Core, indexes_of, job_on, make_core, make_job
from trio_pool import JobState
from trio_pool._core.admission import Door
from trio_pool._core.deadlines import Deadlines
from trio_pool._core.demand import Demand
from trio_pool._core.headroom import Headroom
from trio_pool._core.ready_queue import ReadyQueue
from trio_pool._core.tag_index import FEW
from trio_pool._core.terms import terms_of
from trio_pool._core.worker_index import WorkerIndex
from trio_pool._model.records import Terms, WorkerRecord
from trio_pool._model.setback import Setback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_pool._model.handles import Job
    from trio_pool._model.records import Group

PRIORITIES = st.integers(-2, 2)
# For each job: its priority, whether it goes to the front, and an index for its terms.
ENTRIES = st.lists(st.tuples(PRIORITIES, st.booleans(), st.integers(0, 5)), max_size=40)


class CountingRoster(WorkerIndex):
    """Counts how often it is asked who may take what."""

    asked = 0

    def admits(self, terms: Terms, worker: WorkerRecord) -> bool:
        self.asked += 1
        return super().admits(terms, worker)


def let_wait(queue: ReadyQueue, job: Job[Any], *, front: bool = False) -> None:
    queue.push(job, terms_of(job), front=front)


def available_worker(roster: WorkerIndex, number: int, *tags: str) -> WorkerRecord:
    worker = WorkerRecord(roster, number, f"worker {number}", frozenset(tags))
    roster.join(worker)
    worker._holds.clear()
    roster.set_available(worker, True)
    return worker


def workers_of(roster: WorkerIndex) -> list[WorkerRecord]:
    return [available_worker(roster, 1, "a", "b"), available_worker(roster, 2, "a"), available_worker(roster, 3)]


def job_on_terms(kind: int, priority: float, workers: list[WorkerRecord]) -> Job[Any]:
    """A job for anybody, for those with a tag or two, for one worker, or bounced."""
    if kind in (0, 1, 2):
        return make_job(priority=priority, requires=("a", "b")[:kind])
    if kind in (3, 4):
        return make_job(priority=priority, worker=workers[kind - 3])
    job = make_job(priority=priority)
    job._setback = Setback(placement="other", failed_on=frozenset(workers[:1]), last=workers[0])
    return job


def may_take(worker: WorkerRecord, job: Job[Any]) -> bool:
    """Whether the worker may take a job of `job_on_terms`, all workers being available."""
    pinned = job._options.worker
    return (
        pinned in (None, worker)
        and job._options.requires <= worker.tags
        and worker not in (job._setback.failed_on if job._setback else ())
    )


@given(ENTRIES, st.booleans(), st.lists(st.integers(0, 100), max_size=30), st.lists(st.integers(0, 2), max_size=40))
def test_a_worker_gets_the_first_by_priority_and_ticket_of_those_it_may_take(
    entries: list[tuple[int, bool, int]], lifo: bool, removed: list[int], askers: list[int]
) -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    workers = workers_of(roster)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1), lifo=lifo)
    waiting: list[tuple[float, int, Job[Any]]] = []
    for number, (priority, front, kind) in enumerate(entries, 1):
        job = job_on_terms(kind, priority, workers)
        let_wait(queue, job, front=front)
        waiting.append((priority, -number if front or lifo else number, job))
    for index in removed:
        if waiting:
            queue.remove(waiting.pop(index % len(waiting))[2])
    waiting.sort(key=lambda entry: entry[:2])
    for asker in askers:
        worker = workers[asker]
        expected = next((entry for entry in waiting if may_take(worker, entry[2])), None)
        assert queue.take(worker) is (expected and expected[2])
        if expected is not None:
            waiting.remove(expected)
        assert len(queue) == len(waiting)


@given(ENTRIES)
def test_the_lanes_come_in_the_order_of_their_first_jobs(entries: list[tuple[int, bool, int]]) -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    workers = workers_of(roster)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    for priority, front, kind in entries:
        let_wait(queue, job_on_terms(kind, priority, workers), front=front)
    heads = [lane.entries()[0][:3] for lane in queue.lanes()]
    assert heads == sorted(heads)


@given(ENTRIES)
def test_where_priorities_do_not_count_jobs_leave_in_the_order_in_which_they_came(
    entries: list[tuple[int, bool, int]],
) -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    workers = workers_of(roster)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1), ranked=False)
    jobs = [job_on_terms(kind, priority, workers) for priority, _, kind in entries]
    for job in jobs:
        let_wait(queue, job)
    for_the_second = [job for job in jobs if may_take(workers[1], job)]
    assert [queue.take(workers[1]) for _ in for_the_second] == for_the_second


def test_a_job_taken_out_is_in_no_lane() -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    job = make_job(requires=["a"])
    let_wait(queue, job)
    queue.remove(job)
    assert job._lane is None
    assert queue.lanes() == []


def test_a_queue_that_is_cleared_is_empty() -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    workers = workers_of(roster)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    for kind in range(6):
        let_wait(queue, job_on_terms(kind, 0, workers))
    queue.clear()
    assert len(queue) == 0
    assert list(queue) == []


@pytest.mark.parametrize("how", ["is to leave", "has left without being told to"])
def test_jobs_that_wait_for_the_worker_that_they_failed_on_go_to_others_once_it(how: str) -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    core.scheduler.pause(first, 0.0)
    job = make_job()
    job._setback = Setback(placement="same", last=first)
    core.lifecycle.move(job, JobState.QUEUED, 0.0)
    let_wait(core.scheduler.state.queue, job)
    if how == "is to leave":
        core.scheduler.depart(first, 0.0)
    else:
        core.scheduler.left(first, 0.0)
    assert job_on(second) is job


@pytest.mark.parametrize("kind", range(6))
def test_cancelled_jobs_do_not_pile_up(kind: int) -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    workers = workers_of(roster)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    kept = [job_on_terms(kind, -1, workers) for _ in range(10)]
    for job in kept:
        let_wait(queue, job)
    for _ in range(5000):
        passing = job_on_terms(kind, 0, workers)
        let_wait(queue, passing)
        queue.remove(passing)
    (lane,) = queue.lanes()
    assert len(lane) <= 2 * len(kept) + 64
    assert len(queue) == len(kept)


def test_the_index_of_lanes_does_not_grow_by_lanes_that_are_gone() -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    workers = workers_of(roster)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    assert queue.take(workers[0]) is None
    for priority in range(5000):
        passing = make_job(priority=-priority, requires=["a"])
        let_wait(queue, passing)
        queue.take(workers[0])
        let_wait(queue, job_on_terms(1, 0, workers))
        queue.take(workers[1])
    assert all(len(index._heap) <= 66 for index in indexes_of(queue))
    assert all(len(index._valid) <= 66 for index in indexes_of(queue))


def test_picking_a_job_asks_nothing_about_jobs_whose_tags_the_worker_lacks() -> None:
    roster = CountingRoster("longest_idle", Random(0))
    worker = available_worker(roster, 1, "mine")
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    for number in range(100):
        for _ in range(10):
            let_wait(queue, make_job(priority=-1, requires=[f"kind {number}"]))
    for _ in range(50):
        let_wait(queue, make_job(requires=["mine"]))
    queue.take(worker)
    roster.asked = 0
    for _ in range(49):
        assert queue.take(worker) is not None
    assert roster.asked <= 49


def bounced(workers: Iterable[WorkerRecord], last: WorkerRecord, priority: float) -> Job[Any]:
    job = make_job(priority=priority)
    job._setback = Setback(placement="other", failed_on=frozenset(workers), last=last)
    return job


def times_asked(*, behind: bool) -> int:
    """How often it is asked who may take what while a worker takes 50 jobs past 100 bounced ones."""
    roster = CountingRoster("longest_idle", Random(0))
    worker, *others = [available_worker(roster, number) for number in range(1, 103)]
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    for other in others[:100]:
        let_wait(queue, bounced({worker, other}, other, -1))
    plain = [make_job() for _ in range(50)]
    for job in plain:
        let_wait(queue, job)
    if behind:
        let_wait(queue, bounced(others[:1], others[0], 1))
    for job in plain:
        assert queue.take(worker) is job
    return roster.asked


def test_a_worker_looks_only_once_at_bounced_jobs_that_it_may_not_take() -> None:
    assert times_asked(behind=False) <= 100


def test_nor_does_it_look_at_them_again_because_others_wait_behind() -> None:
    assert times_asked(behind=True) <= 100


class CountingPriority(float):
    """Counts how often priorities are compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        CountingPriority.compared += 1
        return float(self) < float(other)

    def __gt__(self, other: float) -> bool:
        CountingPriority.compared += 1
        return float(self) > float(other)

    __hash__ = float.__hash__

    def __eq__(self, other: object) -> bool:
        CountingPriority.compared += 1
        return isinstance(other, float) and float(self) == float(other)


def comparisons_per_pick(jobs: int) -> float:
    roster = WorkerIndex("longest_idle", Random(0))
    worker = available_worker(roster, 1)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    rng = Random(1)
    for _ in range(jobs):
        let_wait(queue, make_job(priority=CountingPriority(rng.randrange(100))))
    CountingPriority.compared = 0
    for _ in range(100):
        queue.take(worker)
    return CountingPriority.compared / 100


def test_picking_from_a_hundred_times_as_many_jobs_takes_but_a_few_comparisons_more() -> None:
    assert comparisons_per_pick(20_000) < comparisons_per_pick(200) + 40


def test_handing_out_a_job_takes_it_from_the_queue() -> None:
    core = make_core(max_running=1)
    worker, _ = core.add_worker(), core.add_worker()
    first, second = make_job(), make_job()
    for job in (first, second):
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    assert list(core.scheduler.state.queue) == [second]
    core.succeeded(worker, None, 1.0)
    assert list(core.scheduler.state.queue) == []
    assert [command.run.job for command in core.commands_of(Start)] == [first, second]


def test_an_index_that_has_a_lane_too_early_stays_right() -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    both, one = available_worker(roster, 1, "a", "b"), available_worker(roster, 2, "a")
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    for worker in (both, one):
        let_wait(queue, make_job(requires=["a"], priority=0))
        assert queue.take(worker) is not None
    early, middle, late = (make_job(requires=["a"], priority=priority) for priority in (0, 1, 2))
    let_wait(queue, early)
    let_wait(queue, late)
    assert queue.take(both) is early  # what the other worker's index still has in front
    let_wait(queue, middle)
    assert [queue.take(one), queue.take(one), queue.take(one)] == [middle, late, None]


def test_an_index_that_has_a_lane_twice_stays_right() -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    worker = available_worker(roster, 1, "a")
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    assert queue.take(worker) is None
    jobs = [make_job(requires=["a"], priority=priority) for priority in (2, 1, 0)]
    let_wait(queue, make_job(requires=["a"], priority=3))
    assert queue.take(worker) is not None  # from here on it has an index
    for job in jobs:
        let_wait(queue, job)  # each in front of the one before
    assert [queue.take(worker) for _ in range(4)] == [*jobs[::-1], None]


def test_a_lane_is_not_entered_where_its_tags_are_missing() -> None:
    roster = WorkerIndex("longest_idle", Random(0))
    tagged, plain = available_worker(roster, 1, "a"), available_worker(roster, 2)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    first, second = make_job(requires=["a"]), make_job(requires=["a"])
    let_wait(queue, first)
    assert (queue.take(plain), queue.take(tagged)) == (None, first)
    let_wait(queue, second)
    assert (queue.take(plain), queue.take(tagged)) == (None, second)


# Groups.

# For each step, what is done, and to which job, worker or group.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["wait", "wait", "wait", "take", "take", "remove", "start", "end", "keep", "give back"]),
        st.integers(0, 100),
    ),
    max_size=60,
)


def make_group(core: Core, *, max_running: float) -> Group:
    return core.make_group(max_running=max_running)


def gated_job(number: int, workers: list[WorkerRecord], groups: list[Group]) -> Job[Any]:
    """A job with some priority, of some group or none, for some workers."""
    group = [None, None, *groups][number % 5]
    job = make_job(priority=number % 3, requires=("a",)[: number % 2], group=group)
    if number % 7 == 0:
        return make_job(priority=number % 3, worker=workers[number % len(workers)], group=group)
    if number % 11 == 0:
        job._setback = Setback(placement="other", failed_on=frozenset(workers[:1]), last=workers[0])
    return job


def may_take_of_group(worker: WorkerRecord, job: Job[Any]) -> bool:
    """The same as `may_take` where groups may be full, and workers be kept for them."""
    group = job._options.group
    able = [other for other in worker_list(worker) if other._kind.group in (None, group)]
    able = [other for other in able if job._options.requires <= other.tags]
    failed = job._setback.failed_on if job._setback else frozenset[WorkerRecord]()
    rested = [other for other in able if other not in failed] or able
    may_serve = worker in rested and job._options.worker in (None, worker)
    return may_serve and (group is None or not group.is_full)


def worker_list(worker: WorkerRecord) -> list[WorkerRecord]:
    roster = worker._crew
    assert isinstance(roster, WorkerIndex)
    return list(roster.by_id.values())


@given(STEPS)
def test_a_worker_gets_the_first_of_those_it_may_take_whatever_groups_are_full_or_keep_it(
    steps: list[tuple[str, int]],
) -> None:
    core = make_core()
    roster = core.roster
    workers = workers_of(roster)
    groups = [make_group(core, max_running=limit) for limit in (1, 2, 1)]
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    waiting: list[tuple[float, int, Job[Any]]] = []
    for step, number in steps:
        worker, group = workers[number % len(workers)], groups[number % len(groups)]
        if step == "wait":
            job = gated_job(number, workers, groups)
            let_wait(queue, job)
            waiting.append((job.priority, job._ticket, job))
        elif step == "remove" and waiting:
            queue.remove(waiting.pop(number % len(waiting))[2])
        elif step == "start" and not group.is_full:
            group.count[JobState.RUNNING] += 1
        elif step == "end" and group.count[JobState.RUNNING]:
            group.count[JobState.RUNNING] -= 1
            queue.reopen(group)
        elif step in ("keep", "give back"):
            roster.reserve(worker, group if step == "keep" else None)
            queue.look_again()
        elif step == "take":
            waiting.sort(key=lambda entry: entry[:2])
            expected = next((entry for entry in waiting if may_take_of_group(worker, entry[2])), None)
            assert queue.take(worker) is (expected and expected[2])
            if expected is not None:
                waiting.remove(expected)
    assert len(queue) == len(waiting)
    assert {lane.terms.gate for lane in queue._lanes.values()} - {None} == set(queue.indexes.gated)


def test_full_groups_are_looked_at_once_and_not_again_before_they_may_start_something() -> None:
    roster = CountingRoster("longest_idle", Random(0))
    worker = available_worker(roster, 1)
    queue = ReadyQueue(roster, Deadlines(count(1)), count(1))
    core = make_core()
    groups = [make_group(core, max_running=1) for _ in range(100)]
    for group in groups:
        group.count[JobState.RUNNING] = 1
        let_wait(queue, make_job(group=group, priority=-1))
    plain = [make_job() for _ in range(50)]
    for job in plain:
        let_wait(queue, job)
    for job in plain:
        assert queue.take(worker) is job
    assert roster.asked == 0
    assert [len(index._heap) for index in indexes_of(queue)] == [0]


def test_how_many_jobs_wait_that_workers_with_some_tags_may_take_is_told_by_groups() -> None:
    core = make_core()
    workers = workers_of(core.roster)
    queue = ReadyQueue(core.roster, Deadlines(count(1)), count(1))
    queue.demand = Demand(frozenset({"a"}), 0.0, Headroom(core.scheduler.state, core.scheduler.metering, None))
    group = make_group(core, max_running=1)
    for job in (make_job(), make_job(requires=["a"]), make_job(requires=["b"]), make_job(worker=workers[0])):
        let_wait(queue, job)
    assert sizes_of(queue) == {None: 2}
    gated = [make_job(group=group) for _ in range(3)]
    for job in gated:
        let_wait(queue, job)
    assert sizes_of(queue) == {None: 2, group: 3}
    for job in gated:
        queue.remove(job)
    assert sizes_of(queue) == {None: 2}
    queue.clear()
    assert sizes_of(queue) == {}


def sizes_of(queue: ReadyQueue) -> dict[Group | None, int]:
    assert queue.demand is not None
    return {gate: line.size for (gate, _), line in queue.demand.lines.items()}


@pytest.mark.parametrize("placement", ["same", "any"])
def test_jobs_of_a_group_that_wait_for_one_worker_go_to_others_once_it_has_left(placement: Any) -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    core.scheduler.pause(first, 0.0)
    group = core.open_group(max_running=1)
    job = make_job(group=group, worker=first if placement == "any" else None)
    if placement == "same":
        job._setback = Setback(placement="same", last=first)
    core.lifecycle.move(job, JobState.QUEUED, 0.0)
    let_wait(core.scheduler.state.queue, job)
    assert core.scheduler.state.queue.waits_for(first)
    core.scheduler.depart(first, 0.0)
    core.scheduler.left(first, 0.0)
    assert not core.scheduler.state.queue.waits_for(first)
    assert (job.state, job_on(second)) == ((JobState.RUNNING, job) if placement == "same" else (JobState.DEAD, None))


def test_lanes_for_many_kinds_of_workers_share_an_index_by_a_tag_that_they_require() -> None:
    core = make_core()
    for number in range(FEW + 2):
        core.add_worker("all", f"tag {number}")
    for worker in core.roster.by_id.values():
        core.scheduler.pause(worker, 0.0)
    group = core.open_group(max_running=1)
    jobs = [make_job(requires=["all"]), make_job(requires=["all"], group=group)]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    queue = core.scheduler.state.queue
    assert len(queue.indexes._shared) == 1
    for worker in list(core.roster.by_id.values()):
        core.scheduler.resume(worker, 0.0)
    assert [job.state for job in jobs] == [JobState.RUNNING] * 2
