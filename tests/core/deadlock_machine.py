"""Brings running jobs that wait into trouble, whatever else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.core.plain_groups import PlainGroup
from tests.core.plain_parts import PlainLimits, PlainVerdict
from tests.core.scheduler_machine import pair_of
from tests.core.staff_machine import is_anybody, is_paused
from tests.core.waiting_machine import WaitingMachine
from trio_pool import DeadReason
from trio_pool._core.admission import Door

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject


class DeadlockMachine(WaitingMachine):
    """Does what seldom comes by chance: waits begin that may be in vain, or turn out to be."""

    def get_to_work(self, data: DataObject) -> None:
        """There are two workers at least, and all but one of the places where something may start are taken."""
        while len(self.model.staying()) < 2:
            self.add((), PlainLimits())
        for worker in self.reopening():
            self.open_resource(worker)
        for worker in self.those(is_paused):
            self.resume_one(worker)
        places = int(sum(min(3, worker.free_places()) for worker in self.plain.idle()))
        if places > 1:
            self.submit_for_anybody(places - 1, data)

    @rule(data=st.data(), end=st.sampled_from(["ends", "ends", "shielded", "plain"]), claims_first=st.booleans())
    def an_elder_has_the_worker(self, data: DataObject, end: str, claims_first: bool) -> None:
        """A job gets the worker of a younger one, which wants it back, and waits for the end of that one."""
        self.get_to_work(data)
        if not self.plain.idle():
            return
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.plain in self.plain.idle()]))
        elder = self.submit_to(data, None, [], Door.ALWAYS, only=worker)
        younger = self.submit_to(data, None, [], Door.ALWAYS, only=worker)
        for running in self.able():
            if running.job is elder[0]:
                self.fail_with(running, PlainVerdict("retry"), ValueError("not yet"))
        for running in self.may_lend():
            if running.job is younger[0]:
                self.lend_one(running)
        if elder[0] not in worker.running or elder not in self.may_wait() or younger not in self.may_claim():
            return
        if claims_first:
            self.claim_one(*younger)
        if end == "ends":
            self.cancel_one(*younger)
        if elder in self.may_wait():
            task = self.free_tasks(elder[1])[0]
            self.wait(elder, task, [younger], for_ends=end == "ends", shielded=end == "shielded")

    @rule(data=st.data(), cancels=st.booleans())
    def all_wait_for_a_worker_that_leaves(self, data: DataObject, cancels: bool) -> None:
        """All others are held by jobs that wait for others; the first and the second perhaps wait twice."""
        self.get_to_work(data)
        if not self.plain.idle():
            return
        spare = data.draw(st.sampled_from(self.plain.idle()))
        (worker,) = [worker for worker in self.workers if worker.plain is spare]
        self.pause_one(worker)
        self.submit_for_anybody(len(self.plain.idle()), data)
        waiters = data.draw(st.permutations(self.may_wait()))
        for waiter in waiters:
            child = self.submit_to(data, None, [], Door.ALWAYS)
            if child[1].state is not None and waiter in self.may_wait():
                self.wait(waiter, self.free_tasks(waiter[1])[0], [child], shielded=cancels)
        if cancels and len(waiters) > 1:
            older, younger = sorted(waiters[:2], key=self.jobs.index)
            self.cancel_one(*younger)
            if older in self.may_wait():
                self.wait(older, self.free_tasks(older[1])[0], [younger], for_ends=True)
        if spare.phase != "gone":
            self.dismiss(worker, cut=False)

    @rule(data=st.data(), breaks=st.booleans())
    def a_lender_waits_for_its_own_worker(self, data: DataObject, breaks: bool) -> None:
        """What runs there breaks it, or it is to leave: both have to wait for the lender."""
        self.get_to_work(data)
        if not self.may_lend():
            return
        lending = data.draw(st.sampled_from(self.may_lend()))
        lender, worker = pair_of(lending), lending.worker
        self.lend_one(lending)
        self.submit_to(data, None, [], Door.ALWAYS, only=worker)
        child = self.submit_to(data, None, [], Door.ALWAYS, only=worker)
        if child[1].state is not None and lender in self.may_wait():
            self.wait(lender, self.free_tasks(lender[1])[0], [child])
        if not breaks:
            self.dismiss(worker, cut=False)
        elif found := [running for running in self.able() if running.worker is worker]:
            self.fail_with(found[0], PlainVerdict(DeadReason.GAVE_UP, broken=True), OSError("gone"))

    @rule(data=st.data(), reserves=st.lists(st.sampled_from([1, 1, 2]), min_size=1, max_size=2))
    def groups_of_jobs_want_workers_for_themselves(self, data: DataObject, reserves: list[int]) -> None:
        """They have some of them already, perhaps, or what the jobs hold."""
        self.get_to_work(data)
        for reserve in reserves:
            if not self.may_wait() or len(self.open_groups()) > 3:
                return
            opener = data.draw(st.sampled_from(self.may_wait()))
            group = PlainGroup(reserve=reserve, opener=opener[1], task=self.free_tasks(opener[1])[0])
            in_a_block = [other.task for _, other in self.groups_of(opener[1])]
            if group.task not in in_a_block and reserve <= self.model.most_places(group):
                self.open_one_in_a_job(opener, group)
                self.submit_for_anybody(1, data)

    @precondition(lambda self: self.model.waits)
    @rule(data=st.data(), trouble=st.sampled_from(["bounces", "bounces", "leaves", "leaves", "no room"]))
    def those_who_wait_get_into_trouble(self, data: DataObject, trouble: str) -> None:
        """What is waited for goes elsewhere, or a worker leaves, or fewer jobs may run."""
        awaited = {id(job) for wait in self.model.waits for job in self.model.awaited(wait)}
        running = [each for each in self.able() if id(each.plain.job) in awaited]
        if trouble == "bounces" and running:
            verdict = PlainVerdict("retry", placement="other", is_failure=True)
            self.fail_with(data.draw(st.sampled_from(running)), verdict, ValueError("not here"))
        elif trouble == "leaves" and self.those(is_anybody):
            self.dismiss(data.draw(st.sampled_from(self.those(is_anybody))), cut=False)
        elif trouble == "no room":
            self.set_max_running(data.draw(st.sampled_from([1, 2])))
