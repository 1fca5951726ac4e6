"""The wait-for graph: what must happen before the waits of running jobs can end, and what never will.

A waiting job that holds a worker keeps other jobs from the worker. If the job that it waits for
needs that worker, or itself waits for the waiting job, neither can ever go on. The same is true for a
worker that is about to leave or whose resource is broken. Such a worker can't go on before the jobs
that have lent it have got it back, so these jobs hold it too.

An attempt that runs on several workers ends on all of them once one of its runs ends by itself. As
long as one of these runs doesn't wait, or one more may be started, that run may end by itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

from .._model.records import Group, JobRecord, Run, Terms, WorkerRecord
from .._model.states import Hold, JobState
from .race import Race, runs_of
from .terms import terms_of
from .wait_nodes import Emptied, Release, Through, Vacancy
from .waits import Wait

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from .._model.key_record import KeyRecord
    from .state import PoolState
    from .wait_nodes import Need, Node


class WaitGraph:
    """Calculates what jobs, waits and workers need from each other."""

    __slots__ = ("_as_if_lent", "_hedging", "_reservations", "_roster", "_state", "_waits")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._reservations = state.reservations
        self._hedging = state.hedging
        self._waits = state.waits.by_run
        # Runs that are treated as if they had lent their workers, to find out what lending would
        # change.
        self._as_if_lent: Collection[Run] = ()

    def unmet(self, waits: Iterable[Wait], *, as_if_lent: Collection[Run] = ()) -> dict[Node, list[Node]]:
        """Return the nodes that can never happen, among the waits and everything that they need.

        First all needs are gathered, and their needs in turn. Then every node that needs nothing
        more is removed, repeatedly, until nothing changes. The remaining nodes are stuck.

        Arguments:
          waits: the waits to check.
          as_if_lent: runs that are treated as if they had lent their workers.

        Returns:
          the stuck nodes, each with the stuck nodes that it needs.
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
        # For each node, the needs to which it contributes; and for each node, the numbers of nodes
        # still missing.
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
        """Return everything that must happen before this node does."""
        if isinstance(node, Wait):
            return self._of_wait(node)
        if isinstance(node, Run):
            return self._of_run(node)
        if isinstance(node, Through):
            return self._of_through(node.run)
        if isinstance(node, Vacancy):
            return self._of_vacancy(node)
        if isinstance(node, Release):
            ends: list[Need] = [(node.ends, node.runs)] if node.ends else []
            return ends + self._of_block(node.given_back)
        if isinstance(node, Emptied):
            return [(1, [run]) for run in node.worker._runs if self._is_holding(run)]
        if isinstance(node, Race):
            return self._of_further_run(node)
        return self._of_running(node) if node._state is JobState.RUNNING else self.of_waiting(node)

    def of_waiting(self, job: JobRecord) -> list[Need]:
        """Return the needs of a job that waits for a worker, or will."""
        terms = terms_of(job)
        needs = self._of_worker(terms)
        needs += self._of_room(job, terms)
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
        # The run must wait for the ends of cancelled jobs in any case.
        needs: list[Need] = [(1, [wait]) for wait in self._waits.get(run, ()) if wait.for_ends]
        return [(1, [*ways, race]), *needs]

    def _of_through(self, run: Run) -> list[Need]:
        needs: list[Need] = [(1, [wait]) for wait in self._waits.get(run, ())]
        if run.is_lent and run.wait is None and not run.is_forfeited:
            needs += self._of_place(run)  # the job needs its place back sooner or later
        return needs

    def _of_place(self, run: Run) -> list[Need]:
        """Return what must happen before the worker has a free place for a job that has lent one."""
        free, releases = self._places(run.worker, run.job._options.group)
        return [(int(1 - free), releases)] if free < 1 else []

    def _places(self, worker: WorkerRecord, gate: Group | None, *, reserves: bool = False) -> tuple[float, list[Node]]:
        """How many places a worker has for a group besides those of waiting runs, and the nodes that free one each.

        Arguments:
          gate: the group, which may also use its own reserved places.
          reserves: whether the places are to be reserved for the group, in addition to those it has.
        """
        if reserves:  # no place that is lent is reserved, since the run that has lent it gets it back
            holding = [run for run in (*worker._runs, *worker._lent) if run.is_lent or run in self._waits]
        else:
            holding = [run for run in worker._runs if self._is_holding(run)]
        free = worker._max_running
        releases: list[Node] = []
        for other, kept in worker._kept.items():
            is_own = reserves and other is gate
            if not is_own and (not self._is_kept(gate, other) or not self._of_block(other)):
                continue
            own = tuple(run for run in holding if run.job._options.group is other)
            holding = [run for run in holding if run not in own]
            free -= max(kept, len(own))
            spare = max(0, kept - len(own))
            for number in range(max(kept, len(own))):
                is_reserved = number >= len(own) - kept
                if not (is_own and is_reserved):
                    releases.append(Release(own, max(0, number + 1 - spare), other if is_reserved else None))
        return free - len(holding), [*releases, *holding]

    def _of_block(self, group: Group | None) -> list[Need]:
        """Return what is known to be needed before a group ends: the waits of its block."""
        if group is None or group.opener is None:
            return []
        # If another task of the opener waits, that wait may end when the group does.
        return [(1, [wait]) for wait in self._waits.get(group.opener, ()) if wait.task is group.task]

    def _of_wait(self, wait: Wait) -> list[Need]:
        if wait.is_ending:
            return []
        if wait.for_place:
            return self._of_place(wait.run)
        if wait.group is not None:
            return [self._of_group(wait.group)] if wait.group in self._reservations.waiting else []
        others = wait.jobs()
        if wait.window is None:
            return [(1, [other]) for other in others if not other.state.is_final]
        # In a window of many jobs, the first usually runs and needs nothing; then the others aren't
        # checked.
        if wait.window.unread or any(not self.of(other) for other in others):
            return []
        return [(1, list(others))] if others else []

    def _of_group(self, group: Group) -> Need:
        """Return how many of the places held by waiting jobs must become free before a group has its places."""
        growth = self._state.growth
        free = 0.0 if growth is None else growth.more_places
        held: list[Node] = []
        own = None if group.opener is None else group.opener.worker
        for worker in self._roster.by_id.values():
            if worker._is_leaving:
                continue
            if not worker._is_exclusive:
                held += self._vacancies(group, worker)
                continue
            if worker in group.workers or worker is own:
                continue
            other = worker._kind.group if self._is_kept(group, worker._kind.group) else None
            if other is not None or self._is_waited_on(worker):
                held.append(Vacancy(worker, wholly=True, given_back=other))
            else:
                free += 1
        missing = group.lacks - free
        if missing <= 0:
            return 0, []
        if missing <= len(held):
            return int(missing), held
        # If the opener itself holds the missing place, the group can't get it. If even that place is not enough, more
        # workers must be added, which is possible.
        return (1, [cast("Run", group.opener)]) if missing == len(held) + 1 else (0, [])

    def _vacancies(self, group: Group, worker: WorkerRecord) -> list[Node]:
        """The vacancies of a worker with several places that a group may get."""
        is_own = group.opener is not None and group.opener.worker is worker
        most = worker._max_running - worker._kept.get(group, 0) - is_own
        return [
            Vacancy(worker, wholly=False, gate=group, reserves=number + 1)
            for number in range(int(max(0, min(group.lacks, most))))
        ]

    def _is_waited_on(self, worker: WorkerRecord) -> bool:
        """Whether a run that uses or has lent the worker waits."""
        return any(run in self._waits for run in (*worker._runs, *worker._lent))

    def _of_vacancy(self, vacancy: Vacancy) -> list[Need]:
        worker, reserves = vacancy.worker, vacancy.reserves
        needs: list[Need] = []
        limits = worker._limits
        is_worn = limits is not None and limits.is_worn() and not worker._lent and not worker._is_exclusive
        if is_worn and any(run in self._as_if_lent for run in worker._runs):
            is_worn = False  # a lent worker is still used
        has_to_leave = vacancy.wholly or worker._is_leaving
        wholly = has_to_leave or is_worn or Hold.REOPENING in worker._holds
        if wholly:
            needs += [(1, [run]) for run in worker._runs if run in self._waits]  # also if it lent the worker
            needs += [(1, [lender]) for lender in worker._lent]
        if not has_to_leave:
            free, releases = self._places(worker, vacancy.gate, reserves=reserves > 0)
            missing = (reserves or 1) - free
            if missing > 0:
                needs.append((int(missing), releases))
            needs += self._of_probe(worker)
        return needs + self._of_block(vacancy.given_back)

    def _of_probe(self, worker: WorkerRecord) -> list[Need]:
        """Return what must happen before the probe of a worker's breaker lets others start there."""
        probe = _probe_of(worker)
        if probe is None or probe in self._as_if_lent:
            return []
        return [(1, [probe] if probe in worker._runs else [probe, Emptied(worker)])]

    def _is_kept(self, group: Group | None, other: Group | None) -> bool:
        return other is not None and other is not group and other not in self._reservations.waiting

    def _of_worker(self, terms: Terms) -> list[Need]:
        """Return what must happen before a worker takes such a job; nothing unless waiting jobs hold all its workers.

        If all eligible workers are leaving, they must leave first: after that no worker may run the job,
        and the job ends.
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
        """Return what must happen before an attempt starts on one more worker, which may be impossible."""
        hedging, growth = self._hedging, self._state.growth
        if not hedging.may_go_further(race):
            return [(1, [])]
        terms = hedging.terms_of(race)
        needs = self._of_room(race.job, terms)
        if growth is None or not growth.will_open(terms):  # no worker is opened just for a hedge
            takers = self._takers(terms, but=race.took_part)
            if takers is not None:
                if growth is not None and growth.will_replace(terms):
                    takers += self._elastic_leaving()
                needs.append((1, takers))
        return needs

    def _elastic_leaving(self) -> list[Vacancy]:
        """The leaving workers that can be replaced after they have left."""
        leaving = (worker for worker in self._roster.by_id.values() if worker._elastic and worker._is_leaving)
        return [Vacancy(worker, wholly=True) for worker in leaving]

    def _takers(self, terms: Terms, but: Collection[WorkerRecord] = ()) -> list[Vacancy] | None:
        """The eligible workers for such a job, except ``but``; None if waiting jobs can't hold all of them."""
        roster = self._roster
        # Each waiting run holds at most one worker, in addition to those reserved for groups.
        held = len(self._waits) + self._reservations.kept + len(but)
        if not terms.failed and held < roster.count(terms) - roster.leaving:
            return None
        staying = [worker for worker in roster.fitting(terms) if not (worker._is_leaving or worker in but)]
        if terms.failed:
            # The job avoids these workers until others have failed or are no longer available.
            staying = [worker for worker in staying if not roster.is_avoided(terms, worker)]
        takers: list[Vacancy] = []
        for worker in staying:
            group = worker._kind.group
            is_kept = self._is_kept(terms.gate, group)
            takers.append(Vacancy(worker, False, terms.gate, group if is_kept else None))
        return takers

    def _of_room(self, job: JobRecord, terms: Terms) -> list[Need]:
        """Return how many waiting runs of the pool, the group and the key must end before there is room for a job."""
        needs = self._of_room_among(self._state.limits.max_running, self._holders())
        gate = terms.gate
        if gate is not None:
            of_gate = (run for run in self._holders() if run.job._options.group is gate)
            needs += self._of_room_among(gate.max_running, of_gate)
        key = job._key
        return needs if key is None else needs + self._of_key(key)

    def full_keys(self, nodes: Iterable[Node]) -> list[KeyRecord]:
        """The keys of the waiting jobs among these nodes that waiting runs have filled up to their bounds."""
        jobs = (node for node in nodes if isinstance(node, JobRecord) and node._state is not JobState.RUNNING)
        keys = dict.fromkeys(job._key for job in jobs if job._key is not None)
        return [key for key in keys if self._of_key(key)]

    def _of_key(self, key: KeyRecord) -> list[Need]:
        return self._of_room_among(key.max_running, (run for run in self._holders() if run.job._key is key))

    def _of_room_among(self, most: float, holders: Iterator[Run]) -> list[Need]:
        """If waiting runs use all the room there is, return how many of them must end."""
        if len(self._waits) < most:
            return []
        held = list(holders)
        return [(int(len(held) - most) + 1, held)] if len(held) >= most else []

    def _holders(self) -> Iterator[Run]:
        """The runs that wait while they hold their workers."""
        return (run for run in self._waits if run in run.worker._runs and run not in self._as_if_lent)

    def _is_holding(self, run: Run) -> bool:
        return run in self._waits and run not in self._as_if_lent


def _probe_of(worker: WorkerRecord) -> Run | None:
    """The run that must end before others may start, since it is the probe of the worker's breaker, or None."""
    if worker._limits is None or not worker._limits.is_probing:
        return None
    probes = [run for run in (*worker._runs, *worker._lent) if run.trial is not None and run.trial.is_probe]
    return max(probes, key=lambda run: run.number, default=None)
