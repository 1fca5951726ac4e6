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
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .._model.records import JobRecord, Terms, WorkerRecord
from .._model.states import JobState, Phase
from .commands import WaitsInVain
from .waits import Wait
from .worker_index import terms_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .._model.records import Group, Loan
    from .state import PoolState

    # What others may need: the end of a job or of a wait, or a worker.
    Node: TypeAlias = "JobRecord | Wait | Vacancy"
    # So many of these have to come about.
    Need: TypeAlias = tuple[int, Sequence[Node]]


class Vacancy(NamedTuple):
    """That a worker may start something.

    Attributes:
      seat: the worker.
      wholly: whether nobody is to have lent it then either.
      given_back: whether the group that has it for itself has to be over first.
    """

    seat: WorkerRecord
    wholly: bool
    given_back: bool = False


class DeadlockSearch:
    """Finds the waits that would be for ever."""

    __slots__ = ("_as_if_lent", "_by_waiter", "_dependencies", "_reservations", "_roster", "_state", "_waits")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._dependencies = state.dependencies
        self._reservations = state.reservations
        self._waits = state.waits
        self._by_waiter = state.waits.by_waiter
        # Jobs that are taken to have lent their workers, to find out what that would change.
        self._as_if_lent: Collection[JobRecord] = ()

    def begin(self, wait: Wait) -> bool:
        """A running job begins to wait, unless that would be for ever; returns whether it does."""
        self._waits.begin(wait)
        unmet = self._unmet([wait.waiter])
        if wait not in unmet:
            return True
        if wait.for_ends or wait.loan is not None:
            self.look_again()  # somebody else may be told instead
            return True
        if not _waits_for_itself(wait, unmet):
            return True  # for what is for ever itself, and will be told when that is possible
        self._note_stuck(wait, unmet)
        self._waits.end(wait)
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
            self._state.effects.append(WaitsInVain(told))

    def can_spare(self, seat: WorkerRecord) -> bool:
        """Whether a worker that is to leave leaves nobody in the lurch, as far as a look at the counts tells."""
        if not self._by_waiter:
            return True
        if seat._loans or seat._kind.group is not None or self._reservations.waiting or self._state.has_bounced:
            return False
        if self._roster.has_substitute(seat):
            return True
        others = self._roster.count(Terms(seat._tags)) - self._roster.leaving - (not seat._departing)
        return len(self._by_waiter) + self._reservations.kept < others

    def holds_up(self, job: JobRecord) -> bool:
        """Whether a job that is to run again has to wait for something that those hold who wait."""
        if not self._by_waiter or job._state not in (JobState.DELAYED, JobState.QUEUED):
            return False
        needs = self._needs_of_waiting(job)
        return any(sum(not self._needs(other) for other in others) < number for number, others in needs)

    def _note_stuck(self, wait: Wait, unmet: dict[Node, list[Node]]) -> None:
        """Note who will never get on with a wait, its own job first, and whether lending would help them."""
        jobs = [node for node in unmet if isinstance(node, JobRecord) and node in self._by_waiter]
        self._as_if_lent = jobs
        wait.lending_helps = wait not in self._unmet([wait.waiter])
        self._as_if_lent = ()
        wait.stuck = jobs
        self._waits.look_at(wait)

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

    def _needs_of_running(self, job: JobRecord) -> list[Need]:
        needs: list[Need] = [(1, [wait]) for wait in self._by_waiter.get(job, ())]
        loan = None if job._worker is None else job._worker._loans.get(job)
        if loan is not None and loan.wait is None and not loan.is_forfeited:
            needs += self._needs_of_loan(loan)  # sooner or later
        return needs

    def _needs_of_loan(self, loan: Loan) -> list[Need]:
        """What has to come about before a job has the worker back that it has lent."""
        holder = loan.seat._current
        return [] if holder is None or holder in self._as_if_lent else [(1, [holder])]

    def _needs_of_waiting(self, job: JobRecord) -> list[Need]:
        """A job that waits for a worker, or will."""
        terms = terms_of(job)
        needs = self._need_of_worker(terms)
        needs += self._need_of_room(self._state.limits.max_running, self._holders())
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
        growth = self._state.growth
        free = 0.0 if growth is None else growth.most - growth.own
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

    def _is_kept_from(self, group: Group | None, seat: WorkerRecord) -> bool:
        """Whether a worker is another group's; while such a one waits for more, it gives up what it has if need be."""
        other = seat._kind.group
        return other is not None and other is not group and other not in self._reservations.waiting

    def _need_of_worker(self, terms: Terms) -> list[Need]:
        """What has to happen before a worker takes such a job: nothing if one is there that no waiting job holds.

        Where all that may take it are to leave, they have to: then nobody may, which is the end of the job.
        """
        roster = self._roster
        workers = roster.count(terms)
        growth = self._state.growth
        if not workers or (growth is not None and growth.could_open(terms)):
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
        if growth is not None and growth.could_replace(terms):
            leaving = (seat for seat in roster.seats.values() if seat._elastic and seat._departing)
            vacancies += [Vacancy(seat, wholly=True) for seat in leaving]
        if not vacancies:
            return [(1, [Vacancy(seat, wholly=True)]) for seat in seats]
        return [(1, vacancies)]

    def _need_of_room(self, most: float, holders: Iterable[JobRecord]) -> list[Need]:
        """Of the waiting jobs that are all that may run at once, or more, so many have to end that there is room."""
        if len(self._by_waiter) < most:
            return []
        held = list(holders)
        return [(int(len(held) - most) + 1, held)] if len(held) >= most else []

    def _holders(self) -> Iterable[JobRecord]:
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
