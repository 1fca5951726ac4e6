"""The roster knows who is free and who may take what."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.core.commands import Admitted, Refused
from tests.core.makers import Core, job_on, make_core, make_job
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._core.terms import terms_of
from trio_pool._model.pool_config import PICKS
from trio_pool._model.records import ANYONE, Terms
from trio_pool._model.setback import Setback

if TYPE_CHECKING:
    from typing import Any

    from trio_pool._model.handles import Job
    from trio_pool._model.pool_config import Pick
    from trio_pool._model.records import WorkerRecord
    from trio_pool._policies.retry import Placement


def submitted(core: Core, *, priority: float = 0, requires: tuple[str, ...] = (), now: float = 0.0) -> Job[Any]:
    job = make_job(priority=priority, requires=requires, now=now)
    assert core.scheduler.submit(job, Door.ALWAYS, now) is Admission.ENTERED
    return job


def fail(core: Core, worker: WorkerRecord, placement: Placement, *, delay: float = 0.0, now: float = 0.0) -> None:
    core.failed(worker, ValueError(), Verdict(Retry(delay, placement, False, True)), now)


def used_last(core: Core, workers: list[WorkerRecord]) -> None:
    """Let each of the workers run a job, so that they become idle in this order."""
    for worker in workers:
        core.scheduler.submit(make_job(worker=worker), Door.ALWAYS, 0.0)
    for worker in workers:
        core.succeeded(worker, None, 0.0)


def turns(core: Core, terms: Terms) -> list[WorkerRecord]:
    """The idle workers in the order in which they would get such jobs."""
    found: list[WorkerRecord] = []
    while (worker := core.roster.choose(terms, found)) is not None:
        found.append(worker)
    return found


@pytest.mark.parametrize(("pick", "chosen"), [("longest_idle", 0), ("last_used", 2)])
@pytest.mark.parametrize("tags", [("a", "a", "a"), ("a", "b", "c")])
def test_of_idle_workers_the_preferred_one_gets_the_job(pick: Pick, chosen: int, tags: tuple[str, ...]) -> None:
    core = make_core(pick=pick)
    first, second, third = [core.add_worker(tag) for tag in tags]
    order = [second, third, first]
    used_last(core, order)
    assert core.roster.choose(ANYONE) is order[chosen]


def test_a_random_pick_is_repeated_by_the_same_random_numbers() -> None:
    def picks(seed: int) -> list[int]:
        core = make_core(pick="random", seed=seed)
        for _ in range(5):
            core.add_worker()
        workers = [core.roster.choose(ANYONE) for _ in range(50)]
        return [worker.id for worker in workers if worker is not None]

    assert picks(1) == picks(1) != picks(2)
    assert set(picks(1)) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("pick", PICKS)
def test_only_workers_with_all_required_tags_are_chosen(pick: Pick) -> None:
    core = make_core(pick=pick)
    core.add_worker("a")
    both = core.add_worker("a", "b")
    core.add_worker("b")
    assert core.roster.choose(Terms(frozenset({"a", "b"}))) is both
    assert core.roster.choose(Terms(frozenset({"c"}))) is None


def test_a_job_for_a_worker_that_lacks_its_tags_waits_where_jobs_may_wait_for_any_worker() -> None:
    core = make_core(no_worker="wait")
    worker = core.add_worker("a")
    job = make_job(worker=worker, requires=["b"])
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    assert job.state is JobState.QUEUED
    assert core.roster.idle() == [worker]


@pytest.mark.parametrize("pick", PICKS)
def test_the_bounce_avoids_workers_that_have_failed(pick: Pick) -> None:
    core = make_core(pick=pick)
    first, second, third = [core.add_worker() for _ in range(3)]
    assert core.roster.choose(Terms(failed=frozenset({first, third}), last=first)) is second


def test_the_idle_come_longest_idle_first() -> None:
    core = make_core()
    order = [core.add_worker("a"), core.add_worker("b"), core.add_worker("a")]
    used_last(core, order[::-1])
    assert core.roster.idle() == order[::-1]
    assert core.roster.idle_count == 3


def test_a_job_bounces_over_all_workers_before_a_new_round_begins() -> None:
    core = make_core()
    for _ in range(4):
        core.add_worker()
    job = submitted(core)
    order: list[WorkerRecord] = []
    for _ in range(12):
        worker = job.worker
        assert worker is not None
        order.append(worker)
        fail(core, worker, "other")
    rounds = [set(order[:4]), set(order[4:8]), set(order[8:])]
    assert [len(round_) for round_ in rounds] == [4, 4, 4]
    assert all(one is not two for one, two in pairwise(order))


def test_a_bounced_job_goes_back_to_the_only_worker_that_is_left() -> None:
    core = make_core()
    worker = core.add_worker()
    job = submitted(core)
    fail(core, worker, "other")
    assert job.worker is worker


def test_a_bounced_job_waits_for_another_worker_that_is_busy() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job, other = submitted(core), submitted(core)
    fail(core, first, "other")
    assert (job.state, other.worker) == (JobState.QUEUED, second)
    core.succeeded(second, None, 0.0)
    assert job.worker is second


def test_a_bounced_job_does_not_wait_for_a_worker_that_is_paused() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job, _ = submitted(core), submitted(core)
    fail(core, first, "other")
    core.scheduler.pause(second, 0.0)
    assert job.worker is first


def test_an_attempt_that_was_cut_short_begins_no_new_round() -> None:
    core = make_core()
    first, second, third = [core.add_worker() for _ in range(3)]
    core.scheduler.pause(third, 0.0)
    job = submitted(core)
    fail(core, first, "other")
    fail(core, second, "other")
    assert job.worker is first
    core.scheduler.resume(third, 0.0)
    core.scheduler.depart(first, 0.0, cut=True)
    core.cut_short(first, TimeoutError(), 0.0)
    assert job.worker is third


def test_a_job_for_the_same_worker_waits_for_it() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job = submitted(core)
    core.scheduler.pause(first, 0.0)
    fail(core, first, "same")
    assert job.state is JobState.QUEUED
    assert core.roster.idle() == [second]


# How jobs are ordered when there is more than one reason to wait.


def test_a_retry_does_not_overtake_more_urgent_jobs_that_wait_for_room() -> None:
    core = make_core(max_running=1)
    first, _ = core.add_worker(), core.add_worker()
    late = submitted(core, priority=5)
    urgent = submitted(core, priority=0)
    fail(core, first, "any")
    assert (urgent.state, late.state) == (JobState.RUNNING, JobState.QUEUED)


def test_of_jobs_that_come_due_together_the_more_urgent_starts() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    late, urgent = submitted(core, priority=5), submitted(core, priority=0)
    fail(core, first, "any", delay=1.0)
    fail(core, second, "any", delay=1.0)
    core.scheduler.pause(first, 0.0)
    core.scheduler.advance(1.0)
    assert (urgent.state, late.state) == (JobState.RUNNING, JobState.QUEUED)


def test_a_job_whose_time_is_up_does_not_start_even_if_its_delay_ended_before() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(total_timeout=2.0), Door.ALWAYS, 0.0)
    fail(core, worker, "any", delay=1.0)
    core.scheduler.advance(3.0)
    assert (job.dead_reason, job_on(worker)) == (DeadReason.TIMED_OUT, None)


def test_a_job_whose_round_is_ended_by_a_rest_goes_before_the_one_that_brought_the_rest() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    urgent, late = submitted(core, priority=-1), submitted(core)
    fail(core, first, "other")
    assert urgent.state is JobState.QUEUED  # the second is busy, but it will be tried
    core.failed(second, ValueError(), Verdict(Retry(0.0, "any", False, True), rest=5.0), 0.0)
    assert (urgent.worker, late.state) == (first, JobState.QUEUED)


# Who waits for a worker that leaves.


@pytest.mark.parametrize("no_worker", ["reject", "bury"])
def test_a_queued_job_that_nobody_can_take_any_more_is_buried(no_worker: Any) -> None:
    core = make_core(no_worker=no_worker)
    worker = core.add_worker("a")
    core.scheduler.pause(worker, 0.0)
    job = submitted(core, requires=("a",))
    core.scheduler.depart(worker, 0.0)
    core.scheduler.left(worker, 0.0)
    assert job.dead_reason is DeadReason.NO_WORKER


def test_a_submitter_whose_job_nobody_can_take_any_more_is_refused_where_such_are_rejected() -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    core.scheduler.pause(worker, 0.0)
    assert core.scheduler.submit(job := make_job(), Door.QUEUE_UP, 0.0) is Admission.WAITING
    core.scheduler.left(worker, 0.0)
    assert [command.job for command in core.commands_of(Refused)] == [job]
    assert sum(core.lifecycle.count.values()) == 0


def test_a_submitter_whose_job_nobody_can_take_any_more_gets_it_dead_where_such_are_buried() -> None:
    core = make_core(max_queue=0, no_worker="bury")
    worker = core.add_worker()
    core.scheduler.pause(worker, 0.0)
    assert core.scheduler.submit(job := make_job(), Door.QUEUE_UP, 0.0) is Admission.WAITING
    core.scheduler.left(worker, 0.0)
    assert [command.job for command in core.commands_of(Admitted)] == [job]
    assert job.dead_reason is DeadReason.NO_WORKER


def test_a_job_queued_while_draining_does_not_hang_on_paused_workers() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.drain(0.0)
    core.scheduler.pause(worker, 0.0)
    assert submitted(core).worker is worker


# Workers that are kept for groups.


def test_a_worker_that_is_kept_for_a_group_is_chosen_for_its_jobs_alone() -> None:
    core = make_core()
    group, other = core.make_group(reserve=1), core.make_group(reserve=1)
    worker = core.add_worker()
    core.roster.reserve(worker, group)
    chosen = [core.roster.choose(Terms(gate=gate)) for gate in (None, other, group)]
    assert chosen == [None, None, worker]
    assert core.roster.choose(ANYONE) is None


def test_nobody_is_chosen_for_a_group_that_is_full() -> None:
    core = make_core()
    core.add_worker()
    group = core.make_group(max_running=1)
    group.count[JobState.RUNNING] = 1
    assert core.roster.choose(Terms(gate=group)) is None
    group.count[JobState.RUNNING] = 0
    assert core.roster.choose(Terms(gate=group)) is not None


@pytest.mark.parametrize("pick", PICKS)
def test_a_groups_own_worker_is_chosen_before_those_that_are_there_for_everybody(pick: Pick) -> None:
    core = make_core(pick=pick)
    workers = [core.add_worker() for _ in range(3)]
    group = core.make_group(reserve=1)
    core.roster.reserve(workers[1], group)
    assert {core.roster.choose(Terms(gate=group)) for _ in range(50)} == {workers[1]}
    core.roster.unpark(workers[1])
    chosen = {core.roster.choose(Terms(gate=group)) for _ in range(50)}
    expected = {"longest_idle": {workers[0]}, "last_used": {workers[2]}, "random": {workers[0], workers[2]}}
    assert chosen == expected[pick]


def test_a_worker_that_is_kept_for_others_may_still_be_asked_for() -> None:
    core = make_core()
    worker = core.add_worker("a")
    core.roster.reserve(worker, core.make_group(reserve=1))
    assert core.roster.has_any(ANYONE)
    assert core.roster.has_any(Terms(frozenset({"a"})))
    assert core.roster.has_any(Terms(pinned=worker))
    assert not core.roster.admits(Terms(pinned=worker), worker)


def test_a_job_that_has_failed_keeps_to_its_group() -> None:
    core = make_core()
    group = core.make_group(max_running=1)
    worker = core.add_worker()
    for placement in ("any", "same", "other"):
        job = make_job(group=group)
        job._setback = Setback(placement=placement, failed_on=frozenset({worker}), last=worker)
        assert terms_of(job).gate is group
    assert terms_of(make_job(group=core.make_group())) is ANYONE


def test_who_is_kept_is_idle_or_busy_as_before() -> None:
    core = make_core()
    idle, busy, paused = [core.add_worker() for _ in range(3)]
    group = core.make_group(reserve=3)
    core.scheduler.submit(make_job(worker=busy), Door.ALWAYS, 0.0)
    core.scheduler.pause(paused, 0.0)
    for worker in (paused, busy, idle):
        core.roster.reserve(worker, group)
    kind = idle._kind
    assert (kind.members, kind.available, list(kind.idle)) == (3, 2, [idle])
    assert core.roster.idle_count == 1
    for worker in (paused, busy, idle):
        core.roster.reserve(worker, None)
    assert core.roster.kinds.all() == [idle._kind]
    assert (idle._kind.members, idle._kind.available, list(idle._kind.idle)) == (3, 2, [idle])


def test_keeping_workers_and_giving_them_back_leaves_them_in_their_order() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(5)]
    group = core.make_group(reserve=5)
    for number in (3, 0, 4):
        core.roster.reserve(workers[number], group)
    assert core.roster.idle() == workers
    assert turns(core, Terms(gate=group)) == [workers[number] for number in (0, 3, 4, 1, 2)]
    for number in (4, 0, 3):
        core.roster.reserve(workers[number], None)
    assert turns(core, ANYONE) == core.roster.idle() == workers


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
@pytest.mark.parametrize("kinds", [1, 2, 20])
def test_the_idle_worker_that_is_taken_is_the_one_that_would_be_chosen(pick: Pick, kinds: int) -> None:
    cores = [make_core(pick=pick) for _ in range(2)]
    for core in cores:
        for number in range(20):
            core.add_worker(f"tag {number % kinds}")
    taking, choosing = (core.roster for core in cores)
    for _ in range(20):
        chosen = choosing.choose(ANYONE)
        assert chosen is not None
        choosing.unpark(chosen)
        taken = taking.take_idle()
        assert taken is not None
        assert (taken.id, taking.idle_count) == (chosen.id, choosing.idle_count)
        assert [worker.id for worker in taking.idle()] == [worker.id for worker in choosing.idle()]
        assert not taking.is_idle(taken)


def test_no_idle_worker_is_taken_that_is_kept_for_a_group() -> None:
    core = make_core()
    core.add_worker()
    core.open_group(reserve=1)
    assert core.roster.idle_count == 1
    assert core.scheduler.submit_straight(make_job(), 0.0) is False
    assert core.roster.idle_count == 1


@pytest.mark.parametrize("tags", [1, 2])
def test_an_elastic_pool_hears_of_the_idle_worker_that_is_taken(tags: int) -> None:
    core = make_core()
    for number in range(tags):
        core.add_worker(f"tag {number}")
    heard: list[WorkerRecord] = []
    core.roster.on_unparked = heard.append
    assert heard == []
    assert [core.roster.take_idle()] == heard
