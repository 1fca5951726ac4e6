"""Core: which running jobs wait for which jobs, and whether such a wait could ever end.

A job that waits while it holds a worker keeps others from it. Where what it waits for can't
start before that worker is free, or waits for it in turn, nothing would ever happen any more.
So it is with a worker that can't go on before those have it back who have lent it, since it is
to leave or its resource is broken: its lenders hold it too.

1. An ordinary wait that would be for ever is told so: at its beginning, or as soon as that is so.
2. A job that waits for the ends of jobs that have been cancelled can't be told: it must not go on before.
3. So one that has been cancelled is told instead while it waits to get the worker back that it has lent: it
   goes on without. If it has not come to that yet, it will: there is no circle that nobody is ever told of.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ._effects import WaitsInVain
from ._job import Job, JobState
from ._roster import Terms, terms_of
from ._seat import Phase, Seat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ._dependencies import Dependencies
    from ._dispatch import Dispatch
    from ._effects import Effects
    from ._group import Group
    from ._loans import Loan
    from ._reservations import Reservations
    from ._roster import Roster
    from ._standing import Cause, Standing
    from ._window import Window

    # What others may need: the end of a job or of a wait, or a worker.
    Node: TypeAlias = "Job[Any] | Wait | Vacancy"
    # So many of these have to come about.
    Need: TypeAlias = tuple[int, Sequence[Node]]


class Vacancy(NamedTuple):
    """That a worker may start something.

    Attributes:
      seat: the worker.
      wholly: whether nobody is to have lent it then either.
      given_back: whether the group that has it for itself has to be over first.
    """

    seat: Seat
    wholly: bool
    given_back: bool = False


class Wait:
    """One wait of a running job.

    Attributes:
      waiter: the job that waits.
      task: the one of its tasks that does.
      jobs: gives the jobs that it waits for.
      window: those are its jobs that can't be read yet, and one of them is enough; None if all have to end.
      group: the group that waits for workers of its own here, or None.
      loan: the loan whose end it waits for, to have the worker back, or None.
      outlasts: whether it goes on though its job has been cancelled.
      for_ends: whether it is for the ends of jobs that have been cancelled, come what may.
      number: which wait of the pool it is.
      stuck: if it turns out that it would be for ever, the running jobs that would do so with
          it; then it is about to end.
      lending_helps: whether it would not be for ever had these lent their workers.
      wake: lets whoever waits see that; None while there is nothing to wake.
    """

    __slots__ = (
        "for_ends",
        "group",
        "jobs",
        "lending_helps",
        "loan",
        "number",
        "outlasts",
        "stuck",
        "task",
        "waiter",
        "wake",
        "window",
    )

    def __init__(
        self,
        waiter: Job[Any],
        jobs: Callable[[], Iterable[Job[Any]]],
        *,
        window: Window[Any] | None = None,
        for_ends: bool = False,
        outlasts: bool = False,
        group: Group | None = None,
        loan: Loan | None = None,
        task: object = None,
    ) -> None:
        self.task: object = task
        self.for_ends: bool = for_ends
        self.outlasts: bool = outlasts or for_ends or loan is not None  # these are shielded
        self.loan: Loan | None = loan
        self.waiter: Job[Any] = waiter
        self.jobs: Callable[[], Iterable[Job[Any]]] = jobs
        self.window: Window[Any] | None = window
        self.group: Group | None = group
        self.number: int = 0
        self.stuck: list[Job[Any]] = []
        self.lending_helps: bool = False
        self.wake: Callable[[], object] | None = None

    @property
    def can_be_told(self) -> bool:
        """Whether whoever waits can go on before it is over."""
        return not self.for_ends if self.loan is None else self.waiter._cancelled


class Waits:
    """The waits of running jobs for other jobs of the pool."""

    __slots__ = (
        "_as_if_lent",
        "_by_waiter",
        "_dependencies",
        "_dispatch",
        "_effects",
        "_number",
        "_reservations",
        "_roster",
        "_standing",
    )

    def __init__(
        self,
        roster: Roster,
        dependencies: Dependencies,
        reservations: Reservations,
        dispatch: Dispatch,
        effects: Effects,
        standing: Standing,
    ) -> None:
        self._roster = roster
        self._dependencies = dependencies
        self._reservations = reservations
        self._dispatch = dispatch
        self._effects = effects
        self._standing = standing
        standing.causes_of = self._causes_of
        self._number = 0
        self._by_waiter: dict[Job[Any], dict[Wait, None]] = {}
        # Jobs that are taken to have lent their workers, to find out what that would change.
        self._as_if_lent: Collection[Job[Any]] = ()

    def begin(self, wait: Wait) -> bool:
        """A running job begins to wait, unless that would be for ever; returns whether it does."""
        self._number += 1
        wait.number = self._number
        self._by_waiter.setdefault(wait.waiter, {})[wait] = None
        self._standing.look_at(wait)
        unmet = self._unmet([wait.waiter])
        if wait not in unmet:
            return True
        if wait.for_ends or wait.loan is not None:
            self.look_again()  # somebody else may be told instead
            return True
        if not _waits_for_itself(wait, unmet):
            return True  # for what is for ever itself, and will be told when that is possible
        self._note_stuck(wait, unmet)
        self.end(wait)
        return False

    def look_again(self) -> None:
        """Something has happened that may leave those in the lurch who wait already.

        Of those that would wait for ever on each other's account, the last to begin is told so; but first
        those to whose jobs that is of use, and last those that want back the workers that they have lent.
        If that would not help all the others, the next of these is told too, and so on.
        """
        while self._by_waiter:
            unmet = self._unmet(list(self._by_waiter))
            lost = [node for node in unmet if isinstance(node, Wait) and node.can_be_told]
            lost.sort(key=lambda wait: (not _is_of_use(wait, unmet), wait.loan is not None, -wait.number))
            told = next((wait for wait in lost if _waits_for_itself(wait, unmet)), None)
            if told is None:
                return
            self._note_stuck(told, self._unmet([told.waiter]))
            self._effects.append(WaitsInVain(told))

    def can_spare(self, seat: Seat) -> bool:
        """Whether a worker that is to leave leaves nobody in the lurch, as far as a look at the counts tells."""
        if not self._by_waiter:
            return True
        if seat._loans or seat._kind.group is not None or self._reservations.waiting or self._dispatch.has_bounced:
            return False
        if self._roster.has_substitute(seat):
            return True
        others = self._roster.count(Terms(seat._tags)) - self._roster.leaving - (not seat._departing)
        return len(self._by_waiter) + self._reservations.kept < others

    def outlasted(self, job: Job[Any]) -> None:
        """What a cancelled job waits for still, it goes on waiting for."""
        for wait in self._by_waiter.get(job, ()):
            wait.outlasts = True
            self._standing.look_at(wait)

    def cancelled(self, job: Job[Any]) -> None:
        """A running job has been cancelled: that ends those of its waits that are not shielded."""
        for wait in self._by_waiter.get(job, ()):
            self._standing.look_at(wait)

    def holds_up(self, job: Job[Any]) -> bool:
        """Whether a job that has come, or is to run again, has to wait for something that those hold who wait."""
        if not self._by_waiter or job._state not in (JobState.DELAYED, JobState.QUEUED, JobState.BLOCKED):
            return False
        needs = self._needs_of_waiting(job)
        return any(sum(not self._needs(other) for other in others) < number for number, others in needs)

    def is_waiting(self, job: Job[Any]) -> bool:
        """Whether any part of a running job waits."""
        return job in self._by_waiter

    def standing(self) -> int:
        """How many running jobs wait for what has not come."""
        return self._standing.count()

    def end(self, wait: Wait) -> None:
        """It waits no longer."""
        self._standing.drop(wait)
        waits = self._by_waiter[wait.waiter]
        del waits[wait]
        if not waits:
            del self._by_waiter[wait.waiter]

    def _note_stuck(self, wait: Wait, unmet: dict[Node, list[Node]]) -> None:
        """Note who will never get on with a wait, its own job first, and whether lending would help them."""
        jobs = [node for node in unmet if isinstance(node, Job) and node in self._by_waiter]
        self._as_if_lent = jobs
        wait.lending_helps = wait not in self._unmet([wait.waiter])
        self._as_if_lent = ()
        wait.stuck = jobs
        self._standing.look_at(wait)

    def _causes_of(self, wait: Wait) -> Iterable[Cause]:
        """One of those that a wait is for and that have not come, or the window of those; none if it will end."""
        if wait.stuck or (wait.waiter._cancelled and not wait.outlasts):
            return ()
        if wait.loan is not None:
            return (wait.loan,)
        if wait.group is not None:
            return (wait.group,) if wait.group in self._reservations.waiting else ()
        if wait.window is not None:
            return (wait.window,) if wait.jobs() and not wait.window.ready else ()
        return islice((other for other in wait.jobs() if not other.state.is_final), 1)

    def _unmet(self, roots: list[Node]) -> dict[Node, list[Node]]:
        """What will never come about of all that these need.

        Everything that they need is gathered, with what that needs in turn; then whatever
        needs nothing more is taken out, until nothing changes: what is left is stuck.

        Returns:
          by each, those of the others that it needs.
        """
        needs: dict[Node, list[Need]] = {}
        found = roots
        while found:
            node = found.pop()
            if node not in needs:
                needs[node] = self._needs(node)
                for _, others in needs[node]:
                    found += others
        # By each, the needs that it would meet; and how many of each are open.
        met_by: dict[Node, list[tuple[Node, int]]] = {node: [] for node in needs}
        for node, all_of in needs.items():
            for number, (_, others) in enumerate(all_of):
                for other in others:
                    met_by[other].append((node, number))
        unmet = {
            node: {number: missing for number, (missing, _) in enumerate(all_of) if missing}
            for node, all_of in needs.items()
        }
        getting_on = deque(node for node, missing in unmet.items() if not missing)
        while getting_on:
            met = getting_on.popleft()
            del unmet[met]
            for node, number in met_by[met]:
                missing = unmet.get(node, {})
                if number in missing:
                    missing[number] -= 1
                    if not missing[number]:
                        del missing[number]
                        if not missing:
                            getting_on.append(node)
        return {
            node: [other for number in missing for other in needs[node][number][1] if other in unmet]
            for node, missing in unmet.items()
        }

    def _needs(self, node: Node) -> list[Need]:
        """What has to come about before this does, all of it."""
        if isinstance(node, Wait):
            return self._needs_of_wait(node)
        if isinstance(node, Vacancy):
            return self._needs_of_vacancy(node)
        return self._needs_of_running(node) if node._state is JobState.RUNNING else self._needs_of_waiting(node)

    def _needs_of_running(self, job: Job[Any]) -> list[Need]:
        needs: list[Need] = [(1, [wait]) for wait in self._by_waiter.get(job, ())]
        loan = None if job._worker is None else job._worker._loans.get(job)
        if loan is not None and loan.wait is None and not loan.is_forfeited:
            needs += self._needs_of_loan(loan)  # sooner or later
        return needs

    def _needs_of_loan(self, loan: Loan) -> list[Need]:
        """What has to come about before a job has the worker back that it has lent."""
        holder = loan.seat._current
        return [] if holder is None or holder in self._as_if_lent else [(1, [holder])]

    def _needs_of_waiting(self, job: Job[Any]) -> list[Need]:
        """A job that waits for a worker, or will."""
        terms = terms_of(job)
        needs = self._need_of_worker(terms)
        needs += self._need_of_room(self._dispatch.max_running, self._holders())
        if terms.gate is not None:
            of_gate = (holder for holder in self._holders() if holder._options.group is terms.gate)
            needs += self._need_of_room(terms.gate.max_running, of_gate)
        needs += [(1, [other]) for other in self._dependencies.missing.get(job, ())]
        return needs

    def _needs_of_wait(self, wait: Wait) -> list[Need]:
        """An empty list if it is about to end."""
        if wait.stuck or (wait.waiter._cancelled and not wait.outlasts):
            return []  # that ends it
        if wait.loan is not None:
            return self._needs_of_loan(wait.loan)
        if wait.group is not None:
            return [self._need_of_group(wait.group)] if wait.group in self._reservations.waiting else []
        others = wait.jobs()
        if wait.window is None:
            return [(1, [other]) for other in others if not other.state.is_final]
        # Of a window full of jobs, the first runs most often and needs nothing: no others are looked at then.
        if wait.window.ready or any(not self._needs(other) for other in others):
            return []
        return [(1, list(others))] if others else []

    def _need_of_group(self, group: Group) -> Need:
        """How many of the workers that waiting jobs hold have to be free before a group has those that it wants."""
        staffing = self._dispatch.staffing
        free = 0.0 if staffing is None else staffing.most - staffing.own
        held: list[Vacancy] = []
        own = None if group.opener is None else group.opener._worker
        for seat in self._roster.seats.values():
            if seat._departing or seat in group.seats or seat is own:
                continue
            is_kept = self._is_kept_from(group, seat)
            if is_kept or any(job in self._by_waiter for job in (seat._current, *seat._loans)):
                held.append(Vacancy(seat, wholly=True, given_back=is_kept))
            else:
                free += 1
        missing = group.lacks - free
        # Where even all of them would not do, more workers have to come, as they may.
        return (int(missing), held) if 0 < missing <= len(held) else (0, [])

    def _needs_of_vacancy(self, vacancy: Vacancy) -> list[Need]:
        seat = vacancy.seat
        job = seat._current
        is_held = job in self._by_waiter and job not in self._as_if_lent
        needs: list[Need] = [(1, [job])] if job is not None and is_held else []
        if vacancy.wholly or seat._departing or seat._phase is Phase.REOPENING:
            needs += [(1, [lender]) for lender in seat._loans]
        group = seat._kind.group
        if vacancy.given_back and group is not None and group.opener is not None:
            # What another task of its opener waits for may come when the group is over.
            needs += [(1, [wait]) for wait in self._by_waiter.get(group.opener, ()) if wait.task is group.task]
        return needs

    def _is_kept_from(self, group: Group | None, seat: Seat) -> bool:
        """Whether a worker is another group's; while such a one waits for more, it gives up what it has if need be."""
        other = seat._kind.group
        return other is not None and other is not group and other not in self._reservations.waiting

    def _need_of_worker(self, terms: Terms) -> list[Need]:
        """What has to happen before a worker takes such a job: nothing if one is there that no waiting job holds.

        Where all that may take it are to leave, they have to: then nobody may, which is the end of the job.
        """
        roster = self._roster
        workers = roster.count(terms)
        staffing = self._dispatch.staffing
        if not workers or (staffing is not None and staffing.could_open(terms)):
            return []
        # Each of them holds one at most, beside those of its groups.
        held = len(self._by_waiter) + self._reservations.kept
        if not terms.failed and held < workers - roster.leaving:
            return []
        seats = roster.fitting(terms)
        staying = [seat for seat in seats if not seat._departing]
        if terms.failed:
            # Those that it avoids now won't take it before others have failed, or can't be counted on any more.
            staying = [seat for seat in staying if not roster.is_avoided(terms, seat)]
        vacancies = [Vacancy(seat, wholly=False, given_back=self._is_kept_from(terms.gate, seat)) for seat in staying]
        if staffing is not None and staffing.could_replace(terms):
            leaving = (seat for seat in roster.seats.values() if seat._elastic and seat._departing)
            vacancies += [Vacancy(seat, wholly=True) for seat in leaving]
        if not vacancies:
            return [(1, [Vacancy(seat, wholly=True)]) for seat in seats]
        return [(1, vacancies)]

    def _need_of_room(self, most: float, holders: Iterable[Job[Any]]) -> list[Need]:
        """Of the waiting jobs that are all that may run at once, or more, so many have to end that there is room."""
        if len(self._by_waiter) < most:
            return []
        held = list(holders)
        return [(int(len(held) - most) + 1, held)] if len(held) >= most else []

    def _holders(self) -> Iterable[Job[Any]]:
        """The waiting jobs that hold their workers meanwhile."""
        waiting = (job for job in self._by_waiter if job not in self._as_if_lent)
        return (job for job in waiting if job._worker is not None and job._worker._current is job)


def _waits_for_itself(wait: Wait, unmet: dict[Node, list[Node]]) -> bool:
    """Whether what a wait needs needs that wait in turn, so that it helps to give it up."""
    seen: set[Node] = set()
    found = unmet[wait].copy()
    while found:
        node = found.pop()
        if node is wait:
            return True
        if node not in seen:
            seen.add(node)
            found += unmet[node]
    return False


def _is_of_use(wait: Wait, unmet: dict[Node, list[Node]]) -> bool:
    """Whether its job could go on if it, and others like it, were told that they wait for ever."""
    others = [need for need in unmet[wait.waiter] if isinstance(need, Wait)]
    return all(other.can_be_told and (other.loan is None or wait.loan is not None) for other in others)
