"""Core: which running jobs wait for which jobs, and whether such a wait could ever end.

A job that waits while it holds a worker keeps others from it. Where what it waits for can't
start before that worker is free, or waits for it in turn, nothing would ever happen any more.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from ._job import JobState
from ._roster import terms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._dependencies import Dependencies
    from ._dispatch import Dispatch
    from ._group import Group
    from ._job import Job
    from ._roster import Roster, Terms


class Wait:
    """One wait of a running job.

    Attributes:
      waiter: the job that waits.
      jobs: gives the jobs that it waits for.
      for_any: whether one of them is enough.
      steps_aside: whether those that want the waiter's worker back may have it meanwhile.
    """

    __slots__ = ("for_any", "jobs", "steps_aside", "waiter")

    def __init__(
        self,
        waiter: Job[Any],
        jobs: Callable[[], Iterable[Job[Any]]],
        *,
        for_any: bool = False,
        steps_aside: bool = False,
    ) -> None:
        self.steps_aside: bool = steps_aside
        self.waiter: Job[Any] = waiter
        self.jobs: Callable[[], Iterable[Job[Any]]] = jobs
        self.for_any: bool = for_any


class Waits:
    """The waits of running jobs for other jobs of the pool."""

    __slots__ = ("_by_waiter", "_dependencies", "_dispatch", "_roster")

    def __init__(self, roster: Roster, dependencies: Dependencies, dispatch: Dispatch) -> None:
        self._roster = roster
        self._dependencies = dependencies
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
        needs: dict[Job[Any], list[list[Job[Any]]]] = {}
        found = [waiter]
        while found:
            job = found.pop()
            if job not in needs:
                needs[job] = self._needs(job)
                for any_of in needs[job]:
                    found += any_of
        # By each job, the needs that its end would meet; and how many of each are open.
        met_by: dict[Job[Any], list[tuple[Job[Any], int]]] = {job: [] for job in needs}
        for job, all_of in needs.items():
            for number, any_of in enumerate(all_of):
                for other in any_of:
                    met_by[other].append((job, number))
        unmet = {job: set(range(len(all_of))) for job, all_of in needs.items()}
        getting_on = deque(job for job, numbers in unmet.items() if not numbers)
        while getting_on and waiter in unmet:
            ended = getting_on.popleft()
            del unmet[ended]
            for job, number in met_by[ended]:
                if job in unmet and number in unmet[job]:
                    unmet[job].remove(number)
                    if not unmet[job]:
                        getting_on.append(job)
        return [job for job in unmet if job in self._by_waiter] if waiter in unmet else []

    def _needs(self, job: Job[Any]) -> list[list[Job[Any]]]:
        """What has to happen before a job ends: of each of these lists, one job has to end."""
        state = job._state
        if state is JobState.RUNNING:
            return self._needs_of_running(job)
        terms = terms_of(job)
        holders = [self._holders_of_workers(terms), self._holders_of_room()]
        if terms.gate is not None:
            holders.append(self._holders_of_room(terms.gate))
        needs = [any_of for any_of in holders if any_of is not None]
        return needs + [[other] for other in self._dependencies.missing.get(job, ())]

    def _needs_of_running(self, job: Job[Any]) -> list[list[Job[Any]]]:
        needs: list[list[Job[Any]]] = []
        for wait in self._by_waiter.get(job, ()):
            if job._cancelled and not wait.steps_aside:
                continue  # the cancellation ends it
            others = list(wait.jobs())
            pending = [other for other in others if not other.state.is_final]
            if not wait.for_any:
                needs += [[other] for other in pending]
            elif len(pending) == len(others):
                needs.append(pending)
        seat = job._worker
        holder = seat._current if seat is not None and job in seat._loans else None
        if holder is not None and not self.steps_aside(holder):
            needs.append([holder])  # before it gets its worker back
        return needs

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
