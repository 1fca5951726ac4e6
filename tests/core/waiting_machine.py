"""Lets running jobs wait for others, whatever else happens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.core.commands import WaitsInVain
from tests.core.elastic_machine import ELASTICS, ElasticMachine
from tests.core.group_machine import GROUPS
from tests.core.machine_draws import ENDS, REQUIRED, verdict_of
from tests.core.makers import run_of
from tests.core.plain_parts import PlainVerdict
from tests.core.plain_waits import PlainWait, PlainWaitingPool
from tests.core.scheduler_machine import of_block
from trio_pool import JobState
from trio_pool._core.admission import Door
from trio_pool._core.waits import Wait
from trio_pool._model.text import label
from trio_pool._runtime.deadlock_error import deadlock_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import DataObject, SearchStrategy

    from tests.core.commands import Typed
    from tests.core.plain_groups import PlainGroup
    from tests.core.plain_parts import PlainJob
    from tests.core.shell_machine import ShellRun, ShellWorker
    from trio_pool import Elastic, Job
    from trio_pool._model.records import Group

TASKS = (0, 1)


class WaitingMachine(ElasticMachine):
    """Lets jobs wait for jobs, for the workers of their groups, and for the ends of what they have cancelled."""

    make_plain = PlainWaitingPool
    elastics: ClassVar[SearchStrategy[Elastic[None] | None]] = st.none() | st.none() | ELASTICS

    def __init__(self) -> None:
        super().__init__()
        # Those that go on, but for those for lent workers, which the core keeps with the loans.
        self.waits: list[tuple[Wait, PlainWait]] = []
        self.in_vain: list[Wait] = []
        # The groups that take no more jobs, as they are broken off.
        self.broken_off: set[PlainGroup] = set()
        # Those whose bodies have ended.
        self.left: set[PlainGroup] = set()

    def kind_of_hedges(self, kind: str) -> str:
        """Those that may run on several workers do not wait here."""
        return "none" if kind == "many" else kind

    @property
    def model(self) -> PlainWaitingPool:
        """The model, as what it is."""
        assert isinstance(self.plain, PlainWaitingPool)
        return self.plain

    def carry_out_more(self, command: Typed) -> None:
        if isinstance(command, WaitsInVain):
            self.in_vain.append(command.wait)
        else:
            super().carry_out_more(command)

    def forget_news(self) -> None:
        super().forget_news()
        self.in_vain.clear()
        self.model.in_vain.clear()

    def check_news(self, told_before: int) -> None:
        """The same; and those are told that they wait in vain for which that is so in the model."""
        self.model.look()
        super().check_news(told_before)
        assert [self.plain_of(wait) for wait in self.in_vain] == self.model.in_vain
        for wait in self.in_vain:
            self.check_words(wait, self.plain_of(wait))

    def check_words(self, wait: Wait, plain: PlainWait) -> None:
        """The error of a wait that would be forever is about that, and names no job that gets on."""
        stuck = [run.job for run in wait.stuck]
        assert stuck[0] is wait.run.job
        named = {self.job_of(job) for job in plain.stuck}
        assert named <= set(stuck)
        assert wait.lending_helps is plain.lending_helps
        words = str(deadlock_of(wait))
        assert words.startswith(f"the job {label(wait.run.job)} would wait forever ")
        assert ("lend()" in words) is wait.lending_helps
        assert ("workers for its group alone" in words) is (plain.group is not None)
        assert ("It goes on without a worker" in words) is plain.is_loan

    def go_on(self) -> None:
        """An event has happened: those go on without their workers that would wait for them forever.

        And a task that waits for the end of a group goes on once it has no job, even if one enters soon after.
        """
        super().go_on()
        while pair := next((pair for pair in self.waits if pair[1].members_of and self.model.has_come(pair[1])), None):
            self.end_wait(*pair)
        while wait := next((wait for wait in self.model.waits if wait.told and wait.is_loan), None):
            forfeit = partial(self.core.scheduler.forfeit, run_of(self.job_of(wait.waiter)))
            self.on_both(partial(self.model.forfeit, wait), forfeit, dated=False)

    def plain_of(self, wait: Wait) -> PlainWait:
        """A wait as the model has it."""
        if not wait.for_place:
            return dict(self.waits)[wait]
        (plain,) = [each for each in self.model.waits if each.is_loan and self.job_of(each.waiter) is wait.run.job]
        return plain

    def job_of(self, plain: PlainJob) -> Job[Any]:
        """A job of the model as the core has it."""
        (job,) = [job for job, each in self.jobs if each is plain]
        return job

    # Who may do what.

    def fragile(self) -> list[ShellWorker]:
        """The workers whose resource may break by itself: that ends the attempts of lenders, so let these not wait."""
        return [
            worker
            for worker in super().fragile()
            if not any(self.model.waits_of(lender) for lender in worker.plain.lenders)
        ]

    def able(self) -> list[ShellRun]:
        """What runs and may end: no task of the job waits or is in a group's block."""
        return [running for running in super().able() if self.is_alone(running.plain.job)]

    def is_alone(self, job: PlainJob) -> bool:
        """Whether a job has nothing to leave before it can end."""
        return not self.model.waits_of(job) and not self.groups_of(job)

    def groups_of(self, job: PlainJob) -> list[tuple[Group, PlainGroup]]:
        """The open groups that a job has opened."""
        return [pair for pair in self.open_groups() if pair[1].opener is job]

    def over(self) -> list[tuple[Group, PlainGroup]]:
        """The groups whose blocks may be left: those of jobs only when the task doesn't wait."""
        return [pair for pair in super().over() if pair[1].opener is None or not self.is_busy(pair[1])]

    def taking_groups(self) -> list[tuple[Group, PlainGroup]]:
        """The groups that take more jobs: none whose block is about to be left."""
        ended = [group for group in self.left if not self.model.members(group)]
        return [pair for pair in super().taking_groups() if pair[1] not in self.broken_off.union(ended)]

    def submit_to(
        self,
        data: DataObject,
        group: tuple[Group, PlainGroup] | None,
        after: list[tuple[Job[Any], PlainJob]],
        door: Door,
        **options: Any,
    ) -> tuple[Job[Any], PlainJob]:
        """The same; but once the body of a group has ended, only jobs of the group submit to it."""
        if group and group[1] in self.left:
            door = Door.ALWAYS
        return super().submit_to(data, group, after, door, **options)

    def is_busy(self, group: PlainGroup) -> bool:
        """Whether the task waits that is in the block of a job's group."""
        assert group.opener is not None
        return any(wait.task == group.task for wait in self.model.waits_of(group.opener))

    def may_lend(self) -> list[ShellRun]:
        """What runs of jobs that may lend their places: other tasks of theirs may wait meanwhile."""
        unhedged = [running for running in self.busy() if running.job._options.hedge is None]
        return [running for running in unhedged if self.free_tasks(running.plain.job)]

    def may_claim(self) -> list[tuple[Job[Any], PlainJob]]:
        """The jobs that have lent their workers and can ask to have them back."""
        return [pair for pair in super().may_claim() if not pair[1].forfeited and self.free_tasks(pair[1])]

    def claim_one(self, job: Job[Any], plain: PlainJob) -> None:
        task = self.free_tasks(plain)[0]
        self.on_both(
            lambda: self.model.claim(plain, task),
            lambda: self.core.scheduler.claim(run_of(job), self.now, task),
        )

    def may_wait(self) -> list[tuple[Job[Any], PlainJob]]:
        """The running jobs of which a task may begin to wait."""
        running = [pair for pair in self.jobs if pair[1].state is JobState.RUNNING and not pair[1].hedge]
        return [pair for pair in running if self.free_tasks(pair[1])]

    def free_tasks(self, job: PlainJob) -> list[int]:
        """The tasks of a job that do not wait."""
        taken = [wait.task for wait in self.model.waits_of(job)]
        return [task for task in TASKS if task not in taken]

    # Waiting.

    def wait(
        self,
        waiter: tuple[Job[Any], PlainJob],
        task: int,
        jobs: Iterable[tuple[Job[Any], PlainJob]] = (),
        *,
        members_of: tuple[Group, PlainGroup] | None = None,
        group: tuple[Group, PlainGroup] | None = None,
        for_ends: bool = False,
        shielded: bool = False,
    ) -> bool:
        """A task of a job begins to wait, unless that would be forever; returns whether it does."""
        self.mind_deadlines()  # a task does not begin to wait before those have been woken that are due
        jobs = list(jobs)
        job, plain_job = waiter
        if plain_job.state is not JobState.RUNNING:
            return False
        awaited = [each for each, _ in jobs]
        live = (lambda: list(members_of[0].live)) if members_of else (lambda: awaited)
        wait = Wait(
            run_of(job),
            task,
            group[0] if group else live,
            for_ends=for_ends,
            outlasts=shielded,
        )
        plain = PlainWait(
            plain_job,
            task,
            [each for _, each in jobs],
            members_of[1] if members_of else None,
            group[1] if group else None,
            for_ends=for_ends,
            shielded=shielded,
        )
        self.waits.append((wait, plain))
        expected: list[bool] = []
        begins = self.on_both(
            lambda: expected.append(self.model.begin_wait(plain)),
            lambda: self.core.scheduler.begin_wait(wait, self.now),
        )
        assert expected == [begins]
        if begins and members_of:
            members_of[0].awaited += 1  # as their blocks do
        if not begins:
            self.check_words(wait, plain)
            self.waits.remove((wait, plain))
        return bool(begins)

    @precondition(lambda self: self.may_wait() and self.entered())
    @rule(data=st.data(), shielded=st.sampled_from([False, False, True]))
    def wait_for_jobs(self, data: DataObject, shielded: bool) -> None:
        waiter = data.draw(st.sampled_from(self.may_wait()))
        jobs = data.draw(st.lists(st.sampled_from(self.entered()), min_size=1, max_size=3, unique=True))
        task = data.draw(st.sampled_from(self.free_tasks(waiter[1])))
        self.wait(waiter, task, jobs, shielded=shielded)

    @precondition(lambda self: self.may_wait())
    @rule(data=st.data(), requires=REQUIRED, pinned=st.booleans(), in_group=st.booleans(), lends=st.booleans())
    def wait_for_a_child(
        self, data: DataObject, requires: tuple[str, ...], pinned: bool, in_group: bool, lends: bool
    ) -> None:
        """The usual: a job submits another and waits for it, and lends its worker meanwhile or does not."""
        waiter = data.draw(st.sampled_from(self.may_wait()))
        only = data.draw(st.sampled_from(self.workers)) if pinned and self.workers else None
        group = data.draw(st.sampled_from([None, *self.taking_groups()])) if in_group else None
        child = self.submit_to(data, group, [], Door.ALWAYS, requires=requires, only=only)
        if lends:
            for running in [running for running in self.may_lend() if running.job is waiter[0]]:
                self.lend_one(running)
        if child[1].state is not None and self.free_tasks(waiter[1]):
            self.wait(waiter, self.free_tasks(waiter[1])[0], [child])

    @precondition(lambda self: self.may_wait_for_ends())
    @rule(data=st.data())
    def cancel_and_wait_for_the_end(self, data: DataObject) -> None:
        """As who leaves a block of a stream early: the job is one that the waiter can have submitted."""
        waiter, other = data.draw(st.sampled_from(self.may_wait_for_ends()))
        self.cancel_one(*other)
        if waiter[1].state is JobState.RUNNING and self.free_tasks(waiter[1]):
            self.wait(waiter, self.free_tasks(waiter[1])[0], [other], for_ends=True)

    def may_wait_for_ends(self) -> list[tuple[tuple[Job[Any], PlainJob], tuple[Job[Any], PlainJob]]]:
        """Jobs of which a task may begin to wait, each with one that has come later."""
        came, live = [plain for _, plain in self.jobs], self.live()
        pairs = [(waiter, other) for waiter in self.may_wait() for other in live]
        return [(waiter, other) for waiter, other in pairs if came.index(waiter[1]) < came.index(other[1])]

    # Waits end.

    def end_wait(self, wait: Wait, plain: PlainWait) -> None:
        self.waits.remove((wait, plain))
        if plain.members_of is not None:
            next(group for group, each in self.groups if each is plain.members_of).awaited -= 1
        self.on_both(lambda: self.model.end_wait(plain), lambda: self.core.scheduler.waits.end(wait), dated=False)

    def finished(self) -> list[tuple[Wait, PlainWait]]:
        """The waits that are over, one way or the other."""
        return [pair for pair in self.waits if pair[1].told or self.model.has_come(pair[1])]

    @precondition(lambda self: self.finished())
    @rule(data=st.data())
    def a_wait_ends(self, data: DataObject) -> None:
        self.end_wait(*data.draw(st.sampled_from(self.finished())))

    def may_give_up(self) -> list[tuple[Wait, PlainWait]]:
        return [pair for pair in self.waits if not pair[1].for_ends]

    @precondition(lambda self: self.may_give_up())
    @rule(data=st.data())
    def give_up_waiting(self, data: DataObject) -> None:
        """There was a timeout around it."""
        self.end_wait(*data.draw(st.sampled_from(self.may_give_up())))

    def cut_waiters(self) -> list[tuple[Job[Any], PlainJob]]:
        """The jobs whose attempts have been cut short, and some of whose waits do not know of it yet."""
        waiters = {id(wait.waiter) for wait in self.model.waits if not (wait.shielded or wait.for_ends or wait.is_loan)}
        return [pair for pair in self.jobs if pair[1].is_cut and id(pair[1]) in waiters]

    @precondition(lambda self: self.cut_waiters())
    @rule(data=st.data())
    def cancellation_arrives(self, data: DataObject) -> None:
        """It ends what is not behind a shield; then it is looked at what is left."""
        self.wake_up(*data.draw(st.sampled_from(self.cut_waiters())))

    def wake_up(self, job: Job[Any], plain: PlainJob) -> None:
        for pair in [pair for pair in self.waits if pair[1].waiter is plain and not pair[1].goes_on]:
            self.end_wait(*pair)
        self.on_both(lambda: self.model.outlasted(plain), lambda: self.core.scheduler.outlasted(run_of(job), self.now))

    # Those that go on without the workers that they have lent.

    def apart(self) -> list[tuple[Job[Any], PlainJob]]:
        """Those whose attempts may end."""
        return [pair for pair in self.jobs if pair[1].forfeited and self.is_alone(pair[1])]

    @precondition(lambda self: self.apart())
    @rule(data=st.data(), how=st.sampled_from(["value", "error", "cut"]), verdict=ENDS)
    def end_apart(self, data: DataObject, how: str, verdict: PlainVerdict) -> None:
        self.end_one_apart(data.draw(st.sampled_from(self.apart())), how, verdict)

    def end_one_apart(self, pair: tuple[Job[Any], PlainJob], how: str, verdict: PlainVerdict) -> None:
        job, plain = pair
        run, core = run_of(job), self.core.scheduler
        worker = self.shell_of(run.worker)
        error = ValueError("apart")

        def end() -> None:
            if how == "value":
                core.succeeded(run, "value", self.now)
            elif how == "error":
                core.failed(run, error, verdict_of(verdict, error), self.now)
            else:
                core.cut_short(run, error, self.now)

        worker.interrupted = [each for each in worker.interrupted if each is not job]
        verdict = of_block(verdict) if plain.is_lease else verdict
        outcome = verdict if how == "error" else None
        self.on_both(lambda: self.model.end_apart(plain, outcome, succeeds=how == "value"), end)

    # Groups of jobs.

    @precondition(lambda self: self.may_wait() and len(self.open_groups()) < 3)
    @rule(data=st.data(), jobs=st.integers(0, 2), busy=st.booleans())
    def open_group_in_a_job(self, data: DataObject, jobs: int, busy: bool) -> None:
        """Perhaps while all workers are busy, so that it has to wait for those that it wants."""
        opener = data.draw(st.sampled_from(self.may_wait()))
        plain = data.draw(GROUPS["reserving"] if busy else self.kind_of_groups)
        plain.opener, plain.task = opener[1], data.draw(st.sampled_from(self.free_tasks(opener[1])))
        if any(group.task == plain.task for _, group in self.groups_of(opener[1])):
            return
        if plain.reserve > self.model.most_places(plain):
            return  # that is told at the call
        if busy and self.plain.idle():
            self.submit_for_anybody(len(self.plain.idle()), data)
        if opener[1].state is JobState.RUNNING:
            self.open_one_in_a_job(opener, plain)
        for _ in range(jobs):
            if plain in self.model.groups:
                (group,) = [pair for pair in self.groups if pair[1] is plain]
                self.submit_to(data, group, [], Door.ALWAYS)

    def open_one_in_a_job(self, opener: tuple[Job[Any], PlainJob], plain: PlainGroup) -> None:
        group = self.core.make_group(
            max_running=plain.max_running, reserve=plain.reserve, must_succeed=plain.must_succeed
        )
        group.opener, group.task = run_of(opener[0]), plain.task
        self.groups.append((group, plain))
        self.on_both(lambda: self.model.open_group(plain), lambda: self.core.scheduler.open_group(group, self.now))
        if plain.reserve and plain in self.model.waiting_groups():
            self.wait(opener, plain.task, group=(group, plain))

    def may_finish(self) -> list[tuple[Group, PlainGroup]]:
        """The groups whose bodies may end, so that their jobs are waited for."""
        groups = [pair for pair in self.open_groups() if pair[1].opener and self.model.members(pair[1])]
        return [pair for pair in groups if not self.is_busy(pair[1])]

    @precondition(lambda self: self.may_finish())
    @rule(data=st.data(), leaves=st.booleans())
    def wait_for_a_groups_end(self, data: DataObject, leaves: bool) -> None:
        self.finish(data.draw(st.sampled_from(self.may_finish())), leaves=leaves)

    def finish(self, pair: tuple[Group, PlainGroup], *, leaves: bool = True) -> None:
        """The jobs of a group are waited for; if its block is left, it takes no others from outside."""
        opener = pair[1].opener
        assert opener is not None
        if leaves:
            self.left.add(pair[1])
            self.shut_one_group(pair)
        if not any(job.group is pair[1] for job in self.model.live()):
            return
        if opener.is_cut or not self.wait((self.job_of(opener), opener), pair[1].task, members_of=pair):
            self.break_off(pair)

    @precondition(lambda self: self.may_finish())
    @rule(data=st.data())
    def break_off_a_group(self, data: DataObject) -> None:
        self.break_off(data.draw(st.sampled_from(self.may_finish())))

    def break_off(self, pair: tuple[Group, PlainGroup]) -> None:
        """The body of a group has failed: its jobs are cancelled, and the block waits for their ends."""
        opener = pair[1].opener
        assert opener is not None
        self.broken_off.add(pair[1])
        self.cancel_one_group(pair, is_shut=True)
        if self.model.members(pair[1]) and not self.is_busy(pair[1]):
            self.wait((self.job_of(opener), opener), pair[1].task, members_of=pair, for_ends=True)

    # What holds after every step.

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        model = self.model
        coming = model.to_come()
        assert all(
            wait in coming or not model.keeps_itself(wait, coming) or not wait.can_be_told for wait in model.waits
        )

    @invariant()
    def as_many_jobs_stand_as_in_the_model(self) -> None:
        standing = [job for job in self.plain.those(JobState.RUNNING) if self.model.stands(job)]
        assert self.core.scheduler.waits.standing() == len(standing)

    # The end.

    def something_happens(self) -> bool:
        """The next of all that happens by itself: waits end, then jobs, then blocks of groups."""
        if self.orders:
            self.join_as_ordered()
        elif not self.a_waiter_goes_on():
            if self.able() or self.reopening() or not self.may_finish():
                return super().something_happens()
            self.finish(self.may_finish()[0])
        return True

    def break_circle(self) -> None:
        """The same; and jobs stop waiting whose group, opened outside of the pool's jobs, keeps what they wait for.

        That such a group is over only after its jobs is not known to the core.
        """
        if self.waits_for_others_workers():
            for pair in self.may_give_up():
                group = pair[1].waiter.group
                if group is not None and group.opener is None and self.model.kept(group):
                    self.end_wait(*pair)
        super().break_circle()

    def a_waiter_goes_on(self) -> bool:
        """One that has waited, or that goes on without its worker; returns whether there is any."""
        if self.finished():
            self.end_wait(*self.finished()[0])
        elif self.cut_waiters():
            self.wake_up(*self.cut_waiters()[0])
        elif self.apart():
            self.end_one_apart(self.apart()[0], "cut", PlainVerdict("drop"))
        else:
            return False
        return True

    def everything_stops(self) -> None:
        """What runs still, once all is cancelled, ends; nobody needs another's help for that."""
        while self.plain.live():
            if self.able():
                self.fail_with(self.able()[0], PlainVerdict("retry"), ValueError("after the end"))
            elif self.over():
                self.close_one(self.over()[0])
            elif self.may_finish():
                self.finish(self.may_finish()[0])
            elif self.may_claim():
                self.claim_one(*self.may_claim()[0])
            else:
                assert self.a_waiter_goes_on(), "the pool hangs"
