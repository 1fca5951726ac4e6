"""Enqueuing jobs, and the submitters that wait for a place in the queue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from .._basics.text import one_line, shown
from .._core.admission import Admission, Door
from .._model.errors import NoEligibleWorkerError, PoolClosedError
from .._model.text import label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .._core.core import Core
    from .._model.records import JobRecord


class _Submitter:
    """A submitter that waits for a place in the queue, and its error if it is turned away."""

    __slots__ = ("error", "go_on", "released")

    def __init__(self) -> None:
        # None until the wait has begun; the submitter may be released before that.
        self.go_on: Callable[[], object] | None = None
        self.released = False
        self.error: Exception | None = None


class Submitters:
    """Enqueues jobs, and lets submitters wait for a place in the queue.

    Arguments:
      core: the pool's core.
      carry_out: carries out the core's commands.
    """

    __slots__ = ("_carry_out", "_core", "_submitters")

    def __init__(self, core: Core, carry_out: Callable[[], None]) -> None:
        self._core = core
        self._carry_out = carry_out
        self._submitters: dict[JobRecord, _Submitter] = {}

    def let_in(self, job: JobRecord, door: Door, graph: Sequence[JobRecord] = ()) -> Admission:
        """Submit the job to the core, or the whole ``graph`` if the job is its key."""
        core, now = self._core, job._submitted_at
        admission = core.submit_graph(job, graph, door, now) if graph else core.submit(job, door, now)
        submitter: _Submitter | None = None
        if admission is Admission.WAITING:
            submitter = self._submitters[job] = _Submitter()
        self._carry_out()
        if submitter is not None and submitter.released:
            if submitter.error is not None:
                raise submitter.error
            return Admission.ENTERED
        if admission is Admission.NO_WORKER:
            raise self._not_eligible(job)
        return admission

    async def wait_for_place(self, job: JobRecord) -> None:
        """Wait until a job in line for a place is admitted or turned away."""
        submitter = self._submitters[job]
        submitter.go_on = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())

        # The job is withdrawn at the moment of the cancellation, so that it can't be admitted before
        # the task wakes up.
        def withdraw(_: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.SUCCEEDED if self.withdraw(job) else trio.lowlevel.Abort.FAILED

        await trio.lowlevel.wait_task_rescheduled(withdraw)
        if submitter.error is not None:
            raise submitter.error

    def call_when_placed(self, job: JobRecord, placed: Callable[[Exception | None], object]) -> None:
        """Call ``placed`` when the job is admitted or turned away, with the error in the latter case."""
        submitter = self._submitters[job]
        submitter.go_on = lambda: placed(submitter.error)

    def withdraw(self, job: JobRecord) -> bool:
        """Take a job out of the line for a place; return whether it was in line."""
        # The job isn't in line if it has just been admitted or turned away. The command for that
        # may still be queued, if an earlier command, such as a death or a notification, has led to
        # this call. The job's timeout may also pass at this very moment, which takes precedence
        # over the cancellation.
        self._core.advance(trio.current_time())
        self._carry_out()
        if not self._core.waits_for_place(job):
            return False
        del self._submitters[job]
        self._core.withdraw(job, trio.current_time())
        self._carry_out()
        return True

    def _release(self, job: JobRecord, error: Exception | None) -> None:
        """Release a submitter, with an error if its job is turned away."""
        submitter = self._submitters.pop(job)
        submitter.error = error
        submitter.released = True
        if submitter.go_on is not None:
            submitter.go_on()

    def turn_away(self, jobs: Iterable[JobRecord], why: str) -> None:
        """Release submitters whose jobs are not admitted, with an error that states the reason."""
        for job in jobs:
            self._release(job, PoolClosedError(why))

    def on_admitted(self, job: JobRecord) -> None:
        self._release(job, None)

    def on_refused(self, job: JobRecord) -> None:
        self._release(job, self._not_eligible(job))

    def _not_eligible(self, job: JobRecord) -> NoEligibleWorkerError:
        """Return the error for a job that no worker can run."""
        options, state = job._options, self._core.state
        asked = [f"the worker {one_line(options.worker.name)}"] if options.worker is not None else []
        if options.requires:
            asked.append(f"the tags {', '.join(shown(tag) for tag in sorted(options.requires))}")
        wish = f", which asks for {' and '.join(asked)}" if asked else ""
        if not state.roster.by_id and state.growth is None:
            wish += ': the pool has no workers; add one first, or open it with no_worker="wait"'
        error = NoEligibleWorkerError(f"no worker of the pool can ever run the job {label(job)}{wish}")
        error.__cause__ = state.given_up.cause_for(job)
        return error
