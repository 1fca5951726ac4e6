"""4.9, whatever is drawn: order is kept, every job ends, and a worker serves one at a time."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, Literal

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.effort import part_of
from trio_pool import (
    Discard,
    Job,
    JobFailedError,
    JobGroup,
    JobState,
    Node,
    Pool,
    PoolStatistics,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import assert_settled

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

Outcome = Literal["works", "works at last", "fails", "is discarded"]

LONG_ENOUGH = 1_000.0
"""Seconds by which everything has ended, unless it hangs."""

AT_LAST = RetryPolicy.fixed(1.0, max_attempts=3)


@attrs.frozen
class JobPlan:
    """A job: what it waits for, by number, what comes of it and after how long."""

    after: frozenset[int]
    outcome: Outcome
    seconds: int
    priority: int
    group: int


@attrs.frozen
class GroupPlan:
    """A group, as it is opened."""

    max_running: int | None
    reserve: int
    must_succeed: bool


@attrs.frozen
class Plan:
    """A pool, its groups and its jobs, and what happens meanwhile, by when."""

    workers: int
    max_running: int | None
    groups: list[GroupPlan]
    jobs: list[JobPlan]
    cancelled: dict[int, int]
    removed: list[tuple[int, bool]]


@st.composite
def plans(draw: st.DrawFn, *, quiet: bool) -> Plan:
    """Draw one; if ``quiet`` nothing but failures disturbs it, and no group has to succeed."""
    workers = draw(st.integers(1, 5))
    groups: list[GroupPlan] = []
    spare = workers - 1  # one is left for those who have none
    for _ in range(draw(st.integers(0, 3))):
        reserve = draw(st.integers(0, spare))
        spare -= reserve
        must_succeed = not quiet and draw(st.booleans())
        groups.append(GroupPlan(draw(st.sampled_from([None, 1, 2])), reserve, must_succeed))
    outcomes: list[Outcome] = ["works", "works", "works", "works at last", "fails", "is discarded"]
    jobs = [
        JobPlan(
            draw(st.frozensets(st.integers(0, number - 1), max_size=4)) if number else frozenset(),
            draw(st.sampled_from(outcomes)),
            draw(st.integers(0, 3)),
            draw(st.integers(0, 1)),
            draw(st.integers(-1, len(groups) - 1)),
        )
        for number in range(draw(st.integers(1, 14)))
    ]
    some = st.integers(0, len(jobs) - 1)
    cancelled = {} if quiet else draw(st.dictionaries(some, st.integers(0, 8), max_size=3))
    removed = [] if quiet else draw(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=spare))
    return Plan(workers, draw(st.sampled_from([None, None, 2])), groups, jobs, cancelled, removed)


class Run:
    """Carries out a plan, and watches it all the while."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.jobs: list[Job[Any]] = []
        self.groups: list[JobGroup[str]] = []
        # What came out of which group.
        self.errors: dict[int, BaseExceptionGroup[BaseException]] = {}
        self.in_use: Counter[str] = Counter()
        self.at_work: Counter[int] = Counter()
        self.tries: Counter[int] = Counter()

    async def work(self, resource: str, number: int) -> int:
        """The function of every job."""
        mine = self.plan.jobs[number]
        assert not self.in_use[resource], "a worker serves two at once"
        bound = self.plan.groups[mine.group].max_running if mine.group >= 0 else None
        assert bound is None or self.at_work[mine.group] < bound, "too many of a group at once"
        self.check_own(resource, mine.group)
        for other in mine.after:
            assert self.jobs[other].state is JobState.SUCCEEDED, "begun too early"
        self.in_use[resource] += 1
        self.at_work[mine.group] += 1
        self.tries[number] += 1
        try:
            await trio.sleep(mine.seconds)
        finally:
            self.in_use[resource] -= 1
            self.at_work[mine.group] -= 1
        if mine.outcome == "fails" or (mine.outcome == "works at last" and self.tries[number] < 3):
            raise ValueError("failed")
        if mine.outcome == "is discarded":
            raise Discard
        return number

    def check_own(self, resource: str, mine: int) -> None:
        """Nobody works on what is reserved for others."""
        for number, group in enumerate(self.groups):
            names = {worker.name for worker in group.statistics().workers}
            assert number == mine or resource not in names, "works on what is reserved for others"

    def told(self, number: int) -> set[Job[Any]]:
        """The jobs whose deaths came out of a group, each once."""
        group = self.errors[number]
        jobs = [each.job for each in group.exceptions if isinstance(each, JobFailedError)]
        assert len(jobs) == len(set(jobs)) == len(group.exceptions)
        return set(jobs)

    async def open(self, pool: Pool[str], number: int, submitted: trio.Event, ended: trio.Event) -> None:
        """Hold a group open until all jobs have been submitted, and wait for its end."""
        plan = self.plan.groups[number]
        try:
            async with pool.open_group(
                max_running=plan.max_running, reserve=plan.reserve, must_succeed=plan.must_succeed
            ) as group:
                self.groups.append(group)
                await submitted.wait()
        except BaseExceptionGroup as error:
            self.errors[number] = error
        ended.set()

    def submit(self, pool: Pool[str]) -> None:
        """Submit all jobs in one moment."""
        for number, mine in enumerate(self.plan.jobs):
            submitter = self.groups[mine.group] if mine.group >= 0 else pool
            after = [self.jobs[other] for other in mine.after]
            retry = AT_LAST if mine.outcome == "works at last" else RetryPolicy.never()
            job = submitter.submit_nowait(self.work, number, after=after, priority=mine.priority, retry=retry)
            self.jobs.append(job)

    async def submit_graph(self, pool: Pool[str]) -> None:
        """The same in one call, for jobs that are all of the pool."""
        nodes = {
            number: Node(
                self.work,
                number,
                after=mine.after,
                priority=mine.priority,
                retry=AT_LAST if mine.outcome == "works at last" else RetryPolicy.never(),
            )
            for number, mine in enumerate(self.plan.jobs)
        }
        jobs = await pool.submit_graph(nodes)
        self.jobs = [jobs[number] for number in nodes]

    async def cancel(self, number: int, when: int) -> None:
        """Cancel a job."""
        await trio.sleep(when)
        self.jobs[number].cancel()

    async def remove(self, pool: Pool[str], when: int, cut: bool) -> None:
        """Remove the first worker that is left."""
        await trio.sleep(when)
        await pool.workers[0].remove(cancel=cut)

    async def watch(self, pool: Pool[str]) -> None:
        """Between two moments in which something happens: no job waits that could run."""
        while True:
            await trio.sleep(0.5)
            self.check_idle(pool)
            await trio.sleep(0.5)

    def check_idle(self, pool: Pool[str]) -> None:
        """No job waits that could run."""
        records: list[PoolStatistics] = [group.statistics() for group in self.groups]
        owners = {worker.id: number for number, seen in enumerate(records) for worker in seen.workers}
        if pool.max_running is not None and pool.statistics().running >= pool.max_running:
            return
        for job in pool.jobs(JobState.QUEUED):
            number = self.plan.jobs[self.jobs.index(job)].group
            bound = self.plan.groups[number].max_running if number >= 0 else None
            if bound is not None and records[number].running >= bound:
                continue
            for worker in pool.idle_workers:
                assert owners.get(worker.id, number) != number, f"{job!r} waits beside {worker!r}"

    async def main(self, *, as_graph: bool) -> None:
        """Carry it out."""
        plan = self.plan
        submitted = trio.Event()
        ended = [trio.Event() for _ in plan.groups]
        resources = [f"worker-{number + 1}" for number in range(plan.workers)]
        with trio.fail_after(LONG_ENOUGH):
            async with (
                open_pool(resources, max_running=plan.max_running, max_queue=None, on_dead="keep") as pool,
                trio.open_nursery() as nursery,
            ):
                for number in range(len(plan.groups)):
                    nursery.start_soon(self.open, pool, number, submitted, ended[number])
                    await wait_all_tasks_blocked()
                assert len(self.groups) == len(plan.groups)
                nursery.start_soon(self.watch, pool)
                if as_graph:
                    await self.submit_graph(pool)
                else:
                    self.submit(pool)
                submitted.set()
                for number, when in plan.cancelled.items():
                    nursery.start_soon(self.cancel, number, when)
                async with trio.open_nursery() as removals:
                    for when, cut in plan.removed:
                        removals.start_soon(self.remove, pool, when, cut)
                for each in ended:
                    await each.wait()
                await pool.join()
                assert_settled(pool)
                nursery.cancel_scope.cancel()
        assert not +self.in_use
        seen = pool.statistics()
        assert seen.submitted == seen.succeeded + seen.dead + seen.cancelled + seen.discarded == len(plan.jobs)


