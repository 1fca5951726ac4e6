"""What has to come about before the waits of running jobs can end, and what of it never will.

A job that waits while it holds a worker keeps others from it. Where what it waits for can't
start before that worker is free, or waits for it in turn, nothing would ever happen any more.
So it is with a worker that can't go on before those have it back who have lent it, since it is
to leave or its resource is broken: its lenders hold it too.

An attempt that runs on several workers ends on all of them once it has got through on one. As long as
one of these does not wait, or one more may be started, it may do that.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .._model.records import Group, JobRecord, Run, Terms, WorkerRecord
from .._model.states import Hold, JobState
from .race import Race, runs_of
from .waits import Wait
from .worker_index import terms_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from .state import PoolState

    # What others may need: the end of a job, of a run or of a wait, a worker, or one more run of an attempt.
    Node: TypeAlias = "JobRecord | Run | Through | Wait | Vacancy | Race"
    # So many of these have to come about.
    Need: TypeAlias = tuple[int, Sequence[Node]]


class Through(NamedTuple):
    """That a run gets to its end by itself, and not since another run of the attempt has."""

    run: Run


class Vacancy(NamedTuple):
    """That a worker may start something.

    Attributes:
      worker: the worker.
      wholly: whether nobody is to have lent it then either.
      given_back: whether the group that has it for itself has to be over first.
    """

    worker: WorkerRecord
    wholly: bool
    given_back: bool = False


class WaitGraph:
    """Knows what jobs, waits and workers need of each other: the wait-for graph."""

    __slots__ = ("_as_if_lent", "_hedging", "_reservations", "_roster", "_state", "_waits")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._reservations = state.reservations
        self._hedging = state.hedging
        self._waits = state.waits.by_run
        # Runs that are taken to have lent their workers, to find out what that would change.
        self._as_if_lent: Collection[Run] = ()

    def unmet(self, waits: Iterable[Wait], *, as_if_lent: Collection[Run] = ()) -> dict[Node, list[Node]]:
        """What will never come about of these and of all that they need.

        Everything that they need is gathered, with what that needs in turn; then whatever
        needs nothing more is taken out, until nothing changes: what is left is stuck.

        Arguments:
          as_if_lent: these are taken to have lent their workers.

        Returns:
          by each, those of the others that it needs.
        """
        self._as_if_lent = as_if_lent
        needs: dict[Node, list[Need]] = {}
        found: list[Node] = [*waits]
        while found:
            node = found.pop()
            if node not in needs:
                needs[node] = self.of(node)
                for _, others in needs[node]:
                    found += others
        self._as_if_lent = ()
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

    def of(self, node: Node) -> list[Need]:
        """What has to come about before this does, all of it."""
        if isinstance(node, Wait):
            return self._of_wait(node)
        if isinstance(node, Run):
            return self._of_run(node)
        if isinstance(node, Through):
            return self._of_through(node.run)
        if isinstance(node, Vacancy):
            return self._of_vacancy(node)
        if isinstance(node, Race):
            return self._of_further_run(node)
        return self._of_running(node) if node._state is JobState.RUNNING else self.of_waiting(node)

    def of_waiting(self, job: JobRecord) -> list[Need]:
        """A job that waits for a worker, or will."""
        terms = terms_of(job)
        needs = self._of_worker(terms)
        needs += self._of_room(terms)
        needs += [(1, [other]) for other in self._state.dependencies.missing.get(job, ())]
        return needs

    def _of_running(self, job: JobRecord) -> list[Need]:
        runs = runs_of(job)
        return self._of_run(*runs) if len(runs) == 1 else [(1, [run]) for run in runs]

    def _of_run(self, run: Run) -> list[Need]:
        race: Race | None = run.race
        if race is None or run.is_lent or race.is_decided or run.is_cut:
            return self._of_through(run)
        ways: list[Node] = [Through(other) for other in race.runners]
        # What can't be cut short it has to wait for in any case.
        needs: list[Need] = [(1, [wait]) for wait in self._waits.get(run, ()) if wait.for_ends]
        return [(1, [*ways, race]), *needs]

    def _of_through(self, run: Run) -> list[Need]:
        needs: list[Need] = [(1, [wait]) for wait in self._waits.get(run, ())]
        if run.is_lent and run.wait is None and not run.is_forfeited:
            needs += self._of_place(run.worker)  # sooner or later
        return needs

    def _of_place(self, worker: WorkerRecord) -> list[Need]:
        """What has to come about before a place of a worker is free for a job that has lent one."""
        if worker._has_room or any(run in self._as_if_lent for run in worker._runs):
            return []
        return [(1, list(worker._runs))]

    def _of_wait(self, wait: Wait) -> list[Need]:
        if wait.is_ending:
            return []
        if wait.for_place:
            return self._of_place(wait.run.worker)
        if wait.group is not None:
            return [self._of_group(wait.group)] if wait.group in self._reservations.waiting else []
        others = wait.jobs()
        if wait.window is None:
            return [(1, [other]) for other in others if not other.state.is_final]
        # Of a window full of jobs, the first runs most often and needs nothing: no others are looked at then.
        if wait.window.unread or any(not self.of(other) for other in others):
            return []
        return [(1, list(others))] if others else []

    def _of_group(self, group: Group) -> Need:
        """How many of the workers that waiting jobs hold have to be free before a group has those that it wants."""
        growth = self._state.growth
        free = 0.0 if growth is None else growth.most - growth.own
        held: list[Vacancy] = []
        own = None if group.opener is None else group.opener.worker
        for worker in self._roster.by_id.values():
            if worker._is_leaving or worker in group.workers or worker is own:
                continue
            is_kept = self._is_kept_from(group, worker)
            if is_kept or self._is_waited_on(worker):
                held.append(Vacancy(worker, wholly=True, given_back=is_kept))
            else:
                free += 1
        missing = group.lacks - free
        # Where even all of them would not do, more workers have to come, as they may.
        return (int(missing), held) if 0 < missing <= len(held) else (0, [])

    def _is_waited_on(self, worker: WorkerRecord) -> bool:
        """Whether any of those waits who have a place of a worker or have lent it."""
        return any(run in self._waits for run in (*worker._runs, *worker._lent))

    def _of_vacancy(self, vacancy: Vacancy) -> list[Need]:
        worker = vacancy.worker
        needs: list[Need] = []
        if not worker._has_room and all(map(self._is_holding, worker._runs)):
            needs.append((1, list(worker._runs)))
        if vacancy.wholly or worker._is_leaving or Hold.REOPENING in worker._holds:
            needs += [(1, [lender]) for lender in worker._lent]
        group = worker._kind.group
        if vacancy.given_back and group is not None and group.opener is not None:
            # What another task of its opener waits for may come when the group is over.
            needs += [(1, [wait]) for wait in self._waits.get(group.opener, ()) if wait.task is group.task]
        return needs

    def _is_kept_from(self, group: Group | None, worker: WorkerRecord) -> bool:
        """Whether a worker is another group's; while such a one waits for more, it gives up what it has if need be."""
        other = worker._kind.group
        return other is not None and other is not group and other not in self._reservations.waiting

    def _of_worker(self, terms: Terms) -> list[Need]:
        """What has to happen before a worker takes such a job: nothing if one is there that no waiting job holds.

        Where all that may take it are to leave, they have to: then nobody may, which is the end of the job.
        """
        roster, growth = self._roster, self._state.growth
        if not roster.count(terms) or (growth is not None and growth.could_open(terms)):
            return []
        takers = self._takers(terms)
        if takers is None:
            return []
        if growth is not None and growth.could_replace(terms):
            takers += self._elastic_leaving()
        return [(1, takers)] if takers else [(1, [Vacancy(worker, wholly=True)]) for worker in roster.fitting(terms)]

    def _of_further_run(self, race: Race) -> list[Need]:
        """What has to happen before an attempt is started on one more worker; it may be what never does."""
        hedging, growth = self._hedging, self._state.growth
        if not hedging.may_go_further(race):
            return [(1, [])]
        terms = hedging.terms_of(race)
        needs = self._of_room(terms)
        if growth is None or not growth.will_open(terms):  # none is opened for its sake
            takers = self._takers(terms, but=race.took_part)
            if takers is not None:
                if growth is not None and growth.will_replace(terms):
                    takers += self._elastic_leaving()
                needs.append((1, takers))
        return needs

    def _elastic_leaving(self) -> list[Vacancy]:
        """The workers in whose place others may be opened, once they have left."""
        leaving = (worker for worker in self._roster.by_id.values() if worker._elastic and worker._is_leaving)
        return [Vacancy(worker, wholly=True) for worker in leaving]

    def _takers(self, terms: Terms, but: Collection[WorkerRecord] = ()) -> list[Vacancy] | None:
        """The workers that may take such a job, ``but`` none of these; None if no waiting job holds one of them."""
        roster = self._roster
        # Each run that waits holds one at most, beside those that groups have.
        held = len(self._waits) + self._reservations.kept + len(but)
        if not terms.failed and held < roster.count(terms) - roster.leaving:
            return None
        staying = [worker for worker in roster.fitting(terms) if not (worker._is_leaving or worker in but)]
        if terms.failed:
            # Those that it avoids now won't take it before others have failed, or can't be counted on any more.
            staying = [worker for worker in staying if not roster.is_avoided(terms, worker)]
        return [Vacancy(worker, wholly=False, given_back=self._is_kept_from(terms.gate, worker)) for worker in staying]

    def _of_room(self, terms: Terms) -> list[Need]:
        """How many have to end of those that wait, in the pool and in its group, before such a job finds room."""
        needs = self._of_room_among(self._state.limits.max_running, self._holders())
        gate = terms.gate
        if gate is not None:
            of_gate = (run for run in self._holders() if run.job._options.group is gate)
            needs += self._of_room_among(gate.max_running, of_gate)
        return needs

    def _of_room_among(self, most: float, holders: Iterator[Run]) -> list[Need]:
        """Of the waiting runs that are all that may be under way at once, or more, so many have to end."""
        if len(self._waits) < most:
            return []
        held = list(holders)
        return [(int(len(held) - most) + 1, held)] if len(held) >= most else []

    def _holders(self) -> Iterator[Run]:
        """The runs that wait and hold their workers meanwhile."""
        return (run for run in self._waits if run in run.worker._runs and run not in self._as_if_lent)

    def _is_holding(self, run: Run) -> bool:
        return run in self._waits and run not in self._as_if_lent
