"""Holds the scheduler against the plain model of it after each step."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis.stateful import invariant

from tests.core.makers import run_of, run_on
from tests.core.plain_parts import FINAL, PlainJob, PlainVerdict
from tests.core.scheduler_machine import SchedulerMachine
from trio_pool import JobState, WorkerState
from trio_pool._core.deadlines import HOLDS, Due, _is_current
from trio_pool._core.race import race_of
from trio_pool._model.setback import Setback
from trio_pool._model.states import Hold
from trio_pool._policies.circuit_breaker import BreakerState

if TYPE_CHECKING:
    from trio_pool._model.records import JobRecord

PHASES = {Hold.STOPPED: "gone", Hold.STARTING: "starting", Hold.REOPENING: "reopening"}


class CheckedMachine(SchedulerMachine):
    """Holds the core against the model after every step, and sees that every run comes to an end."""

    @invariant()
    def each_place_has_spent_its_time_as_a_look_at_everything_says(self) -> None:
        state = self.core.scheduler.state
        self.accounts.look(state, self.now)
        for worker in self.workers:
            assert state.accounts.of(worker.record, self.now) == pytest.approx(self.accounts.of(worker.record))
        workers = state.roster.by_id.values()
        assert state.accounts.in_all(workers, self.now) == pytest.approx(self.accounts.in_all())

    # How many runs have come to their end.
    runs: ClassVar[int] = 0

    @invariant()
    def each_job_is_where_the_model_has_it(self) -> None:
        records = self.records()
        for job, plain in self.jobs:
            assert job._state is plain.state, (job, plain)
            assert [transition.state for transition in job.history] == plain.states
            assert job.attempt_count == plain.attempts
            assert job.dead_reason is plain.dead_reason
            assert job._started is plain.ever_started
            if not job.state.is_final:
                setback = job._setback or Setback()
                assert setback.counted == plain.counted_failures
                assert setback.failed_on == {records[worker] for worker in plain.failed_on}
                assert setback.last is (None if plain.last is None else records[plain.last])

    @invariant()
    def each_worker_is_where_the_model_has_it(self) -> None:
        for worker in self.workers:
            record, plain = worker.record, worker.plain
            assert plain.phase == next((phase for hold, phase in PHASES.items() if hold in record._holds), "open")
            assert (Hold.PAUSED in record._holds) is plain.paused
            assert record._is_leaving is plain.departing
            assert record._holds.get(Hold.RESTING) == plain.rest_until
            assert record._holds.get(Hold.QUARANTINED) == plain.quarantined_until
            assert record._holds.get(Hold.LIMITED) == plain.limited_until
            assert record._available is plain.available
            assert record.state is plain.state
            assert (record._failed, record._succeeded) == (plain.ended - plain.succeeded, plain.succeeded)
        records = self.records()
        idle = [records[plain] for plain in self.plain.idle()]
        assert self.core.roster.idle() == idle
        held = self.plain.is_held() or self.plain.ready_at() > self.plain.now
        assert self.core.scheduler.free(self.plain.now) == ([] if held else idle)

    @invariant()
    def what_has_been_used_adds_up(self) -> None:
        assert self.core.lifecycle.used == self.plain.used
        assert [worker.record._used for worker in self.workers] == [worker.plain.used for worker in self.workers]

    @invariant()
    def closed_are_the_units_whose_limits_let_nothing_start(self) -> None:
        if self.core.scheduler.deadlines.soonest <= self.now:
            return  # what is due has not been seen to
        assert self.core.roster.closed.units == self.plain.rates.closed(self.now)
        for worker in self.those(lambda _: True):
            assert worker.record._closed == worker.plain.rates.closed(self.now)

    @invariant()
    def a_worker_that_may_start_nothing_is_not_idle(self) -> None:
        for record in self.core.roster.idle():
            (plain,) = [worker.plain for worker in self.workers if worker.record is record]
            assert plain.state is (WorkerState.BUSY if plain.runs else WorkerState.IDLE)
            assert plain.ready_at(self.plain.now) <= self.plain.now
            assert not plain.is_worn(self.plain.now)
            assert plain.may_start_more(self.plain.now)

    @invariant()
    def an_open_breaker_has_one_probe_at_most(self) -> None:
        for worker in self.workers:
            limits, plain = worker.record._limits, worker.plain.breaker
            breaker = None if limits is None else limits.breaker
            assert (breaker is None) is (plain is None)
            if breaker is not None and plain is not None:
                assert breaker.open_until == plain.open_until
                probes = [run for run in worker.plain.runs if run.is_probe]
                assert (breaker.state is BreakerState.PROBING) is bool(probes)
                assert len(probes) <= 1
                assert plain.open_until is not None or not probes

    @invariant()
    def counts_agree_with_a_recount(self) -> None:
        lifecycle = self.core.lifecycle
        entered = [job for job, _ in self.jobs if job._state is not None]
        for state in JobState:
            assert lifecycle.count[state] == sum(1 for job in entered if job._state is state)
        assert len(entered) == sum(lifecycle.count.values())
        live = [job for job in entered if not job.state.is_final]
        assert sorted(lifecycle.live) == [job.id for job in live]
        assert lifecycle.unstarted == sum(1 for job in live if not job._started)
        succeeded = lifecycle.count[JobState.SUCCEEDED]
        assert (succeeded + lifecycle.failures, lifecycle.failures, lifecycle.retries) == (
            self.plain.attempts,
            self.plain.failures,
            self.plain.retries,
        )
        assert lifecycle.queue_peak >= lifecycle.count[JobState.QUEUED]
        blocks = sum(plain.is_lease and plain.state is JobState.DEAD for _, plain in self.jobs)
        assert len(self.core.dead) == len(self.died) == lifecycle.count[JobState.DEAD] - blocks

    @invariant()
    def what_is_kept_of_workers_agrees_with_a_recount(self) -> None:
        records = list(self.core.roster.by_id.values())
        assert self.core.roster.coming == sum(record._may_become_available for record in records)
        assert set(self.core.scheduler.state.paused) == {record for record in records if (Hold.PAUSED in record._holds)}
        assert self.core.roster.leaving == sum(record._is_leaving for record in records)

    @invariant()
    def the_queue_holds_what_is_queued_in_order(self) -> None:
        queue = self.core.scheduler.state.queue
        plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
        assert len(queue) == self.core.lifecycle.count[JobState.QUEUED]
        assert set(queue) == {job for job, plain in self.jobs if plain.state is JobState.QUEUED}
        in_order = sorted(
            queue, key=lambda job: (job._options.priority, 0.0 if job._key is None else job._key.turn, job._ticket)
        )
        assert [plain_jobs[job] for job in in_order] == self.plain.queue()

    @invariant()
    def each_key_has_its_turn_when_the_model_says(self) -> None:
        keys = self.core.scheduler.state.keys
        if keys is None:
            return
        now = self.plain.virtual_time
        assert keys.virtual_time == now
        for value, plain in self.keys.items():
            record = keys.unnamed if value is None else keys.known(value)
            if record is not None and record.has_jobs:
                assert record.room == self.plain.key_room(plain)
                # One that was forgotten has its first turn again, which then is no earlier than the present one.
                assert max(record.turn, now) == max(plain.turn, now)

    @invariant()
    def no_job_is_queued_beside_an_idle_worker_that_may_take_it(self) -> None:
        plain = self.plain
        if plain.may_start():
            assert plain.next_pair(plain.queue()) is None
            assert plain.next_pair(plain.line) is None
            assert plain.next_further() is None

    @invariant()
    def the_pool_is_held_back_as_in_the_model(self) -> None:
        hold = self.core.scheduler.hold
        assert (hold.paused, hold.resting_until) == (self.plain.is_paused, self.plain.rests_until)

    def lenders(self) -> set[object]:
        """The jobs that run, but on no worker."""
        return {run.job for worker in self.workers for run in worker.record._lent}

    @invariant()
    def a_worker_runs_what_it_does_in_the_model_and_a_job_on_several_workers_is_a_race(self) -> None:
        hedging = self.core.scheduler.state.hedging
        running = [each.job for each in self.busy()]
        lent = self.lenders()
        plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
        assert not lent & set(running)
        assert len(set(running)) + len(lent) == self.core.lifecycle.count[JobState.RUNNING]
        assert len(running) - len(set(running)) - len(lent) == self.core.lifecycle.surplus
        for worker in self.workers:
            jobs = [run.job for run in worker.record._runs]
            assert worker.running == jobs
            assert [plain_jobs[job] for job in jobs] == [run.job for run in worker.plain.runs]
            assert all(run_of(job).worker is worker.record or race_of(job) in hedging.under_way for job in jobs)
            assert (worker.record._max_running, worker.record._has_place) == (
                worker.plain.places,
                worker.plain.has_place,
            )

    @invariant()
    def each_attempt_is_where_the_model_has_it(self) -> None:
        hedging, records = self.core.scheduler.state.hedging.under_way, self.records()
        for job, plain in self.jobs:
            if job.state is not JobState.RUNNING:
                assert job.worker is None
                assert all(race.job is not job for race in hedging)
                continue
            attempt = plain.attempt
            assert len(set(attempt.workers)) == len(attempt.workers)
            runners = [records[run.worker] for run in attempt.runs]
            assert {each.worker.record for each in self.busy() if each.job is job} == set(runners)
            if plain.has_lent is not None:
                assert (runners, attempt.due) == ([], None)
                continue
            assert {run_on(record, job).deadline for record in runners} == {attempt.deadline}
            assert job.worker is runners[0]
            race = race_of(job)
            assert race is None or race in hedging
            assert [records[worker] for worker in attempt.workers] == (list(race.took_part) if race else runners)
            assert runners == ([run.worker for run in race.runners] if race else [job.worker])
            is_waiting = attempt.waits_since is not None and attempt.deadline < math.inf
            assert (attempt.deadline if is_waiting else attempt.due) == (race.next_at if race else None)

    @invariant()
    def those_wait_for_one_more_worker_that_do_so_in_the_model_in_the_same_order(self) -> None:
        hedging = self.core.scheduler.state.hedging
        plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
        assert set(hedging.waiting) <= set(hedging.under_way)
        assert [plain_jobs[race.job] for race in hedging.waiting] == self.plain.waiting()

    @invariant()
    def nobody_waits_for_a_place_while_there_is_one(self) -> None:
        assert self.core.scheduler.waiting == len(self.plain.submitters())
        assert not self.plain.line or self.core.lifecycle.unstarted >= self.plain.max_queue

    @invariant()
    def everything_that_begins_is_told_once_and_so_is_its_end(self) -> None:
        if self.is_quiet:
            return
        submitted = [told.arguments[0] for told in self.told if told.event == "job_submitted"]
        finished = [told.arguments[0] for told in self.told if told.event == "job_finished"]
        assert len(set(submitted)) == len(submitted) == sum(self.core.lifecycle.count.values())
        assert len(set(finished)) == len(finished)
        assert set(finished) == {job for job, plain in self.jobs if plain.state in FINAL}
        under_way: set[object] = set()
        for told in self.told:
            if told.event == "attempt_started":
                assert told.arguments[0] not in under_way
                under_way.add(told.arguments[0])
            elif told.event == "attempt_ended":
                under_way.remove(told.arguments[0])
        assert under_way == {each.job for each in self.busy()} | self.lenders()

    @invariant()
    def nothing_that_is_due_is_slept_through(self) -> None:
        deadline = self.core.scheduler.deadlines.soonest
        assert deadline <= min(self.plain.dues(), default=math.inf)

    @invariant()
    def nobody_is_woken_for_what_is_not_in_the_heap(self) -> None:
        deadlines = self.core.scheduler.deadlines
        assert deadlines.soonest == min((entry[0] for entry in deadlines), default=math.inf)

    @invariant()
    def what_holds_something_up_has_one_entry_in_the_heap(self) -> None:
        deadlines = self.core.scheduler.deadlines
        current = [entry for entry in deadlines if _is_current(entry)]
        assert deadlines._stale == len(deadlines) - len(current)
        found = [(due, item) for _, due, _, item in current if due not in (Due.TOTAL_TIMEOUT, Due.DELAY)]
        holds: list[tuple[Due, object]] = []
        for worker in self.workers:
            record = worker.record
            holds.extend((due, record) for due, hold in HOLDS.items() if hold in record._holds)
            holds.extend((Due.AGE, record) for _ in range(record._expires_at is not None))
        hedging = self.core.scheduler.state.hedging.under_way
        holds.extend((Due.HEDGE, race) for race in hedging if race.next_at is not None)
        limits = self.core.scheduler.state.limits
        holds.extend((Due.POOL_REST, limits.hold.rest_end) for _ in range(limits.hold.resting_until is not None))
        if limits.limited_until is not None:
            holds.append((Due.RATE, limits))
        holds.extend((Due.UNIT, gate) for gate in self.core.scheduler.metering._gates.values())
        keys = self.core.scheduler.state.keys
        known = [] if keys is None else keys.all()
        holds.extend((Due.KEY_REST, key) for key in known if key.resting_until is not None)
        autoscaler = self.core.scheduler._features.autoscaler
        if autoscaler is not None:
            alarms = ((Due.RETIRE, autoscaler._retiring), (Due.OPEN, autoscaler._opening))
            holds.extend((due, alarm) for due, alarm in alarms if alarm.at is not None)
        assert Counter(found) == Counter(holds)

    def bring_to_an_end(self) -> None:
        """All jobs run to their ends, as when the block of a pool is left; time does the rest."""
        self.drain()
        left, steps = len(self.plain.live()), 0
        while left:
            assert steps < 1000, "the pool goes round in circles"
            if steps % 100 == 99:
                self.break_circle()
            assert self.something_happens(), "the pool hangs"
            self.agrees_on_its_way()
            steps += 1
            if len(self.plain.live()) < left:  # it may be slow all in all: a rate limit, and resources that age
                left, steps = len(self.plain.live()), 0

    def agrees_on_its_way(self) -> None:
        """What is held against the model after each step to the end, where the invariants don't hold any more."""

    def break_circle(self) -> None:
        """Something has gone on happening for long: do what is done where nothing happens."""

    def something_happens(self) -> bool:
        """The next of all that happens by itself; returns whether there is anything."""
        opening = self.reopening()
        if self.able():
            self.succeed_on(self.able()[0])
        elif opening:
            self.open_resource(opening[0])
        elif self.leaving():
            self.stop_one(self.leaving()[0])
        elif self.core.scheduler.deadlines.soonest < math.inf:
            self.now = max(self.now, self.core.scheduler.deadlines.soonest)
            self.mind_deadlines()
        else:
            return False
        return True

    def everything_stops(self) -> None:
        """What runs still, once all is cancelled, ends."""
        for worker in self.busy():
            self.fail_with(worker, PlainVerdict("retry"), ValueError("after the end"))

    def teardown(self) -> None:
        """Whatever has happened, the pool can be brought to an end that loses no job."""
        if not hasattr(self, "core"):
            return
        self.core.scheduler.close(self.now)
        self.plain.line.clear()
        if self.patient:
            self.bring_to_an_end()
        self.cancel_all()
        self.everything_stops()
        count = self.core.lifecycle.count
        assert sum(count.values()) == sum(count[state] for state in FINAL)
        assert not self.core.lifecycle.live
        CheckedMachine.runs += 1