def run(plan: Plan, *, as_graph: bool = False) -> Run:
    """Carry a plan out."""
    found = Run(plan)

    async def main() -> None:
        await found.main(as_graph=as_graph)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return found


def expected(plan: Plan) -> list[JobState]:
    """What comes of each job if nothing disturbs it."""
    ends: list[JobState] = []
    for mine in plan.jobs:
        if any(ends[other] is not JobState.SUCCEEDED for other in mine.after) or mine.outcome == "is discarded":
            ends.append(JobState.DISCARDED)
        else:
            ends.append(JobState.DEAD if mine.outcome == "fails" else JobState.SUCCEEDED)
    return ends


@settings(max_examples=part_of(150))
@given(plans(quiet=True))
def test_discarded_is_exactly_what_stands_behind_a_failure(plan: Plan) -> None:
    found = run(plan)
    assert [job.state for job in found.jobs] == expected(plan)
    check_order(found)
    assert found.errors == {}


@settings(max_examples=part_of(100))
@given(plans(quiet=True).map(lambda plan: attrs.evolve(plan, jobs=[attrs.evolve(job, group=-1) for job in plan.jobs])))
def test_a_graph_that_is_submitted_whole_comes_to_the_same(plan: Plan) -> None:
    found = run(plan, as_graph=True)
    assert [job.state for job in found.jobs] == expected(plan)
    check_order(found)


