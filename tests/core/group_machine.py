"""Does to groups, and to jobs that wait for jobs, whatever may happen to them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.core.checked_machine import CheckedMachine
from tests.core.machine_draws import REQUIRED, TIMES
from tests.core.makers import make_job
from tests.core.plain_groups import PlainGroup, PlainGroupedPool
from tests.core.plain_parts import PlainJob, PlainVerdict, PlainWorker
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Door

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from tests.core.shell_machine import ShellWorker
    from trio_pool import Job
    from trio_pool._model.records import Group, JobRecord, WorkerRecord

DOORS = st.sampled_from([Door.QUEUE_UP, Door.QUEUE_UP, Door.QUEUE_UP, Door.ALWAYS, Door.AT_ONCE, Door.IF_IDLE])
# One run has to do with one thing that a group can do, or with all.
GROUPS = {
    "none": st.builds(PlainGroup),
    "limited": st.builds(PlainGroup, max_running=st.sampled_from([1, 1, 2])),
    "reserving": st.builds(PlainGroup, reserve=st.sampled_from([1, 1, 2, 3])),
    "strict": st.builds(PlainGroup, must_succeed=st.just(True)),
    "all": st.builds(
        PlainGroup,
        max_running=st.sampled_from([math.inf, 1, 2]),
        reserve=st.sampled_from([0, 0, 1, 2]),
        must_succeed=st.booleans(),
    ),
}
# What attempts come to: a value, another attempt, perhaps elsewhere or later, or the end of the job.
ENDINGS = (
    None,
    None,
    PlainVerdict("retry"),
    PlainVerdict("retry", placement="other"),
    PlainVerdict("retry", placement="other"),
    PlainVerdict("retry", placement="same"),
    PlainVerdict("retry", delay=1.0),
    PlainVerdict(DeadReason.GAVE_UP),
)


class GroupMachine(CheckedMachine):
    """Does to groups, too, whatever can be done."""

    make_plain = PlainGroupedPool

    @property
    def model(self) -> PlainGroupedPool:
        """The model, as what it is."""
        assert isinstance(self.plain, PlainGroupedPool)
        return self.plain

    def __init__(self) -> None:
        super().__init__()
        # All that were ever opened, with the model's; and those that had jobs before what has happened last.
        self.groups: list[tuple[Group, PlainGroup]] = []
        self.lived: set[PlainGroup] = set()

    @initialize(kind=st.sampled_from(sorted(GROUPS)))
    def choose_kind(self, kind: str) -> None:
        self.kind_of_groups = GROUPS[kind]

    def forget_news(self) -> None:
        super().forget_news()
        for found in (self.model.staffed, self.staffed, self.model.turned_away, self.turned_away, self.quiet_groups):
            found.clear()
        self.lived = self.living_groups()

    def check_news(self, told_before: int) -> None:
        """The same; and groups get their workers in both or in neither."""
        super().check_news(told_before)
        plain_groups = dict(self.groups)
        assert [plain_groups[group] for group in self.staffed] == self.model.staffed
        assert [plain_groups[group] for group in self.turned_away] == self.model.turned_away
        assert self.lived - self.living_groups() <= {plain_groups[group] for group in self.quiet_groups}

    def living_groups(self) -> set[PlainGroup]:
        """The groups that have jobs."""
        return {job.group for job in self.plain.live() if job.group is not None}

    def open_groups(self) -> list[tuple[Group, PlainGroup]]:
        """Those that have not been closed."""
        return [pair for pair in self.groups if pair[1] in self.model.groups]

    def taking_groups(self) -> list[tuple[Group, PlainGroup]]:
        """Those of them that take more jobs."""
        return self.open_groups()

    # Jobs that wait for others.

    def submit_to(
        self,
        data: DataObject,
        group: tuple[Group, PlainGroup] | None,
        after: list[tuple[Job[Any], PlainJob]],
        door: Door,
        *,
        priority: float = 0,
        requires: tuple[str, ...] = (),
        only: ShellWorker | None = None,
        total_timeout: float = math.inf,
    ) -> tuple[Job[Any], PlainJob]:
        kind = self.kind_of_job(data)
        after = [] if kind.is_lease else after
        job = make_job(
            now=self.now,
            priority=priority,
            requires=requires,
            worker=only.record if only else None,
            total_timeout=total_timeout,
            **kind.of_core,
            name=f"<{len(self.jobs)}>",
            after=[other for other, _ in after],
            group=group[0] if group else None,
        )
        plain = PlainJob(
            priority,
            frozenset(requires),
            only.plain if only else None,
            self.now + total_timeout,
            math.inf,
            **kind.of_model,
            group=group[1] if group else None,
            after=[other for _, other in after],
        )
        self.jobs.append((job, plain))
        self.on_both(
            lambda: self.plain.submit(plain, door),
            lambda: self.let_in(job, door),
        )
        return job, plain

    def entered(self) -> list[tuple[Job[Any], PlainJob]]:
        """The jobs that others may wait for, the last ones of them."""
        return [pair for pair in self.jobs if pair[1].state is not None][-12:]

    @rule(
        data=st.data(),
        priority=st.sampled_from([0, 0, 0, 1, -1]),
        requires=REQUIRED,
        pinned=st.sampled_from([False, False, False, True]),
        total_timeout=TIMES,
        door=DOORS,
        is_after=st.booleans(),
    )
    def submit_one_of_a_group(
        self,
        data: DataObject,
        priority: float,
        requires: tuple[str, ...],
        pinned: bool,
        total_timeout: float,
        door: Door,
        is_after: bool,
    ) -> None:
        only = data.draw(st.sampled_from(self.workers)) if pinned and self.workers else None
        after = data.draw(st.lists(st.sampled_from(self.entered()), max_size=3)) if is_after and self.entered() else []
        self.submit_to(
            data,
            data.draw(st.sampled_from([None, *self.taking_groups()])),
            after,
            Door.ALWAYS if self.closed else door,
            priority=priority,
            requires=requires,
            only=only,
            total_timeout=total_timeout,
        )

    @rule(data=st.data(), edges=st.lists(st.lists(st.integers(0, 5), max_size=2), min_size=1, max_size=5))
    def submit_graph(self, data: DataObject, edges: list[list[int]]) -> None:
        """Several jobs, each after some of those before it."""
        group = data.draw(st.sampled_from([None, *self.taking_groups()]))
        jobs: list[tuple[Job[Any], PlainJob]] = []
        for befores in edges:
            after = [jobs[-before] for before in befores if 0 < before <= len(jobs)]
            jobs.append(self.submit_to(data, group, [pair for pair in after if pair[1].state is not None], Door.ALWAYS))

    @rule(
        data=st.data(),
        edges=st.lists(st.lists(st.integers(0, 3), max_size=2), min_size=1, max_size=4),
        door=st.sampled_from([Door.QUEUE_UP, Door.QUEUE_UP, Door.ALWAYS]),
    )
    def submit_whole_graph(self, data: DataObject, edges: list[list[int]], door: Door) -> None:
        """The same, but they wait for one place together."""
        group, plain_group = data.draw(st.sampled_from([(None, None), *self.taking_groups()]))
        jobs: list[tuple[Job[Any], PlainJob]] = []
        for befores in edges:
            after = [jobs[-before] for before in befores if 0 < before <= len(jobs)]
            requires, timeout = data.draw(REQUIRED), data.draw(TIMES)
            kind = self.kind_of_job(data)._replace(is_lease=False)
            job = make_job(
                now=self.now,
                requires=requires,
                total_timeout=timeout,
                **kind.of_core,
                name=f"<{len(self.jobs) + len(jobs)}>",
                after=[other for other, _ in after],
                group=group,
            )
            plain = PlainJob(
                0, frozenset(requires), None, self.now + timeout, math.inf, group=plain_group, **kind.of_model
            )
            plain.after = [other for _, other in after]
            jobs.append((job, plain))
        self.jobs += jobs
        scheduler, every = self.core.scheduler, [job for job, _ in jobs]
        door = Door.ALWAYS if self.closed else door
        self.on_both(
            lambda: self.model.submit_graph([plain for _, plain in jobs], door),
            lambda: scheduler.submit_graph(scheduler.key_of(every), every, door, self.now),
        )

    # Groups.

    @precondition(lambda self: len(self.open_groups()) < 3)
    @rule(data=st.data(), jobs=st.integers(0, 3))
    def open_group(self, data: DataObject, jobs: int) -> None:
        plain = data.draw(self.kind_of_groups)
        group = self.core.make_group(
            max_running=plain.max_running, reserve=plain.reserve, must_succeed=plain.must_succeed
        )
        self.groups.append((group, plain))
        self.on_both(
            lambda: self.model.open_group(plain),
            lambda: self.core.scheduler.open_group(group, self.now),
        )
        for _ in range(jobs):
            self.submit_to(data, (group, plain), [], Door.ALWAYS)

    @precondition(lambda self: self.taking_groups())
    @rule(data=st.data(), jobs=st.integers(1, 4))
    def submit_to_a_group(self, data: DataObject, jobs: int) -> None:
        group = data.draw(st.sampled_from(self.taking_groups()))
        for _ in range(jobs):
            self.submit_to(data, group, [], Door.ALWAYS)

    @precondition(lambda self: self.taking_groups())
    @rule(
        data=st.data(),
        where=st.lists(st.integers(0, 3), max_size=5),
        ends=st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=6),
    )
    def work_in_groups(self, data: DataObject, where: list[int], ends: list[PlainVerdict | None]) -> None:
        """Attempts end one after another, in groups and beside them."""
        choices = [None, *self.taking_groups()]
        for number in where:
            self.submit_to(data, choices[number % len(choices)], [], Door.ALWAYS)
        for verdict in ends:
            for worker in self.reopening():
                self.open_resource(worker)
            if self.able():
                running = data.draw(st.sampled_from(self.able()))
                if verdict is None:
                    self.succeed_on(running)
                else:
                    self.fail_with(running, verdict, ValueError("no"))

    @precondition(lambda self: self.open_groups())
    @rule(data=st.data(), limit=st.sampled_from([1, 2, math.inf]))
    def set_max_running_of_a_group(self, data: DataObject, limit: float) -> None:
        group, plain = data.draw(st.sampled_from(self.open_groups()))
        self.on_both(
            lambda: self.model.set_group_max_running(plain, limit),
            lambda: self.core.scheduler.set_group_max_running(group, limit, self.now),
        )

    def over(self) -> list[tuple[Group, PlainGroup]]:
        """The groups whose blocks may be left."""
        return [pair for pair in self.open_groups() if not self.model.members(pair[1])]

    @precondition(lambda self: self.over())
    @rule(data=st.data())
    def close_group(self, data: DataObject) -> None:
        self.close_one(data.draw(st.sampled_from(self.over())))

    def close_one(self, pair: tuple[Group, PlainGroup]) -> None:
        group, plain = pair
        self.on_both(
            lambda: self.model.close_group(plain),
            lambda: self.core.scheduler.close_group(group, self.now),
        )
        assert not group.workers

    @precondition(lambda self: self.open_groups())
    @rule(data=st.data(), is_shut=st.booleans())
    def cancel_group(self, data: DataObject, is_shut: bool) -> None:
        self.cancel_one_group(data.draw(st.sampled_from(self.open_groups())), is_shut=is_shut)

    def cancel_one_group(self, pair: tuple[Group, PlainGroup], *, is_shut: bool) -> None:
        group, plain = pair
        if is_shut:
            self.shut_one_group(pair)
        self.on_both(
            lambda: self.model.cancel_group(plain),
            lambda: self.core.scheduler.cancel_group(group, self.now),
        )

    def shut_one_group(self, pair: tuple[Group, PlainGroup]) -> None:
        group, plain = pair
        plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
        waiting = [job for job in self.plain.submitters() if job.group is plain]
        assert len(group.line) == len(waiting)
        assert [plain_jobs[job] for job in self.core.scheduler.shut_group(group, self.now)] == waiting
        for job in waiting:
            self.plain.withdraw(job)

    # What holds after every step.

    @invariant()
    def nothing_that_has_happened_is_left_to_be_seen_to(self) -> None:
        assert not self.core.lifecycle.news

    @invariant()
    def each_blocked_job_waits_for_exactly_what_the_model_says(self) -> None:
        dependencies = self.core.scheduler.state.dependencies
        by_plain = {plain: job for job, plain in self.jobs}
        waiting = [plain for plain in [*self.plain.line, *self.plain.live()] if self.model.missing(plain)]
        missing = {by_plain[plain]: {by_plain[other] for other in self.model.missing(plain)} for plain in waiting}
        assert {job: set(others) for job, others in dependencies.missing.items()} == missing
        found = {(job, other) for other, jobs in dependencies.dependents.items() for job in jobs}
        assert found == {(job, other) for job, others in missing.items() for other in others}
        assert all(dependencies.dependents.values())

    @invariant()
    def who_is_discarded_is_told_what_it_waited_for(self) -> None:
        for job, plain in self.jobs:
            if plain.state is JobState.DISCARDED and job.reason != "it is so":
                group = [other for other, each in self.jobs if each.group is plain.group is not None]
                after = [other for other, each in self.jobs if each in plain.after]
                names = [other.name for other in [*group, *after] if other.state.is_final]
                assert any(name in job.reason for name in names)

    @invariant()
    def each_worker_is_kept_for_whom_the_model_says(self) -> None:
        groups = {plain: group for group, plain in self.groups}
        lacking = 0
        for worker in self.workers:
            if worker.plain.phase != "gone":
                assert kept_by(worker.record) == Counter(groups[group] for group in worker.plain.kept)
        for group, plain in self.open_groups():
            kept = Counter({worker.record: worker.plain.kept.count(plain) for worker in self.workers})
            assert Counter(group.workers) == +kept
            assert 0 <= group.lacks == plain.reserve - kept.total()
            lacking += 0 if plain.is_beyond or plain.is_turned_away else group.lacks
        reservations = self.core.scheduler.state.reservations
        assert reservations.lacking == lacking
        served = [group for group, _ in self.open_groups() if group not in reservations.waiting]
        assert reservations.kept == sum(group.reserved for group in served)
        assert reservations.may_give_back == any(group.workers for group in served if group.opener is None)
        assert [groups[plain] for plain in self.model.waiting_groups()] == list(reservations.waiting)
        assert not lacking or all(worker.free_places() <= 0 or worker.lenders for worker in self.plain.idle())

    @invariant()
    def kinds_of_workers_agree_with_a_recount(self) -> None:
        roster, groups = self.core.roster, dict(self.groups)
        records = list(roster.by_id.values())
        plain_workers = {worker.record: worker.plain for worker in self.workers}
        keys = [(record.tags, group, record._closed) for record in records for group in groups_of(record)]
        kinds = {(*kind.key, kind.closed): kind for kind in roster.kinds.all()}
        assert kinds.keys() == set(keys)
        for (tags, group, closed), kind in kinds.items():
            members = [record for record in records if (record.tags, record._closed) == (tags, closed)]
            members = [record for record in members if group in groups_of(record)]
            assert kind.members == len(members) == keys.count((tags, group, closed))
            serving = [record for record in members if counts_for(record, group)]
            assert kind.available == sum(record._available and not record._lent for record in serving)
            free = [record for record in roster.idle() if record in members]
            idle = [
                record
                for record in free
                if has_free_place(plain_workers[record], None if group is None else groups[group])
            ]
            # Places that are kept for groups are free in an index of their own.
            own = [record for record in idle if group is None or record._is_exclusive]
            assert sorted(kind.idle, key=kind.idle.__getitem__) == own
            assert list(kind.idle) == own or not kind.is_in_order
            if group is None:
                assert not kind.kept
            else:
                shared = [record for record in members if not record._is_exclusive]
                assert set(kind.kept) == {record for record in shared if plain_workers[record].unused(groups[group])}
        places = roster.kinds.places.free
        assert sorted(places, key=places.__getitem__) == [each for each in roster.idle() if not each._is_exclusive]
        assert roster.idle_count == len(roster.idle())

    @invariant()
    def a_groups_counts_agree_with_a_recount(self) -> None:
        for group, plain in self.groups:
            jobs = [(job, each) for job, each in self.jobs if each.group is plain and each.state is not None]
            assert group.count == {state: sum(each.state is state for _, each in jobs) for state in JobState}
            by_plain = {each: job for job, each in jobs}
            assert list(group.live) == [by_plain[each] for each in self.plain.live() if each.group is plain]
            succeeded = group.count[JobState.SUCCEEDED]
            assert succeeded + group.failures == sum(job.attempt_count for job, _ in jobs)
            assert group.retries <= self.core.lifecycle.retries
            assert group.queue_peak >= group.count[JobState.QUEUED]
            running = [each for _, each in jobs if each.state is JobState.RUNNING]
            assert group.count[JobState.RUNNING] + group.surplus == self.plain.under_way(running)

    @invariant()
    def the_queue_has_lanes_by_groups_as_it_has_them_by_terms(self) -> None:
        for queue in (self.core.scheduler.state.queue, self.core.scheduler.state.waiting_line.by_taker):
            gated = {lane for lane in queue._lanes.values() if lane.terms.gate is not None}
            assert {lane for lanes in queue.indexes.gated.values() for lane in lanes} == gated
            assert all(lane.terms.gate is group for group, lanes in queue.indexes.gated.items() for lane in lanes)
            open_groups = [group for group, _ in self.open_groups()]
            assert {group for _, group in queue.indexes._families} <= {None, *open_groups}

    @invariant()
    def only_blocked_jobs_in_line_are_in_no_lane(self) -> None:
        queue = self.core.scheduler.state.waiting_line.by_taker
        plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
        in_order = sorted(queue, key=lambda job: job._ticket)
        assert [plain_jobs[job] for job in in_order] == self.plain.ready_line()
        waiting_line = self.core.scheduler.state.waiting_line
        assert [plain_jobs[job] for job in waiting_line.line] == self.plain.submitters()
        for group, plain_group in self.groups:
            in_line = [job for job in self.plain.line if job.group is plain_group]
            assert [plain_jobs[job] for job in waiting_line.all_of(group)] == in_line
        assert all(waiting_line.has(job) is (plain in self.plain.line) for job, plain in self.jobs)

    def agrees_on_its_way(self) -> None:
        self.each_worker_is_kept_for_whom_the_model_says()

    def something_happens(self) -> bool:
        """The next of all that happens by itself; at last groups that hold each other up are cancelled."""
        if self.over() and not self.able() and not self.reopening():
            self.close_one(self.over()[0])
        elif not super().something_happens():
            if not self.waits_for_others_workers():
                return False
            self.break_circle()
        return True

    def break_circle(self) -> None:
        """Groups hold each other up, or those who wait in their jobs, which only a look outside of the pool tells."""
        if self.waits_for_others_workers():
            self.cancel_one_group(self.open_groups()[0], is_shut=True)

    def waits_for_others_workers(self) -> bool:
        """Whether a worker that is kept for a group is all that anything waits for."""
        queued = self.plain.those(JobState.QUEUED)
        return bool(queued) and any(not group.waits for worker in self.plain.workers for group in worker.kept)

    @invariant()
    def nothing_is_set_aside_for_who_wants_more_than_there_are(self) -> None:
        for group, plain in self.open_groups():
            if group in self.core.scheduler.state.reservations.waiting:
                assert not group.workers or group.reserve <= self.model.most_places(plain)


def kept_by(worker: WorkerRecord) -> Counter[Group]:
    """How many places of a worker are kept for which groups."""
    group: Group | None = worker._kind.group
    return Counter(worker._kept if group is None else {group: 1})


def groups_of(worker: WorkerRecord) -> set[Group | None]:
    """The groups of the kinds that a worker belongs to: None aside those that have places of one that has several."""
    return {worker._kind.group, *worker._kept}


def counts_for(worker: WorkerRecord, group: Group | None) -> bool:
    """Whether an available worker counts for a group that has places of it, or for all."""
    return group is not None or sum(worker._kept.values()) < worker._max_running


def has_free_place(worker: PlainWorker, group: PlainGroup | None) -> bool:
    """Whether a place is free that is kept for a group, or for none."""
    return worker.free_places() > 0 if group is None else worker.unused(group) > 0
