"""Jobs that come in, and those who wait for a place for them."""

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
    """Who waits for a place in the queue, and the error if it is turned away."""

    __slots__ = ("error", "go_on", "released")

    def __init__(self) -> None:
        # None until it has begun to wait: it may have to go on before that.
        self.go_on: Callable[[], object] | None = None
        self.released = False
        self.error: Exception | None = None


class Submitters:
    """Lets jobs in, and has submitters wait for waiting_line.

    Arguments:
      core: what decides.
      carry_out: does what it has decided.
    """

    __slots__ = ("_carry_out", "_core", "_submitters")

    def __init__(self, core: Core, carry_out: Callable[[], None]) -> None:
        self._core = core
        self._carry_out = carry_out
        self._submitters: dict[JobRecord, _Submitter] = {}

    def let_in(self, job: JobRecord, door: Door, graph: Sequence[JobRecord] = ()) -> Admission:
        """Ask the core to let the job in, or all of the ``graph`` whose key it is."""
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
        """Wait until a job that is in line for a place is admitted or turned away."""
        submitter = self._submitters[job]
        submitter.go_on = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())

        # Withdrawn at the very moment of the cancellation: the job can't be admitted
        # between that and the task's waking up to it.
        def withdraw(_: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.SUCCEEDED if self.withdraw(job) else trio.lowlevel.Abort.FAILED

        await trio.lowlevel.wait_task_rescheduled(withdraw)
        if submitter.error is not None:
            raise submitter.error

    def call_when_placed(self, job: JobRecord, placed: Callable[[Exception | None], object]) -> None:
        """The same for who can't wait: call ``placed`` then, with the error if it is turned away."""
        submitter = self._submitters[job]
        submitter.go_on = lambda: placed(submitter.error)

    def withdraw(self, job: JobRecord) -> bool:
        """Take a job out of the line for a place; returns whether it stood there."""
        # It doesn't if it has just been let in or turned away. Then what says so is among the
        # commands, but one before it, a death or an instrument, has led to this call. Or else its time is up
        # at this very moment, which goes before the cancellation.
        self._core.advance(trio.current_time())
        self._carry_out()
        if not self._core.waits_for_place(job):
            return False
        del self._submitters[job]
        self._core.withdraw(job)
        self._carry_out()
        return True

    def _release(self, job: JobRecord, error: Exception | None) -> None:
        """Let a submitter go on, with an error if its job is turned away."""
        submitter = self._submitters.pop(job)
        submitter.error = error
        submitter.released = True
        if submitter.go_on is not None:
            submitter.go_on()

    def turn_away(self, jobs: Iterable[JobRecord], why: str) -> None:
        """Let those go on without their jobs who wait for waiting_line."""
        for job in jobs:
            self._release(job, PoolClosedError(why))

    def on_admitted(self, job: JobRecord) -> None:
        self._release(job, None)

    def on_refused(self, job: JobRecord) -> None:
        self._release(job, self._not_eligible(job))

    def _not_eligible(self, job: JobRecord) -> NoEligibleWorkerError:
        """The error of a job that no worker may take."""
        options, state = job._options, self._core.state
        asked = [f"the worker {one_line(options.worker.name)}"] if options.worker is not None else []
        if options.requires:
            asked.append(f"the tags {', '.join(shown(tag) for tag in sorted(options.requires))}")
        wish = f", which asks for {' and '.join(asked)}" if asked else ""
        if not state.roster.by_id and state.growth is None:
            wish += ': the pool has no workers; add one first, or open it with no_worker="wait"'
        return NoEligibleWorkerError(f"no worker of the pool may ever take the job {label(job)}{wish}")