@settings(max_examples=part_of(250))
@given(plans(quiet=False))
def test_whatever_is_cancelled_or_removed_or_must_succeed_every_job_ends_in_its_order(plan: Plan) -> None:
    found = run(plan)
    check_order(found)
    failed: set[int] = set()
    for number, group in enumerate(plan.groups):
        dead = {job for job, mine in zip(found.jobs, plan.jobs, strict=True) if mine.group == number and is_dead(job)}
        if group.must_succeed and dead:
            failed.add(number)
            assert found.told(number) == dead
    assert found.errors.keys() == failed
    for number, mine in enumerate(plan.jobs):
        job = found.jobs[number]
        behind = any(found.jobs[other].state is not JobState.SUCCEEDED for other in mine.after)
        if behind:
            assert job.state in (JobState.DISCARDED, JobState.CANCELLED)
        if job.state is JobState.DISCARDED:
            assert behind or mine.group in failed or mine.outcome == "is discarded"
        if job.state is JobState.CANCELLED:
            assert number in plan.cancelled or mine.group in failed
        if job.state is JobState.DEAD:
            assert mine.outcome != "works"


def is_dead(job: Job[Any]) -> bool:
    """Whether it died."""
    return job.state is JobState.DEAD


def check_order(found: Run) -> None:
    """No attempt began before all that the job waits for had succeeded; all states are told."""
    for job, mine in zip(found.jobs, found.plan.jobs, strict=True):
        for other in (found.jobs[number] for number in mine.after):
            for attempt in job.attempts:
                assert other.state is JobState.SUCCEEDED
                assert other.finished_at is not None
                assert other.finished_at <= attempt.started_at
        assert [each.state for each in job.history if each.state.is_final] == [job.state]
