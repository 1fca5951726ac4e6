"""Core: which running jobs wait for which jobs, and whether such a wait could ever end.

A job that waits while it holds a worker keeps others from it. Where what it waits for can't
start before that worker is free, or waits for it in turn, nothing would ever happen any more.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from ._job import JobState
from ._roster import terms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._dependencies import Dependencies
    from ._dispatch import Dispatch
    from ._group import Group
    from ._job import Job
    from ._reservations import Reservations
    from ._roster import Roster, Terms
    from ._seat import Seat

    # So many of these jobs have to end.
    Need: TypeAlias = tuple[int, list[Job[Any]]]


class Wait:
    """One wait of a running job.

    Attributes:
      waiter: the job that waits.
      jobs: gives the jobs that it waits for.
      for_any: whether one of them is enough.
      group: the group that waits for workers of its own here, or None.
      steps_aside: whether those that want the waiter's worker back may have it meanwhile.
    """

    __slots__ = ("for_any", "group", "jobs", "steps_aside", "waiter")

    def __init__(
        self,
        waiter: Job[Any],
        jobs: Callable[[], Iterable[Job[Any]]],
        *,
        for_any: bool = False,
        steps_aside: bool = False,
        group: Group | None = None,
    ) -> None:
        self.steps_aside: bool = steps_aside
        self.waiter: Job[Any] = waiter
        self.jobs: Callable[[], Iterable[Job[Any]]] = jobs
        self.for_any: bool = for_any
        self.group: Group | None = group


class Waits:
    """The waits of running jobs for other jobs of the pool."""

    __slots__ = ("_by_waiter", "_dependencies", "_dispatch", "_reservations", "_roster")

    def __init__(
        self, roster: Roster, dependencies: Dependencies, reservations: Reservations, dispatch: Dispatch
    ) -> None:
        self._roster = roster
        self._dependencies = dependencies
        self._reservations = reservations
        self._dispatch = dispatch
        self._by_waiter: dict[Job[Any], dict[Wait, None]] = {}

    def begin(self, wait: Wait) -> list[Job[Any]]:
        """A running job begins to wait.

        Returns:
          the running jobs that would wait for ever with it, if it would: then it doesn't wait.
        """
        self.add(wait)
        stuck = self._stuck_with(wait.waiter)
        if stuck:
            self.end(wait)
        return stuck

    def add(self, wait: Wait) -> None:
        """A running job waits, come what may."""
        self._by_waiter.setdefault(wait.waiter, {})[wait] = None

    def steps_aside(self, job: Job[Any]) -> bool:
        """Whether a job lets those go first that want its worker back."""
        return any(wait.steps_aside for wait in self._by_waiter.get(job, ()))

    def standing(self) -> int:
        """How many running jobs wait for what has not come."""
        return sum(1 for job, waits in self._by_waiter.items() if any(self._needs_of(job, wait) for wait in waits))

    def end(self, wait: Wait) -> None:
        """It waits no longer."""
        waits = self._by_waiter[wait.waiter]
        del waits[wait]
        if not waits:
            del self._by_waiter[wait.waiter]

    def _stuck_with(self, waiter: Job[Any]) -> list[Job[Any]]:
        """The running jobs that will never get on, if ``waiter`` is one of them.

        Everything that it needs is gathered, with what that needs in turn; then whoever
        needs nothing more is taken out, until nothing changes: what is left is stuck.
        """
        needs: dict[Job[Any], list[Need]] = {}
        found = [waiter]
        while found:
            job = found.pop()
            if job not in needs:
                needs[job] = self._needs(job)
                for _, others in needs[job]:
                    found += others
        # By each job, the needs that its end would meet; and how many of each are open.
        met_by: dict[Job[Any], list[tuple[Job[Any], int]]] = {job: [] for job in needs}
        for job, all_of in needs.items():
            for number, (_, others) in enumerate(all_of):
                for other in others:
                    met_by[other].append((job, number))
        unmet = {job: {number: need[0] for number, need in enumerate(all_of)} for job, all_of in needs.items()}
        getting_on = deque(job for job, missing in unmet.items() if not missing)
        while getting_on and waiter in unmet:
            ended = getting_on.popleft()
            del unmet[ended]
            for job, number in met_by[ended]:
                missing = unmet.get(job, {})
                if number in missing:
                    missing[number] -= 1
                    if not missing[number]:
                        del missing[number]
                        if not missing:
                            getting_on.append(job)
        return [job for job in unmet if job in self._by_waiter] if waiter in unmet else []

    def _needs(self, job: Job[Any]) -> list[Need]:
        """What has to happen before a job ends, all of it."""
        state = job._state
        if state is JobState.RUNNING:
            return self._needs_of_running(job)
        terms = terms_of(job)
        holders = [self._holders_of_workers(terms), self._holders_of_room()]
        if terms.gate is not None:
            holders.append(self._holders_of_room(terms.gate))
        needs = [(1, any_of) for any_of in holders if any_of is not None]
        return needs + [(1, [other]) for other in self._dependencies.missing.get(job, ())]

    def _needs_of_running(self, job: Job[Any]) -> list[Need]:
        needs = [need for wait in self._by_waiter.get(job, ()) for need in self._needs_of(job, wait) if need[0]]
        seat = job._worker
        holder = seat._current if seat is not None and job in seat._loans else None
        if holder is not None and not self.steps_aside(holder):
            needs.append((1, [holder]))  # before it gets its worker back
        return needs

    def _needs_of(self, job: Job[Any], wait: Wait) -> list[Need]:
        """What has to happen before one wait of a running job ends; an empty list if it is about to end."""
        if job._cancelled and not wait.steps_aside:
            return []  # the cancellation ends it
        if wait.group is not None:
            return [self._need_of_group(wait.group)] if wait.group in self._reservations.waiting else []
        others = list(wait.jobs())
        pending = [other for other in others if not other.state.is_final]
        if not wait.for_any:
            return [(1, [other]) for other in pending]
        return [(1, pending)] if len(pending) == len(others) else []

    def _need_of_group(self, group: Group) -> Need:
        """How many of the waiting jobs that hold workers have to end before a group has those that it wants."""
        staffing = self._dispatch.staffing
        free = 0.0 if staffing is None else staffing.most - staffing.own
        holders: list[Job[Any]] = []
        for seat in self._roster.seats.values():
            if seat._departing or seat in group.seats:
                continue
            holder = self._holder_of(seat)
            if holder is None:
                free += 1
            else:
                holders.append(holder)
        missing = group.lacks - free
        # Where even all of them would not do, more workers have to come, as they may.
        return (int(missing), holders) if 0 < missing <= len(holders) else (0, [])

    def _holder_of(self, seat: Seat) -> Job[Any] | None:
        """The waiting job that has a worker or has lent it, or None."""
        return next((job for job in (seat._current, *seat._loans) if job in self._by_waiter), None)

    def _holders_of_workers(self, terms: Terms) -> list[Job[Any]] | None:
        """The waiting jobs that hold all the workers which may take such a job, or None."""
        workers = self._roster.count(terms)
        staffing = self._dispatch.staffing
        if not workers or len(self._by_waiter) < workers or (staffing is not None and staffing.could_open(terms)):
            return None
        holders = [
            job
            for job in self._holders()
            if (seat := job._worker) is not None
            and terms.requires <= seat.tags
            and (terms.pinned is None or terms.pinned is seat)
        ]
        return holders if len(holders) == workers else None

    def _holders_of_room(self, group: Group | None = None) -> list[Job[Any]] | None:
        """The waiting jobs that are all that may run at once, in the pool or in a group, or None."""
        most = self._dispatch.max_running if group is None else group.max_running
        if most == math.inf or len(self._by_waiter) < most:
            return None
        holders = [job for job in self._holders() if group is None or job._options.group is group]
        return holders if len(holders) >= most else None

    def _holders(self) -> list[Job[Any]]:
        """The waiting jobs that hold their workers meanwhile."""
        return [job for job in self._by_waiter if job._worker is not None and job._worker._current is job]
