"""The jobs that no worker of the pool may run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.states import JobState
from .commands import ADMITTED, REFUSED
from .lanes import rank_of
from .terms import terms_of

if TYPE_CHECKING:
    from .._model.pool_config import NoWorker
    from .._model.records import JobRecord, Terms
    from .lanes import Lane
    from .state import PoolState


class UnservableJobs:
    """Finds these jobs, and applies the ``no_worker`` policy of the pool."""

    __slots__ = ("_commands", "_lifecycle", "_queue", "_roster", "_state", "_waiting_line", "policy")

    def __init__(self, state: PoolState, policy: NoWorker) -> None:
        self._state = state
        self._roster = state.roster
        self._lifecycle = state.lifecycle
        self._queue = state.queue
        self._waiting_line = state.waiting_line
        self._commands = state.commands
        self.policy: NoWorker = policy

    def is_one(self, terms: Terms) -> bool:
        """Whether no worker may run a job on these terms, unless the policy keeps such jobs."""
        return self.policy != "wait" and not self._roster.has_any(terms) and self._none_may_come(terms)

    def _none_may_come(self, terms: Terms) -> bool:
        """Whether no worker that may run a job on these terms can be opened."""
        growth = self._state.growth
        return growth is None or not growth.could_take(terms)

    def bury_new(self, lanes: list[Lane], now: float) -> None:
        """Bury the jobs in these lanes that no worker may run any more, since a worker has left."""
        if self.policy == "wait":
            return
        lost = sorted((entry for lane in lanes if self.is_one(lane.terms) for entry in lane.entries()), key=rank_of)
        for *_, job in lost:
            if job._state is JobState.QUEUED:
                self._bury([job], now)
            elif self._waiting_line.has(job):
                self.turn_away(job, now)
        for job in self._waiting_line.blocked():
            if self._waiting_line.has(job) and self.is_one(terms_of(job)):
                self.turn_away(job, now)

    def bury_lost(self, now: float) -> bool:
        """Bury the jobs that no worker may run, since no more workers will come; return whether there are any."""
        lanes = [lane for lane in self._queue.lanes() if not self._roster.has_any(lane.terms)]
        lanes = [lane for lane in lanes if self._none_may_come(lane.terms)]
        for lane in lanes:
            self._bury([entry[3] for entry in lane.entries()], now)
        return bool(lanes)

    def bury_all(self, now: float) -> None:
        """Bury all queued jobs, since no event will ever start any of them."""
        self._bury(list(self._queue), now)

    def _bury(self, jobs: list[JobRecord], now: float) -> None:
        for job in jobs:
            self._queue.remove(job)
            self.bury(job, now)

    def bury(self, job: JobRecord, now: float) -> None:
        """End a job that no worker may run, and that is in no queue."""
        self._lifecycle.bury(job, now, self._state.given_up.cause_for(job))

    def turn_away(self, job: JobRecord, now: float) -> None:
        """Remove a job from the line for a place; its submitter gets a dead job or an error."""
        if self.policy == "reject" and job in self._waiting_line.line:
            self._waiting_line.withdraw(job)
            self._commands.append((REFUSED, job))
            return
        # A graph is turned away only with the job that represents it; other jobs are buried like
        # queued ones.
        let_go = self._waiting_line.leave(job)
        self.bury(job, now)
        if let_go is not None:
            self._commands.append((ADMITTED, let_go))
